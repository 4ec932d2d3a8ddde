/* SPDX-License-Identifier: Apache-2.0 */
/* Writing packed files. The format is in slc.h. */
#ifndef SLUICE_MODEL_SLC_WRITE_H
#define SLUICE_MODEL_SLC_WRITE_H

#include "host/model/model.h"
#include "host/model/slc.h"

struct slc_write_options {
    struct model_load_options load; /* progress and threads */
    unsigned float_format;          /* enum card_format of float matrices, save the output's; 0: INT8 */
    const char *source_name;        /* what the repair command calls the source; its last 255 bytes are kept */
    /* Gives the source's SHA-256; called last, so that it can be computed meanwhile. NULL: zeros. */
    void (*source_hash)(void *context, uint8_t hash[SLC_SOURCE_HASH_BYTES]);
    void *context;
};

/*
 * Packs model, which is not from a packed file itself, into stream, which must be empty and seekable. ERROR_BAD_FILE names
 * a tensor that is not finite; ERROR_IO is the stream's error. The caller makes the file durable, or removes it.
 */
int slc_write(const struct model *model, const struct slc_write_options *options, FILE *stream,
              struct model_conversion *conversion, struct error *err);

#endif
