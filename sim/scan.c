/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What remembers a sequence in a state instead of in pages: SCAN (gated delta rule) and CONV. kernels/README.md is the
 * spec. Tokens are taken in the order of the batch table, so a state may belong to any of them.
 */
#include "kernels/abi/card_math.h"
#include "sim/internal.h"
#include "sim/lanes.h"

#include <string.h>

/* ---- SCAN: items are (head, run of columns of its state); a column meets no other ---- */

#define SCAN_COLUMNS 32u

/* One token's part in one head. */
struct scan_token {
    const float *query, *key; /* [rows] */
    const float *decay;       /* [rows] or [1] */
    float beta;
    uint32_t rows, stride; /* of the state */
};

/* state[i][0..n) *= exp(decay): made only where it changes. */
SIM_INLINE float decay_of(const struct scan_token *token, uint32_t i, int each, float before)
{
    return each || i == 0 ? card_exp(token->decay[i]) : before;
}

/* Columns [0, n) of a state from its first row on; value and dst: the same columns. n is a constant where it matters. */
SIM_INLINE void scan_columns(const struct scan_token *token, float *state, const float *value, float *dst, uint32_t n,
                             int each)
{
    float u[SCAN_COLUMNS] = {0}, o[SCAN_COLUMNS] = {0}, delta[SCAN_COLUMNS];
    float decay = 0.0f;
    for (uint32_t i = 0; i < token->rows; i++) {
        float *row = state + (size_t)i * token->stride;
        decay = decay_of(token, i, each, decay);
        const float key = token->key[i];
        for (uint32_t j = 0; j < n; j++) {
            row[j] *= decay;
            u[j] = card_fma(key, row[j], u[j]);
        }
    }
    for (uint32_t j = 0; j < n; j++) delta[j] = (value[j] - u[j]) * token->beta;
    for (uint32_t i = 0; i < token->rows; i++) {
        float *row = state + (size_t)i * token->stride;
        const float key = token->key[i], query = token->query[i];
        for (uint32_t j = 0; j < n; j++) {
            const float s = card_fma(key, delta[j], row[j]);
            o[j] = card_fma(query, s, o[j]);
            row[j] = one_nan(s);
        }
    }
    for (uint32_t j = 0; j < n; j++) dst[j] = one_nan(o[j]);
}

SIM_CLONES
static void scan_run(const struct sim_step *step, uint32_t head, uint32_t column)
{
    const struct card_descriptor *d = step->d;
    const uint32_t rows = d->cols, cols = d->param[1], key_heads = d->param[2];
    const uint32_t n = cols - column < SCAN_COLUMNS ? cols - column : SCAN_COLUMNS;
    const uint32_t key_head = d->flags & CARD_FLAG_INTERLEAVED ? head % key_heads : head / (d->rows / key_heads);
    const int each = (d->flags & CARD_FLAG_EACH) != 0;
    for (uint32_t t = 0; t < d->tokens; t++) {
        const struct card_batch_token *entry = sim_step_batch(step) + t;
        const size_t of_head = (size_t)t * d->rows + head, of_key = ((size_t)t * key_heads + key_head) * rows;
        const struct scan_token token = {
            .query = (const float *)step->src + of_key,
            .key = (const float *)step->weight + of_key,
            .decay = (const float *)step->e_weight + of_head * (each ? rows : 1),
            .beta = ((const float *)step->e_aux)[of_head],
            .rows = rows,
            .stride = cols,
        };
        float *state = (float *)step->e_dst + ((size_t)entry->state * d->rows + head) * rows * cols + column;
        const float *value = (const float *)step->e_src + of_head * cols + column;
        float *dst = (float *)step->dst + of_head * cols + column;
        if (entry->position == 0) {
            for (uint32_t i = 0; i < rows; i++) memset(state + (size_t)i * cols, 0, n * sizeof *state);
        }
        if (n == SCAN_COLUMNS)
            scan_columns(&token, state, value, dst, SCAN_COLUMNS, each);
        else
            scan_columns(&token, state, value, dst, n, each);
    }
}

static void scan_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const uint32_t runs = (step->d->param[1] + SCAN_COLUMNS - 1) / SCAN_COLUMNS;
    for (uint32_t i = begin; i < end; i++) scan_run(step, i / runs, i % runs * SCAN_COLUMNS);
}

void sim_scan(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    const struct card_descriptor *d = step->d;
    const uint32_t runs = (d->param[1] + SCAN_COLUMNS - 1) / SCAN_COLUMNS;
    pool_run(pool, d->rows * runs, sim_grain(3ull * d->tokens * d->cols * SCAN_COLUMNS), scan_part, (void *)step);
}

/* ---- CONV: items are runs of 16 channels ---- */

#define CONV_WIDTH 8u

/* What a run of channels sees: input[0] is the oldest. */
struct conv_window {
    float input[CONV_WIDTH][LANES];
};

/* The n <= 16 floats at x, bits as they are, then zeros. */
SIM_INLINE void lanes_copy(float lane[LANES], const float *x, uint32_t n)
{
    const float *from = lanes_at(x, n, lane);
    if (from != lane) memcpy(lane, from, LANES * sizeof *lane);
}

SIM_INLINE void conv_token(struct conv_window *window, const float (*weight)[LANES], const float *bias, uint32_t width,
                           const float *src, float *dst, uint32_t n)
{
    float acc[LANES] = {0};
    lanes_copy(window->input[width - 1], src, n);
    for (uint32_t k = 0; k < width; k++) {
        for (unsigned l = 0; l < LANES; l++) acc[l] = card_fma(weight[k][l], window->input[k][l], acc[l]);
    }
    if (bias)
        for (unsigned l = 0; l < LANES; l++) acc[l] += bias[l];
    for (unsigned l = 0; l < LANES; l++) acc[l] = one_nan(acc[l]);
    lanes_put(dst, acc, n);
    memmove(window->input[0], window->input[1], (width - 1) * sizeof window->input[0]);
}

SIM_CLONES
static void conv_run(const struct sim_step *step, uint32_t channel)
{
    const struct card_descriptor *d = step->d;
    const struct card_batch_token *batch = sim_step_batch(step);
    const uint32_t width = d->param[1], n = d->cols - channel < LANES ? d->cols - channel : LANES;
    float weight[CONV_WIDTH][LANES] = {{0}}, bias[LANES];
    struct conv_window window;
    for (uint32_t l = 0; l < n; l++) {
        for (uint32_t k = 0; k < width; k++)
            weight[k][l] = ((const float *)step->weight)[(channel + l) * (size_t)width + k];
    }
    if (step->e_src) lanes_copy(bias, (const float *)step->e_src + channel, n);
    for (uint32_t t = 0; t < d->tokens; t++) {
        float *state = (float *)step->e_dst + (size_t)batch[t].state * (width - 1) * d->cols + channel;
        if (batch[t].position == 0) {
            memset(&window, 0, sizeof window);
        } else if (t == 0 || batch[t].state != batch[t - 1].state) {
            for (uint32_t k = 0; k + 1 < width; k++) lanes_copy(window.input[k], state + (size_t)k * d->cols, n);
        }
        const size_t at = (size_t)t * d->cols + channel;
        conv_token(&window, weight, step->e_src ? bias : NULL, width, (const float *)step->src + at,
                   (float *)step->dst + at, n);
        if (t + 1 < d->tokens && batch[t + 1].state == batch[t].state) continue;
        for (uint32_t k = 0; k + 1 < width; k++)
            memcpy(state + (size_t)k * d->cols, window.input[k], n * sizeof *state);
    }
}

static void conv_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    for (uint32_t i = begin; i < end; i++) conv_run(job, i * LANES);
}

void sim_conv(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    const struct card_descriptor *d = step->d;
    const uint64_t work = (uint64_t)d->tokens * d->param[1] * LANES;
    pool_run(pool, (d->cols + LANES - 1) / LANES, sim_grain(work), conv_part, (void *)step);
}
