/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A completion: one request to the engine whose tokens come out as text. It detokenizes, holds back what may become
 * a stop string, ends the sequence at the first stop string (which is never shown), and hands over whole UTF-8 pieces.
 * Callbacks come on the engine's thread.
 */
#ifndef SLUICE_ENGINE_COMPLETION_H
#define SLUICE_ENGINE_COMPLETION_H

#include "host/engine/engine.h"

#define COMPLETION_MAX_STOPS 16

struct completion; /* opaque */

struct completion_options {
    const uint32_t *prompt; /* copied */
    size_t n_prompt;
    uint32_t max_tokens; /* UINT32_MAX: up to the context */
    bool ignore_eos;
    struct sampling sampling;
    struct grammar *grammar; /* as engine_request's, as the two below */
    const char *const *dry_breakers;
    size_t n_dry_breakers;
    uint32_t n_top_logprobs;
    bool prompt_logprobs; /* those of the prompt's tokens come first, the first token's as NaN; with logprobs */
    int32_t priority;     /* as engine_request's, and client */
    uint64_t client;
    const char *const *stops; /* copied; up to COMPLETION_MAX_STOPS, none empty */
    size_t n_stops;
    const uint32_t *shown; /* n_shown control tokens whose names are text of the answer; borrowed until `end` */
    size_t n_shown;
    /* length bytes of whole UTF-8 characters, borrowed during the call; never called with length 0. */
    void (*text)(void *context, const char *bytes, size_t length);
    /* As engine_callbacks.logprobs, before the text that the token adds; optional. */
    void (*logprobs)(void *context, uint32_t token, float logprob, const struct sampler_logprobs *others);
    /* Exactly once, last. The completion may be closed from here on. */
    void (*end)(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err);
    void *context;
};

/* Submits. Errors as engine_submit's, and then no callback comes. *out is owned: completion_close. */
int completion_start(struct engine *engine, const struct tokenizer *tokenizer, const struct completion_options *options,
                     struct completion **out, struct error *err);

/* Any thread; `end` still comes. */
void completion_cancel(struct completion *completion);

/* After (or inside) `end`: the stop string that ended the text, until completion_close; NULL: none did. */
const char *completion_stop_string(const struct completion *completion);

/* Only after (or inside) `end`. NULL is allowed. */
void completion_close(struct completion *completion);

#endif
