/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/pool.h"

#include "host/base/float_mode.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/*
 * How often a waiting thread looks before it sleeps: some 100 us. Operations of a program follow each other faster, so that
 * a program pays for a sleep (35 us to wake up) at most at its beginning.
 */
#define SPINS 5000
#define MAX_THREADS 256u
#define CACHE_LINE 64

/* Blocks that a thread's own part is cut into: what a thread that is done may take from one that is late. */
#define BLOCKS_OF_PART 8u

struct worker {
    struct pool *pool;
    pthread_t thread;
    unsigned index;
};

/* The blocks of one thread's part that nobody has taken yet: [next, end), next may run past it. */
struct part {
    _Alignas(CACHE_LINE) atomic_uint next;
    uint32_t end;
};

/*
 * The caller fills the job, sets `pending` and raises `generation`; a worker that sees a new generation takes blocks, first
 * of its own part, then of the others', and lowers `pending`. Every worker checks in on every generation, also where it
 * has no part, so the job cannot change under one that is late. A sleeper announces itself before it looks a last time,
 * and who changes what it waits for looks for sleepers after: sequential consistency makes one of them see the other.
 */
struct pool {
    unsigned n_workers; /* threads besides the caller */
    struct worker *workers;
    struct part *part; /* [threads] */
    pool_fn *fn;
    void *job;
    uint32_t items, parts, blocks;
    bool stop;
    atomic_uint generation, pending, sleeping_workers, sleeping_caller;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
};

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void run_blocks(struct pool *pool, uint32_t own)
{
    for (uint32_t i = 0; i < pool->parts; i++) {
        struct part *part = &pool->part[(own + i) % pool->parts];
        for (;;) {
            const uint32_t block = atomic_fetch_add(&part->next, 1);
            if (block >= part->end) break;
            const uint32_t begin = (uint32_t)((uint64_t)pool->items * block / pool->blocks);
            const uint32_t end = (uint32_t)((uint64_t)pool->items * (block + 1) / pool->blocks);
            pool->fn(pool->job, begin, end, own);
        }
    }
}

/* A block is never empty: blocks <= items. */
static void cut(struct pool *pool, uint32_t items, uint32_t parts)
{
    const uint32_t most = items / parts;
    const uint32_t of_part = most < BLOCKS_OF_PART ? most : BLOCKS_OF_PART;
    pool->items = items;
    pool->parts = parts;
    pool->blocks = parts * of_part;
    for (uint32_t i = 0; i < parts; i++) {
        atomic_store(&pool->part[i].next, i * of_part);
        pool->part[i].end = (i + 1) * of_part;
    }
}

static void await_generation(struct pool *pool, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&pool->generation) != seen) return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleeping_workers, 1);
    while (atomic_load(&pool->generation) == seen) pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleeping_workers, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct pool *pool = worker->pool;
    (void)float_mode_enter(); /* for good: the thread ends with the pool */
    for (unsigned seen = 0;; seen++) {
        await_generation(pool, seen);
        if (pool->stop) return NULL;
        if (worker->index < pool->parts) run_blocks(pool, worker->index);
        if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->sleeping_caller)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void publish(struct pool *pool)
{
    atomic_store(&pool->pending, pool->n_workers);
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleeping_workers)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

static void await_workers(struct pool *pool)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&pool->pending) == 0) return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->sleeping_caller, 1);
    while (atomic_load(&pool->pending)) pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->sleeping_caller, 0);
    pthread_mutex_unlock(&pool->lock);
}

void pool_run(struct pool *pool, uint32_t items, uint32_t grain, pool_fn *fn, void *job)
{
    if (items == 0) return;
    uint32_t parts = items / (grain ? grain : 1);
    if (parts > pool->n_workers + 1) parts = pool->n_workers + 1;
    if (parts < 2) {
        fn(job, 0, items, 0);
        return;
    }
    pool->fn = fn;
    pool->job = job;
    cut(pool, items, parts);
    publish(pool);
    run_blocks(pool, 0);
    await_workers(pool);
}

unsigned pool_threads(const struct pool *pool) { return pool->n_workers + 1; }

static unsigned cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

int pool_open(unsigned threads, struct pool **out, struct error *err)
{
    if (threads == 0) threads = cores() < MAX_THREADS ? cores() : MAX_THREADS;
    if (threads > MAX_THREADS) {
        return error_set(err, ERROR_BAD_ARGUMENT, "threads: %u is more than %u", threads, MAX_THREADS);
    }
    struct pool *pool = calloc(1, sizeof *pool);
    struct worker *workers = calloc(threads, sizeof *workers);
    struct part *part = aligned_alloc(CACHE_LINE, threads * sizeof *part);
    if (!pool || !workers || !part) {
        free(part);
        free(workers);
        free(pool);
        return error_set(err, ERROR_NO_MEMORY, "threads: no memory for %u", threads);
    }
    pool->workers = workers;
    pool->part = part;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (unsigned i = 0; i + 1 < threads; i++) {
        workers[i] = (struct worker){.pool = pool, .index = i + 1};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
            pool_close(pool);
            return error_set(err, ERROR_NO_MEMORY, "threads: the system starts no more than %u (ask for fewer)", i + 1);
        }
        pool->n_workers++;
    }
    *out = pool;
    return 0;
}

void pool_close(struct pool *pool)
{
    if (!pool) return;
    pool->stop = true;
    publish(pool);
    for (unsigned i = 0; i < pool->n_workers; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->part);
    free(pool->workers);
    free(pool);
}
