/* SPDX-License-Identifier: Apache-2.0 */
/* What run, serve and bench share of speculation: from what the user asked for to a source of drafts. */
#ifndef SLUICE_ENGINE_DRAFT_LOAD_H
#define SLUICE_ENGINE_DRAFT_LOAD_H

#include "host/engine/draft.h"

struct draft_load_options {
    bool lookup;            /* prompt lookup */
    const char *model_path; /* or a draft model; NULL: none */
    unsigned threads;       /* for repacking; 0: one per core */
};

struct draft_load {
    struct model *model; /* NULL without a draft model, as is loaded */
    struct loaded_model *loaded;
    struct draft_source *source; /* for engine_options; NULL: nothing was asked for */
};

/*
 * Makes the source; a draft model is opened and loaded on card, which is borrowed until draft_load_close, after
 * engine_close. ERROR_UNSUPPORTED if its vocabulary is not that of `target`, the model that it is to guess (one of the
 * two may have unused tokens at the end), or if it is recurrent. On an error nothing stays open.
 */
int draft_load(const struct draft_load_options *options, const struct model *target, struct card *card,
               struct draft_load *out, struct error *err);
void draft_load_close(struct draft_load *load); /* all zero is allowed */

#endif
