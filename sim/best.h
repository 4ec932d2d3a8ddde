/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract's `best` (kernels/README.md): larger first, NaN after -infinity, ties to the lower index. The k best of
 * many in one pass: a heap of the best so far with the last of them on top, which most values do not pass.
 */
#ifndef SLUICE_SIM_BEST_H
#define SLUICE_SIM_BEST_H

#include "kernels/abi/card_math.h"
#include "kernels/abi/card_program.h"
#include "sim/lanes.h"

#include <stdint.h>

/* An integer that orders like the value does: subnormals and -0 as 0, every NaN as the least. */
SIM_INLINE int32_t best_order(float value)
{
    const uint32_t bits = card_bits(value);
    uint32_t magnitude = bits & 0x7fffffffu;
    magnitude = card_select_bits(magnitude < 0x00800000u, 0, magnitude);
    const uint32_t ordered = card_select_bits((int)(bits >> 31), 0u - magnitude, magnitude);
    return (int32_t)card_select_bits(magnitude > 0x7f800000u, 0x80000000u, ordered);
}

/* Whether a comes before b. */
static inline int best_before(struct card_choice a, struct card_choice b)
{
    const int32_t x = best_order(a.weight), y = best_order(b.weight);
    return x > y || (x == y && a.expert < b.expert);
}

/* Moves the entry at the top of heap[n] down to where it belongs: no entry comes after its parent. */
static inline void best_sift(struct card_choice *heap, uint32_t n, uint32_t at)
{
    const struct card_choice moved = heap[at];
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= n) break;
        if (child + 1 < n && best_before(heap[child], heap[child + 1])) child++;
        if (!best_before(moved, heap[child])) break;
        heap[at] = heap[child];
        at = (uint32_t)child;
    }
    heap[at] = moved;
}

/* Offers one entry to the heap of the k best, which holds *n. */
static inline void best_offer(struct card_choice *heap, uint32_t *n, uint32_t k, struct card_choice entry)
{
    if (*n < k) {
        heap[(*n)++] = entry;
        if (*n == k) {
            for (uint32_t at = k / 2; at-- > 0;) best_sift(heap, k, at);
        }
    } else if (best_before(entry, heap[0])) {
        heap[0] = entry;
        best_sift(heap, k, 0);
    }
}

/* Offers value[begin..end), each with its index. */
SIM_INLINE void best_offer_all(struct card_choice *heap, uint32_t *n, uint32_t k, const float *value, uint32_t begin,
                               uint32_t end)
{
    uint32_t i = begin;
    for (; i < end && *n < k; i++) best_offer(heap, n, k, (struct card_choice){i, value[i]});
    for (; i + LANES <= end; i += LANES) {
        const int32_t last = best_order(heap[0].weight);
        int32_t any = 0;
        /* Equal values are offered too: an index may be lower than the heap's. */
        for (unsigned l = 0; l < LANES; l++) any |= -(best_order(value[i + l]) >= last);
        if (!any) continue;
        for (unsigned l = 0; l < LANES; l++) best_offer(heap, n, k, (struct card_choice){i + l, value[i + l]});
    }
    for (; i < end; i++) best_offer(heap, n, k, (struct card_choice){i, value[i]});
}

/* The n entries of a heap, fewer than k or all, best first. */
static inline void best_sort(struct card_choice *heap, uint32_t n)
{
    for (uint32_t at = n / 2; at-- > 0;) best_sift(heap, n, at);
    while (n > 1) {
        const struct card_choice last = heap[0];
        heap[0] = heap[--n];
        best_sift(heap, n, 0);
        heap[n] = last;
    }
}

#endif
