/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One card of a plan at work in virtual time: the card programs of its layers on a card that only keeps time. A step is
 * what the engine does: inputs to the card, program, results back, what the host decides. With expert slots it goes layer
 * by layer: once a router has chosen, the host reads the choice and writes the experts that are missing, then the layer
 * goes on.
 */
#ifndef SLUICE_PLAN_PLAN_CLOCK_H
#define SLUICE_PLAN_PLAN_CLOCK_H

#include "host/plan/memory_plan.h"
#include "host/plan/shape_program.h"

struct clock_options {
    const struct architecture *architecture; /* borrowed */
    const char *card, *host;                 /* a profile's name or path; host NULL: the card's own */
    unsigned kv_format;
    uint32_t max_tokens, max_sequences, max_context; /* of a step, and of a sequence */
    uint32_t
        pool_slots; /* for experts, shared by all layers: as in shape_program.h, and programs go in one piece; or 0 */
    uint32_t pool_dealt_as, guesses; /* with pool_slots: as in shape_program.h */
    uint64_t nvme_bytes_per_s;       /* where missing experts come from; 0: host memory */
};

struct plan_clock; /* opaque */

int plan_clock_open(const struct clock_options *options, const struct plan_stage *stage, struct plan_clock **out,
                    struct error *err);
void plan_clock_close(struct plan_clock *clock); /* NULL is allowed */

/* What a step took. */
struct clock_step {
    uint64_t ps;
    struct card_usage used; /* differences; rates as they are */
    uint64_t weight_bytes, kv_bytes, streamed_bytes;
};
int plan_clock_step(struct plan_clock *clock, const struct shape_sequence *sequences, uint32_t n_sequences,
                    struct clock_step *step, struct error *err);

/* The card, to trace it or to be its agent; owned by clock. */
struct card *plan_clock_card(struct plan_clock *clock);

/* The slots of options.pool_slots, whose experts the card's agent brings; owned by clock. NULL without them. */
const struct expert_pool *plan_clock_pool(const struct plan_clock *clock);

#endif
