/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MATMUL and EXPERT_MATMUL. A block of weights (16 rows, 64 or 256 columns) is unpacked once to 16-bit integers and
 * then meets every token of a chunk, so weights cross memory once per chunk and unpacking costs little beside the
 * products.
 *
 * Vectors here are GNU C vector types: lane 2r + k of a u16x16 pair belongs to row r, and compilers lower them to what
 * the processor has. Products are taken modulo 2^16 and added there as long as no exact sum can leave 16 bits (`run`
 * below), which keeps the integers exact with half the width of 32-bit products.
 */
#include "kernels/abi/card_math.h"
#include "sim/internal.h"
#include "sim/lanes.h"
#include "sim/unpack.h"

#include <string.h>

#define TOKEN_CHUNK 64u

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
    struct activations act;
    float *dst;        /* f32[output rows][R] */
    const float *bias; /* or NULL */
    uint32_t blocks;   /* of a tile */
    uint32_t groups;   /* of 32 in an activation row */
};

/* ---- one block x the tokens of a chunk ---- */

/*
 * A group's 32 activations by twos: pair[8 odd + s] holds columns 4s + odd and 4s + odd + 2 as two 16-bit integers,
 * which is how unpacked weights lie in the two lanes of a row.
 */
SIM_INLINE void pair_activations(const int8_t *value, uint32_t pair[16])
{
    u16x16 quads;
    memcpy(&quads, value, sizeof quads);
    i16x16 even = (i16x16)(quads << 8) >> 8;
    i16x16 odd = (i16x16)quads >> 8;
    memcpy(pair, &even, sizeof even);
    memcpy(pair + 8, &odd, sizeof odd);
}

/* Exact dot products of 16 rows with vectors [from, to) of a group. run: how many products may be added in 16 bits. */
SIM_INLINE void dot_rows(const u16x16 (*q)[2], const uint32_t *pair, unsigned from, unsigned to, unsigned run,
                         int32_t dot[CARD_TILE_ROWS])
{
    i32x8 low = {0}, high = {0};
    SIM_UNROLL
    for (unsigned p = from; p < to; p += run) {
        u16x16 a = {0}, b = {0};
        SIM_UNROLL
        for (unsigned i = p; i < p + run; i++) {
            u32x8 both = pair[i % 2 * 8 + i / 2] + (u32x8){0};
            a += q[i][0] * (u16x16)both;
            b += q[i][1] * (u16x16)both;
        }
        low += ((i32x8)((u32x8)a << 16) >> 16) + ((i32x8)a >> 16);
        high += ((i32x8)((u32x8)b << 16) >> 16) + ((i32x8)b >> 16);
    }
    memcpy(dot, &low, sizeof low);
    memcpy(dot + 8, &high, sizeof high);
}

SIM_INLINE void add_scaled(float *restrict acc, const float *restrict scale, float by, const int32_t *restrict dot)
{
    for (unsigned r = 0; r < CARD_TILE_ROWS; r++) acc[r] = card_fma(scale[r] * by, (float)dot[r], acc[r]);
}

/* One block of one token. parts: scales of a group (2 for Q6_K). */
SIM_INLINE void block_token(const struct unpacked_block *block, unsigned groups, unsigned parts, unsigned run,
                            int has_minimum, const int8_t *value, const float *scale, const int32_t *sum, float *acc)
{
    for (unsigned g = 0; g < groups; g++) {
        uint32_t pair[16];
        int32_t dot[CARD_TILE_ROWS];
        pair_activations(value + (size_t)g * CARD_GROUP_COLS, pair);
        for (unsigned part = 0; part < parts; part++) {
            dot_rows(block->q[g], pair, 16 / parts * part, 16 / parts * (part + 1), run, dot);
            add_scaled(acc, block->scale[g * parts + part], scale[g], dot);
        }
        if (has_minimum) {
            for (unsigned r = 0; r < CARD_TILE_ROWS; r++) dot[r] = sum[g];
            add_scaled(acc, block->minimum[g], scale[g], dot);
        }
    }
}

/* Rows of the output that a call computes: order[0..n), or first, first + 1, ... if order is NULL. */
struct row_list {
    const uint32_t *order;
    uint32_t first, n;
};

SIM_INLINE uint32_t output_row(const struct row_list *rows, uint32_t i)
{
    return rows->order ? rows->order[i] : rows->first + i;
}

/* One tile x n <= TOKEN_CHUNK rows, for one format: everything after `rows` is a constant of the format. */
SIM_INLINE void tile_rows(const struct matmul *m, const uint8_t *tile, const struct row_list *rows,
                          float (*acc)[CARD_TILE_ROWS], unsigned format, unsigned block_groups, unsigned parts,
                          unsigned run, int has_minimum)
{
    struct unpacked_block block;
    const uint32_t block_bytes = card_block_bytes(format);
    for (uint32_t b = 0; b < m->blocks; b++) {
        unpack_block(format, tile + (size_t)b * block_bytes, &block);
        const uint32_t group = b * block_groups;
        /* Columns past the activations' padding to 64 are zeros of the weights' padding to 256. */
        const uint32_t left = m->groups - group < block_groups ? m->groups - group : block_groups;
        for (uint32_t i = 0; i < rows->n; i++) {
            const size_t at = (size_t)(output_row(rows, i) / m->act.divisor) * m->groups + group;
            block_token(&block, left, parts, run, has_minimum, m->act.value + at * CARD_GROUP_COLS, m->act.scale + at,
                        m->act.sum + at, acc[i]);
        }
    }
}

/*
 * run: the largest |weight| x 127 x products in a lane must stay below 2^15: 15 x 127 x 16, 31 x 127 x 8, 32 x 127 x 8,
 * 128 x 127 x 2.
 */
SIM_CLONES
static void tile_by_format(const struct matmul *m, const uint8_t *tile, const struct row_list *rows,
                           float (*acc)[CARD_TILE_ROWS])
{
    switch (m->d->format) {
    case CARD_FORMAT_INT4: tile_rows(m, tile, rows, acc, CARD_FORMAT_INT4, 2, 1, 16, 0); break;
    case CARD_FORMAT_INT4_MIN: tile_rows(m, tile, rows, acc, CARD_FORMAT_INT4_MIN, 2, 1, 16, 1); break;
    case CARD_FORMAT_INT8: tile_rows(m, tile, rows, acc, CARD_FORMAT_INT8, 2, 1, 2, 0); break;
    case CARD_FORMAT_INT8_MIN: tile_rows(m, tile, rows, acc, CARD_FORMAT_INT8_MIN, 2, 1, 2, 1); break;
    case CARD_FORMAT_Q4_K: tile_rows(m, tile, rows, acc, CARD_FORMAT_Q4_K, 8, 1, 16, 1); break;
    case CARD_FORMAT_Q5_K: tile_rows(m, tile, rows, acc, CARD_FORMAT_Q5_K, 8, 1, 8, 1); break;
    case CARD_FORMAT_Q6_K: tile_rows(m, tile, rows, acc, CARD_FORMAT_Q6_K, 8, 2, 8, 0); break;
    default: break;
    }
}

/* Stores n output features of one row: sum, then bias, then what was there. */
static void store(const struct matmul *m, uint32_t row, uint32_t first, const float *sum, uint32_t n)
{
    float *dst = m->dst + (size_t)row * m->d->rows + first;
    for (uint32_t r = 0; r < n; r++) {
        const float biased = m->bias ? sum[r] + m->bias[first + r] : sum[r];
        dst[r] = m->d->flags & CARD_FLAG_ADD ? dst[r] + biased : biased;
    }
}

static void quantized_tile(const struct matmul *m, const uint8_t *matrix, uint32_t tile, const struct row_list *rows)
{
    const uint32_t first = tile * CARD_TILE_ROWS;
    const uint32_t features = m->d->rows - first < CARD_TILE_ROWS ? m->d->rows - first : CARD_TILE_ROWS;
    const uint8_t *at = matrix + (size_t)tile * m->blocks * card_block_bytes(m->d->format);
    for (uint32_t from = 0; from < rows->n; from += TOKEN_CHUNK) {
        float acc[TOKEN_CHUNK][CARD_TILE_ROWS];
        struct row_list chunk = {.order = rows->order ? rows->order + from : NULL, .first = rows->first + from};
        chunk.n = rows->n - from < TOKEN_CHUNK ? rows->n - from : TOKEN_CHUNK;
        memset(acc, 0, chunk.n * sizeof acc[0]);
        tile_by_format(m, at, &chunk, acc);
        for (uint32_t i = 0; i < chunk.n; i++) store(m, output_row(&chunk, i), first, acc[i], features);
    }
}

SIM_CLONES
static float float_dot(const float *a, const float *b, uint32_t n) { return lanes_dot(a, b, n); }

/* The same 16 output features from a matrix of plain floats. */
static void float_tile(const struct matmul *m, const float *matrix, uint32_t tile, const struct row_list *rows)
{
    const uint32_t n = m->d->cols;
    for (uint32_t r = tile * CARD_TILE_ROWS; r < m->d->rows && r < (tile + 1) * CARD_TILE_ROWS; r++) {
        for (uint32_t i = 0; i < rows->n; i++) {
            const uint32_t row = output_row(rows, i);
            const float *x = m->act.floats + (size_t)(row / m->act.divisor) * n;
            const float sum = float_dot(matrix + (size_t)r * n, x, n);
            store(m, row, r, &sum, 1);
        }
    }
}

static void tile_of_matrix(const struct matmul *m, const void *matrix, uint32_t tile, const struct row_list *rows)
{
    if (m->d->format == CARD_FORMAT_F32)
        float_tile(m, matrix, tile, rows);
    else
        quantized_tile(m, matrix, tile, rows);
}

/* src_rows: rows of the activations. */
static struct matmul matmul_of(const struct sim_step *step, uint32_t src_rows, uint32_t divisor)
{
    const struct card_descriptor *d = step->d;
    struct matmul m = {.d = d, .dst = step->dst, .act = {.divisor = divisor}};
    if (d->format == CARD_FORMAT_F32) {
        m.act.floats = step->src;
        return m;
    }
    const uint8_t *src = step->src;
    m.act.value = (const int8_t *)src;
    m.act.scale = (const float *)(const void *)(src + card_act_scale_offset(src_rows, d->cols));
    m.act.sum = (const int32_t *)(const void *)(src + card_act_sum_offset(src_rows, d->cols));
    m.groups = (uint32_t)card_act_groups(d->cols);
    m.blocks = (uint32_t)(card_round_up(d->cols, card_block_cols(d->format)) / card_block_cols(d->format));
    return m;
}

static uint32_t tiles_of(const struct card_descriptor *d)
{
    return (uint32_t)(card_round_up(d->rows, CARD_TILE_ROWS) / CARD_TILE_ROWS);
}

/* ---- MATMUL: items are tiles ---- */

struct dense_job {
    struct matmul m;
    const void *matrix;
};

static void dense_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct dense_job *dense = job;
    const struct row_list rows = {.n = dense->m.d->tokens};
    for (uint32_t tile = begin; tile < end; tile++) tile_of_matrix(&dense->m, dense->matrix, tile, &rows);
}

void sim_matmul(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    const struct card_descriptor *d = step->d;
    struct dense_job job = {.m = matmul_of(step, d->tokens, 1), .matrix = step->weight};
    job.m.bias = d->flags & CARD_FLAG_BIAS ? step->aux : NULL;
    uint64_t work = (uint64_t)CARD_TILE_ROWS * d->cols * d->tokens;
    pool_run(pool, tiles_of(d), sim_grain(work), dense_part, &job);
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

/* Sorts the output rows by expert, keeping their order (counting sort); returns the number of experts in use. */
static uint32_t group_by_expert(struct expert_job *job, uint32_t *scratch)
{
    const struct card_descriptor *d = job->step->d;
    const struct card_choice *choice = job->step->aux;
    const uint32_t choices = d->tokens * d->param[0];
    job->order = scratch;
    job->expert = job->order + choices;
    job->start = job->expert + choices;
    uint32_t *count = job->start + choices + 1;
    memset(count, 0, d->param[1] * sizeof *count);
    for (uint32_t i = 0; i < choices; i++) count[choice[i].expert]++;
    uint32_t in_use = 0, at = 0;
    for (uint32_t e = 0; e < d->param[1]; e++) {
        if (count[e] == 0) continue;
        job->expert[in_use] = e;
        job->start[in_use++] = at;
        at += count[e];
        count[e] = at - count[e]; /* from here: where its next row goes */
    }
    job->start[in_use] = at;
    for (uint32_t i = 0; i < choices; i++) job->order[count[choice[i].expert]++] = i;
    return in_use;
}

static void expert_part(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct expert_job *job = opaque;
    const card_addr *slot = job->step->weight;
    for (uint32_t i = begin; i < end; i++) {
        const uint32_t k = i / job->tiles;
        const card_addr address = slot[job->expert[k]];
        const uint8_t *matrix = job->step->memory->bank[CARD_ADDR_BANK(address)].base + CARD_ADDR_OFFSET(address);
        const struct row_list rows = {.order = job->order + job->start[k], .n = job->start[k + 1] - job->start[k]};
        tile_of_matrix(&job->m, matrix, i % job->tiles, &rows);
    }
}

void sim_expert_matmul(struct pool *pool, const struct sim_step *step, void *scratch)
{
    const struct card_descriptor *d = step->d;
    const int per_choice = (d->flags & CARD_FLAG_PER_CHOICE) != 0;
    struct expert_job job = {
        .m = matmul_of(step, per_choice ? d->tokens * d->param[0] : d->tokens, per_choice ? 1 : d->param[0]),
        .step = step,
        .tiles = tiles_of(d),
    };
    uint32_t in_use = group_by_expert(&job, scratch);
    uint64_t work = (uint64_t)CARD_TILE_ROWS * d->cols * (d->tokens * d->param[0] / in_use);
    pool_run(pool, in_use * job.tiles, sim_grain(work), expert_part, &job);
}
