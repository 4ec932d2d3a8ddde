/* SPDX-License-Identifier: Apache-2.0 */
/* QUANTIZE: groups of 32 floats to 8-bit integers, their scale and their sum. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

#define CHUNK_GROUPS (HLS_CHUNK / CARD_GROUP_COLS)

struct group {
    uint32_t bytes[8]; /* the 32 values */
    uint32_t scale, sum;
};

/* The largest magnitude as bits: NaN is above infinity is above every number. */
static uint32_t largest_of(const struct hls_word x[2])
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

static struct group quantize_group(const struct hls_word x[2])
{
    HLS_INLINE
    struct group out = {{0}, 0, 0};
    const uint32_t largest = largest_of(x);
    const float scale = card_float(largest) * CARD_RECIP_127;
    /* A scale that is no normal number makes a group of zeros. */
    const int normal = scale >= 0x1p-126f && largest < 0x7f800000u;
    const float inverse = card_select(normal, card_recip(scale), 1.0f);
    int32_t sum = 0;
quantize_values:
    for (uint32_t i = 0; i < CARD_GROUP_COLS; i++) {
        HLS_UNROLL
        const float value = card_select(normal, card_float(x[i / HLS_LANES].lane[i % HLS_LANES]), 0.0f);
        float q = card_round_even(value * inverse);
        q = q > 127.0f ? 127.0f : q;
        q = q < -127.0f ? -127.0f : q;
        const int32_t whole = (int32_t)q;
        out.bytes[i / 4] |= ((uint32_t)whole & 0xffu) << (8 * (i % 4));
        sum += whole;
    }
    out.scale = normal ? card_bits(scale) : largest < 0x7f800000u ? 0u : card_bits(CARD_NAN);
    out.sum = (uint32_t)sum;
    return out;
}

/* groups: even, as rows are padded to 64 columns. */
static void quantize_chunk(const struct hls_word *x, uint32_t groups, struct hls_word *value, struct hls_word *scale,
                           struct hls_word *sum)
{
quantize_groups:
    for (uint32_t g = 0; g < groups; g++) {
        HLS_TRIPS(2, 128)
        HLS_PIPELINE(2) /* two words are read a group; nothing carried: each lane of the results is written once */
        const struct hls_word pair[2] = {x[2 * g], x[2 * g + 1]};
        const struct group out = quantize_group(pair);
    quantize_lanes:
        for (uint32_t l = 0; l < 8; l++) {
            HLS_UNROLL
            value[g / 2].lane[g % 2 * 8 + l] = out.bytes[l];
        }
        scale[g / HLS_LANES].lane[g % HLS_LANES] = out.scale;
        sum[g / HLS_LANES].lane[g % HLS_LANES] = out.sum;
    }
}

void hls_quantize(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word x[HLS_CHUNK_WORDS], value[CHUNK_GROUPS / 2];
    struct hls_word scale[CHUNK_GROUPS / HLS_LANES], sum[CHUNK_GROUPS / HLS_LANES];
    HLS_WIDE(x)
    HLS_WIDE(value)
    const uint32_t n = step->cols, groups = (uint32_t)card_act_groups(n);
    const card_addr scales = step->dst + card_act_scale_offset(step->tokens, n);
    const card_addr sums = step->dst + card_act_sum_offset(step->tokens, n);
quantize_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
    quantize_chunks:
        for (uint32_t g = 0; g < groups; g += CHUNK_GROUPS) {
            HLS_TRIPS(1, 4)
            const uint32_t from = g * CARD_GROUP_COLS, part = hls_min(n - from, HLS_CHUNK);
            const uint32_t count = hls_min(groups - g, CHUNK_GROUPS);
            const uint64_t at = (uint64_t)t * groups + g;
            hls_load(HLS_BANK_ARGS, step->src + 4 * ((uint64_t)t * n + from), part, x);
        pad_words:
            for (uint32_t i = hls_words(part); i < 2 * count; i++) {
                HLS_TRIPS(0, 3)
                const struct hls_word zero = {{0}};
                x[i] = zero;
            }
            quantize_chunk(x, count, value, scale, sum);
            hls_store(HLS_BANK_ARGS, step->dst + CARD_GROUP_COLS * at, 8 * count, value);
            hls_store(HLS_BANK_ARGS, scales + 4 * at, count, scale);
            hls_store(HLS_BANK_ARGS, sums + 4 * at, count, sum);
        }
    }
}
