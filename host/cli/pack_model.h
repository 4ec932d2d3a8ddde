/* SPDX-License-Identifier: Apache-2.0 */
/* A model to a packed file (host/model/slc.h), for `sluice pack` and for --cache-dir. */
#ifndef SLUICE_CLI_PACK_MODEL_H
#define SLUICE_CLI_PACK_MODEL_H

#include "host/model/model.h"

struct pack_request {
    const char *source_name; /* what a repair command will call the model */
    const char *out;         /* the file, which appears when it is whole and durable */
    unsigned threads;        /* 0: one per core */
    bool quiet;              /* no progress bar */
    bool exact_formats;      /* refuse what the card would round */
    unsigned float_format;   /* enum card_format for float matrices; 0: INT8 */
};

/* With a progress bar on stderr as when loading. conversion is what was rounded. */
int pack_model(const struct model *model, const struct pack_request *request, struct model_conversion *conversion,
               struct error *err);

/*
 * The packed file in folder (made if it is not there) for the model file at path, packed now if it is not there or does
 * not open. *out is owned by the caller (free), and NULL where path is a packed file itself.
 */
int pack_cached(const char *path, const char *folder, unsigned threads, bool quiet, char **out, struct error *err);

#endif
