/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on whole vectors: NORM, QUANTIZE, ROPE. kernels/README.md is the spec. */
#include "kernels/abi/card_math.h"
#include "sim/internal.h"
#include "sim/lanes.h"
#include "sim/quantize.h"

#include <string.h>

/* ---- NORM: items are the T * R vectors ---- */

/* dst = x - mean(x); dst may be x. */
SIM_INLINE void subtract_mean(const float *x, float *dst, uint32_t n, float inverse)
{
    const float mean = lanes_sum(x, n) * inverse;
    for (uint32_t i = 0; i < n; i += LANES) {
        float pad[LANES], lane[LANES]; /* dst may be src: a copy tells the compiler that no lane changes another */
        const float *from = lanes_at(x + i, n - i, pad);
        for (unsigned l = 0; l < LANES; l++) lane[l] = from[l] - mean;
        lanes_put(dst + i, lane, n - i);
    }
}

/* dst = (src * scale) * weight + bias, as far as these exist; dst may be src. */
SIM_INLINE void scale_vector(const float *src, float *dst, uint32_t n, float scale, const float *weight,
                             const float *bias, int weighted, int biased)
{
    for (uint32_t i = 0; i < n; i += LANES) {
        float pad[3][LANES], lane[LANES];
        const float *x = lanes_at(src + i, n - i, pad[0]);
        const float *w = weighted ? lanes_at(weight + i, n - i, pad[1]) : x;
        const float *b = biased ? lanes_at(bias + i, n - i, pad[2]) : x;
        for (unsigned l = 0; l < LANES; l++) {
            float y = x[l] * scale;
            y = weighted ? y * w[l] : y;
            lane[l] = one_nan(biased ? y + b[l] : y);
        }
        lanes_put(dst + i, lane, n - i);
    }
}

SIM_CLONES
static void norm_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t n = step->d->cols;
    const float epsilon = sim_step_float(step, 0), inverse = card_recip((float)n);
    for (uint32_t v = begin; v < end; v++) {
        const size_t of_vector = sim_step_has(step, CARD_FLAG_EACH) ? (size_t)(v % step->d->rows) * n : 0;
        const float *weight = step->weight ? (const float *)step->weight + of_vector : NULL;
        const float *bias = step->aux ? (const float *)step->aux + of_vector : NULL;
        const float *src = (const float *)step->src + (size_t)v * n;
        float *dst = (float *)step->dst + (size_t)v * n;
        if (sim_step_has(step, CARD_FLAG_LAYER)) {
            subtract_mean(src, dst, n, inverse);
            src = dst;
        }
        const float squares = lanes_dot(src, src, n);
        const float sum = sim_step_has(step, CARD_FLAG_SUM) ? squares + epsilon : card_fma(squares, inverse, epsilon);
        const float scale = card_rsqrt(sum);
        if (weight && bias)
            scale_vector(src, dst, n, scale, weight, bias, 1, 1);
        else if (weight)
            scale_vector(src, dst, n, scale, weight, NULL, 1, 0);
        else
            scale_vector(src, dst, n, scale, NULL, bias, 0, bias != NULL);
    }
}

void sim_norm(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    pool_run(pool, step->d->tokens * step->d->rows, sim_grain(2ull * step->d->cols), norm_part, (void *)step);
}

/* ---- QUANTIZE: items are tokens ---- */

static void quantize_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t n = step->d->cols, tokens = step->d->tokens, whole = n / CARD_GROUP_COLS;
    const uint32_t groups = (uint32_t)card_act_groups(n);
    uint8_t *base = step->dst;
    for (uint32_t t = begin; t < end; t++) {
        const float *x = (const float *)step->src + (size_t)t * n;
        int8_t *value = (int8_t *)base + (size_t)t * groups * CARD_GROUP_COLS;
        float *scale = (float *)(void *)(base + card_act_scale_offset(tokens, n)) + (size_t)t * groups;
        int32_t *sum = (int32_t *)(void *)(base + card_act_sum_offset(tokens, n)) + (size_t)t * groups;
        step->page_kernels->quantize(x, whole, value, scale, sum);
        for (uint32_t g = whole; g < groups; g++) {
            const uint32_t from = g * CARD_GROUP_COLS < n ? g * CARD_GROUP_COLS : n;
            quantize_group(x + from, n - from, value + (size_t)g * CARD_GROUP_COLS, scale + g, sum + g);
        }
    }
}

void sim_quantize(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    pool_run(pool, step->d->tokens, sim_grain(4ull * step->d->cols), quantize_part, (void *)step);
}

/* ---- ROPE: items are tokens ---- */

/* sin and cos of angles [i, i + n) of a token, n <= 16, times the factor. */
SIM_INLINE void turn_of(const float *frequency, uint32_t n, float position, float factor, float sine[LANES],
                        float cosine[LANES])
{
    float pad[LANES];
    const float *at = lanes_at(frequency, n, pad);
    for (unsigned l = 0; l < LANES; l++) card_sincos(position * at[l], sine + l, cosine + l);
    for (unsigned l = 0; l < LANES; l++) sine[l] *= factor;
    for (unsigned l = 0; l < LANES; l++) cosine[l] *= factor;
}

/* Turns up to 16 pairs (a, b). */
SIM_INLINE void rotate(float a[LANES], float b[LANES], const float sine[LANES], const float cosine[LANES])
{
    float turned[LANES];
    for (unsigned l = 0; l < LANES; l++) turned[l] = one_nan(card_fma(-b[l], sine[l], a[l] * cosine[l]));
    for (unsigned l = 0; l < LANES; l++) b[l] = one_nan(card_fma(b[l], cosine[l], a[l] * sine[l]));
    memcpy(a, turned, sizeof turned);
}

/* n <= 16 pairs of a head, the first numbers from a on, the second from b on; interleaved: a, b, a, b from a on. */
SIM_INLINE void rotate_run(float *a, float *b, uint32_t n, int interleaved, const float sine[LANES],
                           const float cosine[LANES])
{
    float first[LANES] = {0}, second[LANES] = {0};
    if (!interleaved) {
        memcpy(first, a, n * sizeof *a);
        memcpy(second, b, n * sizeof *b);
        rotate(first, second, sine, cosine);
        memcpy(a, first, n * sizeof *a);
        memcpy(b, second, n * sizeof *b);
        return;
    }
    for (uint32_t l = 0; l < n; l++) {
        first[l] = a[2 * l];
        second[l] = a[2 * l + 1];
    }
    rotate(first, second, sine, cosine);
    for (uint32_t l = 0; l < n; l++) {
        a[2 * l] = first[l];
        a[2 * l + 1] = second[l];
    }
}

SIM_CLONES
static void rope_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const struct card_descriptor *d = step->d;
    const uint32_t half = d->param[0] / 2;
    const int interleaved = (d->flags & CARD_FLAG_INTERLEAVED) != 0;
    const float *frequency = step->weight;
    for (uint32_t t = begin; t < end; t++) {
        const float position = (float)sim_step_batch(step)[t].position;
        float *token = (float *)step->dst + (size_t)t * d->rows * d->cols + d->param[2];
        for (uint32_t i = 0; i < half; i += LANES) {
            float sine[LANES], cosine[LANES];
            const uint32_t n = half - i < LANES ? half - i : LANES;
            turn_of(frequency + i, n, position, sim_step_float(step, 1), sine, cosine);
            for (uint32_t h = 0; h < d->rows; h++) {
                float *head = token + (size_t)h * d->cols;
                if (interleaved)
                    rotate_run(head + (size_t)2 * i, NULL, n, 1, sine, cosine);
                else if (n == LANES)
                    rotate_run(head + i, head + half + i, LANES, 0, sine, cosine);
                else
                    rotate_run(head + i, head + half + i, n, 0, sine, cosine);
            }
        }
    }
}

void sim_rope(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    uint64_t work = (uint64_t)step->d->param[0] * (step->d->rows + 20);
    pool_run(pool, step->d->tokens, sim_grain(work), rope_part, (void *)step);
}
