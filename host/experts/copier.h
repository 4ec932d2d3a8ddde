/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that moves experts into slots beside the program that waits for them: each one's matrices, then its entries in
 * the slot tables, that of the down matrix last. When the copies happen here decides nothing but how long a program waits.
 */
#ifndef SLUICE_EXPERTS_COPIER_H
#define SLUICE_EXPERTS_COPIER_H

#include "host/card/card.h"
#include "host/model/expert_pool.h"

struct copier; /* opaque */

struct copy_job {
    uint32_t layer, expert, slot;
};

/*
 * pool and card are borrowed. shuffle: 0, or a seed by which copies are delayed and reordered, for tests. *out is owned by
 * the caller: copier_close, which waits for what runs.
 */
int copier_open(const struct expert_pool *pool, struct card *card, uint64_t shuffle, struct copier **out,
                struct error *err);
void copier_close(struct copier *copier); /* NULL is allowed */

/* Jobs that have been added and not forgotten are as many as the pool has slots, at most. */
void copier_add(struct copier *copier, struct copy_job job);

/* Waits until every job has landed or failed; calls failed for those that did; forgets all. */
void copier_settle(struct copier *copier, void (*failed)(void *context, struct copy_job job), void *context);

/*
 * A program waits for an expert that has no slot yet: 0, or the error of its copy. With late, that it has not come, in any
 * case. Names layer and expert.
 */
int copier_missing(struct copier *copier, uint32_t layer, uint32_t expert, bool late, struct error *err);

/* Nanoseconds that programs have waited, and that copies have taken, in real time. From any thread. */
struct copier_times {
    uint64_t waited_ns, copied_ns;
};
void copier_measure(struct copier *copier, struct copier_times *times);

#endif
