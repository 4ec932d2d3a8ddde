/* SPDX-License-Identifier: Apache-2.0 */
/* QUANTIZE: groups of 32 floats to 8-bit integers, their scale and their sum. */
#include "kernels/hls/hls_group.h"
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

#define CHUNK_GROUPS (HLS_CHUNK / CARD_GROUP_COLS)

/* groups: even, as rows are padded to 64 columns. */
static void quantize_chunk(const struct hls_word *x, uint32_t groups, struct hls_word *value, struct hls_word *scale,
                           struct hls_word *sum)
{
quantize_groups:
    for (uint32_t g = 0; g < groups; g++) {
        HLS_TRIPS(2, 128)
        HLS_PIPELINE(2) /* two words are read a group; nothing carried: each lane of the results is written once */
        const struct hls_word pair[2] = {x[2 * g], x[2 * g + 1]};
        const struct hls_group out = hls_quantize_group(pair);
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
