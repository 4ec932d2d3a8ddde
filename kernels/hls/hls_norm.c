/* SPDX-License-Identifier: Apache-2.0 */
/* NORM: dst = (x rsqrt(mean of squares + epsilon)) weight, vector by vector; two passes over each. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

/* Adds the squares of n values to the 16 lanes. */
static void add_squares(const struct hls_word *x, uint32_t n, float lane[HLS_LANES])
{
square_words:
    for (uint32_t i = 0; i < hls_words(n); i++) {
        HLS_TRIPS(8, 256)
        /* II 12: a lane waits for its own fma, distance 1; the contract fixes that there are 16 of them. */
        HLS_PIPELINE(HLS_FMA_CYCLES)
        hls_dot_word(x[i], x[i], hls_min(n - i * HLS_LANES, HLS_LANES), lane);
    }
}

static void scale_words(struct hls_word *x, const struct hls_word *weight, uint32_t words, float scale)
{
scale_words:
    for (uint32_t i = 0; i < words; i++) {
        HLS_TRIPS(8, 256)
        HLS_PIPELINE(1) /* nothing carried: a word is read and written in its own iteration */
    scale_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            x[i].lane[l] = card_bits((card_float(x[i].lane[l]) * scale) * card_float(weight[i].lane[l]));
        }
    }
}

void hls_norm(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word x[HLS_CHUNK_WORDS], weight[HLS_CHUNK_WORDS];
    HLS_WIDE(x)
    HLS_WIDE(weight)
    const uint32_t n = step->cols, vectors = step->tokens * step->rows;
    const float epsilon = card_float(step->param[0]);
    const float inverse = card_recip((float)n);
norm_vectors:
    for (uint32_t v = 0; v < vectors; v++) {
        HLS_TRIPS(1, 4096)
        const uint64_t at = 4ull * v * n;
        float lane[HLS_LANES] = {0};
        HLS_PARTITION(lane, 1)
    norm_read:
        for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 4)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            hls_load(HLS_BANK_ARGS, step->src + at + 4ull * from, part, x);
            add_squares(x, part, lane);
        }
        const float scale = card_rsqrt(card_fma(hls_tree(lane), inverse, epsilon));
    norm_write:
        for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 4)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            hls_load(HLS_BANK_ARGS, step->src + at + 4ull * from, part, x);
            hls_load(HLS_BANK_ARGS, step->weight + 4ull * from, part, weight);
            scale_words(x, weight, hls_words(part), scale);
            hls_store(HLS_BANK_ARGS, step->dst + at + 4ull * from, part, x);
        }
    }
}
