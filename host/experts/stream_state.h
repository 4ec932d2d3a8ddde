/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the agent share: stream.c answers publications, stream_ahead.c brings what is guessed. */
#ifndef SLUICE_EXPERTS_STREAM_STATE_H
#define SLUICE_EXPERTS_STREAM_STATE_H

#include "host/experts/guesses.h"
#include "host/experts/slot_cache.h"
#include "host/experts/stream.h"

#include <pthread.h>

#define STREAM_LAST_MATRIX (EXPERT_POOL_MATRICES - 1) /* whose table AWAIT looks at */
#define STREAM_TABLES_BYTES (16u << 20)               /* of experts, behind which tables come: stream_bring */

/* An expert that is guessed, on a card with a clock. pieces: those that the link has come to; slot: if there are any. */
struct stream_guess {
    uint32_t layer, expert, slot;
    unsigned pieces;
};

struct expert_stream {
    struct card *card;              /* borrowed */
    const struct expert_pool *pool; /* borrowed */
    struct expert_pool_shape shape;
    struct slot_cache *cache;
    struct copier *copier;
    struct guesses *guesses; /* owned; NULL: nobody guesses */
    /* Of the publication at hand. */
    uint64_t number;
    uint64_t *seen;   /* owned; [n_experts]: the last publication that chose it */
    uint16_t *chosen; /* owned; [n_experts]: the different experts, in the order of the choices */
    uint32_t n_chosen;
    uint8_t *unused;    /* owned; [n_layers][n_experts]: came before it was chosen, and has not been chosen since */
    uint16_t *wanted;   /* owned; [n_experts]: those to bring */
    card_addr *entries; /* owned; [n_experts]: theirs that AWAIT looks at */
    uint32_t layer;     /* of the last publication */
    uint64_t waits_ps;  /* of the card, when it came */
    bool keeps_time, is_agent;
    struct routing_recorder *recorder; /* NULL: nothing is recorded */
    bool owns_recorder;                /* else another card's stream does */
    /* On a card with a clock: what is guessed now, the first to come first, and was before this publication. */
    struct stream_guess *queue, *queue_before; /* owned; [EXPERT_POOL_GUESS_DEPTH + 1][n_experts] */
    uint32_t n_queue, n_queue_before;
    pthread_mutex_t lock;            /* of the counters and the judges, which other threads read */
    struct experts_traffic *traffic; /* owned; [n_layers] */
};

/* ---- stream.c ---- */

/* The copy's slot is empty again. context: the stream. */
void stream_forget(void *context, struct copy_job job);

/* The expert that left a slot is gone from the table that AWAIT looks at. ahead: charged as what had been ready before. */
int stream_evict(struct expert_stream *stream, uint32_t layer, const struct slot_change *change, bool ahead,
                 struct error *err);

/* Pieces from n_pieces on are charged; then the copier moves the expert, or only its tables are written. */
int stream_complete(struct expert_stream *stream, const struct copy_job *job, unsigned n_pieces, bool urgent,
                    struct error *err);

/* The layer's tables, in one copy behind these experts of it. */
void stream_start_tables(struct expert_stream *stream, uint32_t layer, const uint16_t *experts, uint32_t n);

/* The first n of stream->wanted, in this order, as many as there are slots for; *n is how many. */
int stream_bring(struct expert_stream *stream, uint32_t layer, uint32_t *n, struct error *err);

/* The first n of stream->wanted were brought before they were chosen. */
void stream_count_ahead(struct expert_stream *stream, uint32_t layer, uint32_t n);

/* An expert that came before it was chosen goes, or never came as a whole: bytes that were for nothing. */
void stream_count_wasted(struct expert_stream *stream, uint32_t layer, uint64_t bytes);

int stream_check_choices(const struct expert_stream *stream, uint32_t layer, const struct card_choice *choices,
                         uint64_t n, struct error *err);

static inline uint8_t *stream_unused(const struct expert_stream *stream, uint32_t layer, uint32_t expert)
{
    return &stream->unused[(size_t)layer * stream->shape.n_experts + expert];
}

/* ---- stream_ahead.c ---- */

/*
 * The layer's choice is known: guesses that the link came to before that are charged, right ones for this layer are brought to
 * their end, wrong ones that are not there are given up. Before the choice is looked at.
 */
int stream_settle_guesses(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices, uint64_t n,
                          struct error *err);

/*
 * The layer's choice has been served: choices[n_layers][n_tokens][n_used] say who may be chosen in the next layers with
 * experts, in place of what was guessed before.
 */
int stream_guess(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices, uint32_t n_tokens,
                 uint32_t n_layers, struct error *err);

#endif
