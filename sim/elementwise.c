/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that make each result of one element of each operand: GLU, ADD, SCALE, SOFT_CAP, DECAY. kernels/README.md
 * is the spec. Items are runs of up to 16 elements of a row.
 */
#include "kernels/abi/card_math.h"
#include "sim/internal.h"
#include "sim/lanes.h"

/* Where a run lies: elements [at, at + n) of f32[T][C], columns [column, column + n) of its row; n may be over 16. */
struct run {
    size_t at;
    uint32_t row, column, n;
};

static uint32_t runs_of_row(const struct card_descriptor *d) { return (d->cols + LANES - 1) / LANES; }

SIM_INLINE struct run run_of(const struct card_descriptor *d, uint32_t runs, uint32_t item)
{
    struct run run = {.row = item / runs, .column = item % runs * LANES};
    run.at = (size_t)run.row * d->cols + run.column;
    run.n = d->cols - run.column;
    return run;
}

/* work: of one element, in multiply-adds. */
static void run_rows(struct pool *pool, const struct sim_step *step, uint64_t work, pool_fn *part)
{
    pool_run(pool, step->d->tokens * runs_of_row(step->d), sim_grain(work * LANES), part, (void *)step);
}

/* ---- GLU ---- */

/* The activation of x; for SWIGLU_OAI its factor that depends on x. A constant activation leaves one case. */
SIM_INLINE float activate(unsigned activation, float x, float steepness)
{
    switch (activation) {
    case CARD_ACTIVATION_SILU: return card_silu(x);
    case CARD_ACTIVATION_GELU: return card_gelu(x);
    case CARD_ACTIVATION_GELU_ERF: return card_gelu_erf(x);
    case CARD_ACTIVATION_RELU: return card_select(x <= 0.0f, 0.0f, x); /* NaN stays */
    case CARD_ACTIVATION_SIGMOID: return card_sigmoid(x);
    default: return x * card_sigmoid(steepness * x);
    }
}

/* Variants are constants, so that the loop over the lanes is straight. */
SIM_INLINE void glu_runs(const struct sim_step *step, uint32_t begin, uint32_t end, unsigned activation, int weighted,
                         int limited)
{
    const struct card_descriptor *d = step->d;
    const uint32_t runs = runs_of_row(d);
    const int broadcast = (d->flags & CARD_FLAG_BROADCAST) != 0;
    const float limit = sim_step_float(step, 0), steepness = sim_step_float(step, 1);
    for (uint32_t item = begin; item < end; item++) {
        const struct run run = run_of(d, runs, item);
        float pad[2][LANES], lane[LANES];
        if (broadcast)
            for (unsigned l = 0; l < LANES; l++) pad[0][l] = ((const float *)step->src)[run.row];
        const float *src = broadcast ? pad[0] : lanes_at((const float *)step->src + run.at, run.n, pad[0]);
        const float *weight = weighted ? lanes_at((const float *)step->weight + run.at, run.n, pad[1]) : src;
        for (unsigned l = 0; l < LANES; l++) {
            float x = src[l], y = weight[l];
            x = limited ? card_select(x > limit, limit, x) : x;
            y = limited ? card_select(y > limit, limit, card_select(y < -limit, -limit, y)) : y;
            y = activation == CARD_ACTIVATION_SWIGLU_OAI ? y + 1.0f : y;
            x = activate(activation, x, steepness);
            lane[l] = one_nan(weighted ? x * y : x);
        }
        lanes_put((float *)step->dst + run.at, lane, run.n);
    }
}

SIM_INLINE void glu_variant(const struct sim_step *step, uint32_t begin, uint32_t end, unsigned activation)
{
    const int limited = sim_step_float(step, 0) != 0.0f;
    if (step->weight && limited)
        glu_runs(step, begin, end, activation, 1, 1);
    else if (step->weight)
        glu_runs(step, begin, end, activation, 1, 0);
    else
        glu_runs(step, begin, end, activation, 0, limited);
}

SIM_CLONES
static void glu_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    switch (step->d->format) {
    case CARD_ACTIVATION_SILU: glu_variant(step, begin, end, CARD_ACTIVATION_SILU); break;
    case CARD_ACTIVATION_GELU: glu_variant(step, begin, end, CARD_ACTIVATION_GELU); break;
    case CARD_ACTIVATION_GELU_ERF: glu_variant(step, begin, end, CARD_ACTIVATION_GELU_ERF); break;
    case CARD_ACTIVATION_RELU: glu_variant(step, begin, end, CARD_ACTIVATION_RELU); break;
    case CARD_ACTIVATION_SIGMOID: glu_variant(step, begin, end, CARD_ACTIVATION_SIGMOID); break;
    default: glu_variant(step, begin, end, CARD_ACTIVATION_SWIGLU_OAI); break;
    }
}

void sim_glu(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    run_rows(pool, step, 30, glu_part);
}

/* ---- ADD ---- */

SIM_CLONES
static void add_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t runs = runs_of_row(step->d);
    const float factor = sim_step_float(step, 0);
    for (uint32_t item = begin; item < end; item++) {
        const struct run run = run_of(step->d, runs, item);
        const size_t of_weight = sim_step_has(step, CARD_FLAG_BROADCAST) ? run.column : run.at;
        float pad[2][LANES], lane[LANES];
        const float *x = lanes_at((const float *)step->src + run.at, run.n, pad[0]);
        const float *y = lanes_at((const float *)step->weight + of_weight, run.n, pad[1]);
        for (unsigned l = 0; l < LANES; l++) lane[l] = one_nan(card_fma(factor, y[l], x[l]));
        lanes_put((float *)step->dst + run.at, lane, run.n);
    }
}

void sim_add(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    run_rows(pool, step, 2, add_part);
}

/* ---- SCALE ---- */

SIM_CLONES
static void scale_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t runs = runs_of_row(step->d);
    const float factor = sim_step_float(step, 0);
    const float *of_token = step->weight;
    for (uint32_t item = begin; item < end; item++) {
        const struct run run = run_of(step->d, runs, item);
        float pad[LANES], lane[LANES];
        const float *x = lanes_at((const float *)step->src + run.at, run.n, pad);
        const float second = of_token ? of_token[run.row] : 1.0f; /* by 1 nothing changes */
        for (unsigned l = 0; l < LANES; l++) lane[l] = one_nan(x[l] * factor * second);
        lanes_put((float *)step->dst + run.at, lane, run.n);
    }
}

void sim_scale(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    run_rows(pool, step, 2, scale_part);
}

/* ---- SOFT_CAP ---- */

SIM_CLONES
static void soft_cap_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t runs = runs_of_row(step->d);
    const float cap = sim_step_float(step, 0), inverse = card_recip(cap);
    for (uint32_t item = begin; item < end; item++) {
        const struct run run = run_of(step->d, runs, item);
        float pad[LANES], lane[LANES];
        const float *x = lanes_at((const float *)step->src + run.at, run.n, pad);
        for (unsigned l = 0; l < LANES; l++) lane[l] = one_nan(cap * card_tanh(x[l] * inverse));
        lanes_put((float *)step->dst + run.at, lane, run.n);
    }
}

void sim_soft_cap(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    run_rows(pool, step, 30, soft_cap_part);
}

/* ---- DECAY ---- */

SIM_CLONES
static void decay_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t runs = runs_of_row(step->d);
    for (uint32_t item = begin; item < end; item++) {
        const struct run run = run_of(step->d, runs, item);
        float pad[3][LANES], lane[LANES];
        const float *x = lanes_at((const float *)step->src + run.at, run.n, pad[0]);
        const float *bias = lanes_at((const float *)step->aux + run.column, run.n, pad[1]);
        const float *weight = lanes_at((const float *)step->weight + run.column, run.n, pad[2]);
        for (unsigned l = 0; l < LANES; l++) lane[l] = one_nan(weight[l] * card_softplus(x[l] + bias[l]));
        lanes_put((float *)step->dst + run.at, lane, run.n);
    }
}

void sim_decay(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    run_rows(pool, step, 40, decay_part);
}
