/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of model files. */
#ifndef SLUICE_CLI_FILE_HASH_H
#define SLUICE_CLI_FILE_HASH_H

#include "host/model/model.h"

#define FILE_HASH_HEX 65   /* 64 digits and the end */
#define FILE_HASH_BYTES 32 /* the digest itself */

/*
 * The hash in hex of the file, or of all parts of a split model one after the other. Reads everything: a few seconds
 * for each gigabyte. What it reads does not stay in this process's memory.
 */
void file_hash(const struct gguf *file, char hex[FILE_HASH_HEX]);
void file_digest(const struct gguf *file, uint8_t digest[FILE_HASH_BYTES]);

/* Of the model's file, or of what it was packed from, which a packed file knows. */
void model_hash(const struct model *model, char hex[FILE_HASH_HEX]);

/* Bytes in hex: 64 digits. */
void digest_hex(const uint8_t digest[FILE_HASH_BYTES], char hex[FILE_HASH_HEX]);

/* Of a text that ends with a zero. */
void text_hash(const char *text, char hex[FILE_HASH_HEX]);

#endif
