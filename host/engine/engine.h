/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: sequences, KV pages, batching and sampling around one loaded model. One thread (the owner) calls
 * engine_step or engine_run; any thread may call engine_submit, engine_cancel and engine_stop. Callbacks come on the
 * owner's thread, between steps.
 *
 * Every step takes one token of each decoding sequence and fills up with pieces of prompts (at most options.chunk tokens of
 * prompts), so sequences join and leave at every step. A sequence is admitted when its worst case of pages (prompt and
 * max_tokens) is free; until then it waits, in order of arrival, and stops nobody. One that could never fit is refused
 * by engine_submit. Pages return when a sequence ends, for whatever reason; those that are full stay known by their
 * tokens until their room is needed, and a prompt that begins with the same tokens starts from them: the same bits,
 * without the work.
 *
 * With a source of drafts, sequences that decode may take several tokens of a step: guesses at what comes next, which
 * are kept as far as they are what the sequence picks. Tokens and logits are the same with and without.
 */
#ifndef SLUICE_ENGINE_ENGINE_H
#define SLUICE_ENGINE_ENGINE_H

#include "host/base/error.h"
#include "host/engine/draft.h"
#include "host/engine/sampler.h"
#include "host/model/model.h"
#include "host/text/grammar/grammar.h"
#include "host/text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine; /* opaque */

struct engine_options {
    uint32_t context;       /* tokens per sequence; 0: what fits, at most the model's own */
    uint32_t max_sequences; /* at the same time; 0: what fits, at most 16 */
    uint32_t chunk;         /* prompt tokens per step; 0: 256 */
    unsigned kv_format;     /* enum card_format; 0: the card's default */
    uint32_t queue_limit;   /* waiting sequences; 0: 1024 */

    /* Where drafts come from; NULL: no speculation. Borrowed until engine_close, for this engine only. Left alone if the
       model is recurrent. */
    struct draft_source *draft;
};

/* What was chosen where options said 0, and why it is not more (for the line that is printed at start). */
struct engine_limits {
    uint32_t context, max_sequences, chunk, n_pages;
    uint32_t source; /* tokens that an encoder reads at once, at most; 0: the model has none */
    unsigned kv_format;
    uint64_t page_bytes, card_bytes_free;
    bool context_is_model_limit; /* false: it was asked for, or the card was the limit */
    bool speculates;             /* false: no source of drafts, or the model is recurrent */
};

enum finish_reason { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED, FINISH_ERROR };
const char *finish_reason_name(enum finish_reason reason); /* "stop", "length", "cancelled", "error" */

struct engine_usage {
    uint32_t prompt_tokens, completion_tokens;
    uint32_t cached_tokens; /* of the prompt's, those whose keys and values came from the prefix cache */
    uint32_t drafted_tokens,
        accepted_tokens; /* guessed; of them those that became tokens without a step of their own */
    /* In virtual time on a card that keeps a clock (card_now), in wall time on others. */
    double queue_seconds, prefill_seconds, decode_seconds;
};

/* What a sequence tells its owner. All on the engine's thread; context is the request's. */
struct engine_callbacks {
    /* A new token (never an end token, unless ignore_eos). Non-zero: end the sequence now with FINISH_STOP. Optional. */
    int (*token)(void *context, uint32_t token);
    /* What is known of the token that comes next, before `token`: how likely the model took it and others for. Optional. */
    void (*logprobs)(void *context, uint32_t token, float logprob, const struct sampler_logprobs *others);
    /* Logits of the token at `position` (prompt tokens too): float32[n_vocab], borrowed during the call. Optional: when set,
       the logits of every position that does not come from the prefix cache are computed. */
    void (*logits)(void *context, uint32_t position, const float *logits);
    /* The last call for this sequence, always made exactly once; err only with FINISH_ERROR. */
    void (*end)(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err);
};

/* Whether a prompt may start from cached pages. The last token is always computed. */
enum engine_prefix {
    PREFIX_AUTO,     /* unless logits are asked for */
    PREFIX_CACHED,   /* as far as there are any */
    PREFIX_COMPUTED, /* never: every token of the prompt is computed */
};

struct engine_request {
    const uint32_t *prompt; /* copied */
    size_t n_prompt;        /* at least 1 */
    /*
     * Of a model with an encoder: what it reads, copied; the decoder then goes on from `prompt`. NULL: the encoder
     * reads `prompt`, and the decoder begins with the model's start token.
     */
    const uint32_t *source;
    size_t n_source;
    uint32_t max_tokens; /* 0 is allowed: prefill only; UINT32_MAX: up to the context */
    bool ignore_eos;
    enum engine_prefix prefix;
    struct grammar *grammar; /* of engine_grammar: what the answer must match; held by the sequence; NULL: anything */
    const char *const *dry_breakers; /* texts that no repeat of DRY's goes over; NULL: newline, : " and * */
    size_t n_dry_breakers;
    uint32_t n_top_logprobs; /* others that callbacks.logprobs gets, at most SAMPLER_MOST_TOP */
    int32_t priority;        /* lower is earlier (admission.h) */
    uint64_t client;         /* whose it is: clients share the engine fairly; all 0: nobody is told apart */
    uint64_t arrived_ps;     /* when, on the clock of a card that keeps one, if that was before engine_submit; 0: now */
    struct sampling sampling;
    struct engine_callbacks callbacks;
    void *context;
};

/*
 * The compiled grammar of a text (grammar_open), from a cache of those that were asked for last. Any thread; the first
 * call takes as long as sorting the vocabulary does. ERROR_UNSUPPORTED without a tokenizer. Owned: grammar_release.
 */
int engine_grammar(struct engine *engine, enum grammar_kind kind, const char *text, size_t length, struct grammar **out,
                   struct error *err);

/*
 * loaded and tokenizer are borrowed until engine_close. tokenizer may be NULL (then no token ends a sequence).
 * ERROR_NO_MEMORY if not even one sequence of the context asked for fits: the message says what would fit.
 */
int engine_open(struct loaded_model *loaded, const struct tokenizer *tokenizer, const struct engine_options *options,
                struct engine **out, struct error *err);

/* Ends every sequence (FINISH_CANCELLED) and frees all. Owner's thread. NULL is allowed. */
void engine_close(struct engine *engine);
uint32_t engine_n_vocab(const struct engine *engine); /* logits of a position */
void engine_get_limits(const struct engine *engine, struct engine_limits *limits);

/*
 * Queues a sequence; *id names it for engine_cancel. Errors before anything was queued: ERROR_TOO_LARGE (prompt longer
 * than the context; the message has both numbers), ERROR_BAD_ARGUMENT (empty prompt, token outside the vocabulary,
 * sampling out of range, a source without an encoder), ERROR_BUSY (queue full, or the engine is stopping). A prompt that
 * fills the context exactly
 * is accepted and ends with FINISH_LENGTH at once.
 */
int engine_submit(struct engine *engine, const struct engine_request *request, uint64_t *id, struct error *err);

/* Ends the sequence at the next step boundary (FINISH_CANCELLED). An id that ended already is ignored. */
void engine_cancel(struct engine *engine, uint64_t id);

/* One step if there is work. Returns 1 if something was done, 0 if idle, or an error that leaves the engine unusable. */
int engine_step(struct engine *engine, struct error *err);

/* Steps until engine_stop, sleeping while idle. drain: finish what was submitted first, refuse what comes. */
int engine_run(struct engine *engine, struct error *err);
void engine_stop(struct engine *engine, bool drain);

struct engine_counters {
    uint64_t steps, prompt_tokens, completion_tokens; /* prompt_tokens: computed */
    uint64_t cached_tokens;                           /* of prompts, taken from the prefix cache */
    uint64_t drafted_tokens, accepted_tokens;         /* as in engine_usage */
    uint32_t running, waiting, pages_used, pages_reserved, n_pages;
    uint64_t expert_hits, expert_misses, expert_bytes, expert_stall_ps; /* as struct experts_traffic, all layers */
    uint32_t pages_cached; /* used by nobody, kept for their content until their room is needed */
};
void engine_count(const struct engine *engine, struct engine_counters *counters); /* any thread */

#endif
