/* SPDX-License-Identifier: Apache-2.0 */
/* TOP_K: the largest values of each token's vector and where they are; one pass. */
#include "kernels/hls/hls_best.h"
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

/* A value as it is written: a subnormal as zero. */
static uint32_t written_value(uint32_t bits)
{
    HLS_INLINE
    return (bits & 0x7f800000u) == 0 ? bits & 0x80000000u : hls_result(card_float(bits));
}

void hls_top_k(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word x[HLS_CHUNK_WORDS], choice[HLS_CHOICES / 8];
    struct hls_best best;
    HLS_WIDE(x)
    HLS_PARTITION(best.rank, 1)
    HLS_PARTITION(best.index, 1)
    HLS_PARTITION(best.bits, 1)
    const uint32_t n = step->cols, k = step->rows;
top_k_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        hls_best_clear(&best);
    top_k_chunks:
        for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 64)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            hls_load(HLS_BANK_ARGS, step->src + 4 * ((uint64_t)t * n + from), part, x);
        top_k_values:
            for (uint32_t i = 0; i < part; i++) {
                HLS_TRIPS(1, 4096)
                HLS_PIPELINE(1) /* carried: the list, one comparison of integers */
                hls_best_insert(&best, k, from + i, x[i / HLS_LANES].lane[i % HLS_LANES]);
            }
        }
    top_k_choices:
        for (uint32_t j = 0; j < k; j++) {
            HLS_TRIPS(1, 256)
            HLS_PIPELINE(1) /* nothing carried */
            choice[j / 8].lane[j % 8 * 2] = best.index[j];
            choice[j / 8].lane[j % 8 * 2 + 1] = written_value(best.bits[j]);
        }
        hls_store(HLS_BANK_ARGS, step->dst + 8ull * t * k, 2 * k, choice);
    }
}
