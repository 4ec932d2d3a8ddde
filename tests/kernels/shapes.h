/* SPDX-License-Identifier: Apache-2.0 */
/* Lengths, numbers of tokens and data that tests of float vectors draw from. Include after both_cards.h. */
#ifndef SLUICE_TEST_SHAPES_H
#define SLUICE_TEST_SHAPES_H

#include "tests/kernels/both_cards.h"

#define PICK(both, from) (from)[draw(both, sizeof(from) / sizeof *(from))]

/* At the borders of lanes (16), groups (32, 64), and one in eight of chunks (4096). */
static inline uint32_t pick_length(struct both *both)
{
    static const uint32_t lengths[] = {1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 100, 127, 128, 129, 257, 1000};
    static const uint32_t long_lengths[] = {4095, 4096, 4097, 8192, 8229};
    return draw(both, 8) == 0 ? PICK(both, long_lengths) : PICK(both, lengths);
}

/* Long vectors with few tokens, so that the arena holds them. */
static inline uint32_t pick_tokens(struct both *both, uint32_t cols)
{
    static const uint32_t counts[] = {1, 2, 3, 7, 8, 9, 33};
    return cols > 2000 ? 1 + draw(both, 3) : PICK(both, counts);
}

/* For take_floats: every second time none, else some. */
static inline uint32_t pick_special(struct both *both) { return draw(both, 2) ? 0 : 40; }

#endif
