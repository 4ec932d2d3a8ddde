/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of 32 floats as 8-bit integers and a scale: QUANTIZE, queries that meet integer keys, and INT8 pages. */
#ifndef SLUICE_SIM_QUANTIZE_H
#define SLUICE_SIM_QUANTIZE_H

#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_math.h"
#include "sim/lanes.h"

#include <stdint.h>
#include <string.h>

/* Bits of the largest magnitude of a group: a NaN is above infinity, infinity above every number. */
SIM_INLINE uint32_t group_magnitude(const float v[CARD_GROUP_COLS])
{
    uint32_t largest = 0;
    for (unsigned i = 0; i < CARD_GROUP_COLS; i++) {
        uint32_t magnitude = card_bits(v[i]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* q = v * inverse, rounded to even and kept within +-127; returns their sum. */
SIM_INLINE int32_t group_integers(const float v[CARD_GROUP_COLS], float inverse, int8_t q[CARD_GROUP_COLS])
{
    int32_t total = 0;
    for (unsigned i = 0; i < CARD_GROUP_COLS; i++) {
        float rounded = card_round_even(v[i] * inverse);
        rounded = rounded > 127.0f ? 127.0f : rounded;
        rounded = rounded < -127.0f ? -127.0f : rounded;
        int32_t whole = (int32_t)rounded;
        q[i] = (int8_t)whole;
        total += whole;
    }
    return total;
}

/*
 * QUANTIZE of one group of n <= 32 floats; the rest of the group is zeros. A group with a scale below 2^-64 is zeros
 * with scale 0, one with a NaN or infinity zeros with scale NaN.
 */
SIM_INLINE void quantize_group(const float *x, uint32_t n, int8_t *value, float *scale, int32_t *sum)
{
    float v[CARD_GROUP_COLS] = {0};
    memcpy(v, x, n * sizeof *x);
    const uint32_t largest = group_magnitude(v);
    const float step = card_float(largest) * CARD_RECIP_127;
    const int finite = largest < 0x7f800000u, used = finite && step >= 0x1p-64f;
    if (!used) memset(v, 0, sizeof v);
    *sum = group_integers(v, used ? card_recip(step) : 1.0f, value);
    *scale = used ? step : finite ? 0.0f : CARD_NAN;
}

#endif
