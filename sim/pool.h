/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool of compute threads for one caller. A job is a range of items; every thread starts on a contiguous part of its own,
 * the same for every job of that size (so memory that it touched first is near), and then helps where others are late. An
 * item never shares a sum with another, so no bit depends on who computes it. Nothing is allocated after the pool is open.
 * Its threads compute in the card's float mode (host/base/float_mode.h); the caller, who computes too, enters it himself.
 */
#ifndef SLUICE_SIM_POOL_H
#define SLUICE_SIM_POOL_H

#include "host/base/error.h"

#include <stdint.h>

struct pool;

/* Items [begin, end) of a job; worker < pool_threads numbers the thread, for scratch memory of its own. */
typedef void pool_fn(void *job, uint32_t begin, uint32_t end, unsigned worker);

/* threads: all that compute, the caller of pool_run included; 0: one per core this process may use. */
int pool_open(unsigned threads, struct pool **out, struct error *err);
void pool_close(struct pool *pool); /* NULL is allowed */
unsigned pool_threads(const struct pool *pool);

/*
 * Runs fn over [0, items) and returns when all are done. A thread gets at least `grain` items (1 or more); a job that
 * is too small for two runs in the caller alone. One caller at a time.
 */
void pool_run(struct pool *pool, uint32_t items, uint32_t grain, pool_fn *fn, void *job);

#endif
