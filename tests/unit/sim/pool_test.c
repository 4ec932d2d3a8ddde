/* SPDX-License-Identifier: Apache-2.0 */
/* The worker pool: every item runs exactly once, who is late is helped, and threads that went to sleep wake up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_ITEMS 1000u

struct job {
    uint32_t items;
    unsigned threads;
    uint8_t ran[MOST_ITEMS];     /* times; each item is one thread's */
    uint32_t worker[MOST_ITEMS]; /* who ran it */
};

static void run_items(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    struct job *job = opaque;
    for (uint32_t i = begin; i < end; i++) {
        job->ran[i]++;
        job->worker[i] = worker;
    }
}

static void check_job(struct pool *pool, uint32_t items, uint32_t grain)
{
    static struct job job;
    memset(&job, 0, sizeof job);
    pool_run(pool, items, grain, run_items, &job);
    for (uint32_t i = 0; i < items; i++) {
        assert_int_equal(job.ran[i], 1);
        assert_true(job.worker[i] < pool_threads(pool));
    }
    for (uint32_t i = items; i < MOST_ITEMS; i++) assert_int_equal(job.ran[i], 0);
    if (items > 0 && items / grain < 2) assert_int_equal(job.worker[items - 1], 0); /* too small for two */
}

static void every_item_runs_once(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 5; threads++) {
        struct pool *pool;
        struct error err;
        assert_int_equal(pool_open(threads, &pool, &err), 0);
        assert_int_equal(pool_threads(pool), threads);
        for (uint32_t items = 0; items < 40; items++) {
            for (uint32_t grain = 1; grain < 12; grain += 5) check_job(pool, items, grain);
        }
        check_job(pool, MOST_ITEMS, 1);
        pool_close(pool);
    }
    pool_close(NULL);
}

/* Its first item ends only when most others have: with parts that nobody else may touch it never would. */
struct late_job {
    atomic_uint done;
    uint32_t wanted;
};

static void run_late(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    struct late_job *job = opaque;
    (void)worker;
    if (begin == 0) {
        while (atomic_load(&job->done) < job->wanted) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    atomic_fetch_add(&job->done, end - begin);
}

static void who_is_late_is_helped(void **state)
{
    (void)state;
    for (unsigned threads = 2; threads <= 4; threads++) {
        struct pool *pool;
        struct error err;
        assert_int_equal(pool_open(threads, &pool, &err), 0);
        struct late_job job = {.wanted = 1000 - 1000 / threads / 4}; /* all but the first block */
        pool_run(pool, 1000, 1, run_late, &job);
        assert_int_equal(atomic_load(&job.done), 1000);
        pool_close(pool);
    }
}

static void sleeping_threads_wake_up(void **state)
{
    (void)state;
    struct pool *pool;
    struct error err;
    assert_int_equal(pool_open(3, &pool, &err), 0);
    for (int i = 0; i < 30; i++) {
        const struct timespec pause = {.tv_nsec = 200000 * (i % 10)};
        nanosleep(&pause, NULL);
        check_job(pool, MOST_ITEMS, 1);
    }
    pool_close(pool);
}

/* Jobs back to back, more than threads can follow: none may see another's job. */
static void jobs_do_not_mix(void **state)
{
    (void)state;
    struct pool *pool;
    struct error err;
    assert_int_equal(pool_open(4, &pool, &err), 0);
    for (uint32_t i = 0; i < 3000; i++) check_job(pool, 1 + i % 64, 1 + i % 3);
    pool_close(pool);
}

static void threads_default_to_cores_and_have_a_limit(void **state)
{
    (void)state;
    struct pool *pool;
    struct error err;
    assert_int_equal(pool_open(0, &pool, &err), 0);
    assert_true(pool_threads(pool) >= 1);
    pool_close(pool);
    assert_int_equal(pool_open(257, &pool, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "257"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_once),
        cmocka_unit_test(who_is_late_is_helped),
        cmocka_unit_test(sleeping_threads_wake_up),
        cmocka_unit_test(jobs_do_not_mix),
        cmocka_unit_test(threads_default_to_cores_and_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
