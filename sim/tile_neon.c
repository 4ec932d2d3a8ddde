/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 64-byte word of a tile is four registers: four columns of 4 rows each, a row in each 32-bit lane. SDOT multiplies
 * signed bytes and adds four products to the lane, exactly, and takes the activations' four columns from a lane of their own.
 * This file is compiled with -march=armv8.2-a+dotprod: not every compiler has these intrinsics for one function's target.
 */
#include "sim/tile_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

/* The loops over a group's words are written out: only then do the words stay in registers. */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE static inline __attribute__((always_inline))
#define QUARTERS 4

/* The weights of one group of 32 columns: word[k][v] has columns 4k..4k+3 of rows 4v..4v+3. */
struct group {
    int8x16_t word[8][QUARTERS];
    float32x4_t scale[2][QUARTERS]; /* [1]: of columns 16..31, Q6_K only */
    float32x4_t minimum[QUARTERS];
};

INLINE void load_nibbles(const uint8_t *words, struct group *g)
{
    UNROLL
    for (int j = 0; j < 4; j++) {
        UNROLL
        for (int v = 0; v < QUARTERS; v++) {
            const uint8x16_t word = vld1q_u8(words + 64 * j + 16 * v);
            g->word[2 * j][v] = vreinterpretq_s8_u8(vandq_u8(word, vdupq_n_u8(15)));
            g->word[2 * j + 1][v] = vreinterpretq_s8_u8(vshrq_n_u8(word, 4));
        }
    }
}

INLINE void subtract(int8_t offset, struct group *g)
{
    UNROLL
    for (int k = 0; k < 8; k++) {
        UNROLL
        for (int v = 0; v < QUARTERS; v++) g->word[k][v] = vsubq_s8(g->word[k][v], vdupq_n_s8(offset));
    }
}

/* Adds the bits of `mask` of the bytes of `bits`, moved left by `left` (right if negative), to a word. */
INLINE int8x16_t add_bits(int8x16_t word, const uint8_t *bits, int left, uint8_t mask)
{
    const uint8x16_t moved = vshlq_u8(vld1q_u8(bits), vdupq_n_s8((int8_t)left));
    return vorrq_s8(word, vreinterpretq_s8_u8(vandq_u8(moved, vdupq_n_u8(mask))));
}

INLINE void add_fifth_bits(const uint8_t *bits, struct group *g)
{
    UNROLL
    for (int k = 0; k < 8; k++) {
        for (int v = 0; v < QUARTERS; v++) g->word[k][v] = add_bits(g->word[k][v], bits + 16 * v, 4 - k, 16);
    }
}

INLINE void add_sixth_bits(const uint8_t *bits, struct group *g)
{
    UNROLL
    for (int k = 0; k < 8; k++) {
        for (int v = 0; v < QUARTERS; v++)
            g->word[k][v] = add_bits(g->word[k][v], bits + 64 * (k / 4) + 16 * v, 4 - 2 * (k % 4), 0x30);
    }
    subtract(32, g);
}

INLINE float32x4_t load_halves(const uint8_t *from, int v)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from + 8 * v)));
}
/* Four bytes of quarter v as 32-bit integers. */
INLINE uint32x4_t load_bytes(const uint8_t *from, int v)
{
    const uint16x8_t all = vmovl_u8(vld1_u8(from + 8 * (v / 2)));
    return vmovl_u16(v % 2 ? vget_high_u16(all) : vget_low_u16(all));
}
INLINE int32x4_t load_signed_bytes(const uint8_t *from, int v)
{
    const int16x8_t all = vmovl_s8(vreinterpret_s8_u8(vld1_u8(from + 8 * (v / 2))));
    return vmovl_s16(v % 2 ? vget_high_s16(all) : vget_low_s16(all));
}

INLINE void load_group64(unsigned format, const uint8_t *block, unsigned i, struct group *g)
{
    const int has_minimum = format == CARD_FORMAT_INT4_MIN || format == CARD_FORMAT_INT8_MIN;
    const uint8_t *words = block + (has_minimum ? 128 : 64);
    for (int v = 0; v < QUARTERS; v++) {
        g->scale[0][v] = load_halves(block + 32 * i, v);
        if (has_minimum) g->minimum[v] = load_halves(block + 64 + 32 * i, v);
    }
    if (format == CARD_FORMAT_INT4 || format == CARD_FORMAT_INT4_MIN) {
        load_nibbles(words + 256 * i, g);
        if (format == CARD_FORMAT_INT4) subtract(8, g);
        return;
    }
    UNROLL
    for (int k = 0; k < 8; k++) {
        for (int v = 0; v < QUARTERS; v++)
            g->word[k][v] = vreinterpretq_s8_u8(vld1q_u8(words + 512 * i + 64 * k + 16 * v));
    }
}

INLINE void load_group256(unsigned format, const uint8_t *block, unsigned i, struct group *g)
{
    load_nibbles(block + 320 + 256 * i, g);
    if (format == CARD_FORMAT_Q5_K) add_fifth_bits(block + 2368 + 64 * i, g);
    if (format == CARD_FORMAT_Q6_K) add_sixth_bits(block + 2368 + 128 * i, g);
    for (int v = 0; v < QUARTERS; v++) {
        const float32x4_t d = load_halves(block, v);
        if (format == CARD_FORMAT_Q6_K) {
            for (unsigned part = 0; part < 2; part++) {
                const int32x4_t scale = load_signed_bytes(block + 64 + 16 * (2 * i + part), v);
                g->scale[part][v] = vmulq_f32(d, vcvtq_f32_s32(scale));
            }
            continue;
        }
        g->scale[0][v] = vmulq_f32(d, vcvtq_f32_u32(load_bytes(block + 64 + 16 * i, v)));
        g->minimum[v] =
            vnegq_f32(vmulq_f32(load_halves(block + 32, v), vcvtq_f32_u32(load_bytes(block + 192 + 16 * i, v))));
    }
}

INLINE void load_group128(const uint8_t *block, unsigned i, struct group *g)
{
    static const int8_t values[16] = CARD_MXFP4_VALUE;
    const int8x16_t table = vld1q_s8(values);
    load_nibbles(block + 64 + 256 * i, g);
    for (int v = 0; v < QUARTERS; v++) {
        const uint32x4_t exponent = load_bytes(block + 16 * i, v);
        const uint32x4_t bits = vshlq_n_u32(vsubq_u32(exponent, vdupq_n_u32(1)), 23);
        g->scale[0][v] = vreinterpretq_f32_u32(vandq_u32(bits, vcgeq_u32(exponent, vdupq_n_u32(CARD_MXFP4_LEAST))));
        UNROLL
        for (int k = 0; k < 8; k++) g->word[k][v] = vqtbl1q_s8(table, vreinterpretq_u8_s8(g->word[k][v]));
    }
}

/* acc += (scale by) values, quarter v. */
INLINE void add_scaled(float32x4_t scale, float32x4_t by, float32x4_t values, float *acc)
{
    vst1q_f32(acc, vfmaq_f32(vld1q_f32(acc), vmulq_f32(scale, by), values));
}

INLINE void group_rows(const struct group *g, uint32_t at, int parts, int has_minimum, const struct act_row *rows,
                       uint32_t n, float (*acc)[CARD_TILE_ROWS])
{
    for (uint32_t i = 0; i < n; i++) {
        const int8x16_t first = vld1q_s8(rows[i].value + (size_t)at * CARD_GROUP_COLS);
        const int8x16_t second = vld1q_s8(rows[i].value + (size_t)at * CARD_GROUP_COLS + 16);
        const float32x4_t by = vdupq_n_f32(rows[i].scale[at]), sum = vdupq_n_f32((float)rows[i].sum[at]);
        UNROLL
        for (int v = 0; v < QUARTERS; v++) {
            int32x4_t dot = vdotq_laneq_s32(vdupq_n_s32(0), g->word[0][v], first, 0), other = vdupq_n_s32(0);
            dot = vdotq_laneq_s32(dot, g->word[1][v], first, 1);
            dot = vdotq_laneq_s32(dot, g->word[2][v], first, 2);
            dot = vdotq_laneq_s32(dot, g->word[3][v], first, 3);
            other = vdotq_laneq_s32(other, g->word[4][v], second, 0);
            other = vdotq_laneq_s32(other, g->word[5][v], second, 1);
            other = vdotq_laneq_s32(other, g->word[6][v], second, 2);
            other = vdotq_laneq_s32(other, g->word[7][v], second, 3);
            if (parts == 1) dot = vaddq_s32(dot, other);
            add_scaled(g->scale[0][v], by, vcvtq_f32_s32(dot), acc[i] + 4 * v);
            if (parts == 2) add_scaled(g->scale[1][v], by, vcvtq_f32_s32(other), acc[i] + 4 * v);
            if (has_minimum) add_scaled(g->minimum[v], by, sum, acc[i] + 4 * v);
        }
    }
}

INLINE void tile_rows(unsigned format, unsigned block_groups, int parts, int has_minimum, const uint8_t *tile,
                      uint32_t blocks, uint32_t groups, const struct act_row *rows, uint32_t n,
                      float (*acc)[CARD_TILE_ROWS])
{
    for (uint32_t b = 0; b < blocks; b++) {
        const uint8_t *block = tile + (size_t)b * card_block_bytes(format);
        const uint32_t first = b * block_groups, left = groups - first < block_groups ? groups - first : block_groups;
        for (uint32_t i = 0; i < left; i++) {
            struct group g;
            tile_prefetch(format, block_groups, block, i);
            if (block_groups == 2)
                load_group64(format, block, i, &g);
            else if (block_groups == 4)
                load_group128(block, i, &g);
            else
                load_group256(format, block, i, &g);
            group_rows(&g, first + i, parts, has_minimum, rows, n, acc);
        }
    }
}

#define TILE(format, block_groups, parts, has_minimum)                                                                 \
    case format: tile_rows(format, block_groups, parts, has_minimum, tile, blocks, groups, rows, n, acc); break
void tile_neon(unsigned format, const uint8_t *tile, uint32_t blocks, uint32_t groups, const struct act_row *rows,
               uint32_t n, float (*acc)[CARD_TILE_ROWS])
{
    switch (format) {
        TILE(CARD_FORMAT_INT4, 2, 1, 0);
        TILE(CARD_FORMAT_INT4_MIN, 2, 1, 1);
        TILE(CARD_FORMAT_INT8, 2, 1, 0);
        TILE(CARD_FORMAT_INT8_MIN, 2, 1, 1);
        TILE(CARD_FORMAT_Q4_K, 8, 1, 1);
        TILE(CARD_FORMAT_Q5_K, 8, 1, 1);
        TILE(CARD_FORMAT_Q6_K, 8, 2, 0);
        TILE(CARD_FORMAT_MXFP4, 4, 1, 0);
    default: break;
    }
}
#endif
