/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract's order `best` (larger first, NaN after -infinity, ties to the lower index) on integers, which a card
 * compares in one cycle, and a list of the best so far that takes a value a cycle.
 */
#ifndef SLUICE_HLS_BEST_H
#define SLUICE_HLS_BEST_H

#include "kernels/hls/hls_types.h"

/* Ranks order as the floats do; 0 is below all of them. Subnormals and zeros of both signs have one rank. */
static inline uint32_t hls_rank(uint32_t bits)
{
    HLS_INLINE
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 1u;
    if (magnitude < 0x00800000u) return 0x80000000u;
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u; /* -infinity: 0x007fffff */
}

/* The HLS_CHOICES best, best first; places that nothing has come to hold rank 0. */
struct hls_best {
    uint32_t rank[HLS_CHOICES], index[HLS_CHOICES], bits[HLS_CHOICES];
};

static inline void hls_best_clear(struct hls_best *best)
{
    HLS_INLINE
best_clear:
    for (uint32_t k = 0; k < HLS_CHOICES; k++) {
        HLS_UNROLL
        best->rank[k] = 0;
        best->index[k] = 0;
        best->bits[k] = 0;
    }
}

/*
 * Puts a value with an index above all before it in its place; the last one falls out. All places compare at once and
 * move by one at most: one cycle, so the loop around it has II 1. Places from `used` on are not asked for.
 */
static inline void hls_best_insert(struct hls_best *best, uint32_t used, uint32_t index, uint32_t bits)
{
    HLS_INLINE
    const uint32_t rank = hls_rank(bits);
best_places:
    for (uint32_t up = 0; up < HLS_CHOICES; up++) {
        HLS_UNROLL
        const uint32_t k = HLS_CHOICES - 1 - up; /* from the end, so that a neighbour still has its old value */
        const int here = k < used && rank > best->rank[k], before = k > 0 && rank > best->rank[k > 0 ? k - 1 : 0];
        if (here) {
            best->rank[k] = before ? best->rank[k - 1] : rank;
            best->index[k] = before ? best->index[k - 1] : index;
            best->bits[k] = before ? best->bits[k - 1] : bits;
        }
    }
}

#endif
