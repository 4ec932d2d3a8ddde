/* SPDX-License-Identifier: Apache-2.0 */
/* NORM: vector by vector; a pass over each for its mean (LAYER only), one for its squares, one that writes. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

/* Adds n values to the 16 lanes. */
static void add_values(const struct hls_word *x, uint32_t n, float lane[HLS_LANES])
{
mean_words:
    for (uint32_t i = 0; i < hls_words(n); i++) {
        HLS_TRIPS(8, 256)
        /* II 8: a lane waits for its own addition, distance 1; the contract fixes that there are 16 of them. */
        HLS_PIPELINE(HLS_ADD_CYCLES)
        const uint32_t count = hls_min(n - i * HLS_LANES, HLS_LANES);
    mean_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const float next = lane[l] + card_float(x[i].lane[l]);
            lane[l] = l < count ? next : lane[l];
        }
    }
}

/* Adds the squares of n values less their mean to the 16 lanes. */
static void add_squares(const struct hls_word *x, uint32_t n, float mean, float lane[HLS_LANES])
{
square_words:
    for (uint32_t i = 0; i < hls_words(n); i++) {
        HLS_TRIPS(8, 256)
        /* II 12: a lane waits for its own fma, distance 1; the contract fixes that there are 16 of them. */
        HLS_PIPELINE(HLS_FMA_CYCLES)
        struct hls_word centred;
    square_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            centred.lane[l] = card_bits(card_float(x[i].lane[l]) - mean); /* less +0: the value itself */
        }
        hls_dot_word(centred, centred, hls_min(n - i * HLS_LANES, HLS_LANES), lane);
    }
}

static void scale_words(struct hls_word *x, const struct hls_word *weight, const struct hls_word *bias, uint32_t words,
                        uint32_t flags, float mean, float scale)
{
    const int weighted = (flags & CARD_FLAG_UNWEIGHTED) == 0, biased = (flags & CARD_FLAG_BIAS) != 0;
scale_words:
    for (uint32_t i = 0; i < words; i++) {
        HLS_TRIPS(8, 256)
        HLS_PIPELINE(1) /* nothing carried: a word is read and written in its own iteration */
    scale_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const float plain = (card_float(x[i].lane[l]) - mean) * scale;
            const float product = weighted ? plain * card_float(weight[i].lane[l]) : plain;
            x[i].lane[l] = hls_result(biased ? product + card_float(bias[i].lane[l]) : product);
        }
    }
}

/* What vector `src` loses and is multiplied by; n: its values. */
static void measure_vector(HLS_BANKS, const struct hls_step *step, card_addr src, struct hls_word *x, float *mean,
                           float *scale)
{
    const uint32_t n = step->cols;
    const float inverse = card_recip((float)n), epsilon = card_float(step->param[0]);
    float lane[HLS_LANES] = {0}, square[HLS_LANES] = {0};
    HLS_PARTITION(lane, 1)
    HLS_PARTITION(square, 1)
    *mean = 0.0f;
    if ((step->flags & CARD_FLAG_LAYER) != 0) {
    norm_mean:
        for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 4)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            hls_load(HLS_BANK_ARGS, src + 4ull * from, part, x);
            add_values(x, part, lane);
        }
        *mean = hls_tree(lane) * inverse;
    }
norm_squares:
    for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
        HLS_TRIPS(1, 4)
        const uint32_t part = hls_min(n - from, HLS_CHUNK);
        hls_load(HLS_BANK_ARGS, src + 4ull * from, part, x);
        add_squares(x, part, *mean, square);
    }
    const float sum = hls_tree(square);
    *scale = card_rsqrt((step->flags & CARD_FLAG_SUM) != 0 ? sum + epsilon : card_fma(sum, inverse, epsilon));
}

void hls_norm(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word x[HLS_CHUNK_WORDS], weight[HLS_CHUNK_WORDS], bias[HLS_CHUNK_WORDS];
    HLS_WIDE(x)
    HLS_WIDE(weight)
    HLS_WIDE(bias)
    const uint32_t n = step->cols, vectors = step->tokens * step->rows;
    uint32_t row = 0;
norm_vectors:
    for (uint32_t v = 0; v < vectors; v++) {
        HLS_TRIPS(1, 4096)
        const uint64_t at = 4ull * v * n, table = (step->flags & CARD_FLAG_EACH) != 0 ? 4ull * row * n : 0;
        float mean, scale;
        measure_vector(HLS_BANK_ARGS, step, step->src + at, x, &mean, &scale);
    norm_write:
        for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 4)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            const uint64_t column = table + 4ull * from;
            hls_load(HLS_BANK_ARGS, step->src + at + 4ull * from, part, x);
            if ((step->flags & CARD_FLAG_UNWEIGHTED) == 0) hls_load(HLS_BANK_ARGS, step->weight + column, part, weight);
            if ((step->flags & CARD_FLAG_BIAS) != 0) hls_load(HLS_BANK_ARGS, step->aux + column, part, bias);
            scale_words(x, weight, bias, hls_words(part), step->flags, mean, scale);
            hls_store(HLS_BANK_ARGS, step->dst + at + 4ull * from, part, x);
        }
        row = row == step->rows - 1 ? 0 : row + 1;
    }
}
