/* SPDX-License-Identifier: Apache-2.0 */
/* What run, logits and bench share: the common options, and opening model, card and engine in one call with one clean-up. */
#ifndef SLUICE_CLI_SESSION_H
#define SLUICE_CLI_SESSION_H

#include "host/cli/options.h"
#include "host/engine/engine.h"

struct session_options {
    const char *model_path; /* NULL: the demo model */
    const char *card;       /* "sim" unless asked otherwise */
    const char *kv;         /* NULL, "f16" or "f32" */
    uint32_t threads;       /* 0: one per core */
    uint32_t context, max_sequences, chunk;
    uint64_t memory_mib; /* of a simulated card; 0: what the host has */
};

/* The rows of an option table for the common options, to stand first in a command's table. */
#define SESSION_OPTION_ROWS(o)                                                                                          \
    {"card", 0, OPTION_TEXT, &(o)->card, "NAME", "card to run on: sim, ref, opencl or opencl:N (default sim)", 0, 0},   \
        {"threads", 't', OPTION_U32, &(o)->threads, "N", "compute threads of a simulated card (default: one per core)", \
         1,         256},                                                                                               \
        {"ctx", 'c', OPTION_U32, &(o)->context, "N", "tokens per sequence (default: what fits)", 1, 4294967295.0},      \
        {"max-seqs", 0,                                                                                                 \
         OPTION_U32, &(o)->max_sequences,                                                                               \
         "N",        "sequences at the same time (default: what fits, at most 16)",                                     \
         1,          4096},                                                                                             \
        {"chunk", 0, OPTION_U32, &(o)->chunk, "N", "prompt tokens per step (default 256)", 1, 4096},                    \
        {"kv", 0, OPTION_TEXT, &(o)->kv, "FORMAT", "KV pages in f16 or f32 (default f16; f32 on the ref card)", 0, 0},  \
    {                                                                                                                   \
        "card-memory", 0, OPTION_U64, &(o)->memory_mib, "MIB",                                                          \
            "memory of a simulated card (default: what the host has)", 0, 0                                             \
    }

struct session {
    struct model *model;
    struct tokenizer *tokenizer; /* NULL if the model file has none that is supported and the command can do without */
    struct card *card;
    struct loaded_model *loaded;
    struct engine *engine;
};

/*
 * Opens all, with a progress bar on stderr when that is a terminal and loading takes longer than a second, a line about
 * matrices that were converted to INT8, and a line about context and sequences chosen (quiet: none of these).
 * need_tokenizer: fail if the vocabulary is not supported. On error nothing stays open.
 */
int session_open(const struct session_options *options, bool need_tokenizer, bool quiet, struct session *session,
                 struct error *err);
void session_close(struct session *session);

#endif
