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
typedef int8_t i8x32 __attribute__((vector_size(32)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));

/*
 * A block of up to 8 groups. q[g][2s + odd][half], lane 2r + k: column 4s + odd + 2k of group g in row 8 half + r,
 * minus the format's offset (8 for INT4, 32 for Q6_K) or its code's value (MXFP4), modulo 2^16. The weight is
 * scale * q + minimum; scale[g] is of group g, or scale[2g + i] of its i-th 16 columns (Q6_K).
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

/* Adds bit 4 of the columns of a Q5_K group: bit k of byte b of a row belongs to column 4k + b. */
SIM_INLINE void unpack_fifth_bits(const uint8_t *bits, u16x16 (*q)[2])
{
    for (unsigned half = 0; half < 2; half++) {
        u16x16 all;
        memcpy(&all, bits + 32 * half, sizeof all);
        for (unsigned k = 0; k < 8; k++) {
            q[2 * k][half] |= (all >> k & 1) << 4;
            q[2 * k + 1][half] |= (all >> (8 + k) & 1) << 4;
        }
    }
}

/* Adds bits 4 and 5 of the columns of a Q6_K group (bits 2i, 2i + 1 of byte b of word j: column 16j + 4i + b), subtracts 32. */
SIM_INLINE void unpack_sixth_bits(const uint8_t *bits, u16x16 (*q)[2])
{
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned k = 0; k < 8; k++) {
            u16x16 all;
            memcpy(&all, bits + 64 * (k / 4) + 32 * half, sizeof all);
            q[2 * k][half] = (q[2 * k][half] | (all >> (2 * (k % 4)) & 3) << 4) - 32;
            q[2 * k + 1][half] = (q[2 * k + 1][half] | (all >> (8 + 2 * (k % 4)) & 3) << 4) - 32;
        }
    }
}

/* Codes of MXFP4 in the low halves of 32 bytes become twice their values. */
SIM_INLINE void mxfp4_values(u16x16 *codes)
{
    const i8x32 all = (i8x32)*codes, code = all & 7;
    /* 0 1 2 3 4, then 5, 6, 7 stand for 6, 8, 12. */
    const i8x32 magnitude = code + ((code - 4) & (i8x32)(code > 4)) + ((i8x32)(code > 6) & 2);
    const i8x32 sign = (i8x32)((all & 8) > 0);
    *codes = (u16x16)((magnitude ^ sign) - sign);
}

/* As unpack_group4, of codes. */
SIM_INLINE void unpack_codes(const uint8_t *words, u16x16 (*q)[2])
{
    for (unsigned j = 0; j < 4; j++) {
        for (unsigned half = 0; half < 2; half++) {
            u16x16 low;
            memcpy(&low, words + CARD_WORD_BYTES * j + 32 * half, sizeof low);
            u16x16 high = low >> 4 & 0x0f0f;
            low &= 0x0f0f;
            mxfp4_values(&low);
            mxfp4_values(&high);
            q[4 * j][half] = (u16x16)((i16x16)(low << 8) >> 8);
            q[4 * j + 1][half] = (u16x16)((i16x16)low >> 8);
            q[4 * j + 2][half] = (u16x16)((i16x16)(high << 8) >> 8);
            q[4 * j + 3][half] = (u16x16)((i16x16)high >> 8);
        }
    }
}

SIM_INLINE void unpack_block128(const uint8_t *bytes, struct unpacked_block *block)
{
    for (unsigned g = 0; g < 4; g++) {
        for (unsigned r = 0; r < CARD_TILE_ROWS; r++) {
            const uint32_t exponent = bytes[CARD_TILE_ROWS * g + r]; /* the bits of 2^(exponent - 128) */
            block->scale[g][r] = card_float(exponent < CARD_MXFP4_LEAST ? 0 : (exponent - 1) << 23);
        }
        unpack_codes(bytes + 64 + 256 * (size_t)g, block->q[g]);
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
    else if (card_block_cols(format) == 128)
        unpack_block128(bytes, block);
    else
        unpack_block256(format, bytes, block);
}

#endif
