/* SPDX-License-Identifier: Apache-2.0 */
/* Weight blocks of card_layout.h as 16-bit integers and float scales. */
#ifndef SLUICE_SIM_UNPACK_H
#define SLUICE_SIM_UNPACK_H

#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_math.h"
#include "sim/lanes.h"

#include <stdint.h>
#include <string.h>

typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef int16_t i16x16 __attribute__((vector_size(32)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));

/*
 * A block of up to 8 groups. q[g][2s + odd][half], lane 2r + k: column 4s + odd + 2k of group g in row 8 half + r,
 * minus the format's offset (8 for INT4, 32 for Q6_K), modulo 2^16. The weight is scale * q + minimum; scale[g] is of
 * group g, or scale[2g + i] of its i-th 16 columns (Q6_K).
 */
struct unpacked_block {
    u16x16 q[8][16][2];
    float scale[16][CARD_TILE_ROWS];
    float minimum[8][CARD_TILE_ROWS];
};

SIM_INLINE void unpack_halves(const uint8_t *from, float *to, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * (size_t)i, 2);
        to[i] = card_f16_to_f32(half);
    }
}

/* A 4-bit group: word j holds columns 8j..8j+3 in low and 8j+4..8j+7 in high nibbles. */
SIM_INLINE void unpack_group4(const uint8_t *words, uint16_t offset, u16x16 (*q)[2])
{
    for (unsigned j = 0; j < 4; j++) {
        for (unsigned half = 0; half < 2; half++) {
            u16x16 x;
            memcpy(&x, words + CARD_WORD_BYTES * j + 32 * half, sizeof x);
            q[4 * j][half] = (x & 15) - offset;
            q[4 * j + 1][half] = (x >> 8 & 15) - offset;
            q[4 * j + 2][half] = (x >> 4 & 15) - offset;
            q[4 * j + 3][half] = (x >> 12) - offset;
        }
    }
}

/* An 8-bit group: word j holds columns 4j..4j+3, signed. */
SIM_INLINE void unpack_group8(const uint8_t *words, u16x16 (*q)[2])
{
    for (unsigned j = 0; j < 8; j++) {
        for (unsigned half = 0; half < 2; half++) {
            u16x16 x;
            memcpy(&x, words + CARD_WORD_BYTES * j + 32 * half, sizeof x);
            q[2 * j][half] = (u16x16)((i16x16)(x << 8) >> 8);
            q[2 * j + 1][half] = (u16x16)((i16x16)x >> 8);
        }
    }
}

/* Adds bit 4 of the columns of a Q5_K group: one u32 a row, bit c of column c. */
SIM_INLINE void unpack_fifth_bits(const uint8_t *masks, u16x16 (*q)[2])
{
    for (unsigned half = 0; half < 2; half++) {
        u32x8 mask;
        memcpy(&mask, masks + 32 * half, sizeof mask);
        for (unsigned p = 0; p < 16; p++) {
            /* Columns c and c + 2 go to the two halves of a row's 32 bits. */
            u32x8 bits = mask >> (p / 2 * 4 + p % 2);
            q[p][half] |= (u16x16)((bits & 1) << 4 | (bits & 4) << 18);
        }
    }
}

/* Adds bits 4 and 5 of the columns of a Q6_K group (one u64 a row, bits 2c and 2c + 1 of column c), subtracts 32. */
SIM_INLINE void unpack_sixth_bits(const uint8_t *masks, u16x16 (*q)[2])
{
    uint32_t part[2][CARD_TILE_ROWS]; /* columns 0..15 and 16..31 */
    for (unsigned r = 0; r < CARD_TILE_ROWS; r++) {
        memcpy(&part[0][r], masks + 8 * (size_t)r, 4);
        memcpy(&part[1][r], masks + 8 * (size_t)r + 4, 4);
    }
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned p = 0; p < 16; p++) {
            u32x8 mask;
            memcpy(&mask, &part[p / 8][8 * half], sizeof mask);
            u32x8 bits = mask >> (2 * (p / 2 % 4 * 4 + p % 2));
            q[p][half] = (q[p][half] | (u16x16)((bits & 3) << 4 | (bits & 0x30) << 16)) - 32;
        }
    }
}

SIM_INLINE void unpack_block64(unsigned format, const uint8_t *bytes, struct unpacked_block *block)
{
    const int has_minimum = format == CARD_FORMAT_INT4_MIN || format == CARD_FORMAT_INT8_MIN;
    const int is_4bit = format == CARD_FORMAT_INT4 || format == CARD_FORMAT_INT4_MIN;
    const uint8_t *words = bytes + (has_minimum ? 128 : 64);
    unpack_halves(bytes, block->scale[0], 2 * CARD_TILE_ROWS);
    if (has_minimum) unpack_halves(bytes + 64, block->minimum[0], 2 * CARD_TILE_ROWS);
    for (unsigned g = 0; g < 2; g++) {
        if (is_4bit)
            unpack_group4(words + 256 * (size_t)g, format == CARD_FORMAT_INT4 ? 8 : 0, block->q[g]);
        else
            unpack_group8(words + 512 * (size_t)g, block->q[g]);
    }
}

SIM_INLINE void unpack_block256(unsigned format, const uint8_t *bytes, struct unpacked_block *block)
{
    float d[CARD_TILE_ROWS], dmin[CARD_TILE_ROWS];
    unpack_halves(bytes, d, CARD_TILE_ROWS);
    unpack_halves(bytes + 32, dmin, CARD_TILE_ROWS);
    if (format == CARD_FORMAT_Q6_K) {
        for (unsigned i = 0; i < 16; i++) {
            const int8_t *scale = (const int8_t *)bytes + 64 + CARD_TILE_ROWS * i;
            for (unsigned r = 0; r < CARD_TILE_ROWS; r++) block->scale[i][r] = d[r] * (float)scale[r];
        }
    } else {
        for (unsigned g = 0; g < 8; g++) {
            const uint8_t *scale = bytes + 64 + CARD_TILE_ROWS * g, *minimum = scale + 128;
            for (unsigned r = 0; r < CARD_TILE_ROWS; r++) block->scale[g][r] = d[r] * (float)scale[r];
            for (unsigned r = 0; r < CARD_TILE_ROWS; r++) block->minimum[g][r] = -(dmin[r] * (float)minimum[r]);
        }
    }
    for (unsigned g = 0; g < 8; g++) {
        unpack_group4(bytes + 320 + 256 * (size_t)g, 0, block->q[g]);
        if (format == CARD_FORMAT_Q5_K) unpack_fifth_bits(bytes + 2368 + 64 * (size_t)g, block->q[g]);
        if (format == CARD_FORMAT_Q6_K) unpack_sixth_bits(bytes + 2368 + 128 * (size_t)g, block->q[g]);
    }
}

SIM_INLINE void unpack_block(unsigned format, const uint8_t *bytes, struct unpacked_block *block)
{
    if (card_block_cols(format) == 64)
        unpack_block64(format, bytes, block);
    else
        unpack_block256(format, bytes, block);
}

#endif
