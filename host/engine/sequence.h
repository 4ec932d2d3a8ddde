/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the engine: what engine.c (the side that other threads see), scheduler.c (the owner's step) and capacity.c
 * (the sizes) share. Nothing outside host/engine and its tests includes this.
 */
#ifndef SLUICE_ENGINE_SEQUENCE_H
#define SLUICE_ENGINE_SEQUENCE_H

#include "host/engine/admission.h"
#include "host/engine/draft_policy.h"
#include "host/engine/engine.h"
#include "host/engine/engine_clock.h"
#include "host/engine/grammars.h"
#include "host/engine/pages.h"

#include <pthread.h>
#include <stdatomic.h>

/* Failed steps in a row after which the card is taken for lost. */
#define ENGINE_MAX_FAILED_STEPS 3

#define NOT_YET UINT64_MAX

/*
 * One request from submit to end: a single allocation that carries prompt and page table, made by engine_submit and
 * freed by the owner. Lists: live (all; mutex), then one of inbox (mutex), waiting (owner) or running (owner).
 */
struct sequence {
    uint64_t id;
    struct sequence *live_next, *live_previous;
    struct sequence *next; /* in inbox or waiting */
    atomic_bool cancelled;

    int32_t priority; /* as engine_request's, and client */
    uint64_t client;
    struct engine_callbacks callbacks;
    void *context;
    struct sampling sampling;        /* its biases lie in this allocation too */
    struct grammar_matcher *matcher; /* owned; NULL: the answer is free */
    uint32_t *breakers;              /* owned; a bit for each token; NULL: none */
    double mirostat_mu;
    uint32_t n_top_logprobs;
    struct error failure; /* of the sequence alone; code 0: none */
    bool ignore_eos;
    uint32_t
        *tokens; /* prompt, then what was sampled (then this step's draft): in this allocation, as the page numbers */
    uint32_t n_prompt, n_cacheable; /* tokens of the prompt that may come from the prefix cache */
    uint32_t max_new;               /* tokens to sample at most: max_tokens, cut to the context */
    const uint32_t *source;         /* what the encoder reads, in this allocation; n_source 0: the model has none */
    uint32_t n_source, n_source_pages;
    bool is_encoded;         /* the first n_source_pages of the table have what it made */
    bool nothing_to_compute; /* the prompt fills the context and nobody asked for its logits */

    struct page_table table;
    uint32_t slot;                /* while it runs: its number among those that may, which is its state on the card */
    uint32_t n_computed;          /* tokens whose keys and values are in the pages: the position of the next one */
    uint32_t n_written;           /* positions that have pages: drafts that were refused left theirs behind */
    uint32_t n_sampled, n_cached; /* n_cached: tokens of the prompt that came from the prefix cache */
    uint32_t step_first, step_count; /* this step's tokens: index of the first, how many (0: not in the step) */
    uint32_t step_row, step_n_rows;  /* its rows of logits, which end with its last token's */
    bool ended;
    enum finish_reason reason;

    uint32_t n_draft, draft_grade; /* this step's draft: the last n_draft of step_count tokens */
    uint32_t n_drafted, n_accepted;
    struct draft_record draft_records[DRAFT_GRADES];

    uint32_t n_worst_pages;
    uint64_t arrived_at, admitted_at, first_token_at; /* on the engine's clock, or NOT_YET */
};

struct sequence_queue {
    struct sequence *first, *last;
};

struct engine {
    struct loaded_model *loaded;
    const struct tokenizer *tokenizer; /* may be NULL */
    struct engine_clock clock;
    uint32_t n_vocab;
    bool recurrent;       /* the model's: no prefixes from the cache, no drafts */
    bool has_encoder;     /* nor here: what follows a prefix depends on the source */
    uint32_t start_token; /* of its decoder */
    uint32_t queue_limit;
    struct engine_limits limits;
    struct step_limits step_limits;
    struct step_memory *memory;
    struct sampler *sampler;
    struct grammars grammars;

    /* The owner's. */
    struct page_pool pool;
    struct sequence_queue waiting;
    struct admission admission;
    struct sequence **running; /* [max_sequences], in order of admission */
    uint32_t n_running;
    uint32_t *free_slots;    /* [max_sequences - n_running] */
    unsigned n_failed_steps; /* in a row */

    struct draft_source *draft_source; /* NULL: no drafts */
    struct draft_policy draft_policy;
    struct draft_record draft_records[DRAFT_GRADES]; /* of all sequences, where the next ones begin */
    struct draft *drafts;                            /* [max_sequences], of one step */

    /* One step's arrays, sized by step_limits at open. */
    uint32_t *tokens, *page_numbers, *logit_rows;
    struct card_batch_token *batch, *sources; /* sources: NULL without an encoder */
    float *logits;                            /* float32[max_logit_rows][n_vocab] */

    /* Between threads. attention says that something behind the mutex waits for the owner. */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_bool attention;
    struct sequence_queue inbox;
    struct sequence *live;
    uint64_t next_id;
    bool stopping, draining, unusable;
    struct error failure; /* why it is unusable */

    atomic_uint_fast64_t steps, prompt_tokens, cached_tokens, completion_tokens, drafted_tokens, accepted_tokens;
    atomic_uint_fast32_t n_running_now, n_waiting_now, pages_used, pages_reserved, pages_cached;
};

/* capacity.c: fills limits and step_limits from the options and the card's free memory, and opens step memory. */
int engine_choose_capacity(struct engine *engine, const struct engine_options *options, struct error *err);

/* speculation.c: prepares the source (NULL: there are no drafts, and the other calls do nothing). */
int speculation_open(struct engine *engine, struct draft_source *source, struct error *err);

/* A sequence gets its slot, or gives it back. */
void speculation_join(struct engine *engine, struct sequence *sequence);
void speculation_leave(struct engine *engine, const struct sequence *sequence);

/* What a step has left for drafts beside the one token and the one row of logits of each sequence. */
struct speculation_room {
    uint32_t tokens, rows;
};

/* Drafts for the sequences that decode, n_decoding of them, in a step of so many tokens of prompts; takes their room. */
void speculation_draft(struct engine *engine, uint32_t n_prompt_tokens, uint32_t n_decoding,
                       struct speculation_room *room);

/* After a step in which the sequence decoded: n_kept tokens of its draft were right; wrong: and the next one was not. */
void speculation_settle(struct engine *engine, struct sequence *sequence, uint32_t n_kept, bool wrong);

/* Frees the sequence and what it owns. */
void sequence_free(struct sequence *sequence);

/* scheduler.c */
void sequence_queue_push(struct sequence_queue *queue, struct sequence *sequence);
void engine_end_all(struct engine *engine, enum finish_reason reason, const struct error *err);

/* The pages' and the lists' invariants, for tests. Owner's thread, between steps. */
int engine_validate(const struct engine *engine, struct error *err);

#endif
