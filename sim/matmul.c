/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MATMUL and EXPERT_MATMUL. Items are tiles: a tile's weights meet every token of a chunk (tile_kernels.h) before the next
 * tile's, so weights cross memory once per chunk.
 */
#include "kernels/abi/card_math.h"
#include "sim/act_panel.h"
#include "sim/internal.h"
#include "sim/lanes.h"
#include "sim/tile_kernels.h"

#include <string.h>

#define TOKEN_CHUNK PANEL_ROWS

/* Tiles whose results of one token are gathered before they are stored. */
#define ROW_TILES 64u

/* Tiles that meet one panel before the next one does: they stay in the second cache level, and so does the panel. */
#define TILES_TOGETHER 8u

/* Quantized activations, and how the job's output rows name them: row i of the output takes row i / divisor. */
struct activations {
    const int8_t *value;
    const float *scale;
    const int32_t *sum;
    const float *floats; /* instead, when the weights are F32 */
    uint32_t divisor;
};

struct matmul {
    const struct card_descriptor *d;
    const struct sim_memory *memory;
    tile_kernel *kernel;
    row_kernel *row_kernel;      /* NULL: this kernel has none, or tiles do not follow each other in one bank */
    panel_kernel *panel_kernel;  /* NULL: not for so few rows, or not with this kernel */
    const struct act_cell *cell; /* for panel_kernel */
    struct activations act;
    float *dst;        /* f32[output rows][R] */
    const float *bias; /* or NULL */
    uint32_t banks;    /* over which a matrix is dealt */
    uint32_t blocks;   /* of a tile */
    uint32_t groups;   /* of 32 in an activation row */
};

/* Rows of the output that a call computes: order[0..n), or first, first + 1, ... if order is NULL. */
struct row_list {
    const uint32_t *order;
    uint32_t first, n;
};

SIM_INLINE uint32_t output_row(const struct row_list *rows, uint32_t i)
{
    return rows->order ? rows->order[i] : rows->first + i;
}

/* What is stored for one feature: sum, then bias, then what was there. */
SIM_INLINE float finished(float sum, int biased, float bias, int added, float there)
{
    sum = biased ? sum + bias : sum;
    return one_nan(added ? there + sum : sum);
}

/* A tile's features of one row. */
SIM_INLINE void store_features(float *dst, const float *acc, const float *bias, uint32_t features, int biased,
                               int added)
{
    float pad[2][LANES], lane[LANES];
    const float *by = biased ? lanes_at(bias, features, pad[0]) : acc;
    const float *there = added ? lanes_at(dst, features, pad[1]) : acc;
    for (unsigned l = 0; l < LANES; l++) lane[l] = finished(acc[l], biased, by[l], added, there[l]);
    lanes_put(dst, lane, features);
}

/* The same of the rows of a list. Variants are constants, so that the loop over the lanes is straight. */
SIM_INLINE void store_variant(const struct matmul *m, const struct row_list *rows, uint32_t first, uint32_t features,
                              float (*acc)[CARD_TILE_ROWS], int biased, int added)
{
    const float *bias = biased ? m->bias + first : NULL;
    for (uint32_t i = 0; i < rows->n; i++)
        store_features(m->dst + (size_t)output_row(rows, i) * m->d->rows + first, acc[i], bias, features, biased,
                       added);
}

SIM_CLONES
static void store_rows(const struct matmul *m, const struct row_list *rows, uint32_t first, uint32_t features,
                       float (*acc)[CARD_TILE_ROWS])
{
    const int added = (m->d->flags & CARD_FLAG_ADD) != 0;
    if (m->bias)
        store_variant(m, rows, first, features, acc, 1, added);
    else if (added)
        store_variant(m, rows, first, features, acc, 0, 1);
    else
        store_variant(m, rows, first, features, acc, 0, 0);
}

/* Of the last tile fewer than CARD_TILE_ROWS. */
static uint32_t features_of(const struct matmul *m, uint32_t tile)
{
    const uint32_t left = m->d->rows - tile * CARD_TILE_ROWS;
    return left < CARD_TILE_ROWS ? left : CARD_TILE_ROWS;
}

static const uint8_t *quantized_at(const struct matmul *m, card_addr matrix, uint32_t tile)
{
    const uint64_t tile_bytes = (uint64_t)m->blocks * card_block_bytes(m->d->format);
    return sim_step_tile(m->memory, matrix, tile, m->banks, tile_bytes);
}

static void quantized_tile(const struct matmul *m, card_addr matrix, uint32_t tile, const struct row_list *rows)
{
    const uint8_t *at = quantized_at(m, matrix, tile);
    for (uint32_t from = 0; from < rows->n; from += TOKEN_CHUNK) {
        float acc[TOKEN_CHUNK][CARD_TILE_ROWS];
        struct row_list chunk = {.order = rows->order ? rows->order + from : NULL, .first = rows->first + from};
        chunk.n = rows->n - from < TOKEN_CHUNK ? rows->n - from : TOKEN_CHUNK;
        struct act_row act[TOKEN_CHUNK];
        memset(acc, 0, chunk.n * sizeof acc[0]);
        for (uint32_t i = 0; i < chunk.n; i++) {
            const size_t group = (size_t)(output_row(&chunk, i) / m->act.divisor) * m->groups;
            act[i] = (struct act_row){m->act.value + group * CARD_GROUP_COLS, m->act.scale + group, m->act.sum + group};
        }
        m->kernel(m->d->format, at, m->blocks, m->groups, act, chunk.n, acc);
        store_rows(m, &chunk, tile * CARD_TILE_ROWS, features_of(m, tile), acc);
    }
}

/* n results of one row of the output, from feature `first` on. */
static void store_row(const struct matmul *m, uint32_t row, uint32_t first, uint32_t n, float (*acc)[CARD_TILE_ROWS])
{
    const struct row_list rows = {.first = row, .n = 1};
    for (uint32_t i = 0; i < n; i += CARD_TILE_ROWS)
        store_rows(m, &rows, first + i, n - i < CARD_TILE_ROWS ? n - i : CARD_TILE_ROWS, acc + i / CARD_TILE_ROWS);
}

/* Tiles [begin, end) of a matrix in one bank, of one row of the output. */
static void row_tiles(const struct matmul *m, card_addr matrix, uint32_t begin, uint32_t end, uint32_t row)
{
    const size_t group = (size_t)(row / m->act.divisor) * m->groups;
    const struct act_row act = {m->act.value + group * CARD_GROUP_COLS, m->act.scale + group, m->act.sum + group};
    float acc[ROW_TILES][CARD_TILE_ROWS];
    for (uint32_t t = begin; t < end; t += ROW_TILES) {
        const uint32_t tiles = end - t < ROW_TILES ? end - t : ROW_TILES, first = t * CARD_TILE_ROWS;
        const uint32_t left = m->d->rows - first;
        memset(acc, 0, tiles * sizeof acc[0]);
        m->row_kernel(m->d->format, quantized_at(m, matrix, t), tiles, m->blocks, m->groups, &act, acc);
        store_row(m, row, first, left < tiles * CARD_TILE_ROWS ? left : tiles * CARD_TILE_ROWS, acc);
    }
}

/* Results of the tiles that meet a panel together. */
struct panel_results {
    float acc[TILES_TOGETHER][PANEL_ROWS][CARD_TILE_ROWS];
};

SIM_INLINE void store_panel_variant(const struct matmul *m, const struct row_list *rows, uint32_t begin, uint32_t end,
                                    const struct panel_results *results, int biased, int added)
{
    for (uint32_t i = 0; i < rows->n; i++) {
        float *row = m->dst + (size_t)(rows->first + i) * m->d->rows;
        for (uint32_t tile = begin; tile < end; tile++) {
            const uint32_t first = tile * CARD_TILE_ROWS;
            store_features(row + first, results->acc[tile - begin][i], biased ? m->bias + first : NULL,
                           features_of(m, tile), biased, added);
        }
    }
}

/* Row after row: what is written of a row lies together, where a tile alone would write a word of each of 64 rows. */
SIM_CLONES
static void store_panel(const struct matmul *m, const struct row_list *rows, uint32_t begin, uint32_t end,
                        const struct panel_results *results)
{
    const int added = (m->d->flags & CARD_FLAG_ADD) != 0;
    if (m->bias)
        store_panel_variant(m, rows, begin, end, results, 1, added);
    else if (added)
        store_panel_variant(m, rows, begin, end, results, 0, 1);
    else
        store_panel_variant(m, rows, begin, end, results, 0, 0);
}

/* Where a tile's results will be written: brought to the second cache level while the kernel computes them. */
static void prefetch_rows(const struct matmul *m, const struct row_list *rows, uint32_t tile)
{
    const float *dst = m->dst + (size_t)rows->first * m->d->rows + (size_t)tile * CARD_TILE_ROWS;
    for (uint32_t i = 0; i < rows->n; i++) __builtin_prefetch(dst + (size_t)i * m->d->rows, 1, 2);
}

/* Rows [rows->first, + n) are a panel. */
static void panel_of_tiles(const struct matmul *m, uint32_t begin, uint32_t end, const struct row_list *rows)
{
    struct panel_results results;
    const struct act_cell *cell = act_panel_at(m->cell, rows->first, m->groups);
    for (uint32_t tile = begin; tile < end; tile++) {
        float(*acc)[CARD_TILE_ROWS] = results.acc[tile - begin];
        prefetch_rows(m, rows, tile);
        memset(acc, 0, rows->n * sizeof acc[0]);
        m->panel_kernel(m->d->format, quantized_at(m, m->d->weight, tile), m->blocks, m->groups, cell, rows->n, acc);
    }
    store_panel(m, rows, begin, end, &results);
}

static void panel_tiles(const struct matmul *m, uint32_t begin, uint32_t end)
{
    for (uint32_t t = begin; t < end; t += TILES_TOGETHER) {
        const uint32_t last = end - t < TILES_TOGETHER ? end : t + TILES_TOGETHER;
        for (uint32_t from = 0; from < m->d->tokens; from += PANEL_ROWS) {
            const uint32_t left = m->d->tokens - from;
            const struct row_list rows = {.first = from, .n = left < PANEL_ROWS ? left : PANEL_ROWS};
            panel_of_tiles(m, t, last, &rows);
        }
    }
}

SIM_CLONES
static float float_dot(const float *a, const float *b, uint32_t n) { return lanes_dot(a, b, n); }

/* The same 16 output features from a matrix of plain floats. */
static void float_tile(const struct matmul *m, card_addr matrix, uint32_t tile, const struct row_list *rows)
{
    const uint32_t n = m->d->cols, first = tile * CARD_TILE_ROWS, features = features_of(m, tile);
    const uint64_t tile_bytes = sizeof(float) * CARD_TILE_ROWS * (uint64_t)n;
    const int added = (m->d->flags & CARD_FLAG_ADD) != 0;
    const float *at = (const float *)(const void *)sim_step_tile(m->memory, matrix, tile, m->banks, tile_bytes);
    for (uint32_t r = 0; r < features; r++) {
        for (uint32_t i = 0; i < rows->n; i++) {
            const uint32_t row = output_row(rows, i);
            const float *x = m->act.floats + (size_t)(row / m->act.divisor) * n;
            const float sum = float_dot(at + (size_t)r * n, x, n);
            float *dst = m->dst + (size_t)row * m->d->rows + first + r;
            *dst = finished(sum, m->bias != NULL, m->bias ? m->bias[first + r] : 0.0f, added, *dst);
        }
    }
}

static void tiles_of_matrix(const struct matmul *m, card_addr matrix, uint32_t begin, uint32_t end,
                            const struct row_list *rows)
{
    if (m->row_kernel && rows->n == 1) {
        row_tiles(m, matrix, begin, end, output_row(rows, 0));
        return;
    }
    for (uint32_t tile = begin; tile < end; tile++) {
        if (m->d->format == CARD_FORMAT_F32)
            float_tile(m, matrix, tile, rows);
        else
            quantized_tile(m, matrix, tile, rows);
    }
}

/* src_rows: rows of the activations. */
static struct matmul matmul_of(const struct sim_step *step, uint32_t banks, uint32_t src_rows, uint32_t divisor)
{
    const struct card_descriptor *d = step->d;
    struct matmul m = {.d = d, .memory = step->memory, .kernel = step->tile_kernel, .dst = step->dst, .banks = banks};
    m.act.divisor = divisor;
    if (d->format == CARD_FORMAT_F32) {
        m.act.floats = step->src;
        return m;
    }
    const uint8_t *src = step->src;
    m.act.value = (const int8_t *)src;
    m.act.scale = (const float *)(const void *)(src + card_act_scale_offset(src_rows, d->cols));
    m.act.sum = (const int32_t *)(const void *)(src + card_act_sum_offset(src_rows, d->cols));
    m.row_kernel = banks > 1 ? NULL : row_kernel_of(step->tile_kernel);
    m.groups = (uint32_t)card_act_groups(d->cols);
    m.blocks = (uint32_t)(card_round_up(d->cols, card_block_cols(d->format)) / card_block_cols(d->format));
    return m;
}

static uint32_t tiles_of(const struct card_descriptor *d)
{
    return (uint32_t)(card_round_up(d->rows, CARD_TILE_ROWS) / CARD_TILE_ROWS);
}

/* ---- MATMUL: items are tiles ---- */

static void dense_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct matmul *m = job;
    const struct row_list rows = {.n = m->d->tokens};
    if (m->panel_kernel)
        panel_tiles(m, begin, end);
    else
        tiles_of_matrix(m, m->d->weight, begin, end, &rows);
}

static int is_packed(const struct card_descriptor *d)
{
    return d->format != CARD_FORMAT_F32 && d->tokens >= PANEL_LEAST_ROWS;
}

uint64_t sim_matmul_scratch(const struct card_descriptor *d, unsigned threads)
{
    (void)threads;
    return is_packed(d) ? act_panel_bytes(d->tokens, card_act_groups(d->cols)) : 0;
}

void sim_matmul(struct pool *pool, const struct sim_step *step, void *scratch)
{
    const struct card_descriptor *d = step->d;
    struct matmul m = matmul_of(step, d->param[0], d->tokens, 1);
    m.bias = step->aux;
    m.panel_kernel = is_packed(d) ? panel_kernel_of(step->tile_kernel) : NULL;
    if (m.panel_kernel) {
        const struct act_row first = {m.act.value, m.act.scale, m.act.sum};
        m.cell = scratch;
        act_panel_pack(pool, d->format, &first, d->tokens, m.groups, scratch);
    }
    uint64_t work = (uint64_t)CARD_TILE_ROWS * d->cols * d->tokens;
    pool_run(pool, tiles_of(d), sim_grain(work), dense_part, &m);
}

/* ---- EXPERT_MATMUL: items are (expert in use, tile); the rows of an expert are computed together ---- */

struct expert_job {
    struct matmul m;
    const struct sim_step *step;
    uint32_t tiles;
    /* Scratch: output rows sorted by expert; of the k-th expert in use, its number, and where its rows start. */
    uint32_t *order, *expert, *start;
};

/* order, expert and start (one more than experts in use) for T * P0 choices, and P1 counters while sorting. */
uint64_t sim_expert_matmul_scratch(const struct card_descriptor *d, unsigned threads)
{
    (void)threads;
    uint64_t choices = (uint64_t)d->tokens * d->param[0];
    return (3 * choices + 1 + d->param[1]) * sizeof(uint32_t);
}

/* The expert of an output row. Without choices, choice j of a token is expert j. */
static uint32_t expert_of(const struct sim_step *step, uint32_t row)
{
    const struct card_choice *choice = step->aux;
    return choice ? choice[row].expert : row % step->d->param[0];
}

/* Sorts the output rows by expert, keeping their order (counting sort); returns the number of experts in use. */
static uint32_t group_by_expert(struct expert_job *job, uint32_t *scratch)
{
    const struct card_descriptor *d = job->step->d;
    const uint32_t choices = d->tokens * d->param[0];
    job->order = scratch;
    job->expert = job->order + choices;
    job->start = job->expert + choices;
    uint32_t *count = job->start + choices + 1;
    memset(count, 0, d->param[1] * sizeof *count);
    for (uint32_t i = 0; i < choices; i++)
        if (expert_of(job->step, i) != CARD_NO_EXPERT) count[expert_of(job->step, i)]++;
    uint32_t in_use = 0, at = 0;
    for (uint32_t e = 0; e < d->param[1]; e++) {
        if (count[e] == 0) continue;
        job->expert[in_use] = e;
        job->start[in_use++] = at;
        at += count[e];
        count[e] = at - count[e]; /* from here: where its next row goes */
    }
    job->start[in_use] = at;
    for (uint32_t i = 0; i < choices; i++)
        if (expert_of(job->step, i) != CARD_NO_EXPERT) job->order[count[expert_of(job->step, i)]++] = i;
    return in_use;
}

static void expert_part(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct expert_job *job = opaque;
    const card_addr *slot = job->step->weight;
    const float *biases = job->step->e_src;
    for (uint32_t i = begin, next; i < end; i = next) {
        const uint32_t k = i / job->tiles, expert = job->expert[k], end_of_expert = (k + 1) * job->tiles;
        next = end < end_of_expert ? end : end_of_expert;
        const struct row_list rows = {.order = job->order + job->start[k], .n = job->start[k + 1] - job->start[k]};
        struct matmul m = job->m;
        m.bias = biases ? biases + (size_t)expert * m.d->rows : NULL;
        tiles_of_matrix(&m, slot[expert], i - k * job->tiles, next - k * job->tiles, &rows);
    }
}

void sim_expert_matmul(struct pool *pool, const struct sim_step *step, void *scratch)
{
    const struct card_descriptor *d = step->d;
    const int per_choice = (d->flags & CARD_FLAG_PER_CHOICE) != 0;
    const uint32_t src_rows = per_choice ? d->tokens * d->param[0] : d->tokens;
    struct expert_job job = {
        .m = matmul_of(step, d->param[2], src_rows, per_choice ? 1 : d->param[0]),
        .step = step,
        .tiles = tiles_of(d),
    };
    uint32_t in_use = group_by_expert(&job, scratch);
    if (in_use == 0) return;
    uint64_t work = (uint64_t)CARD_TILE_ROWS * d->cols * (d->tokens * d->param[0] / in_use);
    pool_run(pool, in_use * job.tiles, sim_grain(work), expert_part, &job);
}
