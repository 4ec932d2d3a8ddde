/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Half a 64-byte word of a tile is one register: four columns of 8 rows, a row in each 32-bit lane. VPMADDUBSW multiplies
 * unsigned by signed bytes and adds pairs of products in 16 bits, which saturate: so weights are made unsigned and small,
 * and so many sums are added in 16 bits as the format's largest weight allows (`run`). Weights of 8 bits are two of 4.
 */
#include "sim/tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* The loops over a group's words are written out: only then do sums stay in registers. */
#define UNROLL _Pragma("GCC unroll 8")
#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define SIDE_BY_SIDE 4 /* rows of activations that share a load of weights */

/* The weights of one group of 32 columns: word[k][h] has columns 4k..4k+3 of rows 8h..8h+7, plus the format's offset. */
struct group {
    __m256i word[8][2];
    __m256i high[8][2]; /* formats of 8 bits: word + 16 high */
    __m256 scale[2][2]; /* [part][half]; part 1: of columns 16..31, Q6_K only */
    __m256 minimum[2];
};

INLINE __m256i load_bytes32(const uint8_t *from) { return _mm256_loadu_si256((const __m256i *)(const void *)from); }

/* Nibbles, or what `table` makes of them. */
INLINE void load_nibbles(const uint8_t *words, const __m256i *table, struct group *g)
{
    const __m256i mask = _mm256_set1_epi8(15);
    UNROLL
    for (int j = 0; j < 4; j++) {
        UNROLL
        for (int h = 0; h < 2; h++) {
            const __m256i word = load_bytes32(words + 64 * j + 32 * h);
            const __m256i low = _mm256_and_si256(word, mask);
            const __m256i high = _mm256_and_si256(_mm256_srli_epi16(word, 4), mask);
            g->word[2 * j][h] = table ? _mm256_shuffle_epi8(*table, low) : low;
            g->word[2 * j + 1][h] = table ? _mm256_shuffle_epi8(*table, high) : high;
        }
    }
}

/* Weight + 128 as two nibbles. */
INLINE void load_bytes(const uint8_t *words, struct group *g)
{
    const __m256i mask = _mm256_set1_epi8(15);
    UNROLL
    for (int k = 0; k < 8; k++) {
        UNROLL
        for (int h = 0; h < 2; h++) {
            const __m256i word = load_bytes32(words + 64 * k + 32 * h);
            const __m256i high = _mm256_and_si256(_mm256_srli_epi16(word, 4), mask);
            g->word[k][h] = _mm256_and_si256(word, mask);
            g->high[k][h] = _mm256_xor_si256(high, _mm256_set1_epi8(8));
        }
    }
}

INLINE void add_fifth_bits(const uint8_t *bits, struct group *g)
{
    const __m256i mask = _mm256_set1_epi8(16);
    for (int h = 0; h < 2; h++) {
        const __m256i all = load_bytes32(bits + 32 * h);
        UNROLL
        for (int k = 0; k < 8; k++) {
            const __m256i moved = k < 4 ? _mm256_slli_epi16(all, 4 - (k & 3)) : _mm256_srli_epi16(all, k & 3);
            g->word[k][h] = _mm256_or_si256(g->word[k][h], _mm256_and_si256(moved, mask));
        }
    }
}

INLINE void add_sixth_bits(const uint8_t *bits, struct group *g)
{
    const __m256i mask = _mm256_set1_epi8(0x30);
    for (int h = 0; h < 2; h++) {
        UNROLL
        for (int k = 0; k < 8; k++) {
            const __m256i all = load_bytes32(bits + 64 * (k / 4) + 32 * h);
            const __m256i moved =
                k % 4 < 2 ? _mm256_slli_epi16(all, 4 - 2 * (k % 4)) : _mm256_srli_epi16(all, 2 * (k % 4) - 4);
            g->word[k][h] = _mm256_or_si256(g->word[k][h], _mm256_and_si256(moved, mask));
        }
    }
}

INLINE __m256 load_halves(const uint8_t *from, int h)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from + 16 * h)));
}
INLINE __m128i load_8(const uint8_t *from, int h)
{
    return _mm_loadl_epi64((const __m128i *)(const void *)(from + 8 * h));
}

INLINE void load_group64(unsigned format, const uint8_t *block, unsigned i, struct group *g)
{
    const int has_minimum = format == CARD_FORMAT_INT4_MIN || format == CARD_FORMAT_INT8_MIN;
    const uint8_t *words = block + (has_minimum ? 128 : 64);
    for (int h = 0; h < 2; h++) {
        g->scale[0][h] = load_halves(block + 32 * i, h);
        if (has_minimum) g->minimum[h] = load_halves(block + 64 + 32 * i, h);
    }
    if (format == CARD_FORMAT_INT4 || format == CARD_FORMAT_INT4_MIN)
        load_nibbles(words + 256 * i, NULL, g);
    else
        load_bytes(words + 512 * i, g);
}

INLINE void load_group256(unsigned format, const uint8_t *block, unsigned i, struct group *g)
{
    load_nibbles(block + 320 + 256 * i, NULL, g);
    if (format == CARD_FORMAT_Q5_K) add_fifth_bits(block + 2368 + 64 * i, g);
    if (format == CARD_FORMAT_Q6_K) add_sixth_bits(block + 2368 + 128 * i, g);
    for (int h = 0; h < 2; h++) {
        const __m256 d = load_halves(block, h);
        if (format == CARD_FORMAT_Q6_K) {
            for (unsigned part = 0; part < 2; part++) {
                const __m256i scale = _mm256_cvtepi8_epi32(load_8(block + 64 + 16 * (2 * i + part), h));
                g->scale[part][h] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale));
            }
            continue;
        }
        const __m256i scale = _mm256_cvtepu8_epi32(load_8(block + 64 + 16 * i, h));
        const __m256i minimum = _mm256_cvtepu8_epi32(load_8(block + 192 + 16 * i, h));
        g->scale[0][h] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale));
        g->minimum[h] = _mm256_xor_ps(_mm256_mul_ps(load_halves(block + 32, h), _mm256_cvtepi32_ps(minimum)),
                                      _mm256_set1_ps(-0.0f));
    }
}

INLINE void load_group128(const uint8_t *block, unsigned i, struct group *g)
{
    /* value + 12 of each code */
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    load_nibbles(block + 64 + 256 * i, &table, g);
    for (int h = 0; h < 2; h++) {
        const __m256i exponent = _mm256_cvtepu8_epi32(load_8(block + 16 * i, h));
        const __m256i counts = _mm256_cmpgt_epi32(exponent, _mm256_set1_epi32((int)CARD_MXFP4_LEAST - 1));
        const __m256i bits = _mm256_slli_epi32(_mm256_sub_epi32(exponent, _mm256_set1_epi32(1)), 23);
        g->scale[0][h] = _mm256_castsi256_ps(_mm256_and_si256(bits, counts));
    }
}

/* Words [from, to) of a group with `count` rows of activations: exact sums of products, the offset still in them. */
INLINE void dot(const __m256i (*word)[2], const int8_t *const *value, int count, int from, int to, int run,
                __m256i (*sum)[2])
{
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLL
    for (int begin = from; begin < to; begin += run) {
        __m256i pairs[SIDE_BY_SIDE][2];
        UNROLL
        for (int k = begin; k < begin + run; k++) {
            UNROLL
            for (int t = 0; t < count; t++) {
                int32_t columns;
                memcpy(&columns, value[t] + 4 * k, 4);
                const __m256i by = _mm256_set1_epi32(columns);
                UNROLL
                for (int h = 0; h < 2; h++) {
                    const __m256i product = _mm256_maddubs_epi16(word[k][h], by);
                    pairs[t][h] = k == begin ? product : _mm256_add_epi16(pairs[t][h], product);
                }
            }
        }
        UNROLL
        for (int t = 0; t < count; t++) {
            UNROLL
            for (int h = 0; h < 2; h++) {
                const __m256i wide = _mm256_madd_epi16(pairs[t][h], ones);
                sum[t][h] = begin == from ? wide : _mm256_add_epi32(sum[t][h], wide);
            }
        }
    }
}

/* The sum of the first 16 values of a group. */
INLINE int32_t half_sum(const int8_t *value)
{
    const __m128i bytes =
        _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)value), _mm_set1_epi8((char)0x80));
    const __m128i sums = _mm_sad_epu8(bytes, _mm_setzero_si128());
    return _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4) - 128 * 16;
}

/* acc += (scale by) (sum - offset), one row of activations. */
INLINE void add_scaled(const __m256 *scale, __m256 by, const __m256i *sum, int32_t offset, float *acc)
{
    for (int h = 0; h < 2; h++) {
        const __m256 exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum[h], _mm256_set1_epi32(offset)));
        const __m256 total = _mm256_fmadd_ps(_mm256_mul_ps(scale[h], by), exact, _mm256_loadu_ps(acc + 8 * h));
        _mm256_storeu_ps(acc + 8 * h, total);
    }
}

/* `count` rows of activations, a constant; the format's constants as in tile_avx2. */
INLINE void few_rows(const struct group *g, uint32_t at, int count, int run, int32_t offset, int parts, int is_wide,
                     int has_minimum, const struct act_row *rows, float (*acc)[CARD_TILE_ROWS])
{
    const int8_t *value[SIDE_BY_SIDE];
    for (int t = 0; t < count; t++) value[t] = rows[t].value + (size_t)at * CARD_GROUP_COLS;
    UNROLL
    for (int part = 0; part < parts; part++) {
        __m256i sum[SIDE_BY_SIDE][2], high[SIDE_BY_SIDE][2];
        dot(g->word, value, count, 8 / parts * part, 8 / parts * (part + 1), run, sum);
        if (is_wide) dot(g->high, value, count, 0, 8, run, high);
        UNROLL
        for (int t = 0; t < count; t++) {
            int32_t values = rows[t].sum[at];
            if (parts == 2) values = part == 0 ? half_sum(value[t]) : wrapped_difference(values, half_sum(value[t]));
            for (int h = 0; h < 2 && is_wide; h++)
                sum[t][h] = _mm256_add_epi32(sum[t][h], _mm256_slli_epi32(high[t][h], 4));
            add_scaled(g->scale[part], _mm256_set1_ps(rows[t].scale[at]), sum[t], wrapped_product(offset, values),
                       acc[t]);
        }
    }
    for (int t = 0; t < count && has_minimum; t++) {
        const __m256i values[2] = {_mm256_set1_epi32(rows[t].sum[at]), _mm256_set1_epi32(rows[t].sum[at])};
        add_scaled(g->minimum, _mm256_set1_ps(rows[t].scale[at]), values, 0, acc[t]);
    }
}

INLINE void tile_rows(unsigned format, unsigned block_groups, int run, int32_t offset, int parts, int is_wide,
                      int has_minimum, const uint8_t *tile, uint32_t blocks, uint32_t groups,
                      const struct act_row *rows, uint32_t n, float (*acc)[CARD_TILE_ROWS])
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
            uint32_t row = 0;
            for (; row + SIDE_BY_SIDE <= n; row += SIDE_BY_SIDE)
                few_rows(&g, first + i, SIDE_BY_SIDE, run, offset, parts, is_wide, has_minimum, rows + row, acc + row);
            for (; row < n; row++)
                few_rows(&g, first + i, 1, run, offset, parts, is_wide, has_minimum, rows + row, acc + row);
        }
    }
}

/* run: 127 x the largest weight x 2 x run must stay below 2^15: 15 x 8, 31 x 4, 63 x 2, 24 x 4 (MXFP4). */
#define TILE(format, block_groups, run, offset, parts, is_wide, has_minimum)                                           \
    case format:                                                                                                       \
        tile_rows(format, block_groups, run, offset, parts, is_wide, has_minimum, tile, blocks, groups, rows, n, acc); \
        break
TARGET void tile_avx2(unsigned format, const uint8_t *tile, uint32_t blocks, uint32_t groups,
                      const struct act_row *rows, uint32_t n, float (*acc)[CARD_TILE_ROWS])
{
    switch (format) {
        TILE(CARD_FORMAT_INT4, 2, 8, 8, 1, 0, 0);
        TILE(CARD_FORMAT_INT4_MIN, 2, 8, 0, 1, 0, 1);
        TILE(CARD_FORMAT_INT8, 2, 8, 128, 1, 1, 0);
        TILE(CARD_FORMAT_INT8_MIN, 2, 8, 128, 1, 1, 1);
        TILE(CARD_FORMAT_Q4_K, 8, 8, 0, 1, 0, 1);
        TILE(CARD_FORMAT_Q5_K, 8, 4, 0, 1, 0, 1);
        TILE(CARD_FORMAT_Q6_K, 8, 2, 32, 2, 0, 0);
        TILE(CARD_FORMAT_MXFP4, 4, 4, 12, 1, 0, 0);
    default: break;
    }
}
#endif
