/* SPDX-License-Identifier: Apache-2.0 */
/* EXPERT_SUM: dst += the experts' results, weighted or not, in the order of the choices. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

static void add_weighted(struct hls_word *sum, const struct hls_word *x, uint32_t words, float weight)
{
expert_sum_words:
    for (uint32_t i = 0; i < words; i++) {
        HLS_TRIPS(1, 256)
        HLS_PIPELINE(1) /* nothing carried: a word is read and written in its own iteration */
    expert_sum_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            sum[i].lane[l] = hls_result(card_fma(weight, card_float(x[i].lane[l]), card_float(sum[i].lane[l])));
        }
    }
}

void hls_expert_sum(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word sum[HLS_CHUNK_WORDS], x[HLS_CHUNK_WORDS], choice[HLS_CHOICES / 8];
    HLS_WIDE(sum)
    HLS_WIDE(x)
    const uint32_t n = step->cols, n_choices = step->param[0];
    const int weighted = (step->flags & CARD_FLAG_UNWEIGHTED) == 0;
expert_sum_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        if (weighted) hls_load(HLS_BANK_ARGS, step->aux + 8ull * t * n_choices, 2 * n_choices, choice);
    expert_sum_chunks:
        for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 4)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            const card_addr dst = step->dst + 4 * ((uint64_t)t * n + from);
            hls_load(HLS_BANK_ARGS, dst, part, sum);
        expert_sum_choices:
            for (uint32_t j = 0; j < n_choices; j++) {
                HLS_TRIPS(1, 8)
                const uint64_t row = (uint64_t)t * n_choices + j;
                hls_load(HLS_BANK_ARGS, step->src + 4 * (row * n + from), part, x);
                const float weight = weighted ? card_float(choice[j / 8].lane[j % 8 * 2 + 1]) : 1.0f;
                add_weighted(sum, x, hls_words(part), weight);
            }
            hls_store(HLS_BANK_ARGS, dst, part, sum);
        }
    }
}
