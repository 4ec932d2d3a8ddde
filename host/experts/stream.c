/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/stream.h"

#include "host/base/memory.h"
#include "host/experts/guesses.h"
#include "host/experts/routing_recorder.h"
#include "host/experts/slot_cache.h"
#include "host/model/expert_pool.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#define LAST_MATRIX (EXPERT_POOL_MATRICES - 1) /* whose table AWAIT looks at */

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
    uint64_t *expected; /* owned; [n_experts]: the last publication that read it ahead, of the layer behind its own */
    uint16_t *wanted;   /* owned; [n_experts]: those to bring */
    card_addr *entries; /* owned; [n_experts]: theirs that AWAIT looks at */
    uint32_t layer;     /* of the last publication */
    uint64_t waits_ps;  /* of the card, when it came */
    bool keeps_time, is_agent;
    struct routing_recorder *recorder; /* NULL: nothing is recorded */
    bool owns_recorder;                /* else another card's stream does */
    /* Guesses that are copied while the link has nothing else to do, on a card with a clock. */
    uint16_t *wanted_ahead; /* owned; [n_experts] */
    uint32_t n_wanted_ahead, guessed_layer;
    pthread_mutex_t lock;            /* of the counters and the judges, which other threads read */
    struct experts_traffic *traffic; /* owned; [n_layers] */
};

static void forget(void *context, struct copy_job job)
{
    struct expert_stream *stream = context;
    slot_cache_drop(stream->cache, job.slot, job.layer, job.expert);
}

/* Virtual time that the last publication's layer waited. */
static void count_wait(struct expert_stream *stream)
{
    struct card_usage usage;
    if (!stream->keeps_time || card_measure(stream->card, &usage, NULL) != 0) return;
    pthread_mutex_lock(&stream->lock);
    stream->traffic[stream->layer].stall_ps += usage.waits_ps - stream->waits_ps;
    pthread_mutex_unlock(&stream->lock);
    stream->waits_ps = usage.waits_ps;
}

static int check_choices(const struct expert_stream *stream, uint32_t layer, const struct card_choice *choices,
                         uint64_t n, struct error *err)
{
    for (uint64_t i = 0; i < n; i++)
        if (choices[i].expert >= stream->shape.n_experts)
            return error_set(err, ERROR_CARD, "layer %u: expert %u was chosen, there are %u", layer, choices[i].expert,
                             stream->shape.n_experts);
    return 0;
}

/* Sorts the choices into hits and stream->wanted; returns how many these are. */
static uint32_t sort_choices(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices,
                             uint64_t n)
{
    uint32_t n_chosen = 0, misses = 0, expected = 0;
    stream->number++;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t expert = choices[i].expert;
        if (stream->seen[expert] == stream->number) continue;
        stream->seen[expert] = stream->number;
        stream->chosen[n_chosen++] = (uint16_t)expert;
        expected += stream->number > 1 && stream->expected[expert] == stream->number - 1;
        if (slot_cache_find(stream->cache, layer, expert) == SLOT_NONE) stream->wanted[misses++] = (uint16_t)expert;
    }
    slot_cache_choose(stream->cache, layer, stream->chosen, n_chosen);
    stream->n_chosen = n_chosen;
    pthread_mutex_lock(&stream->lock);
    struct experts_traffic *traffic = &stream->traffic[layer];
    traffic->ahead_used += expected;
    traffic->hits += n_chosen - misses;
    traffic->misses += misses;
    traffic->bytes += misses * expert_pool_bytes(stream->pool, layer);
    pthread_mutex_unlock(&stream->lock);
    return misses;
}

/* The entry that AWAIT looks at says that the expert is gone, before anything else comes to its slot. */
static int evict(struct expert_stream *stream, uint32_t layer, const struct slot_change *change, bool ahead,
                 struct error *err)
{
    const card_addr none = CARD_NO_SLOT;
    if (change->old_layer == SLOT_NONE) return 0;
    const card_addr entry = expert_pool_entry(stream->pool, change->old_layer, LAST_MATRIX, change->old_expert);
    /* This layer's tables are written as a whole when its experts have come. */
    if (change->old_layer != layer && !(ahead && card_stream_fill(stream->card, entry, sizeof none, NULL, 0)))
        card_stream_start(stream->card, entry, sizeof none, NULL, 0);
    return card_stream_write(stream->card, entry, &none, sizeof none, err);
}

/* On a card that does not compute nothing moves but what its programs read: tables. */
static int write_entries(struct expert_stream *stream, const struct copy_job *job, struct error *err)
{
    int result = 0;
    for (unsigned m = 0; m < EXPERT_POOL_MATRICES && result == 0; m++) {
        const card_addr at = expert_pool_matrix(stream->pool, job->layer, job->slot, m);
        result = card_stream_write(stream->card, expert_pool_entry(stream->pool, job->layer, m, job->expert), &at,
                                   sizeof at, err);
    }
    return result;
}

/* 0: *comes says whether there was a slot. */
static int bring(struct expert_stream *stream, uint32_t layer, uint32_t expert, bool *comes, struct error *err)
{
    const struct slot_change change = slot_cache_give(stream->cache, layer, expert);
    const struct copy_job job = {layer, expert, change.slot};
    *comes = change.slot != SLOT_NONE;
    if (!*comes) return 0;
    /* Who goes is decided without looking at what has come; but a copy to the slot must be over before it goes to another. */
    copier_finish(stream->copier, job.slot);
    int result = evict(stream, layer, &change, false, err);
    if (result < 0) {
        forget(stream, job);
        return result;
    }
    for (unsigned i = 0; i < stream->shape.n_pieces; i++)
        card_stream_start(stream->card, expert_pool_piece(stream->pool, job.slot, i),
                          expert_pool_piece_bytes(stream->pool, layer), NULL, 0);
    if (!card_computes(stream->card)) return write_entries(stream, &job, err);
    copier_add(stream->copier, job);
    return 0;
}

/* The layer's three tables, in one copy behind experts of it. */
static void start_tables(struct expert_stream *stream, uint32_t layer, const uint16_t *experts, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        stream->entries[i] = expert_pool_entry(stream->pool, layer, LAST_MATRIX, experts[i]);
    const uint64_t bytes = (uint64_t)EXPERT_POOL_MATRICES * stream->shape.n_experts * sizeof(card_addr);
    card_stream_start(stream->card, expert_pool_entry(stream->pool, layer, 0, 0), bytes, stream->entries, n);
}

/*
 * The first n of stream->wanted, in this order, as many as there are slots for; *n is how many. Tables come behind every
 * TABLES_BYTES of them, so that what is there can be computed with: their copy takes as long as its set-up, 1 % of that.
 */
#define TABLES_BYTES (16u << 20)

static int bring_all(struct expert_stream *stream, uint32_t layer, uint32_t *n, struct error *err)
{
    const uint64_t each = expert_pool_bytes(stream->pool, layer);
    uint32_t brought = 0, with_tables = 0;
    bool comes = true;
    int result = 0;
    while (brought < *n && result == 0) {
        result = bring(stream, layer, stream->wanted[brought], &comes, err);
        if (result < 0 || !comes) break;
        brought++;
        if ((brought - with_tables) * each < TABLES_BYTES && brought < *n) continue;
        start_tables(stream, layer, stream->wanted + with_tables, brought - with_tables);
        with_tables = brought;
    }
    if (result == 0 && with_tables < brought)
        start_tables(stream, layer, stream->wanted + with_tables, brought - with_tables);
    *n = brought;
    return result;
}

/*
 * A prompt whose tokens choose nearly all experts of a layer will want nearly all of the next one: they come while this layer
 * computes. Not so the last layer's, where only the rows go on whose logits are wanted.
 */
static bool looks_ahead(const struct expert_stream *stream, uint32_t layer)
{
    const struct expert_pool_shape *shape = &stream->shape;
    return layer + 2 < shape->n_layers && expert_pool_bytes(stream->pool, layer + 1) > 0 &&
           shape->n_slots >= 2 * shape->n_experts && stream->n_chosen * 8 >= shape->n_experts * 7;
}

static void count_ahead(struct expert_stream *stream, uint32_t layer, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) stream->expected[stream->wanted[i]] = stream->number;
    pthread_mutex_lock(&stream->lock);
    stream->traffic[layer].ahead += n;
    stream->traffic[layer].bytes += n * expert_pool_bytes(stream->pool, layer);
    pthread_mutex_unlock(&stream->lock);
}

static int read_ahead(struct expert_stream *stream, uint32_t layer, struct error *err)
{
    uint32_t n = 0;
    for (uint32_t e = 0; e < stream->shape.n_experts; e++) {
        if (slot_cache_find(stream->cache, layer, e) == SLOT_NONE) stream->wanted[n++] = (uint16_t)e;
        slot_cache_expect(stream->cache, layer, e);
    }
    int result = bring_all(stream, layer, &n, err);
    count_ahead(stream, layer, n);
    return result;
}

/* ---- guesses ---- */

static bool has_slot(const void *context, uint32_t layer, uint32_t expert)
{
    const struct expert_stream *stream = context;
    return slot_cache_find(stream->cache, layer, expert) != SLOT_NONE;
}

/* Those of stream->wanted, which stay until they are chosen or were guessed wrong. */
static int bring_guesses(struct expert_stream *stream, uint32_t layer, uint32_t n, struct error *err)
{
    for (uint32_t i = 0; i < n; i++) slot_cache_expect(stream->cache, layer, stream->wanted[i]);
    if (stream->keeps_time) {
        memcpy(stream->wanted_ahead + stream->n_wanted_ahead, stream->wanted, n * sizeof *stream->wanted);
        stream->n_wanted_ahead += n;
        stream->guessed_layer = layer;
        return 0;
    }
    int result = bring_all(stream, layer, &n, err);
    count_ahead(stream, layer, n);
    return result;
}

/* The router of this layer, the next one, ran ahead. What it names and is there stays, too. */
static int guessed(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices, uint32_t n_tokens,
                   struct error *err)
{
    const struct guesses_slots slots = {has_slot, stream};
    uint32_t n[EXPERTS_GUESSES];
    int result = check_choices(stream, layer, choices, (uint64_t)n_tokens * stream->shape.n_used, err);
    if (stream->guesses == NULL || result < 0) return result;
    for (uint32_t i = 0; i < n_tokens * stream->shape.n_used; i++)
        if (has_slot(stream, layer, choices[i].expert)) slot_cache_expect(stream->cache, layer, choices[i].expert);
    pthread_mutex_lock(&stream->lock);
    n[EXPERTS_GUESS_ROUTER] = guesses_of_router(stream->guesses, layer, choices, n_tokens, &slots, stream->wanted);
    pthread_mutex_unlock(&stream->lock);
    result = bring_guesses(stream, layer, n[EXPERTS_GUESS_ROUTER], err);
    if (result < 0) return result;
    pthread_mutex_lock(&stream->lock);
    n[EXPERTS_GUESS_TABLE] = guesses_of_table(stream->guesses, layer, &slots, stream->wanted);
    pthread_mutex_unlock(&stream->lock);
    return bring_guesses(stream, layer, n[EXPERTS_GUESS_TABLE], err);
}

/*
 * Guesses on a card with a clock. They are copied while the link has nothing else to do, and no longer than until the layer's
 * own choice is known: a wrong one costs the piece that is under way then, and the room that it took. What the link came to is
 * found out when that choice is published, before it is looked at: then the copies are charged that began in between.
 */
static bool is_chosen(const struct card_choice *choices, uint64_t n, uint32_t expert)
{
    for (uint64_t i = 0; i < n; i++)
        if (choices[i].expert == expert) return true;
    return false;
}

/* Counts n pieces of an expert that was guessed. */
static void count_guess(struct expert_stream *stream, uint32_t layer, unsigned n, bool right)
{
    const uint64_t piece = expert_pool_piece_bytes(stream->pool, layer);
    pthread_mutex_lock(&stream->lock);
    struct experts_traffic *traffic = &stream->traffic[layer];
    traffic->ahead++;
    traffic->bytes += (right ? stream->shape.n_pieces : n) * piece;
    traffic->wasted_bytes += right ? 0 : n * piece;
    pthread_mutex_unlock(&stream->lock);
}

/* All of an expert is on its way, or there: the rest of its pieces, then the bytes in real time. */
static int complete(struct expert_stream *stream, const struct copy_job *job, unsigned n_pieces, struct error *err)
{
    for (unsigned i = n_pieces; i < stream->shape.n_pieces; i++)
        card_stream_start(stream->card, expert_pool_piece(stream->pool, job->slot, i),
                          expert_pool_piece_bytes(stream->pool, job->layer), NULL, 0);
    if (!card_computes(stream->card)) return write_entries(stream, job, err);
    copier_add(stream->copier, *job);
    return 0;
}

/* One guess; false if the link did not come to all of it: then a right one goes on, and a wrong one is given up. */
static bool fill(struct expert_stream *stream, uint32_t expert, bool right, int *result, struct error *err)
{
    const uint32_t layer = stream->guessed_layer, slot = slot_cache_next(stream->cache);
    const struct copy_job job = {layer, expert, slot};
    const uint16_t one = (uint16_t)expert;
    unsigned n = 0;
    while (slot != SLOT_NONE && n < stream->shape.n_pieces &&
           card_stream_fill(stream->card, expert_pool_piece(stream->pool, slot, n),
                            expert_pool_piece_bytes(stream->pool, layer), NULL, 0))
        n++;
    if (n == 0) return false;
    const bool all = n == stream->shape.n_pieces;
    const struct slot_change change = slot_cache_give(stream->cache, layer, expert);
    copier_finish(stream->copier, job.slot);
    count_guess(stream, layer, n, right);
    *result = evict(stream, layer, &change, true, err);
    if (*result < 0 || !(right || all)) {
        forget(stream, job);
        return false;
    }
    if (right) stream->expected[expert] = stream->number;
    *result = complete(stream, &job, n, err);
    stream->entries[0] = expert_pool_entry(stream->pool, layer, LAST_MATRIX, expert);
    if (*result == 0 &&
        !(all && card_stream_fill(stream->card, expert_pool_entry(stream->pool, layer, 0, 0),
                                  (uint64_t)EXPERT_POOL_MATRICES * stream->shape.n_experts * sizeof(card_addr),
                                  stream->entries, 1)))
        start_tables(stream, layer, &one, 1);
    return all && *result == 0;
}

static int settle_guesses(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices, uint64_t n,
                          struct error *err)
{
    int result = 0;
    bool goes_on = layer == stream->guessed_layer;
    for (uint32_t i = 0; i < stream->n_wanted_ahead && goes_on; i++)
        goes_on = fill(stream, stream->wanted_ahead[i], is_chosen(choices, n, stream->wanted_ahead[i]), &result, err);
    stream->n_wanted_ahead = 0;
    return result;
}

/* ---- the agent ---- */

static int chosen(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices, uint32_t n_tokens,
                  struct error *err)
{
    const uint64_t n = (uint64_t)n_tokens * stream->shape.n_used;
    copier_collect(stream->copier, forget, stream); /* what was read ahead, or is left of a step that failed */
    count_wait(stream);
    stream->layer = layer;
    int result = check_choices(stream, layer, choices, n, err);
    if (result < 0) return result;
    result = settle_guesses(stream, layer, choices, n, err);
    if (result < 0) return result;
    const uint32_t n_wanted = sort_choices(stream, layer, choices, n);
    uint32_t n_come = n_wanted;
    if (stream->guesses != NULL) {
        pthread_mutex_lock(&stream->lock);
        guesses_learn(stream->guesses, layer, choices, n_tokens);
        pthread_mutex_unlock(&stream->lock);
    }
    result = bring_all(stream, layer, &n_come, err);
    if (result == 0 && n_come < n_wanted)
        return error_set(err, ERROR_INTERNAL, "layer %u: more experts at once than the %u slots", layer,
                         stream->shape.n_slots);
    return result == 0 && looks_ahead(stream, layer) ? read_ahead(stream, layer + 1, err) : result;
}

static int published(void *context, const struct card_descriptor *publish, const struct card_choice *choices,
                     struct error *err)
{
    struct expert_stream *stream = context;
    const bool guesses = publish->param[0] & EXPERT_POOL_GUESS;
    const uint32_t layer = (publish->param[0] & ~EXPERT_POOL_GUESS) - 1;
    const uint32_t n_tokens = guesses ? publish->tokens / 2 : publish->tokens;
    if (layer >= stream->shape.n_layers || publish->rows != stream->shape.n_used)
        return error_set(err, ERROR_INTERNAL, "a publication of %u experts of layer %u of %u", publish->rows, layer,
                         stream->shape.n_layers);
    if (stream->recorder != NULL) routing_recorder_layer(stream->recorder, layer, choices, n_tokens);
    int result = chosen(stream, layer, choices, n_tokens, err);
    uint32_t next = layer + 1;
    while (next < stream->shape.n_layers && expert_pool_bytes(stream->pool, next) == 0) next++;
    if (result < 0 || !guesses || next == stream->shape.n_layers) return result;
    return guessed(stream, next, choices + (uint64_t)n_tokens * publish->rows, n_tokens, err);
}

static int missing(void *context, uint32_t expert, bool late, struct error *err)
{
    struct expert_stream *stream = context;
    return copier_missing(stream->copier, stream->layer, expert, late, err);
}

/* ---- open, close ---- */

void expert_stream_close(struct expert_stream *stream)
{
    if (stream == NULL) return;
    if (stream->is_agent) (void)card_set_agent(stream->card, NULL, NULL);
    if (stream->owns_recorder) (void)routing_recorder_close(stream->recorder, NULL);
    copier_close(stream->copier);
    slot_cache_close(stream->cache);
    guesses_close(stream->guesses);
    pthread_mutex_destroy(&stream->lock);
    free(stream->seen);
    free(stream->chosen);
    free(stream->expected);
    free(stream->wanted);
    free(stream->wanted_ahead);
    free(stream->entries);
    free(stream->traffic);
    free(stream);
}

static void close_attached(void *server) { expert_stream_close(server); }

static int open_guesses(struct expert_stream *stream, const char *who, struct error *err)
{
    const struct expert_pool_shape *shape = &stream->shape;
    struct guesses_shape guesses = {shape->n_layers, shape->n_experts, shape->n_used, 0, {false}};
    for (uint32_t i = 0; i < shape->n_layers; i++)
        if (expert_pool_bytes(stream->pool, i) > guesses.expert_bytes)
            guesses.expert_bytes = expert_pool_bytes(stream->pool, i);
    for (unsigned s = 0; s < EXPERTS_GUESSES; s++)
        guesses.uses[s] = strcmp(who, "both") == 0 || strcmp(who, experts_guess_name(s)) == 0;
    return guesses_open(&guesses, &stream->guesses, err);
}

static int open_parts(struct expert_stream *stream, const struct model_load_options *options, struct error *err)
{
    const struct expert_pool_shape *shape = &stream->shape;
    struct card_usage usage;
    stream->seen = memory_array(shape->n_experts, sizeof *stream->seen);
    stream->expected = memory_array(shape->n_experts, sizeof *stream->expected);
    stream->chosen = memory_array(shape->n_experts, sizeof *stream->chosen);
    stream->wanted = memory_array(shape->n_experts, sizeof *stream->wanted);
    stream->wanted_ahead = memory_array(shape->n_experts, sizeof *stream->wanted_ahead);
    stream->entries = memory_array(shape->n_experts, sizeof *stream->entries);
    stream->traffic = memory_array(shape->n_layers, sizeof *stream->traffic);
    if (stream->seen == NULL || stream->chosen == NULL || stream->expected == NULL || stream->wanted == NULL ||
        stream->entries == NULL || stream->traffic == NULL || stream->wanted_ahead == NULL)
        return error_set(err, ERROR_NO_MEMORY, "expert slots: out of memory");
    stream->keeps_time = card_measure(stream->card, &usage, NULL) == 0;
    if (stream->keeps_time) stream->waits_ps = usage.waits_ps;
    const struct policy_shape slots = {shape->n_layers, shape->n_experts, shape->n_slots};
    const char *policy = options->expert_policy != NULL ? options->expert_policy : POLICY_DEFAULT;
    int result = slot_cache_open(policy, &slots, &stream->cache, err);
    if (result < 0) return result;
    result = copier_open(stream->pool, stream->card, options, &stream->copier, err);
    return result < 0 || !options->plans_guesses ? result : open_guesses(stream, options->expert_guess, err);
}

struct card_agent expert_stream_agent(struct expert_stream *stream)
{
    return (struct card_agent){.published = published, .missing = missing, .context = stream};
}

int expert_stream_open_pool(struct card *card, const struct expert_pool *pool, const struct model_load_options *options,
                            struct expert_stream **out, struct error *err)
{
    struct expert_stream *stream = memory_array(1, sizeof *stream);
    if (stream == NULL) return error_set(err, ERROR_NO_MEMORY, "expert slots: out of memory");
    stream->card = card;
    stream->pool = pool;
    pthread_mutex_init(&stream->lock, NULL);
    expert_pool_get_shape(pool, &stream->shape);
    int result = open_parts(stream, options, err);
    if (result < 0)
        expert_stream_close(stream);
    else
        *out = stream;
    return result;
}

int expert_stream_open(struct loaded_model *loaded, const struct model_load_options *options, struct error *err)
{
    struct expert_stream *stream = NULL;
    struct card *card = loaded_model_card(loaded);
    int result = expert_stream_open_pool(card, loaded_model_pool(loaded), options, &stream, err);
    if (result < 0) return result;
    const struct card_agent agent = expert_stream_agent(stream);
    result = card_set_agent(card, &agent, err);
    stream->is_agent = result == 0;
    if (result < 0)
        expert_stream_close(stream);
    else
        loaded_model_attach(loaded, stream, close_attached);
    return result;
}

void expert_stream_record(struct expert_stream *stream, struct routing_recorder *recorder, bool owns)
{
    stream->recorder = recorder;
    stream->owns_recorder = owns;
}

struct routing_recorder *expert_stream_recorder(struct expert_stream *stream) { return stream->recorder; }

/* ---- counters ---- */

void expert_stream_settle(struct expert_stream *stream) { count_wait(stream); }

void expert_stream_count(struct expert_stream *stream, uint32_t layer, struct experts_traffic *traffic)
{
    pthread_mutex_lock(&stream->lock);
    *traffic = stream->traffic[layer];
    pthread_mutex_unlock(&stream->lock);
}

bool expert_stream_count_guesses(struct expert_stream *stream, enum experts_guess source,
                                 struct experts_guessed *guessed)
{
    if (stream->guesses == NULL) return false;
    pthread_mutex_lock(&stream->lock);
    const struct guess_counts counts = guesses_count(stream->guesses, source, stream->shape.n_layers);
    pthread_mutex_unlock(&stream->lock);
    *guessed = (struct experts_guessed){counts.right,  counts.wrong,        counts.sent,
                                        counts.wasted, counts.wasted_bytes, counts.switched};
    return true;
}

void expert_stream_measure(struct expert_stream *stream, struct copier_times *times)
{
    copier_measure(stream->copier, times);
}
