/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speeds of a layout. The rules for several cards:
 *
 *   decode   The batch goes through the cards one after the other, or, if that is faster, in as many groups as there are
 *            cards, each card at work on another group.
 *   prompt   Chunk follows chunk from card to card.
 *   energy   Every card draws its static power all the time, the host its idle power once.
 */
#ifndef SLUICE_PLAN_PLAN_SPEED_H
#define SLUICE_PLAN_PLAN_SPEED_H

#include "host/plan/plan_clock.h"

struct stage_clock {
    struct plan_stage stage;
    struct plan_clock *clock; /* owned */
};

/* The cards of a plan, of which those with layers of the same shape are one. */
struct plan_speed {
    struct clock_options options;
    struct card_memory memory;
    uint32_t cards, chunk;
    double eur_per_kwh;
    struct stage_clock *stages; /* owned */
    uint32_t n_stages;
};

void plan_speed_close(struct plan_speed *speed);

/* Fills all of *out but batch and fits, for out->batch sequences with depth tokens each. */
int plan_speed_decode(struct plan_speed *speed, const struct memory_layout *layout, uint32_t depth,
                      struct plan_decode *out, struct error *err);

/*
 * Fills all of *out but prompt and fits. whole: every chunk is run; otherwise, of a long prompt, those between which time
 * is linear in the position up to a kink (where a window fills or a chunk of attention begins), and the rest interpolated.
 */
int plan_speed_prefill(struct plan_speed *speed, const struct memory_layout *layout, bool whole,
                       struct plan_prefill *out, struct error *err);

#endif
