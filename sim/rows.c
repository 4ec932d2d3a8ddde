/* SPDX-License-Identifier: Apache-2.0 */
/* Rows moved, summed and spread: COPY, GATHER, EXPERT_SUM, EXPERT_SPREAD. kernels/README.md is the spec. */
#include "kernels/abi/card_math.h"
#include "sim/internal.h"
#include "sim/lanes.h"

#include <string.h>

/* ---- COPY: items are the T * R vectors ---- */

static void copy_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const struct card_descriptor *d = step->d;
    for (uint32_t i = begin; i < end; i++) {
        const uint64_t token = i / d->rows, vector = i % d->rows;
        const uint64_t from = token * d->param[0] + vector * d->param[1];
        const uint64_t to = token * d->param[2] + vector * d->param[3];
        memcpy((float *)step->dst + to, (const float *)step->src + from, (size_t)d->cols * sizeof(float));
    }
}

void sim_copy(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    pool_run(pool, step->d->tokens * step->d->rows, sim_grain(step->d->cols), copy_part, (void *)step);
}

/* ---- GATHER ---- */

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

/* ---- EXPERT_SUM, EXPERT_SPREAD: items are tokens ---- */

/* Weight of choice `row`; 1 if there are no choices. */
SIM_INLINE float weight_of(const struct sim_step *step, size_t row)
{
    return step->aux ? ((const struct card_choice *)step->aux)[row].weight : 1.0f;
}

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
            const float weight = weight_of(step, row);
            const float *src = (const float *)step->src + row * n;
            for (uint32_t i = 0; i < n; i += LANES) {
                float pad[2][LANES], lane[LANES];
                const float *x = lanes_at(src + i, n - i, pad[0]), *sum = lanes_at(dst + i, n - i, pad[1]);
                for (unsigned l = 0; l < LANES; l++) lane[l] = one_nan(card_fma(weight, x[l], sum[l]));
                lanes_put(dst + i, lane, n - i);
            }
        }
    }
}

void sim_expert_sum(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    uint64_t work = (uint64_t)step->d->cols * step->d->param[0];
    pool_run(pool, step->d->tokens, sim_grain(work), expert_sum_part, (void *)step);
}

SIM_CLONES
static void expert_spread_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t n = step->d->cols, n_choices = step->d->param[0];
    for (uint32_t t = begin; t < end; t++) {
        const float *src = (const float *)step->src + (size_t)t * n;
        for (uint32_t j = 0; j < n_choices; j++) {
            const size_t row = (size_t)t * n_choices + j;
            const float weight = weight_of(step, row);
            float *dst = (float *)step->dst + row * n;
            for (uint32_t i = 0; i < n; i += LANES) {
                float pad[LANES], lane[LANES];
                const float *x = lanes_at(src + i, n - i, pad);
                for (unsigned l = 0; l < LANES; l++) lane[l] = one_nan(weight * x[l]);
                lanes_put(dst + i, lane, n - i);
            }
        }
    }
}

void sim_expert_spread(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    uint64_t work = (uint64_t)step->d->cols * step->d->param[0];
    pool_run(pool, step->d->tokens, sim_grain(work), expert_spread_part, (void *)step);
}
