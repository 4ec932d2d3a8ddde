/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guesses on their way. Whatever the card, misses go first. On a card with a clock guesses are copied while the link has nothing
 * else to do, and no longer than until their layer's own choice is known: a wrong one costs the pieces that went, and the room
 * that it took. What the link came to is found out at the next publication, before its choice is looked at: then the copies
 * are charged that began in between. A guess for a layer further on stays where it got to, as long as it is guessed again.
 */
#include "host/experts/stream_state.h"

#include <string.h>

static bool is_chosen(const struct card_choice *choices, uint64_t n, uint32_t expert)
{
    for (uint64_t i = 0; i < n; i++)
        if (choices[i].expert == expert) return true;
    return false;
}

static bool is_on_its_way(const struct stream_guess *queue, uint32_t n, uint32_t layer, uint32_t expert)
{
    for (uint32_t i = 0; i < n; i++)
        if (queue[i].pieces > 0 && queue[i].layer == layer && queue[i].expert == expert) return true;
    return false;
}

/* ---- what became of them ---- */

/* Its slot may have gone to an expert that was chosen. */
static bool has_lost_slot(const struct expert_stream *stream, const struct stream_guess *guess)
{
    return guess->pieces > 0 && slot_cache_find(stream->cache, guess->layer, guess->expert) != guess->slot;
}

static void give_up(struct expert_stream *stream, const struct stream_guess *guess)
{
    if (guess->pieces == 0) return;
    stream_count_wasted(stream, guess->layer, guess->pieces * expert_pool_piece_bytes(stream->pool, guess->layer));
    slot_cache_drop(stream->cache, guess->slot, guess->layer, guess->expert);
}

static void count_piece(struct expert_stream *stream, uint32_t layer, bool is_first, unsigned n)
{
    pthread_mutex_lock(&stream->lock);
    stream->traffic[layer].ahead += is_first;
    stream->traffic[layer].bytes += n * expert_pool_piece_bytes(stream->pool, layer);
    pthread_mutex_unlock(&stream->lock);
}

/* The first piece has begun: the slot is its. */
static int take_slot(struct expert_stream *stream, struct stream_guess *guess, struct error *err)
{
    const struct slot_change change = slot_cache_give(stream->cache, guess->layer, guess->expert);
    guess->slot = change.slot;
    copier_finish(stream->copier, guess->slot);
    return stream_evict(stream, guess->layer, &change, true, err);
}

/* Pieces that the link came to; false: not to all of them, or there is no room. */
static bool fill(struct expert_stream *stream, struct stream_guess *guess, int *result, struct error *err)
{
    const uint64_t bytes = expert_pool_piece_bytes(stream->pool, guess->layer);
    while (guess->pieces < stream->shape.n_pieces && *result == 0) {
        const bool is_first = guess->pieces == 0;
        const uint32_t slot = is_first ? slot_cache_next(stream->cache) : guess->slot;
        if (slot == SLOT_NONE ||
            !card_stream_fill(stream->card, expert_pool_piece(stream->pool, slot, guess->pieces), bytes, NULL, 0))
            return false;
        guess->pieces++;
        count_piece(stream, guess->layer, is_first, 1);
        if (is_first) *result = take_slot(stream, guess, err);
    }
    return *result == 0;
}

/* All of it is on its way, or there. */
static int come(struct expert_stream *stream, const struct stream_guess *guess, struct error *err)
{
    const struct copy_job job = {guess->layer, guess->expert, guess->slot};
    count_piece(stream, guess->layer, false, stream->shape.n_pieces - guess->pieces);
    *stream_unused(stream, guess->layer, guess->expert) = 1;
    const int result = stream_complete(stream, &job, guess->pieces, true, err);
    if (result < 0) stream_forget(stream, job);
    return result;
}

/* Experts of one layer that came one behind the other, and whose tables have not. */
struct came {
    uint32_t layer, n;
    bool is_there; /* all of each, when the choice was known */
    uint16_t *experts;
};

static void send_tables(struct expert_stream *stream, struct came *came)
{
    const uint64_t bytes = (uint64_t)EXPERT_POOL_MATRICES * stream->shape.n_experts * sizeof(card_addr);
    for (uint32_t i = 0; i < came->n; i++)
        stream->entries[i] = expert_pool_entry(stream->pool, came->layer, STREAM_LAST_MATRIX, came->experts[i]);
    if (came->n > 0 &&
        !(came->is_there && card_stream_fill(stream->card, expert_pool_entry(stream->pool, came->layer, 0, 0), bytes,
                                             stream->entries, came->n)))
        stream_start_tables(stream, came->layer, came->experts, came->n);
    came->n = 0;
}

/* One more, whose tables go with those of others before it until these are STREAM_TABLES_BYTES. */
static void add_to_tables(struct expert_stream *stream, struct came *came, const struct stream_guess *guess)
{
    if (came->n == 0) came->is_there = true;
    came->layer = guess->layer;
    came->is_there = came->is_there && guess->pieces == stream->shape.n_pieces;
    came->experts[came->n++] = (uint16_t)guess->expert;
    if (came->n * expert_pool_bytes(stream->pool, came->layer) >= STREAM_TABLES_BYTES) send_tables(stream, came);
}

int stream_settle_guesses(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices, uint64_t n,
                          struct error *err)
{
    int result = 0;
    uint32_t kept = 0;
    bool is_idle = true; /* the link, when the next guess was ready */
    struct came came = {.experts = stream->wanted};
    for (uint32_t i = 0; i < stream->n_queue && result == 0; i++) {
        struct stream_guess guess = stream->queue[i];
        const bool is_now = guess.layer == layer, is_right = is_now && is_chosen(choices, n, guess.expert);
        if (came.layer != guess.layer) send_tables(stream, &came);
        if (has_lost_slot(stream, &guess)) {
            give_up(stream, &guess);
            guess.pieces = 0;
        }
        is_idle = is_idle && fill(stream, &guess, &result, err);
        const bool comes = (is_idle && guess.pieces == stream->shape.n_pieces) || (is_right && guess.pieces > 0);
        if (result == 0 && comes) {
            result = come(stream, &guess, err);
            if (result == 0) add_to_tables(stream, &came, &guess);
        } else if (is_now) {
            give_up(stream, &guess);
        } else {
            stream->queue[kept++] = guess;
        }
    }
    send_tables(stream, &came);
    stream->n_queue = kept;
    return result;
}

/* ---- what is guessed ---- */

static bool has_slot(const void *context, uint32_t layer, uint32_t expert)
{
    const struct expert_stream *stream = context;
    return slot_cache_find(stream->cache, layer, expert) != SLOT_NONE &&
           !is_on_its_way(stream->queue_before, stream->n_queue_before, layer, expert);
}

/* To the queue: from where it got to before, if it did. */
static void enqueue(struct expert_stream *stream, uint32_t layer, uint32_t expert)
{
    struct stream_guess *guess = &stream->queue[stream->n_queue++];
    *guess = (struct stream_guess){.layer = layer, .expert = expert};
    for (uint32_t i = 0; i < stream->n_queue_before; i++) {
        struct stream_guess *before = &stream->queue_before[i];
        if (before->layer != layer || before->expert != expert || has_lost_slot(stream, before)) continue;
        *guess = *before;
        before->pieces = 0;
    }
}

/* Those of stream->wanted, which stay until they are chosen or were guessed wrong. */
static int bring_guesses(struct expert_stream *stream, uint32_t layer, uint32_t n, struct error *err)
{
    for (uint32_t i = 0; i < n; i++) slot_cache_expect(stream->cache, layer, stream->wanted[i]);
    for (uint32_t i = 0; i < n && stream->keeps_time; i++) enqueue(stream, layer, stream->wanted[i]);
    if (stream->keeps_time) return 0;
    int result = stream_bring(stream, layer, &n, err);
    stream_count_ahead(stream, layer, n);
    return result;
}

/* Of one layer: its router's, then, of the next layer, the table's. */
static int guess_layer(struct expert_stream *stream, uint32_t layer, uint32_t distance,
                       const struct card_choice *choices, uint32_t n_tokens, struct error *err)
{
    const struct guesses_slots slots = {has_slot, stream};
    pthread_mutex_lock(&stream->lock);
    uint32_t n = guesses_of_router(stream->guesses, layer, distance, choices, n_tokens, &slots, stream->wanted);
    pthread_mutex_unlock(&stream->lock);
    int result = bring_guesses(stream, layer, n, err);
    if (result < 0 || distance > 1) return result;
    pthread_mutex_lock(&stream->lock);
    n = guesses_of_table(stream->guesses, layer, &slots, stream->wanted);
    pthread_mutex_unlock(&stream->lock);
    return bring_guesses(stream, layer, n, err);
}

static uint32_t next_layer(const struct expert_stream *stream, uint32_t layer)
{
    do layer++;
    while (layer < stream->shape.n_layers && expert_pool_bytes(stream->pool, layer) == 0);
    return layer;
}

static void begin_queue(struct expert_stream *stream)
{
    struct stream_guess *before = stream->queue_before;
    stream->queue_before = stream->queue;
    stream->n_queue_before = stream->n_queue;
    stream->queue = before;
    stream->n_queue = 0;
    slot_cache_expect_none(stream->cache);
}

/* What is named and is there stays, too. */
static int expect_named(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices, uint64_t n,
                        struct error *err)
{
    int result = stream_check_choices(stream, layer, choices, n, err);
    for (uint64_t i = 0; i < n && result == 0; i++)
        if (slot_cache_find(stream->cache, layer, choices[i].expert) != SLOT_NONE)
            slot_cache_expect(stream->cache, layer, choices[i].expert);
    return result;
}

int stream_guess(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices, uint32_t n_tokens,
                 uint32_t n_layers, struct error *err)
{
    const uint64_t n = (uint64_t)n_tokens * stream->shape.n_used;
    int result = 0;
    begin_queue(stream);
    for (uint32_t d = 0, of = next_layer(stream, layer); d < n_layers && of < stream->shape.n_layers && result == 0;
         d++, of = next_layer(stream, of))
        result = expect_named(stream, of, choices + d * n, n, err);
    for (uint32_t d = 0, of = next_layer(stream, layer);
         d < n_layers && of < stream->shape.n_layers && stream->guesses != NULL && result == 0;
         d++, of = next_layer(stream, of))
        result = guess_layer(stream, of, d + 1, choices + d * n, n_tokens, err);
    for (uint32_t i = 0; i < stream->n_queue_before; i++) give_up(stream, &stream->queue_before[i]);
    stream->n_queue_before = 0;
    return result;
}
