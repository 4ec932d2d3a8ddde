/* SPDX-License-Identifier: Apache-2.0 */
/* EXPERT_SPREAD: a copy of each token for each of its experts, times the choice's weight. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

static void spread_words(const struct hls_word *x, uint32_t words, float weight, struct hls_word *out)
{
spread_words:
    for (uint32_t i = 0; i < words; i++) {
        HLS_TRIPS(1, 256)
        HLS_PIPELINE(1) /* nothing carried */
    spread_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            out[i].lane[l] = hls_result(weight * card_float(x[i].lane[l]));
        }
    }
}

void hls_expert_spread(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word x[HLS_CHUNK_WORDS], out[HLS_CHUNK_WORDS], choice[HLS_CHOICES / 8];
    HLS_WIDE(x)
    HLS_WIDE(out)
    const uint32_t n = step->cols, n_choices = step->param[0];
spread_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        hls_load(HLS_BANK_ARGS, step->aux + 8ull * t * n_choices, 2 * n_choices, choice);
    spread_chunks:
        for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 4)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            hls_load(HLS_BANK_ARGS, step->src + 4 * ((uint64_t)t * n + from), part, x);
        spread_choices:
            for (uint32_t j = 0; j < n_choices; j++) {
                HLS_TRIPS(1, 8)
                const uint64_t row = (uint64_t)t * n_choices + j;
                spread_words(x, hls_words(part), card_float(choice[j / 8].lane[j % 8 * 2 + 1]), out);
                hls_store(HLS_BANK_ARGS, step->dst + 4 * (row * n + from), part, out);
            }
        }
    }
}
