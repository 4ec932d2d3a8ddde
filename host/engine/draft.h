/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where drafts come from: guesses at a sequence's next tokens, which the engine computes all in one step and keeps as
 * far as they are what it would have picked anyway. A source that guesses badly costs time and never changes a token.
 *
 * Whoever opens an engine makes a source, lends it to that one engine and closes it after engine_close. All calls
 * in between are the engine's, on its owner's thread, and allocate nothing after prepare.
 */
#ifndef SLUICE_ENGINE_DRAFT_H
#define SLUICE_ENGINE_DRAFT_H

#include "host/base/error.h"
#include "host/engine/sampler.h"
#include "host/model/model.h"

#include <stdbool.h>
#include <stdint.h>

#define DRAFT_MOST 16u  /* tokens of one draft */
#define DRAFT_GRADES 4u /* how sure a source is: each grade has its own record of success */

/* What the engine is: the source's slots are the engine's, its sequences are no longer than context. */
struct draft_limits {
    uint32_t max_sequences, context, chunk, n_vocab;
};

/* What a source wants of the card that the engine is on, beside the engine's own: for each page, and altogether. */
struct draft_needs {
    uint64_t page_bytes, other_bytes;
};

/* One sequence that decodes, in one step. */
struct draft {
    uint32_t slot;      /* the sequence's, below max_sequences */
    uint32_t *tokens;   /* the sequence's tokens; the draft is written behind those that are known */
    uint32_t n_known;   /* prompt and what was picked so far */
    uint32_t n_longest; /* known tokens and those that may come, at most */
    uint32_t n;         /* tokens wanted, at most DRAFT_MOST and never past n_longest; then: tokens there */
    uint32_t grade;     /* how sure the source is: set by look, below DRAFT_GRADES */
    uint32_t from;      /* look's note to propose */
    const struct sampling *sampling; /* how the sequence picks */
};

struct draft_source;

struct draft_source_operations {
    /* Optional. Before prepare, with the most that the limits may come to; needs are zero before. */
    void (*measure)(const struct draft_source *source, const struct card *card, const struct draft_limits *limits,
                    struct draft_needs *needs);
    /* Once, when the engine opens. On an error the source can only be closed. */
    int (*prepare)(struct draft_source *source, const struct draft_limits *limits, struct error *err);
    /* A slot has another sequence from now on, or none any more. */
    void (*join)(struct draft_source *source, uint32_t slot);
    void (*leave)(struct draft_source *source, uint32_t slot);
    /* Whether there is anything to propose for this sequence; sets grade. */
    bool (*look)(struct draft_source *source, struct draft *draft);
    /* Writes up to n tokens of each of n_drafts drafts (n > 0, look said yes) and sets n. Ids may be of any value. */
    void (*propose)(struct draft_source *source, struct draft *drafts, uint32_t n_drafts);
    /* Optional. After every step in which the slot's sequence decoded: tokens[0..n_known) are known now. */
    void (*settle)(struct draft_source *source, uint32_t slot, uint32_t n_known);
    void (*close)(struct draft_source *source); /* frees the source */
};

struct draft_source {
    const struct draft_source_operations *operations;
    const char *name;     /* "lookup", "model" */
    double round_seconds; /* what one more token of the longest draft costs, as measured; 0: next to nothing */
    float first_chance[DRAFT_GRADES]; /* how often a token is right, before anything is known */
};

/* NULL is allowed. */
static inline void draft_source_close(struct draft_source *source)
{
    if (source) source->operations->close(source);
}

/*
 * Prompt lookup: the tokens that followed when the sequence's last tokens (at least 2) occurred in it before; of several
 * places the one with the longest match, then the most recent. ERROR_NO_MEMORY.
 */
int draft_lookup_make(struct draft_source **out, struct error *err);

/*
 * A second, smaller model of the same vocabulary, which picks as the sequence does: with the same sampling and the same
 * random numbers, but from its own logits. Borrowed until close; its card may be the engine's or another. It takes KV
 * pages of its own. ERROR_UNSUPPORTED for a model whose states cannot be taken back. ERROR_NO_MEMORY.
 */
int draft_model_make(struct loaded_model *loaded, struct draft_source **out, struct error *err);

#endif
