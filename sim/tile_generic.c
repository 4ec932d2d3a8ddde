/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tile kernel for any processor. A block of weights (16 rows, 64 to 256 columns) is unpacked once to 16-bit integers
 * and then meets every row of activations.
 *
 * Vectors here are GNU C vector types: lane 2r + k of a u16x16 pair belongs to row r, and compilers lower them to what
 * the processor has. Products are taken modulo 2^16 and added there as long as no exact sum can leave 16 bits (`run`
 * below), which keeps the integers exact with half the width of 32-bit products.
 */
#include "kernels/abi/card_math.h"
#include "sim/lanes.h"
#include "sim/tile_kernels.h"
#include "sim/unpack.h"

#include <string.h>

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

/* One tile for one format: everything after acc is a constant of the format. */
SIM_INLINE void tile_rows(const uint8_t *tile, uint32_t blocks, uint32_t groups, const struct act_row *rows, uint32_t n,
                          float (*acc)[CARD_TILE_ROWS], unsigned format, unsigned block_groups, unsigned parts,
                          unsigned run, int has_minimum)
{
    struct unpacked_block block;
    for (uint32_t b = 0; b < blocks; b++) {
        unpack_block(format, tile + (size_t)b * card_block_bytes(format), &block);
        /* Columns past the activations' padding to 64 are zeros of the weights' padding to 256. */
        const uint32_t first = b * block_groups, left = groups - first < block_groups ? groups - first : block_groups;
        for (uint32_t i = 0; i < n; i++) {
            block_token(&block, left, parts, run, has_minimum, rows[i].value + (size_t)first * CARD_GROUP_COLS,
                        rows[i].scale + first, rows[i].sum + first, acc[i]);
        }
    }
}

/*
 * run: the largest |weight| x 127 x products in a lane must stay below 2^15: 15 x 127 x 16, 31 x 127 x 8, 32 x 127 x 8,
 * 128 x 127 x 2, 12 x 127 x 16 (MXFP4).
 */
#define TILE(format, block_groups, parts, run, has_minimum)                                                            \
    case format: tile_rows(tile, blocks, groups, rows, n, acc, format, block_groups, parts, run, has_minimum); break
SIM_CLONES
void tile_generic(unsigned format, const uint8_t *tile, uint32_t blocks, uint32_t groups, const struct act_row *rows,
                  uint32_t n, float (*acc)[CARD_TILE_ROWS])
{
    switch (format) {
        TILE(CARD_FORMAT_INT4, 2, 1, 16, 0);
        TILE(CARD_FORMAT_INT4_MIN, 2, 1, 16, 1);
        TILE(CARD_FORMAT_INT8, 2, 1, 2, 0);
        TILE(CARD_FORMAT_INT8_MIN, 2, 1, 2, 1);
        TILE(CARD_FORMAT_Q4_K, 8, 1, 16, 1);
        TILE(CARD_FORMAT_Q5_K, 8, 1, 8, 1);
        TILE(CARD_FORMAT_Q6_K, 8, 2, 8, 0);
        TILE(CARD_FORMAT_MXFP4, 4, 1, 16, 0);
    default: break;
    }
}
