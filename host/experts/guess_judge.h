/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether guesses pay, layer by layer: it counts what was guessed right and wrong, and switches guessing off by itself
 * where it loses. Guesses may come from a router that ran ahead or from a learned table; each source has its own judge.
 *
 * Only guesses of experts that are not resident count: the others cost and bring nothing. A right one saves the wait for a
 * transfer, a wrong one wastes a transfer; break_even is the share of right ones at which both weigh the same. Where a
 * layer is switched off, guesses are still judged (pass them to guess_judge_note), so that it comes back when they are right.
 */
#ifndef SLUICE_EXPERTS_GUESS_JUDGE_H
#define SLUICE_EXPERTS_GUESS_JUDGE_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct guess_judge;

struct guess_counts {
    uint64_t right, wrong; /* all guesses of experts that were not resident */
    uint64_t sent, wasted; /* those that were prefetched, and the wrong ones of them */
    uint64_t wasted_bytes; /* wasted * bytes of an expert */
    uint64_t switched;     /* off or on again */
};

/* break_even in 0 .. 1, 0.5 where the link is the limit. Every layer begins switched on. The judge is the caller's. */
int guess_judge_open(uint32_t n_layers, uint64_t expert_bytes, double break_even, struct guess_judge **out,
                     struct error *err);
void guess_judge_close(struct guess_judge *judge); /* NULL does nothing */

bool guess_judge_allows(const struct guess_judge *judge, uint32_t layer);

/* Of the guesses for this layer that were not resident, so many were right and wrong. Call it before the next allows. */
void guess_judge_note(struct guess_judge *judge, uint32_t layer, uint32_t n_right, uint32_t n_wrong);

/* Of one layer, or of all for layer = n_layers. */
struct guess_counts guess_judge_counts(const struct guess_judge *judge, uint32_t layer);

#endif
