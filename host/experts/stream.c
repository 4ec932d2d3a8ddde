/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/stream.h"

#include "host/base/memory.h"
#include "host/experts/routing_recorder.h"
#include "host/experts/stream_state.h"
#include "host/model/expert_pool.h"

#include <inttypes.h>
#include <string.h>

void stream_forget(void *context, struct copy_job job)
{
    struct expert_stream *stream = context;
    *stream_unused(stream, job.layer, job.expert) = 0;
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

int stream_check_choices(const struct expert_stream *stream, uint32_t layer, const struct card_choice *choices,
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
    uint32_t n_chosen = 0, misses = 0, ahead = 0;
    stream->number++;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t expert = choices[i].expert;
        if (stream->seen[expert] == stream->number) continue;
        stream->seen[expert] = stream->number;
        stream->chosen[n_chosen++] = (uint16_t)expert;
        const uint32_t slot = slot_cache_find(stream->cache, layer, expert);
        if (slot == SLOT_NONE) {
            stream->wanted[misses++] = (uint16_t)expert;
        } else if (*stream_unused(stream, layer, expert)) {
            *stream_unused(stream, layer, expert) = 0;
            copier_hurry(stream->copier, slot);
            ahead++;
        }
    }
    slot_cache_choose(stream->cache, layer, stream->chosen, n_chosen);
    stream->n_chosen = n_chosen;
    pthread_mutex_lock(&stream->lock);
    struct experts_traffic *traffic = &stream->traffic[layer];
    traffic->ahead_used += ahead;
    traffic->hits += n_chosen - misses;
    traffic->misses += misses;
    traffic->bytes += misses * expert_pool_bytes(stream->pool, layer);
    traffic->used_bytes += (misses + ahead) * expert_pool_bytes(stream->pool, layer);
    pthread_mutex_unlock(&stream->lock);
    return misses;
}

void stream_count_wasted(struct expert_stream *stream, uint32_t layer, uint64_t bytes)
{
    pthread_mutex_lock(&stream->lock);
    stream->traffic[layer].wasted_bytes += bytes;
    pthread_mutex_unlock(&stream->lock);
}

/* The entry that AWAIT looks at says that the expert is gone, before anything else comes to its slot. */
int stream_evict(struct expert_stream *stream, uint32_t layer, const struct slot_change *change, bool ahead,
                 struct error *err)
{
    const card_addr none = CARD_NO_SLOT;
    if (change->old_layer == SLOT_NONE) return 0;
    uint8_t *unused = stream_unused(stream, change->old_layer, change->old_expert);
    if (*unused) stream_count_wasted(stream, change->old_layer, expert_pool_bytes(stream->pool, change->old_layer));
    *unused = 0;
    const card_addr entry = expert_pool_entry(stream->pool, change->old_layer, STREAM_LAST_MATRIX, change->old_expert);
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

int stream_complete(struct expert_stream *stream, const struct copy_job *job, unsigned n_pieces, bool urgent,
                    struct error *err)
{
    for (unsigned i = n_pieces; i < stream->shape.n_pieces; i++)
        card_stream_start(stream->card, expert_pool_piece(stream->pool, job->slot, i),
                          expert_pool_piece_bytes(stream->pool, job->layer), NULL, 0);
    if (!card_computes(stream->card)) return write_entries(stream, job, err);
    copier_add(stream->copier, *job, urgent);
    return 0;
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
    int result = stream_evict(stream, layer, &change, false, err);
    if (result == 0) result = stream_complete(stream, &job, 0, layer == stream->layer, err);
    if (result < 0) stream_forget(stream, job);
    return result;
}

void stream_start_tables(struct expert_stream *stream, uint32_t layer, const uint16_t *experts, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        stream->entries[i] = expert_pool_entry(stream->pool, layer, STREAM_LAST_MATRIX, experts[i]);
    const uint64_t bytes = (uint64_t)EXPERT_POOL_MATRICES * stream->shape.n_experts * sizeof(card_addr);
    card_stream_start(stream->card, expert_pool_entry(stream->pool, layer, 0, 0), bytes, stream->entries, n);
}

/*
 * The first n of stream->wanted, in this order, as many as there are slots for; *n is how many. Tables come behind every
 * STREAM_TABLES_BYTES of them, so that what is there can be computed with: their copy takes as long as its set-up, 1 % of that.
 */
int stream_bring(struct expert_stream *stream, uint32_t layer, uint32_t *n, struct error *err)
{
    const uint64_t each = expert_pool_bytes(stream->pool, layer);
    uint32_t brought = 0, with_tables = 0;
    bool comes = true;
    int result = 0;
    while (brought < *n && result == 0) {
        result = bring(stream, layer, stream->wanted[brought], &comes, err);
        if (result < 0 || !comes) break;
        brought++;
        if ((brought - with_tables) * each < STREAM_TABLES_BYTES && brought < *n) continue;
        stream_start_tables(stream, layer, stream->wanted + with_tables, brought - with_tables);
        with_tables = brought;
    }
    if (result == 0 && with_tables < brought)
        stream_start_tables(stream, layer, stream->wanted + with_tables, brought - with_tables);
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

void stream_count_ahead(struct expert_stream *stream, uint32_t layer, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) *stream_unused(stream, layer, stream->wanted[i]) = 1;
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
    int result = stream_bring(stream, layer, &n, err);
    stream_count_ahead(stream, layer, n);
    return result;
}

/* ---- the agent ---- */

static int chosen(struct expert_stream *stream, uint32_t layer, const struct card_choice *choices, uint32_t n_tokens,
                  struct error *err)
{
    const uint64_t n = (uint64_t)n_tokens * stream->shape.n_used;
    copier_collect(stream->copier, stream_forget, stream); /* what was read ahead, or is left of a step that failed */
    count_wait(stream);
    stream->layer = layer;
    int result = stream_check_choices(stream, layer, choices, n, err);
    if (result < 0) return result;
    result = stream_settle_guesses(stream, layer, choices, n, err);
    if (result < 0) return result;
    const uint32_t n_wanted = sort_choices(stream, layer, choices, n);
    uint32_t n_come = n_wanted;
    if (stream->guesses != NULL) {
        pthread_mutex_lock(&stream->lock);
        guesses_learn(stream->guesses, layer, choices, n_tokens);
        pthread_mutex_unlock(&stream->lock);
    }
    result = stream_bring(stream, layer, &n_come, err);
    if (result == 0 && n_come < n_wanted)
        result = error_set(err, ERROR_INTERNAL, "layer %u: more experts at once than the %u slots", layer,
                           stream->shape.n_slots);
    return result;
}

static int published(void *context, const struct card_descriptor *publish, const struct card_choice *choices,
                     struct error *err)
{
    struct expert_stream *stream = context;
    const uint32_t n_guessed = publish->param[0] >> EXPERT_POOL_GUESSES_SHIFT;
    const uint32_t layer = EXPERT_POOL_LAYER(publish->param[0]), n_tokens = publish->tokens / (1 + n_guessed);
    if (layer >= stream->shape.n_layers || publish->rows != stream->shape.n_used || n_guessed > EXPERT_POOL_GUESS_DEPTH)
        return error_set(err, ERROR_INTERNAL, "a publication of %u experts of layer %u of %u, and of %u more",
                         publish->rows, layer, stream->shape.n_layers, n_guessed);
    if (stream->recorder != NULL) routing_recorder_layer(stream->recorder, layer, choices, n_tokens);
    int result = chosen(stream, layer, choices, n_tokens, err);
    if (result == 0)
        result = stream_guess(stream, layer, choices + (uint64_t)n_tokens * publish->rows, n_tokens, n_guessed, err);
    return result == 0 && looks_ahead(stream, layer) ? read_ahead(stream, layer + 1, err) : result;
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
    free(stream->unused);
    free(stream->wanted);
    free(stream->queue);
    free(stream->queue_before);
    free(stream->entries);
    free(stream->traffic);
    free(stream);
}

static void close_attached(void *server) { expert_stream_close(server); }

static int open_guesses(struct expert_stream *stream, const char *who, struct error *err)
{
    const struct expert_pool_shape *shape = &stream->shape;
    struct guesses_shape guesses = {shape->n_layers, shape->n_experts, shape->n_used, EXPERT_POOL_GUESS_DEPTH, 0,
                                    {false}};
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
    stream->unused = memory_array((size_t)shape->n_layers * shape->n_experts, sizeof *stream->unused);
    stream->chosen = memory_array(shape->n_experts, sizeof *stream->chosen);
    stream->wanted = memory_array(shape->n_experts, sizeof *stream->wanted);
    const size_t n_guesses = (size_t)(EXPERT_POOL_GUESS_DEPTH + 1) * shape->n_experts;
    stream->queue = memory_array(n_guesses, sizeof *stream->queue);
    stream->queue_before = memory_array(n_guesses, sizeof *stream->queue_before);
    stream->entries = memory_array(shape->n_experts, sizeof *stream->entries);
    stream->traffic = memory_array(shape->n_layers, sizeof *stream->traffic);
    if (stream->seen == NULL || stream->chosen == NULL || stream->unused == NULL || stream->wanted == NULL ||
        stream->entries == NULL || stream->traffic == NULL || stream->queue == NULL || stream->queue_before == NULL)
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
