/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guesses at what a layer's router will choose, before it does: from that router run ahead on the layer before's input, and
 * from a learned table (following.h). A guess of the router has a rank, its place among the token's; how often guesses of
 * that rank were right in that layer is the confidence in it. What is worth bringing: experts without a slot with at least
 * even chances, as long as the source's judge (guess_judge.h) finds that it wins in that layer. All guesses are judged,
 * brought or not, so a source that is off comes back when it would win.
 *
 * For steps of few tokens: those of long ones want nearly everything. No card is touched and nothing here reads a clock.
 */
#ifndef SLUICE_EXPERTS_GUESSES_H
#define SLUICE_EXPERTS_GUESSES_H

#include "host/experts/experts.h"
#include "host/experts/guess_judge.h"
#include "kernels/abi/card_program.h"

#define GUESSES_MOST_DEPTH 8u

struct guesses; /* opaque */

struct guesses_shape {
    uint32_t n_layers, n_experts, n_used;
    uint32_t depth;             /* so many layers ahead routers run, GUESSES_MOST_DEPTH at most */
    uint64_t expert_bytes;      /* of one, for the count of wasted bytes */
    bool uses[EXPERTS_GUESSES]; /* by enum experts_guess */
};

/* *out is the caller's: guesses_close. ERROR_NO_MEMORY. */
int guesses_open(const struct guesses_shape *shape, struct guesses **out, struct error *err);
void guesses_close(struct guesses *guesses); /* NULL is allowed */

/*
 * A layer's router has chosen choices[n_tokens][n_used], experts below n_experts: judges what was guessed for it, and learns
 * which follow those of the layer whose choices were learnt before, if that was the same step's (n_tokens alike).
 */
void guesses_learn(struct guesses *guesses, uint32_t layer, const struct card_choice *choices, uint32_t n_tokens);

/* Whether an expert has a slot. */
struct guesses_slots {
    bool (*has_slot)(const void *context, uint32_t layer, uint32_t expert);
    const void *context;
};

/*
 * Guesses for `layer` of its router, run ahead at the layer `distance` before it: choices[n_tokens][n_used] as of
 * guesses_learn; or of the table, from what was learnt last. To out[n_experts] those to bring, best first; returns how many.
 * Only guesses at the next layer are judged as a source's; of farther ones each rank's own chances decide.
 */
uint32_t guesses_of_router(struct guesses *guesses, uint32_t layer, uint32_t distance,
                           const struct card_choice *choices, uint32_t n_tokens, const struct guesses_slots *slots,
                           uint16_t *out);
uint32_t guesses_of_table(struct guesses *guesses, uint32_t layer, const struct guesses_slots *slots, uint16_t *out);

/* Of one layer, or of all for layer = n_layers. */
struct guess_counts guesses_count(const struct guesses *guesses, enum experts_guess source, uint32_t layer);

#endif
