/* SPDX-License-Identifier: Apache-2.0 */
/* A group of 32 activations as 8-bit integers, as QUANTIZE makes them: for QUANTIZE, and for the query of ATTENTION. */
#ifndef SLUICE_HLS_GROUP_H
#define SLUICE_HLS_GROUP_H

#include "kernels/hls/hls_types.h"

#define HLS_GROUP_LANES (CARD_GROUP_COLS / 4)

struct hls_group {
    uint32_t bytes[HLS_GROUP_LANES]; /* the 32 values */
    uint32_t scale, sum;
};

/* The largest magnitude as bits: NaN is above infinity is above every number. */
static inline uint32_t hls_largest_bits(const struct hls_word x[2])
{
    HLS_INLINE
    uint32_t largest = 0;
largest_values:
    for (uint32_t i = 0; i < CARD_GROUP_COLS; i++) {
        HLS_UNROLL
        const uint32_t magnitude = x[i / HLS_LANES].lane[i % HLS_LANES] & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* The 32 values over the scale whose reciprocal is `inverse`; zeros unless `normal`. Leaves `scale` alone. */
static inline void hls_round_group(const struct hls_word x[2], int normal, float inverse, struct hls_group *out)
{
    HLS_INLINE
    int32_t sum = 0;
round_values:
    for (uint32_t i = 0; i < CARD_GROUP_COLS; i++) {
        HLS_UNROLL
        const float value = card_select(normal, card_float(x[i / HLS_LANES].lane[i % HLS_LANES]), 0.0f);
        float q = card_round_even(value * inverse);
        q = q > 127.0f ? 127.0f : q;
        q = q < -127.0f ? -127.0f : q;
        const int32_t whole = (int32_t)q;
        const uint32_t byte = ((uint32_t)whole & 0xffu) << (8 * (i % 4));
        out->bytes[i / 4] = i % 4 == 0 ? byte : out->bytes[i / 4] | byte;
        sum += whole;
    }
    out->sum = (uint32_t)sum;
}

static inline struct hls_group hls_quantize_group(const struct hls_word x[2])
{
    HLS_INLINE
    struct hls_group out;
    const uint32_t largest = hls_largest_bits(x);
    const float scale = card_float(largest) * CARD_RECIP_127;
    /* A smaller scale makes a group of zeros: products of scales then never underflow (kernels/README.md). */
    const int normal = scale >= 0x1p-64f && largest < 0x7f800000u;
    hls_round_group(x, normal, card_select(normal, card_recip(scale), 1.0f), &out);
    out.scale = normal ? card_bits(scale) : largest < 0x7f800000u ? 0u : 0x7fc00000u;
    return out;
}

#endif
