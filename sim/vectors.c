/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on float vectors: NORM, QUANTIZE, ROPE, ROUTER, GLU, EXPERT_SUM, GATHER. kernels/README.md is the spec. */
#include "kernels/abi/card_math.h"
#include "sim/internal.h"
#include "sim/lanes.h"

#include <string.h>

/* ---- NORM: items are the T * R vectors ---- */

SIM_CLONES
static void norm_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t n = step->d->cols;
    const float epsilon = sim_step_float(step, 0);
    const float *weight = step->weight;
    const float inverse = card_recip((float)n);
    for (uint32_t v = begin; v < end; v++) {
        const float *src = (const float *)step->src + (size_t)v * n;
        float *dst = (float *)step->dst + (size_t)v * n;
        float scale = card_rsqrt(card_fma(lanes_dot(src, src, n), inverse, epsilon));
        uint32_t i = 0;
        for (; i + LANES <= n; i += LANES) {
            float lane[LANES]; /* dst may be src: a copy tells the compiler that no lane changes another */
            for (unsigned l = 0; l < LANES; l++) lane[l] = (src[i + l] * scale) * weight[i + l];
            memcpy(dst + i, lane, sizeof lane);
        }
        for (; i < n; i++) dst[i] = (src[i] * scale) * weight[i];
    }
}

void sim_norm(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    pool_run(pool, step->d->tokens * step->d->rows, sim_grain(2ull * step->d->cols), norm_part, (void *)step);
}

/* ---- QUANTIZE: items are tokens ---- */

/* Quantizes one group of n <= 32 floats; the rest of the group is zeros. */
SIM_INLINE void quantize_group(const float *x, uint32_t n, int8_t *value, float *scale, int32_t *sum)
{
    float v[CARD_GROUP_COLS] = {0};
    memcpy(v, x, n * sizeof *x);
    uint32_t largest = 0; /* as bits: NaN is above infinity is above every number */
    for (unsigned i = 0; i < CARD_GROUP_COLS; i++) {
        uint32_t magnitude = card_bits(v[i]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    float step = card_float(largest) * CARD_RECIP_127;
    /* A scale that is no normal number makes a group of zeros: scale 0 for a tiny group, NaN for NaN or infinity. */
    int normal = step >= 0x1p-126f && largest < 0x7f800000u;
    float inverse = card_recip(step);
    if (!normal) memset(v, 0, sizeof v); /* and any inverse does */
    inverse = normal ? inverse : 1.0f;
    int32_t total = 0;
    for (unsigned i = 0; i < CARD_GROUP_COLS; i++) {
        float q = card_round_even(v[i] * inverse);
        q = q > 127.0f ? 127.0f : q;
        q = q < -127.0f ? -127.0f : q;
        int32_t whole = (int32_t)q;
        value[i] = (int8_t)whole;
        total += whole;
    }
    *scale = normal ? step : largest < 0x7f800000u ? 0.0f : CARD_NAN;
    *sum = total;
}

SIM_CLONES
static void quantize_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t n = step->d->cols, tokens = step->d->tokens;
    const uint32_t groups = (uint32_t)card_act_groups(n);
    uint8_t *base = step->dst;
    for (uint32_t t = begin; t < end; t++) {
        const float *x = (const float *)step->src + (size_t)t * n;
        int8_t *value = (int8_t *)base + (size_t)t * groups * CARD_GROUP_COLS;
        float *scale = (float *)(void *)(base + card_act_scale_offset(tokens, n)) + (size_t)t * groups;
        int32_t *sum = (int32_t *)(void *)(base + card_act_sum_offset(tokens, n)) + (size_t)t * groups;
        for (uint32_t g = 0; g < groups; g++) {
            uint32_t from = g * CARD_GROUP_COLS < n ? g * CARD_GROUP_COLS : n;
            uint32_t left = n - from < CARD_GROUP_COLS ? n - from : CARD_GROUP_COLS;
            quantize_group(x + from, left, value + (size_t)g * CARD_GROUP_COLS, scale + g, sum + g);
        }
    }
}

void sim_quantize(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    pool_run(pool, step->d->tokens, sim_grain(4ull * step->d->cols), quantize_part, (void *)step);
}

/* ---- ROPE: items are tokens ---- */

SIM_INLINE void rotate(float *a, float *b, float sine, float cosine)
{
    float x = *a, y = *b;
    *a = card_fma(-y, sine, x * cosine);
    *b = card_fma(y, cosine, x * sine);
}

SIM_CLONES
static void rope_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const struct card_descriptor *d = step->d;
    const uint32_t half = d->param[0] / 2;
    const float factor = sim_step_float(step, 1);
    const float *frequency = step->weight;
    for (uint32_t t = begin; t < end; t++) {
        const float position = (float)sim_step_batch(step)[t].position;
        float *token = (float *)step->dst + (size_t)t * d->rows * d->cols;
        for (uint32_t i = 0; i < half; i++) {
            float sine, cosine;
            card_sincos(position * frequency[i], &sine, &cosine);
            sine *= factor;
            cosine *= factor;
            uint32_t first = d->flags & CARD_FLAG_INTERLEAVED ? 2 * i : i;
            uint32_t second = d->flags & CARD_FLAG_INTERLEAVED ? 2 * i + 1 : i + half;
            for (uint32_t h = 0; h < d->rows; h++) {
                float *head = token + (size_t)h * d->cols;
                rotate(head + first, head + second, sine, cosine);
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

/* ---- ROUTER: items are tokens ---- */

/* Whether logit a at index i comes before logit b at index j: larger first, NaN last, ties to the lower index. */
SIM_INLINE int comes_before(float a, uint32_t i, float b, uint32_t j)
{
    if (a > b) return 1;
    if (a < b) return 0;
    int a_is_nan = a != a, b_is_nan = b != b;
    if (a_is_nan != b_is_nan) return b_is_nan;
    return i < j;
}

/* The best logit after the one at index `last` (n: none yet). */
SIM_INLINE uint32_t next_best(const float *logit, uint32_t n, uint32_t last)
{
    uint32_t best = n;
    for (uint32_t i = 0; i < n; i++) {
        if (last < n && !comes_before(logit[last], last, logit[i], i)) continue;
        if (best == n || comes_before(logit[i], i, logit[best], best)) best = i;
    }
    return best;
}

SIM_CLONES
static void route_token(const float *logit, uint32_t n, struct card_choice *choice, uint32_t n_choices, int renormalize,
                        float factor)
{
    float lane[LANES] = {0};
    uint32_t last = n;
    for (uint32_t j = 0; j < n_choices; j++) {
        last = next_best(logit, n, last);
        choice[j].expert = last;
    }
    const float largest = logit[choice[0].expert];
    for (uint32_t i = 0; i < n; i++) lane[i % LANES] += card_exp(logit[i] - largest);
    float inverse = card_recip(lanes_tree(lane));
    float total = 0.0f;
    for (uint32_t j = 0; j < n_choices; j++) {
        choice[j].weight = card_exp(logit[choice[j].expert] - largest) * inverse;
        total += choice[j].weight;
    }
    inverse = card_recip(total);
    for (uint32_t j = 0; j < n_choices; j++) {
        if (renormalize) choice[j].weight *= inverse;
        choice[j].weight *= factor;
    }
}

static void router_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const struct card_descriptor *d = step->d;
    for (uint32_t t = begin; t < end; t++) {
        route_token((const float *)step->src + (size_t)t * d->cols, d->cols,
                    (struct card_choice *)step->dst + (size_t)t * d->rows, d->rows, d->flags & CARD_FLAG_RENORMALIZE,
                    sim_step_float(step, 0));
    }
}

void sim_router(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    uint64_t work = (uint64_t)step->d->cols * (step->d->rows * 4ull + 20);
    pool_run(pool, step->d->tokens, sim_grain(work), router_part, (void *)step);
}

/* ---- GLU: items are runs of 16 floats ---- */

SIM_CLONES
static void glu_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const size_t n = (size_t)step->d->tokens * step->d->cols;
    const float *gate = step->src, *up = step->weight;
    float *dst = step->dst;
    for (size_t i = (size_t)begin * LANES; i < (size_t)end * LANES; i += LANES) {
        if (i + LANES <= n) {
            float lane[LANES];
            for (unsigned l = 0; l < LANES; l++) lane[l] = card_silu(gate[i + l]) * up[i + l];
            memcpy(dst + i, lane, sizeof lane);
        } else {
            for (size_t k = i; k < n; k++) dst[k] = card_silu(gate[k]) * up[k];
        }
    }
}

void sim_glu(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    uint64_t runs = ((uint64_t)step->d->tokens * step->d->cols + LANES - 1) / LANES;
    pool_run(pool, (uint32_t)runs, sim_grain(30 * LANES), glu_part, (void *)step);
}

/* ---- EXPERT_SUM, GATHER: items are tokens ---- */

SIM_CLONES
static void expert_sum_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t n = step->d->cols, n_choices = step->d->param[0];
    for (uint32_t t = begin; t < end; t++) {
        float *dst = (float *)step->dst + (size_t)t * n;
        for (uint32_t j = 0; j < n_choices; j++) {
            const size_t row = (size_t)t * n_choices + j;
            const float weight = ((const struct card_choice *)step->aux)[row].weight;
            const float *src = (const float *)step->src + row * n;
            uint32_t i = 0;
            for (; i + LANES <= n; i += LANES) {
                float lane[LANES];
                for (unsigned l = 0; l < LANES; l++) lane[l] = card_fma(weight, src[i + l], dst[i + l]);
                memcpy(dst + i, lane, sizeof lane);
            }
            for (; i < n; i++) dst[i] = card_fma(weight, src[i], dst[i]);
        }
    }
}

void sim_expert_sum(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    uint64_t work = (uint64_t)step->d->cols * step->d->param[0];
    pool_run(pool, step->d->tokens, sim_grain(work), expert_sum_part, (void *)step);
}

void sim_gather(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)pool;
    (void)scratch;
    const size_t bytes = (size_t)step->d->cols * 4;
    for (uint32_t t = 0; t < step->d->tokens; t++) {
        size_t row = ((const uint32_t *)step->aux)[t];
        memcpy((uint8_t *)step->dst + t * bytes, (const uint8_t *)step->src + row * bytes, bytes);
    }
}
