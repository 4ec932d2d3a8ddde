/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An encoder of the weight formats, written from the text of card_layout.h one element at a time and sharing no code
 * with the unpackers: random integers and scales go in, card bytes and the matrix that they stand for come out.
 */
#ifndef SLUICE_TEST_PACK_FOR_TEST_H
#define SLUICE_TEST_PACK_FOR_TEST_H

#include "host/base/bytes.h"
#include "kernels/abi/card_layout.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* xorshift64*: Marsaglia's generator with Vigna's multiplier; the tests' only source of chance. */
struct test_random {
    uint64_t state;
};
static inline uint32_t random_u32(struct test_random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return (uint32_t)(random->state * 0x2545f4914f6cdd1dull >> 32);
}
/* Uniform in [0, n). */
static inline uint32_t random_below(struct test_random *random, uint32_t n)
{
    return (uint32_t)((uint64_t)random_u32(random) * n >> 32);
}
/* Uniform in [-1, 1). */
static inline float random_float(struct test_random *random)
{
    return (float)((double)random_u32(random) / 2147483648.0 - 1.0);
}

/* The value of a half, by its definition. */
static inline double half_value(uint16_t half)
{
    int exponent = half >> 10 & 31;
    double fraction = half & 1023;
    double magnitude = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}
/* A random finite half of magnitude about 2^-7 to 2^-4, either sign. */
static inline uint16_t random_half(struct test_random *random)
{
    return (uint16_t)(random_u32(random) & 0x83ff) | (uint16_t)((8 + random_below(random, 4)) << 10);
}

struct test_matrix {
    unsigned format;
    uint32_t rows, cols;
    uint8_t *bytes; /* card_matrix_bytes */
    double *value;  /* [rows][cols]: scale * q + minimum, exactly; the stored floats for F32 */
    int *q;         /* [rows][cols], minus the format's offset; the rest is not for F32 */
    double *scale;  /* [rows][cols] */
    double *minimum;
};

static inline void put_nibble(uint8_t *group, unsigned row, unsigned col, unsigned q)
{
    uint8_t *byte = group + col / 8 * 64 + 4 * row + col % 4;
    *byte |= (uint8_t)(col % 8 < 4 ? q : q << 4);
}

static inline void put_byte(uint8_t *group, unsigned row, unsigned col, int q)
{
    group[col / 4 * 64 + 4 * row + col % 4] = (uint8_t)q;
}

/* Bit 4 of column 4k+b of a Q5_K group: bit k of the row's byte b. */
static inline void put_fifth_bit(uint8_t *word, unsigned row, unsigned col, unsigned bit)
{
    word[4 * row + col % 4] |= (uint8_t)(bit << col / 4);
}

/* Bits 4 and 5 of column 16j+4i+b of a Q6_K group: bits 2i and 2i+1 of the row's byte b in word j. */
static inline void put_sixth_bits(uint8_t *words, unsigned row, unsigned col, unsigned bits)
{
    words[col / 16 * 64 + 4 * row + col % 4] |= (uint8_t)(bits << 2 * (col % 16 / 4));
}

/* Notes what weight `at` is. */
static inline void note_weight(struct test_matrix *m, size_t at, int q, double scale, double minimum)
{
    m->q[at] = q;
    m->scale[at] = scale;
    m->minimum[at] = minimum;
    m->value[at] = scale * q + minimum;
}

/* One row of a 64-column block: 4 bits or 8, with a minimum or without. at: index of its first weight. */
static inline void pack_row64(struct test_random *random, struct test_matrix *m, uint8_t *block, unsigned row,
                              unsigned cols_used, size_t at)
{
    const unsigned format = m->format;
    const int has_min = format == CARD_FORMAT_INT4_MIN || format == CARD_FORMAT_INT8_MIN;
    const int is4 = format == CARD_FORMAT_INT4 || format == CARD_FORMAT_INT4_MIN;
    for (unsigned g = 0; g < 2; g++) {
        /* A group outside the matrix is all zeros. */
        const int used = g * 32 < cols_used;
        const uint16_t scale = used ? random_half(random) : 0, min = used && has_min ? random_half(random) : 0;
        store_u16(block + 32 * g + 2 * row, scale);
        if (has_min) store_u16(block + 64 + 32 * g + 2 * row, min);
        uint8_t *group = block + (has_min ? 128 : 64) + (is4 ? 256 : 512) * g;
        for (unsigned c = 0; c < 32 && used; c++) {
            int q = is4 ? (int)random_below(random, 16) : (int)random_below(random, 256) - 128;
            if (is4)
                put_nibble(group, row, c, (unsigned)q);
            else
                put_byte(group, row, c, q);
            if (format == CARD_FORMAT_INT4) q -= 8;
            note_weight(m, at + 32 * g + c, q, half_value(scale), half_value(min));
        }
    }
}

/* One row of a 256-column block of the K family. */
static inline void pack_row256(struct test_random *random, struct test_matrix *m, uint8_t *block, unsigned row,
                               unsigned cols_used, size_t at)
{
    const unsigned format = m->format;
    const uint16_t d = random_half(random), dmin = format == CARD_FORMAT_Q6_K ? 0 : random_half(random);
    store_u16(block + 2 * row, d);
    store_u16(block + 32 + 2 * row, dmin);
    for (unsigned c = 0; c < cols_used; c++) {
        const unsigned g = c / 32, i = format == CARD_FORMAT_Q6_K ? c / 16 : g;
        uint8_t *scale_at = block + 64 + 16 * i + row, *min_at = block + 192 + 16 * g + row;
        if (c % (format == CARD_FORMAT_Q6_K ? 16 : 32) == 0) {
            *scale_at = (uint8_t)(format == CARD_FORMAT_Q6_K ? random_below(random, 256) : random_below(random, 64));
            if (format != CARD_FORMAT_Q6_K) *min_at = (uint8_t)random_below(random, 64);
        }
        const unsigned bits = format == CARD_FORMAT_Q4_K ? 4 : format == CARD_FORMAT_Q5_K ? 5 : 6;
        const unsigned q = random_below(random, 1u << bits);
        put_nibble(block + 320 + 256 * g, row, c % 32, q & 15);
        if (bits == 5) put_fifth_bit(block + 2368 + 64 * g, row, c % 32, q >> 4);
        if (bits == 6) put_sixth_bits(block + 2368 + 128 * g, row, c % 32, q >> 4);
        const double scale = half_value(d) * (bits == 6 ? (double)(int8_t)*scale_at : (double)*scale_at);
        const double minimum = bits == 6 ? 0 : -(half_value(dmin) * *min_at);
        note_weight(m, at + c, bits == 6 ? (int)q - 32 : (int)q, scale, minimum);
    }
}

/*
 * One row of a 128-column block of MXFP4. Its values are FP4 E2M1's own, doubled: 1 sign, 2 exponent, 1 fraction bits
 * with bias 1. A fifth of the exponents is at the border below which a scale counts as zero.
 */
static inline void pack_row128(struct test_random *random, struct test_matrix *m, uint8_t *block, unsigned row,
                               unsigned cols_used, size_t at)
{
    for (unsigned g = 0; g < 4 && g * 32 < cols_used; g++) {
        const unsigned exponent =
            random_below(random, 5) ? 115 + random_below(random, 12) : 90 + random_below(random, 4);
        block[16 * g + row] = (uint8_t)exponent;
        for (unsigned c = 0; c < 32; c++) {
            const unsigned code = random_below(random, 16), e = code >> 1 & 3, fraction = code & 1;
            const double value = e ? ldexp(1 + fraction / 2.0, (int)e - 1) : fraction / 2.0;
            put_nibble(block + 64 + 256 * g, row, c, code);
            note_weight(m, at + 32 * g + c, (int)(code & 8 ? -2 * value : 2 * value),
                        exponent < 92 ? 0 : ldexp(1, (int)exponent - 128), 0);
        }
    }
}

static inline void pack_blocks(struct test_random *random, struct test_matrix *m)
{
    const uint32_t block_cols = card_block_cols(m->format), blocks = (m->cols + block_cols - 1) / block_cols;
    for (uint32_t r = 0; r < m->rows; r++) {
        for (uint32_t b = 0; b < blocks; b++) {
            uint8_t *block = m->bytes + ((size_t)(r / 16) * blocks + b) * card_block_bytes(m->format);
            const uint32_t left = m->cols - b * block_cols;
            const uint32_t used = left < block_cols ? left : block_cols;
            const size_t at = (size_t)r * m->cols + b * block_cols;
            if (block_cols == 64)
                pack_row64(random, m, block, r % 16, used, at);
            else if (block_cols == 128)
                pack_row128(random, m, block, r % 16, used, at);
            else
                pack_row256(random, m, block, r % 16, used, at);
        }
    }
}

/* A random matrix; free with test_matrix_free. cols: a multiple of 32 for quantized formats. */
static inline struct test_matrix test_matrix_make(struct test_random *random, unsigned format, uint32_t rows,
                                                  uint32_t cols)
{
    struct test_matrix m = {.format = format, .rows = rows, .cols = cols};
    m.bytes = calloc(card_matrix_bytes(format, rows, cols), 1);
    m.value = calloc((size_t)rows * cols, sizeof *m.value);
    m.q = calloc((size_t)rows * cols, sizeof *m.q);
    m.scale = calloc((size_t)rows * cols, sizeof *m.scale);
    m.minimum = calloc((size_t)rows * cols, sizeof *m.minimum);
    if (format != CARD_FORMAT_F32) {
        pack_blocks(random, &m);
        return m;
    }
    for (size_t i = 0; i < (size_t)rows * cols; i++) {
        float value = random_float(random);
        memcpy(m.bytes + 4 * i, &value, 4);
        m.value[i] = value;
    }
    return m;
}

static inline void test_matrix_free(struct test_matrix *m)
{
    free(m->bytes);
    free(m->value);
    free(m->q);
    free(m->scale);
    free(m->minimum);
}

#endif
