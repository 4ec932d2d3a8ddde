/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract's sums over a vector (kernels/README.md): 16 lanes, lane l takes elements l, l + 16, ... in order by
 * fma, then a fixed tree. Plain loops over 16 that compilers turn into vector registers of any width.
 */
#ifndef SLUICE_SIM_LANES_H
#define SLUICE_SIM_LANES_H

#include "host/base/vector_clones.h"
#include "kernels/abi/card_math.h"

#include <stdint.h>

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

#endif
