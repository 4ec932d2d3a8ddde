/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that moves experts into slots beside the program that waits for them: each one's matrices, then its entries in
 * the slot tables, that of the down matrix last. When the copies happen here decides nothing but how long a program waits.
 */
#ifndef SLUICE_EXPERTS_COPIER_H
#define SLUICE_EXPERTS_COPIER_H

#include "host/card/card.h"
#include "host/model/expert_pool.h"
#include "host/model/model.h"

struct copier; /* opaque */

struct copy_job {
    uint32_t layer, expert, slot;
};

/*
 * pool and card are borrowed. Of the options: expert_shuffle, expert_pace. *out is owned by the caller: copier_close, which
 * waits for what runs.
 */
int copier_open(const struct expert_pool *pool, struct card *card, const struct model_load_options *options,
                struct copier **out, struct error *err);
void copier_close(struct copier *copier); /* NULL is allowed */

/* One job for a slot at a time: copier_finish before the slot's next one. Those that are not urgent let the others pass. */
void copier_add(struct copier *copier, struct copy_job job, bool urgent);

/* The slot's job, if there is one, is urgent. */
void copier_hurry(struct copier *copier, uint32_t slot);

/* Forgets the jobs that have landed, and those that have failed, for which it calls failed. Does not wait. */
void copier_collect(struct copier *copier, void (*failed)(void *context, struct copy_job job), void *context);

/* Waits until the slot's job, if there is one, has landed or failed, and forgets it. */
void copier_finish(struct copier *copier, uint32_t slot);

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
