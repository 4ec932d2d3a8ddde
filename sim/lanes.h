/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract's sums over a vector (kernels/README.md): 16 lanes, lane l takes elements l, l + 16, ... in order, by
 * add or fma, then a fixed tree. And runs of up to 16 floats on their way from and to memory. Plain loops over 16 that
 * compilers turn into vector registers of any width.
 */
#ifndef SLUICE_SIM_LANES_H
#define SLUICE_SIM_LANES_H

#include "host/base/vector_clones.h"
#include "kernels/abi/card_math.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES 16u

/* For the hot functions. */
#define SIM_CLONES VECTOR_CLONES
/* Before a short loop with a constant count, whose body should be written out. */
#if defined(__GNUC__) && !defined(__clang__)
#define SIM_UNROLL _Pragma("GCC unroll 16")
#else
#define SIM_UNROLL
#endif
#define SIM_INLINE static inline __attribute__((always_inline))

SIM_INLINE float lanes_tree(float lane[LANES])
{
    for (unsigned l = 0; l < 8; l++) lane[l] += lane[l + 8];
    for (unsigned l = 0; l < 4; l++) lane[l] += lane[l + 4];
    for (unsigned l = 0; l < 2; l++) lane[l] += lane[l + 2];
    return lane[0] + lane[1];
}

SIM_INLINE float lanes_dot(const float *restrict a, const float *restrict b, uint32_t n)
{
    float lane[LANES] = {0};
    uint32_t whole = n / LANES * LANES;
    for (uint32_t i = 0; i < whole; i += LANES) {
        for (unsigned l = 0; l < LANES; l++) lane[l] = card_fma(a[i + l], b[i + l], lane[l]);
    }
    for (uint32_t i = whole; i < n; i++) lane[i - whole] = card_fma(a[i], b[i], lane[i - whole]);
    return lanes_tree(lane);
}

SIM_INLINE float lanes_sum(const float *x, uint32_t n)
{
    float lane[LANES] = {0};
    uint32_t whole = n / LANES * LANES;
    for (uint32_t i = 0; i < whole; i += LANES) {
        for (unsigned l = 0; l < LANES; l++) lane[l] += x[i + l];
    }
    for (uint32_t i = whole; i < n; i++) lane[i - whole] += x[i];
    return lanes_tree(lane);
}

/* What is written as a float: every NaN becomes the one. */
SIM_INLINE float one_nan(float x) { return card_select(x != x, CARD_NAN, x); }

/* Where 16 floats can be read: at x, or if there are only n < 16, a copy of them and zeros in pad. */
SIM_INLINE const float *lanes_at(const float *x, size_t n, float pad[LANES])
{
    if (n >= LANES) return x;
    memset(pad, 0, LANES * sizeof *pad);
    memcpy(pad, x, n * sizeof *pad);
    return pad;
}

/* Writes the first n lanes; 16 or more: all. */
SIM_INLINE void lanes_put(float *to, const float lane[LANES], size_t n)
{
    if (n >= LANES)
        memcpy(to, lane, LANES * sizeof *lane);
    else
        memcpy(to, lane, n * sizeof *lane);
}

#endif
