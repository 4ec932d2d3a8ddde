/* SPDX-License-Identifier: Apache-2.0 */
/* What run, logits and bench share: the common options, and opening model, card and engine in one call with one clean-up. */
#ifndef SLUICE_CLI_SESSION_H
#define SLUICE_CLI_SESSION_H

#include "host/card/card_list.h"
#include "host/cli/options.h"
#include "host/cli/trace_file.h"
#include "host/engine/draft_load.h"
#include "host/engine/engine.h"

struct session_options {
    const char *model_path; /* NULL: the demo model */
    const char *card;       /* "sim" unless asked otherwise */
    const char *cards;      /* NULL, or several (card_list.h), over which the model is divided: then card is NULL */
    const char *kv;         /* NULL, or a name of kv_format.h */
    bool exact_formats;     /* refuse what the card would round */
    const char *cache_dir;  /* NULL, or where packed files of GGUF models are kept */
    uint32_t threads;       /* 0: one per core */
    uint32_t context, max_sequences, chunk;
    uint32_t expert_slots;      /* 0: the rule of host/experts */
    const char *expert_policy;  /* NULL: its default */
    const char *expert_guess;   /* NULL: the same */
    const char *record_routing; /* NULL, or a file for the routers' choices */
    uint32_t queue_limit;       /* of the engine; 0: its own */
    uint64_t memory_mib;        /* of a simulated card; 0: what its profile or the host has */
    const char *trace;          /* NULL, or where the card's timeline goes: see TRACE_OPTION_ROW */

    /* Of commands that answer: see SPECULATION_OPTION_ROWS. */
    const char *speculate;  /* NULL, "off" or "lookup" */
    const char *draft_path; /* NULL, or the model that drafts */
};

/* The rows of an option table for the common options, to stand first in a command's table. */
#define SESSION_OPTION_ROWS(o)                                                                                          \
    {"card",     0,      OPTION_TEXT,                                                                                   \
     &(o)->card, "NAME", "card to run on: sim, sim:u55c (a profile: virtual time), ref, opencl (default sim)",          \
     0,          0},                                                                                                    \
        {"cards",     0,      OPTION_TEXT,                                                                              \
         &(o)->cards, "LIST", "several cards, which share the model: sim:u55c*4, sim:u55c,sim:u50",                     \
         0,           0},                                                                                               \
        {"threads", 't', OPTION_U32, &(o)->threads, "N", "compute threads of a simulated card (default: one per core)", \
         1,         256},                                                                                               \
        {"ctx", 'c', OPTION_U32, &(o)->context, "N", "tokens per sequence (default: what fits)", 1, 4294967295.0},      \
        {"max-seqs", 0,                                                                                                 \
         OPTION_U32, &(o)->max_sequences,                                                                               \
         "N",        "sequences at the same time (default: what fits, at most 16)",                                     \
         1,          4096},                                                                                             \
        {"chunk", 0, OPTION_U32, &(o)->chunk, "N", "prompt tokens per step (default 256)", 1, 4096},                    \
        {"kv", 0, OPTION_TEXT, &(o)->kv, "FORMAT", "KV pages in f16, int8, int4 or f32 (default f16; f32 on ref)",      \
         0,    0},                                                                                                      \
        {"exact-formats",                                                                                               \
         0,                                                                                                             \
         OPTION_FLAG,                                                                                                   \
         &(o)->exact_formats,                                                                                           \
         NULL,                                                                                                          \
         "refuse a matrix whose values the card rounds",                                                                \
         0,                                                                                                             \
         0},                                                                                                            \
        {"cache-dir", 0, OPTION_TEXT, &(o)->cache_dir, "DIR", "pack MODEL once into DIR, and open that from then on",   \
         0,           0},                                                                                               \
        {"expert-policy",                                                                                               \
         0,                                                                                                             \
         OPTION_TEXT,                                                                                                   \
         &(o)->expert_policy,                                                                                           \
         "NAME",                                                                                                        \
         "which expert gives up its slot: lru, lfu, profile, adaptive",                                                 \
         0,                                                                                                             \
         0},                                                                                                            \
        {"record-routing",                                                                                              \
         0,                                                                                                             \
         OPTION_TEXT,                                                                                                   \
         &(o)->record_routing,                                                                                          \
         "FILE",                                                                                                        \
         "write which experts the routers choose (bench --routing replays it)",                                         \
         0,                                                                                                             \
         0},                                                                                                            \
        {"expert-guess",                                                                                                \
         0,                                                                                                             \
         OPTION_TEXT,                                                                                                   \
         &(o)->expert_guess,                                                                                            \
         "HOW",                                                                                                         \
         "who guesses the next layer's experts, to bring them early: router (default), table, both, none",              \
         0,                                                                                                             \
         0},                                                                                                            \
        {"expert-slots",                                                                                                \
         0,                                                                                                             \
         OPTION_U32,                                                                                                    \
         &(o)->expert_slots,                                                                                            \
         "N",                                                                                                           \
         "experts in the memory of each card, all its layers together; the others stream (default: all that fit)",      \
         1,                                                                                                             \
         4294967295.0},                                                                                                 \
    {                                                                                                                   \
        "card-memory", 0, OPTION_U64, &(o)->memory_mib, "MIB",                                                          \
            "memory of a simulated card (default: what the host has)", 0, 0                                             \
    }

/* More rows, for commands that decode: drafts change their speed and nothing else. */
#define SPECULATION_OPTION_ROWS(o)                                                                                     \
    {"speculate", 0,                                                                                                   \
     OPTION_TEXT, &(o)->speculate,                                                                                     \
     "HOW",       "lookup: guess tokens from the text so far, keep the right ones; off (default)",                     \
     0,           0},                                                                                                  \
    {                                                                                                                  \
        "draft", 0, OPTION_TEXT, &(o)->draft_path, "MODEL",                                                            \
            "a smaller model of the same vocabulary guesses tokens, on the same card", 0, 0                            \
    }

/* One more, for commands that compute and end. */
#define TRACE_OPTION_ROW(o)                                                                                            \
    {                                                                                                                  \
        "trace", 0, OPTION_TEXT, &(o)->trace, "FILE",                                                                  \
            "write what the card does and when, for Perfetto (needs --card sim:PROFILE)", 0, 0                         \
    }

struct session {
    struct model *model;
    struct tokenizer *tokenizer; /* NULL if the model file has none that is supported and the command can do without */
    struct card_list cards;
    struct card *card;       /* the first of them */
    const char *cards_asked; /* borrowed from the options: --cards; NULL: one card */
    struct loaded_model *loaded;
    struct draft_load drafts;
    struct engine *engine;
    struct trace_file *trace; /* NULL: none was asked for, or it has ended */
};

/*
 * Looks at what options_parse does not: call it after. Returns -1 to go on, or EXIT_USAGE after a message, the same in
 * every command.
 */
int session_check(const struct command *command, const struct session_options *options);

/* Whether --speculate asks for prompt lookup. */
bool session_lookup(const struct session_options *options);

/*
 * The file to open for --cache-dir: packed now if it is not there. NULL: options->model_path itself, without --cache-dir and
 * for the demo model and packed files. Owned by the caller: free.
 */
int session_cached_path(const struct session_options *options, bool quiet, char **path, struct error *err);

/* The page format of --kv (enum card_format); 0 without it. */
unsigned session_kv_format(const struct session_options *options);

/*
 * Opens all, with a progress bar on stderr when that is a terminal and loading takes longer than a second, a line about
 * matrices that were converted to INT8, and a line about context and sequences chosen (quiet: none of these).
 * need_tokenizer: fail if the vocabulary is not supported. On error nothing stays open.
 */
int session_open(const struct session_options *options, bool need_tokenizer, bool quiet, struct session *session,
                 struct error *err);
void session_close(struct session *session);

/* What --trace and --record-routing write is complete, or an error. For the end of what went well; session_close ends it too. */
int session_end_trace(struct session *session, struct error *err);

#endif
