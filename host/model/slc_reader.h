/* SPDX-License-Identifier: Apache-2.0 */
/* An open packed file, for slc.c and slc_table.c. */
#ifndef SLUICE_MODEL_SLC_READER_H
#define SLUICE_MODEL_SLC_READER_H

#include "host/base/map_file.h"
#include "host/model/slc_internal.h"

struct slc {
    char *path;          /* owned; or what the caller called the bytes */
    struct map_file map; /* {0} if the bytes are the caller's, and fd is -1 */
    int fd;
    const uint8_t *bytes;
    size_t size;
    char source_name[SLC_SOURCE_NAME_BYTES]; /* empty until the header is verified */
    struct gguf *file;                       /* owned */
    struct slc_tensor *tensors;              /* owned */
    const struct slc_tensor **by_name;       /* owned; sorted by name, then as in the source before packed */
    size_t n_tensors;
};

/* Sets *err to "FILE: ... (pack it again: sluice pack SOURCE FILE)" with the name as detail. Returns its code. */
int slc_fail(const struct slc *slc, struct error *err, enum slc_error name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Reads and checks n entries of the table, which are inside the file, against the metadata and each other. (slc_table.c) */
int slc_read_table(struct slc *slc, const uint8_t *table, uint32_t n, struct error *err);

#endif
