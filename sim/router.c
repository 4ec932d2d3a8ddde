/* SPDX-License-Identifier: Apache-2.0 */
/* Choices: ROUTER and TOP_K. kernels/README.md is the spec. Items are tokens. */
#include "kernels/abi/card_math.h"
#include "sim/best.h"
#include "sim/internal.h"
#include "sim/lanes.h"

/* ---- ROUTER ---- */

/* Of one worker: scores and keys of all experts, and the groups that take part. */
struct router_scratch {
    float *score, *key;
    struct card_choice *group;
};

static uint64_t worker_bytes(const struct card_descriptor *d)
{
    const uint64_t floats = card_round_up(d->cols, LANES);
    return card_round_up(2 * floats * sizeof(float) + (uint64_t)d->param[1] * sizeof(struct card_choice), 64);
}

uint64_t sim_router_scratch(const struct card_descriptor *d, unsigned threads) { return worker_bytes(d) * threads; }

/* The largest logit, and NaN only if all are. */
SIM_INLINE float best_logit(const float *logit, uint32_t n)
{
    float best = logit[0];
    for (uint32_t i = 1; i < n; i++) best = logit[i] > best || best != best ? logit[i] : best;
    return best;
}

SIM_INLINE void softmax(const float *logit, uint32_t n, float *restrict score)
{
    const float largest = best_logit(logit, n);
    for (uint32_t i = 0; i < n; i += LANES) {
        float pad[LANES];
        const float *x = lanes_at(logit + i, n - i, pad);
        for (unsigned l = 0; l < LANES; l++) score[i + l] = card_exp(x[l] - largest); /* it has room for whole runs */
    }
    const float inverse = card_recip(lanes_sum(score, n));
    for (uint32_t i = 0; i < n; i++) score[i] *= inverse;
}

SIM_INLINE void sigmoids(const float *logit, uint32_t n, float *restrict score)
{
    for (uint32_t i = 0; i < n; i += LANES) {
        float pad[LANES];
        const float *x = lanes_at(logit + i, n - i, pad);
        for (unsigned l = 0; l < LANES; l++) score[i + l] = card_sigmoid(x[l]);
    }
}

/* What a group of n experts is chosen by. */
static float group_key(const float *key, uint32_t n, int pairs)
{
    struct card_choice best[2] = {{0}};
    uint32_t held = 0;
    const uint32_t want = pairs && n > 1 ? 2 : 1;
    best_offer_all(best, &held, want, key, 0, n);
    best_sort(best, held);
    return want == 2 ? best[0].weight + best[1].weight : best[0].weight;
}

/* The d->rows best keys, best first, of all experts or of the groups that take part. */
static void choose(const struct card_descriptor *d, const float *key, struct card_choice *group,
                   struct card_choice *choice)
{
    const uint32_t groups = d->param[1];
    uint32_t held = 0, in_part = 0;
    if (groups > 1) {
        const uint32_t n = d->cols / groups;
        for (uint32_t g = 0; g < groups; g++) {
            const float best = group_key(key + (size_t)g * n, n, (d->flags & CARD_FLAG_GROUP_PAIRS) != 0);
            best_offer(group, &in_part, d->param[2], (struct card_choice){g, best});
        }
        for (uint32_t g = 0; g < in_part; g++) {
            best_offer_all(choice, &held, d->rows, key, group[g].expert * n, (group[g].expert + 1) * n);
        }
    } else {
        best_offer_all(choice, &held, d->rows, key, 0, d->cols);
    }
    best_sort(choice, held);
}

SIM_CLONES
static void route_token(const struct sim_step *step, uint32_t token, const struct router_scratch *scratch)
{
    const struct card_descriptor *d = step->d;
    const uint32_t n = d->cols;
    const float *logit = (const float *)step->src + (size_t)token * n, *bias = step->aux;
    struct card_choice *choice = (struct card_choice *)step->dst + (size_t)token * d->rows;
    if (d->format == CARD_SCORING_SIGMOID)
        sigmoids(logit, n, scratch->score);
    else
        softmax(logit, n, scratch->score);
    if (bias)
        for (uint32_t i = 0; i < n; i++) scratch->key[i] = scratch->score[i] + bias[i];
    choose(d, bias ? scratch->key : logit, scratch->group, choice);
    float total = 0.0f;
    for (uint32_t j = 0; j < d->rows; j++) total += scratch->score[choice[j].expert];
    const float inverse = card_recip(total), factor = sim_step_float(step, 0);
    for (uint32_t j = 0; j < d->rows; j++) {
        float weight = scratch->score[choice[j].expert];
        if (d->flags & CARD_FLAG_RENORMALIZE) weight *= inverse;
        choice[j].weight = one_nan(weight * factor);
    }
}

struct router_job {
    const struct sim_step *step;
    uint8_t *scratch;
};

static void router_part(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    const struct router_job *job = opaque;
    const struct card_descriptor *d = job->step->d;
    float *floats = (float *)(void *)(job->scratch + worker * worker_bytes(d));
    const size_t room = (size_t)card_round_up(d->cols, LANES);
    const struct router_scratch scratch = {floats, floats + room, (struct card_choice *)(void *)(floats + 2 * room)};
    for (uint32_t t = begin; t < end; t++) route_token(job->step, t, &scratch);
}

void sim_router(struct pool *pool, const struct sim_step *step, void *scratch)
{
    struct router_job job = {step, scratch};
    pool_run(pool, step->d->tokens, sim_grain(30ull * step->d->cols), router_part, &job);
}

/* ---- TOP_K ---- */

SIM_CLONES
static void top_k_token(const float *value, uint32_t n, struct card_choice *choice, uint32_t k)
{
    uint32_t held = 0;
    best_offer_all(choice, &held, k, value, 0, n);
    best_sort(choice, held);
    for (uint32_t j = 0; j < k; j++) {
        const uint32_t bits = card_bits(one_nan(choice[j].weight));
        /* Written as every result is: a subnormal as zero. */
        choice[j].weight = card_float(bits & 0x7f800000u ? bits : bits & 0x80000000u);
    }
}

static void top_k_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const struct card_descriptor *d = step->d;
    for (uint32_t t = begin; t < end; t++) {
        top_k_token((const float *)step->src + (size_t)t * d->cols, d->cols,
                    (struct card_choice *)step->dst + (size_t)t * d->rows, d->rows);
    }
}

void sim_top_k(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    pool_run(pool, step->d->tokens, sim_grain(2ull * step->d->cols), top_k_part, (void *)step);
}
