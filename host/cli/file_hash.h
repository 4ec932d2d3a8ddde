/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of model files. */
#ifndef SLUICE_CLI_FILE_HASH_H
#define SLUICE_CLI_FILE_HASH_H

#include "host/model/gguf.h"

#define FILE_HASH_HEX 65 /* 64 digits and the end */

/*
 * The hash in hex of the file, or of all parts of a split model one after the other. Reads everything: a few seconds
 * for each gigabyte.
 */
void file_hash(const struct gguf *file, char hex[FILE_HASH_HEX]);

#endif
