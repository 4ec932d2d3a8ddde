/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/scores.h"

#include "kernels/abi/card_math.h"
#include "sim/quantize.h"

#include <string.h>

SIM_CLONES
static void quantize_query(const float *x, uint32_t n, int8_t *q, float *scale, int32_t *sum)
{
    for (uint32_t g = 0; g < kv_groups(n); g++) {
        const uint32_t from = g * CARD_GROUP_COLS, left = n - from < CARD_GROUP_COLS ? n - from : CARD_GROUP_COLS;
        quantize_group(x + from, left, q + from, scale + g, sum + g);
    }
}

void query_make(unsigned format, uint32_t dims, const float *x, void *to)
{
    if (!kv_is_integer(format)) return;
    const size_t groups = kv_groups(dims);
    float *scale = to;
    int32_t *sum = (int32_t *)(void *)(scale + groups);
    quantize_query(x, dims, (int8_t *)(void *)(sum + groups), scale, sum);
}

/* ---- keys ---- */

size_t page_keys_bytes(unsigned format, uint32_t dims)
{
    if (format == CARD_FORMAT_F32) return 0;
    if (format == CARD_FORMAT_F16) return (size_t)CARD_PAGE_TOKENS * dims * sizeof(float);
    return CARD_PAGE_TOKENS / CARD_TILE_ROWS * kv_tile_bytes(format, dims);
}

struct page_keys page_keys_read(const struct sim_step *step, const uint8_t *block, uint32_t dims, slot_set slots,
                                void *scratch)
{
    const unsigned format = step->d->format;
    struct page_keys keys = {
        .format = format, .dims = dims, .kernels = step->page_kernels, .tile_kernel = step->tile_kernel};
    if (!kv_is_integer(format)) {
        keys.floats = kv_read_floats(step->page_kernels, block, format, dims, dims, slots, scratch);
        return keys;
    }
    keys.tiles = scratch;
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s += CARD_TILE_ROWS) {
        uint8_t *tile = (uint8_t *)scratch + s / CARD_TILE_ROWS * kv_tile_bytes(format, dims);
        if (slots >> s & ((1u << CARD_TILE_ROWS) - 1)) kv_read_tile(block, format, dims, s, tile);
    }
    return keys;
}

/* ---- scores ---- */

/* The scores of the 16 slots from s on. */
SIM_CLONES
static void scale_scores(float (*score)[CARD_PAGE_TOKENS], uint32_t n, uint32_t s, float (*from)[CARD_TILE_ROWS],
                         float scale)
{
    for (uint32_t q = 0; q < n; q++) {
        for (unsigned l = 0; l < CARD_TILE_ROWS; l++) score[q][s + l] = from[q][l] * scale;
    }
}

SIM_CLONES
static void scale_all(float (*score)[CARD_PAGE_TOKENS], uint32_t n, float scale)
{
    for (uint32_t q = 0; q < n; q++) {
        for (unsigned s = 0; s < CARD_PAGE_TOKENS; s++) score[q][s] *= scale;
    }
}

/* What ATTENTION computes of integers is what a quantized matmul computes: keys are the rows of the matrix. */
static void integer_scores(const struct page_keys *keys, const struct queries *queries, slot_set slots, float scale,
                           float (*score)[CARD_PAGE_TOKENS])
{
    const unsigned format = kv_tile_format(keys->format);
    const uint32_t groups = kv_groups(keys->dims);
    const uint64_t tile_bytes = kv_tile_bytes(keys->format, keys->dims);
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s += CARD_TILE_ROWS) {
        if (!(slots >> s & ((1u << CARD_TILE_ROWS) - 1))) continue;
        float acc[PAGE_QUERIES][CARD_TILE_ROWS];
        memset(acc, 0, queries->n * sizeof acc[0]);
        keys->tile_kernel(format, keys->tiles + s / CARD_TILE_ROWS * tile_bytes, (groups + 1) / 2, groups, queries->row,
                          queries->n, acc);
        scale_scores(score, queries->n, s, acc, scale);
    }
}

void page_scores(const struct page_keys *keys, const struct queries *queries, slot_set slots, float scale,
                 float (*score)[CARD_PAGE_TOKENS])
{
    if (kv_is_integer(keys->format)) {
        integer_scores(keys, queries, slots, scale, score);
        return;
    }
    if (keys->halves)
        keys->kernels->dots_halves(queries->floats, queries->n, keys->halves, keys->dims, slots, score);
    else
        keys->kernels->dots(queries->floats, queries->n, keys->floats.at, keys->dims, slots, score);
    scale_all(score, queries->n, scale);
}
