/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A learned table of which experts follow which: for each expert of a layer, how often each expert was used with it by
 * the same token one layer later, or in the same layer by the next token. It guesses what to prefetch where the next
 * layer's router cannot be run ahead.
 */
#ifndef SLUICE_EXPERTS_FOLLOWING_H
#define SLUICE_EXPERTS_FOLLOWING_H

#include "host/base/error.h"

#include <stdint.h>

enum following_step {
    FOLLOWING_NEXT_LAYER, /* experts of layer l of a token, and those of layer l + 1 */
    FOLLOWING_NEXT_TOKEN, /* experts of layer l of a token, and those of the sequence's next token there */
};

struct following;

/* Memory: 2 bytes for each pair of experts of each layer. The table is the caller's. */
int following_open(uint32_t n_layers, uint32_t n_experts, enum following_step step, struct following **out,
                   struct error *err);
void following_close(struct following *table); /* NULL does nothing */

/* One token used `from` in layer, and then `to`: in layer + 1, or at the next token. O(n * m), no allocation. */
void following_learn(struct following *table, uint32_t layer, const uint16_t *from, uint32_t n, const uint16_t *to,
                     uint32_t m);

/*
 * What follows `from`, best first: at most n_most experts whose estimated probability is at least threshold. Returns how
 * many; guesses[n_most], chances[n_most] in 0 .. 1. O((n + n_most) * experts), no allocation.
 */
uint32_t following_guess(struct following *table, uint32_t layer, const uint16_t *from, uint32_t n, float threshold,
                         uint32_t n_most, uint16_t *guesses, float *chances);

#endif
