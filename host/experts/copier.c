/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/copier.h"

#include "host/base/memory.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define MOST_DELAY_NS 400000u /* of tests */

enum copy_state { COPY_QUEUED, COPY_RUNS, COPY_LANDED, COPY_FAILED };

struct copy {
    struct copy_job job;
    uint64_t added_ns;
    enum copy_state state;
    bool urgent;
    struct error error; /* of one that failed */
};

struct copier {
    const struct expert_pool *pool;
    struct card *card;
    uint8_t *staging; /* owned; for expert_pool_fetch */
    unsigned n_pieces;
    uint64_t random;  /* of tests; 0: copies go in order */
    uint64_t pace;    /* bytes per second at most; 0: as fast as they go */
    uint64_t free_ns; /* when what was copied at this pace is over; the thread's own */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool stopping;
    struct copy *copies; /* owned; [n_slots] */
    uint32_t n;
    uint64_t waits_since; /* a program was seen to wait, and no copy has landed since; 0: not so */
    struct copier_times times;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void delay(struct copier *copier)
{
    if (copier->random == 0) return;
    const uint64_t random = next_random(&copier->random);
    if (random % 4 == 0) nanosleep(&(struct timespec){.tv_nsec = (long)(random / 4 % MOST_DELAY_NS)}, NULL);
}

/* ---- the thread ---- */

/* With the lock held: its place, copier->n if it has no job. */
static uint32_t find_slot(const struct copier *copier, uint32_t slot)
{
    uint32_t i = 0;
    while (i < copier->n && copier->copies[i].job.slot != slot) i++;
    return i;
}

/* With the lock held: the next copy; NULL if none is queued. Tests take any. */
static struct copy *take(struct copier *copier)
{
    struct copy *chosen = NULL;
    for (uint32_t i = 0, queued = 0; i < copier->n; i++) {
        struct copy *copy = &copier->copies[i];
        if (copy->state != COPY_QUEUED) continue;
        queued++;
        const bool passes = copier->random != 0 ? next_random(&copier->random) % queued == 0
                                                : chosen != NULL && copy->urgent && !chosen->urgent;
        if (chosen == NULL || passes) chosen = copy;
    }
    if (chosen != NULL) chosen->state = COPY_RUNS;
    return chosen;
}

/* An expert of so many bytes that was asked for at `added` is not there before a link of this pace would have brought it. */
static void keep_pace(struct copier *copier, uint64_t added, uint64_t bytes)
{
    if (copier->pace == 0) return;
    if (copier->free_ns < added) copier->free_ns = added;
    copier->free_ns += (uint64_t)((double)bytes * 1e9 / (double)copier->pace);
    for (uint64_t now = now_ns(); now < copier->free_ns; now = now_ns()) {
        const uint64_t rest = copier->free_ns - now;
        const struct timespec nap = {.tv_sec = (time_t)(rest / 1000000000u), .tv_nsec = (long)(rest % 1000000000u)};
        nanosleep(&nap, NULL);
    }
}

static int write_entry(struct copier *copier, const struct copy_job *job, unsigned matrix, struct error *err)
{
    const struct expert_pool *pool = copier->pool;
    const card_addr at = expert_pool_matrix(pool, job->layer, job->slot, matrix);
    return card_stream_write(copier->card, expert_pool_entry(pool, job->layer, matrix, job->expert), &at, sizeof at,
                             err);
}

static int move(struct copier *copier, const struct copy_job *job, uint64_t added, struct error *err)
{
    const struct expert_pool *pool = copier->pool;
    const uint8_t *bytes;
    delay(copier);
    int result = expert_pool_fetch(pool, job->layer, job->expert, copier->staging, &bytes, err);
    const size_t piece = (size_t)expert_pool_piece_bytes(pool, job->layer);
    for (unsigned i = 0; i < copier->n_pieces && result == 0; i++)
        result = card_stream_write(copier->card, expert_pool_piece(pool, job->slot, i), bytes + i * piece, piece, err);
    delay(copier);
    keep_pace(copier, added, piece * copier->n_pieces);
    for (unsigned m = 0; m < EXPERT_POOL_MATRICES && result == 0; m++) result = write_entry(copier, job, m, err);
    return result;
}

static void *run(void *argument)
{
    struct copier *copier = argument;
    pthread_mutex_lock(&copier->lock);
    for (;;) {
        struct copy *copy = take(copier);
        if (copy == NULL && copier->stopping) break;
        if (copy == NULL) {
            pthread_cond_wait(&copier->changed, &copier->lock);
            continue;
        }
        const struct copy_job job = copy->job;
        const uint64_t added = copy->added_ns;
        struct error error = {0};
        pthread_mutex_unlock(&copier->lock);
        const uint64_t start = now_ns();
        const int result = move(copier, &job, added, &error);
        const uint64_t end = now_ns();
        pthread_mutex_lock(&copier->lock);
        copy =
            &copier->copies[find_slot(copier, job.slot)]; /* others have been forgotten meanwhile, this one has not */
        copy->state = result == 0 ? COPY_LANDED : COPY_FAILED;
        copy->error = error;
        copier->times.copied_ns += end - start;
        if (copier->waits_since != 0) {
            copier->times.waited_ns += end - copier->waits_since;
            copier->waits_since = 0;
        }
        pthread_cond_broadcast(&copier->changed);
    }
    pthread_mutex_unlock(&copier->lock);
    return NULL;
}

/* ---- open, close ---- */

int copier_open(const struct expert_pool *pool, struct card *card, const struct model_load_options *options,
                struct copier **out, struct error *err)
{
    struct expert_pool_shape shape;
    expert_pool_get_shape(pool, &shape);
    struct copier *copier = memory_array(1, sizeof *copier);
    if (copier == NULL) return error_set(err, ERROR_NO_MEMORY, "expert slots: out of memory");
    pthread_mutex_init(&copier->lock, NULL);
    pthread_cond_init(&copier->changed, NULL);
    copier->pool = pool;
    copier->card = card;
    copier->random = options->expert_shuffle;
    copier->pace = options->expert_pace;
    copier->n_pieces = shape.n_pieces;
    copier->copies = memory_array(shape.n_slots, sizeof *copier->copies);
    copier->staging = memory_array((size_t)expert_pool_staging_bytes(pool), 1);
    int result = copier->copies != NULL && copier->staging != NULL
                     ? 0
                     : error_set(err, ERROR_NO_MEMORY, "expert slots: out of memory");
    if (result == 0 && pthread_create(&copier->thread, NULL, run, copier) != 0)
        result = error_set(err, ERROR_NO_MEMORY, "expert slots: a thread cannot be started");
    copier->started = result == 0;
    if (result < 0)
        copier_close(copier);
    else
        *out = copier;
    return result;
}

void copier_close(struct copier *copier)
{
    if (copier == NULL) return;
    pthread_mutex_lock(&copier->lock);
    copier->stopping = true;
    pthread_cond_broadcast(&copier->changed);
    pthread_mutex_unlock(&copier->lock);
    if (copier->started) (void)pthread_join(copier->thread, NULL);
    pthread_cond_destroy(&copier->changed);
    pthread_mutex_destroy(&copier->lock);
    free(copier->copies);
    free(copier->staging);
    free(copier);
}

/* ---- the thread of programs ---- */

void copier_add(struct copier *copier, struct copy_job job, bool urgent)
{
    pthread_mutex_lock(&copier->lock);
    copier->copies[copier->n++] =
        (struct copy){.job = job, .urgent = urgent, .added_ns = copier->pace > 0 ? now_ns() : 0};
    pthread_cond_broadcast(&copier->changed);
    pthread_mutex_unlock(&copier->lock);
}

void copier_hurry(struct copier *copier, uint32_t slot)
{
    pthread_mutex_lock(&copier->lock);
    const uint32_t i = find_slot(copier, slot);
    if (i < copier->n) copier->copies[i].urgent = true;
    pthread_mutex_unlock(&copier->lock);
}

static bool is_over(const struct copy *copy) { return copy->state == COPY_LANDED || copy->state == COPY_FAILED; }

void copier_collect(struct copier *copier, void (*failed)(void *context, struct copy_job job), void *context)
{
    uint32_t n = 0;
    pthread_mutex_lock(&copier->lock);
    for (uint32_t i = 0; i < copier->n; i++) {
        const struct copy *copy = &copier->copies[i];
        if (copy->state == COPY_FAILED) failed(context, copy->job);
        if (!is_over(copy)) copier->copies[n++] = *copy;
    }
    copier->n = n;
    copier->waits_since = 0;
    pthread_mutex_unlock(&copier->lock);
}

void copier_finish(struct copier *copier, uint32_t slot)
{
    pthread_mutex_lock(&copier->lock);
    uint32_t i = find_slot(copier, slot);
    if (i < copier->n) copier->copies[i].urgent = true;
    while (i < copier->n && !is_over(&copier->copies[i])) {
        pthread_cond_wait(&copier->changed, &copier->lock);
        i = find_slot(copier, slot);
    }
    if (i < copier->n) {
        memmove(&copier->copies[i], &copier->copies[i + 1], (copier->n - i - 1) * sizeof *copier->copies);
        copier->n--;
    }
    pthread_mutex_unlock(&copier->lock);
}

int copier_missing(struct copier *copier, uint32_t layer, uint32_t expert, bool late, struct error *err)
{
    int result = 0;
    pthread_mutex_lock(&copier->lock);
    uint32_t i = 0;
    while (i < copier->n && (copier->copies[i].job.layer != layer || copier->copies[i].job.expert != expert)) i++;
    if (copier->waits_since == 0) copier->waits_since = now_ns();
    if (i < copier->n && copier->copies[i].state == COPY_FAILED) {
        if (err != NULL) *err = copier->copies[i].error;
        result = error_prefix(err, "layer %u, expert %u", layer, expert);
    } else if (late) {
        result = error_set(err, ERROR_CARD, "layer %u, expert %u: not in its slot after the time limit", layer, expert);
    }
    pthread_mutex_unlock(&copier->lock);
    return result;
}

void copier_measure(struct copier *copier, struct copier_times *times)
{
    pthread_mutex_lock(&copier->lock);
    *times = copier->times;
    pthread_mutex_unlock(&copier->lock);
}
