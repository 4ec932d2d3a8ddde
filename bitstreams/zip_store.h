/* SPDX-License-Identifier: Apache-2.0 */
/* A ZIP archive of one uncompressed file (PKWARE APPNOTE 4.3): what XRT's hardware emulation unpacks from a bitstream. */
#ifndef SLUICE_BITSTREAMS_ZIP_STORE_H
#define SLUICE_BITSTREAMS_ZIP_STORE_H

#include <stddef.h>
#include <stdint.h>

/* content (below 1 GiB) under name, executable: *n_bytes bytes, owned by the caller; NULL if out of memory or too large. */
uint8_t *zip_store(const char *name, const uint8_t *content, size_t n_content, size_t *n_bytes);

#endif
