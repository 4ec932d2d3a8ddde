/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The product's default: the expert that is least likely to be used when its layer comes again goes first.
 *
 * How likely is learned while serving, by linear least squares. What is known of an expert are its shares of the
 * steps so far, faded at N_RATES speeds from "the last step" to some 250 steps, its share since the start, and its share with
 * the profile of earlier traffic counted in; what is learned is how much each of them says about the next step. So
 * where only repetition counts the policy comes to rank by recency, where only skew counts by frequency, and in between
 * by the mixture that fits. Normal equations are kept for each layer and for all together; a layer's weights come from its own
 * plus SHARED times the mean of all, so that a layer learns from the others before it has seen much, and layers may
 * differ. Of the experts that were not used, one in `stride` teaches in each step, in turn, and counts that many times.
 *
 * Layers come in turn, so of two equally likely experts the one whose layer has just been goes first: a likelihood
 * counts DISTANCE^d, where d is the part of a whole round of layers until it comes.
 *
 * Cost: use takes one pass over the layer's experts (N_FEATURES multiplications each) and one small linear system;
 * victim takes one comparison for each layer, and one pass over the experts of layers that have changed since.
 */
#include "host/base/memory.h"
#include "host/experts/policy_internal.h"

#include <math.h>
#include <string.h>

#define N_RATES 7u
#define SINCE_START 7u
#define WITH_PROFILE 8u
#define ALWAYS 9u
#define N_FEATURES 10u

static const float rates[N_RATES] = {1.0f, 0.4f, 0.15f, 0.06f, 0.025f, 0.01f, 0.004f};

/* Chosen on generated traces of seeds 1 and 5; the figures in POLICY.md are of seed 7. */
#define FADE 0.98  /* of the normal equations, per step */
#define RIDGE 1.0  /* pulls the weights towards WITH_PROFILE alone */
#define SHARED 8.0 /* layers */
#define DISTANCE 0.7
#define LEARN_EVERY 2u /* steps between two solutions of a layer's system */
#define LEAST_VALUE 1e-6f
#define LEAST_SHARE 1e-12f

struct equations {
    double a[N_FEATURES][N_FEATURES], b[N_FEATURES];
};

struct adaptive {
    uint32_t n_layers, n_experts, layer; /* the layer of the last use */
    uint32_t stride;
    double profile_steps;
    float *features;             /* [layer][expert][N_FEATURES] */
    float *value;                /* [layer][expert] */
    uint8_t *may_go;             /* [layer][expert]: resident and not pinned */
    uint8_t *used;               /* [expert], 0 between calls */
    uint32_t *steps;             /* [layer] */
    struct equations *equations; /* [layer], and of all layers in the last */
    float *weights;              /* [layer][N_FEATURES] */
    float *nearness;             /* [layers until it comes] */
    uint32_t *least;             /* [layer]: who goes first there, POLICY_NONE: nobody */
    uint8_t *changed;            /* [layer]: least is out of date */
};

static bool take_memory(struct adaptive *own)
{
    size_t layers = own->n_layers, ids = layers * own->n_experts;
    own->features = memory_array(ids, N_FEATURES * sizeof *own->features);
    own->value = memory_array(ids, sizeof *own->value);
    own->may_go = memory_array(ids, sizeof *own->may_go);
    own->used = memory_array(own->n_experts, sizeof *own->used);
    own->steps = memory_array(layers, sizeof *own->steps);
    own->equations = memory_array(layers + 1, sizeof *own->equations);
    own->weights = memory_array(layers, N_FEATURES * sizeof *own->weights);
    own->nearness = memory_array(layers + 1, sizeof *own->nearness);
    own->least = memory_array(layers, sizeof *own->least);
    own->changed = memory_array(layers, sizeof *own->changed);
    return own->features && own->value && own->may_go && own->used && own->steps && own->equations && own->weights &&
           own->nearness && own->least && own->changed;
}

static void start_from(struct adaptive *own, const struct expert_profile *profile)
{
    bool known = profile && profile->n_tokens > 0;
    own->profile_steps = known ? (double)profile->n_tokens : 1;
    for (size_t id = 0; id < (size_t)own->n_layers * own->n_experts; id++) {
        float share = known ? (float)fmin(1, (double)profile->uses[id] / (double)profile->n_tokens) : 0;
        float *x = own->features + id * N_FEATURES;
        x[WITH_PROFILE] = share;
        x[ALWAYS] = 1;
        own->value[id] = fmaxf(share, LEAST_VALUE);
    }
    for (uint32_t layer = 0; layer < own->n_layers; layer++) {
        own->weights[layer * N_FEATURES + WITH_PROFILE] = 1;
        own->least[layer] = POLICY_NONE;
    }
    for (uint32_t d = 0; d <= own->n_layers; d++) own->nearness[d] = (float)pow(DISTANCE, (double)d / own->n_layers);
}

static int adaptive_open(struct expert_policy *policy, const struct policy_inputs *inputs, struct error *err)
{
    struct adaptive *own = policy->own = memory_array(1, sizeof *own);
    if (!own) return error_set(err, ERROR_NO_MEMORY, "no host memory for policy adaptive");
    own->n_layers = policy->shape.n_layers;
    own->n_experts = policy->shape.n_experts;
    own->stride = own->n_experts >= 32 ? own->n_experts / 16 : 1;
    if (!take_memory(own)) return error_set(err, ERROR_NO_MEMORY, "no host memory for policy adaptive");
    start_from(own, inputs->profile);
    return 0;
}

static void adaptive_close(struct expert_policy *policy)
{
    struct adaptive *own = policy->own;
    free(own->features);
    free(own->value);
    free(own->may_go);
    free(own->used);
    free(own->steps);
    free(own->equations);
    free(own->weights);
    free(own->nearness);
    free(own->least);
    free(own->changed);
    free(own);
}

/* One example: an expert with features x was used, or not. The system is symmetric: only columns up to the row's. */
static void learn(struct equations *eq, const float *x, bool used, double weight)
{
    for (uint32_t i = 0; i < N_FEATURES; i++) {
        double scaled = weight * (double)x[i];
        for (uint32_t j = 0; j <= i; j++) eq->a[i][j] += scaled * (double)x[j];
        if (used) eq->b[i] += scaled;
    }
}

/* Adds a step's examples to what is known, which fades. */
static void add_equations(struct equations *eq, const struct equations *more, double fade)
{
    for (uint32_t i = 0; i < N_FEATURES; i++) {
        for (uint32_t j = 0; j <= i; j++) eq->a[i][j] = eq->a[i][j] * fade + more->a[i][j];
        eq->b[i] = eq->b[i] * fade + more->b[i];
    }
}

/* By Cholesky: the ridge makes the system positive definite. The weights stay if rounding has made it none. */
static void solve(const struct adaptive *own, uint32_t layer)
{
    const struct equations *eq = &own->equations[layer], *all = &own->equations[own->n_layers];
    double l[N_FEATURES][N_FEATURES], w[N_FEATURES];
    for (uint32_t i = 0; i < N_FEATURES; i++) {
        for (uint32_t j = 0; j <= i; j++) {
            double sum = eq->a[i][j] + SHARED / own->n_layers * all->a[i][j] + (i == j ? RIDGE : 0);
            for (uint32_t k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
            if (i == j && !(sum > 0)) return;
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
        w[i] = eq->b[i] + SHARED / own->n_layers * all->b[i] + (i == WITH_PROFILE ? RIDGE : 0);
        for (uint32_t k = 0; k < i; k++) w[i] -= l[i][k] * w[k];
        w[i] /= l[i][i];
    }
    for (uint32_t i = N_FEATURES; i-- > 0;) {
        for (uint32_t k = i + 1; k < N_FEATURES; k++) w[i] -= l[k][i] * w[k];
        w[i] /= l[i][i];
        own->weights[layer * N_FEATURES + i] = (float)w[i];
    }
}

static void adaptive_use(struct expert_policy *policy, uint32_t layer, const uint16_t *experts, uint32_t n)
{
    struct adaptive *own = policy->own;
    uint32_t step = own->steps[layer]++;
    float *x = own->features + (size_t)layer * own->n_experts * N_FEATURES;
    struct equations more;
    memset(&more, 0, sizeof more);
    for (uint32_t i = 0; i < n; i++) {
        own->used[experts[i]] = 1;
        learn(&more, x + (size_t)experts[i] * N_FEATURES, true, 1);
    }
    for (uint32_t e = step % own->stride; e < own->n_experts; e += own->stride)
        if (!own->used[e]) learn(&more, x + (size_t)e * N_FEATURES, false, own->stride);
    if (step > 0) { /* at first there is nothing that could have told */
        add_equations(&own->equations[layer], &more, FADE);
        add_equations(&own->equations[own->n_layers], &more, 1 - (1 - FADE) / own->n_layers);
        if ((step + layer) % LEARN_EVERY == 0) solve(own, layer);
    }
    float rate[N_FEATURES] = {0};
    for (uint32_t f = 0; f < N_RATES; f++) rate[f] = fmaxf(rates[f], 1.0f / (float)(step + 1));
    rate[SINCE_START] = 1.0f / (float)(step + 1);
    rate[WITH_PROFILE] = (float)(1 / (own->profile_steps + step + 1));
    const float *weight = own->weights + layer * N_FEATURES;
    for (uint32_t e = 0; e < own->n_experts; e++, x += N_FEATURES) {
        float was = own->used[e], value = weight[ALWAYS];
        for (uint32_t f = 0; f < ALWAYS; f++) x[f] += rate[f] * (was - x[f]);
        for (uint32_t f = 0; f < ALWAYS; f++) x[f] = x[f] < LEAST_SHARE ? 0 : x[f]; /* subnormals are slow */
        for (uint32_t f = 0; f < ALWAYS; f++) value += weight[f] * x[f];
        own->value[(size_t)layer * own->n_experts + e] = fmaxf(value, LEAST_VALUE);
    }
    for (uint32_t i = 0; i < n; i++) own->used[experts[i]] = 0;
    own->layer = layer;
    own->changed[layer] = 1;
}

static void set_may_go(struct adaptive *own, uint32_t id, uint8_t may_go)
{
    own->may_go[id] = may_go;
    own->changed[id / own->n_experts] = 1;
}

static void adaptive_enter(struct expert_policy *policy, uint32_t id) { set_may_go(policy->own, id, 1); }
static void adaptive_leave(struct expert_policy *policy, uint32_t id) { set_may_go(policy->own, id, 0); }

static uint32_t find_least(const struct adaptive *own, uint32_t layer)
{
    uint32_t least = POLICY_NONE, first = layer * own->n_experts;
    for (uint32_t id = first; id < first + own->n_experts; id++)
        if (own->may_go[id] && (least == POLICY_NONE || own->value[id] < own->value[least])) least = id;
    return least;
}

static uint32_t adaptive_victim(struct expert_policy *policy)
{
    struct adaptive *own = policy->own;
    uint32_t victim = POLICY_NONE;
    float lowest = INFINITY;
    for (uint32_t layer = 0; layer < own->n_layers; layer++) {
        if (own->changed[layer]) own->least[layer] = find_least(own, layer);
        own->changed[layer] = 0;
        if (own->least[layer] == POLICY_NONE) continue;
        uint32_t distance = layer > own->layer ? layer - own->layer : layer + own->n_layers - own->layer;
        float value = own->value[own->least[layer]] * own->nearness[distance];
        if (value >= lowest) continue;
        lowest = value;
        victim = own->least[layer];
    }
    return victim;
}

const struct policy_ops policy_adaptive = {
    .name = "adaptive",
    .open = adaptive_open,
    .close = adaptive_close,
    .use = adaptive_use,
    .enter = adaptive_enter,
    .leave = adaptive_leave,
    .victim = adaptive_victim,
};
