/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One 64-byte word of a tile is one register: four columns of 16 rows, a row in each 32-bit lane. VPDPBUSD multiplies
 * unsigned by signed bytes and adds four products to the lane, exactly; so weights are made unsigned by an offset, which
 * the group's sum of activations takes back. The weights of a group stay in eight registers for all rows of activations.
 */
#include "sim/tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* The loops over a group's words are written out: only then do the words stay in registers. */
#define UNROLL _Pragma("GCC unroll 8")
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* The weights of one group of 32 columns: word[k] has columns 4k..4k+3, plus the format's offset. */
struct group {
    __m512i word[8];
    __m512 scale[2]; /* [1]: of columns 16..31, Q6_K only */
    __m512 minimum;
};

INLINE __m512i load_word(const uint8_t *from) { return _mm512_loadu_si512((const void *)from); }

INLINE void load_nibbles(const uint8_t *words, struct group *g)
{
    const __m512i mask = _mm512_set1_epi8(15);
    UNROLL
    for (int j = 0; j < 4; j++) {
        const __m512i word = load_word(words + 64 * j);
        g->word[2 * j] = _mm512_and_si512(word, mask);
        g->word[2 * j + 1] = _mm512_and_si512(_mm512_srli_epi16(word, 4), mask);
    }
}

/* 16-bit lanes moved left, or right by -left. */
INLINE __m512i move(__m512i lanes, int left)
{
    return left >= 0 ? _mm512_sll_epi16(lanes, _mm_cvtsi32_si128(left))
                     : _mm512_srl_epi16(lanes, _mm_cvtsi32_si128(-left));
}

/* Bit k of a byte of `bits` is bit 4 of column 4k + byte. */
INLINE void add_fifth_bits(const uint8_t *bits, struct group *g)
{
    const __m512i all = load_word(bits), mask = _mm512_set1_epi8(16);
    UNROLL
    for (int k = 0; k < 8; k++)
        g->word[k] = _mm512_ternarylogic_epi32(g->word[k], move(all, 4 - k), mask, 0xf8); /* a | (b & c) */
}

/* Bits 2i and 2i + 1 of a byte of word j of `bits` are bits 4 and 5 of column 16j + 4i + byte. */
INLINE void add_sixth_bits(const uint8_t *bits, struct group *g)
{
    const __m512i all[2] = {load_word(bits), load_word(bits + 64)}, mask = _mm512_set1_epi8(0x30);
    UNROLL
    for (int k = 0; k < 8; k++)
        g->word[k] = _mm512_ternarylogic_epi32(g->word[k], move(all[k / 4], 4 - 2 * (k % 4)), mask, 0xf8);
}

INLINE __m512 load_halves(const uint8_t *from)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
}
INLINE __m512 load_bytes(const uint8_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
}
INLINE __m512 load_signed_bytes(const uint8_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
}

INLINE void load_group64(unsigned format, const uint8_t *block, unsigned i, struct group *g)
{
    const int has_minimum = format == CARD_FORMAT_INT4_MIN || format == CARD_FORMAT_INT8_MIN;
    const uint8_t *words = block + (has_minimum ? 128 : 64);
    g->scale[0] = load_halves(block + 32 * i);
    if (has_minimum) g->minimum = load_halves(block + 64 + 32 * i);
    if (format == CARD_FORMAT_INT4 || format == CARD_FORMAT_INT4_MIN) {
        load_nibbles(words + 256 * i, g);
        return;
    }
    UNROLL
    for (int k = 0; k < 8; k++)
        g->word[k] = _mm512_xor_si512(load_word(words + 512 * i + 64 * k), _mm512_set1_epi8((char)0x80));
}

INLINE void load_group256(unsigned format, const uint8_t *block, unsigned i, struct group *g)
{
    const __m512 d = load_halves(block);
    load_nibbles(block + 320 + 256 * i, g);
    if (format == CARD_FORMAT_Q6_K) {
        add_sixth_bits(block + 2368 + 128 * i, g);
        UNROLL
        for (unsigned half = 0; half < 2; half++)
            g->scale[half] = _mm512_mul_ps(d, load_signed_bytes(block + 64 + 16 * (2 * i + half)));
        return;
    }
    if (format == CARD_FORMAT_Q5_K) add_fifth_bits(block + 2368 + 64 * i, g);
    const __m512 minimum = _mm512_mul_ps(load_halves(block + 32), load_bytes(block + 192 + 16 * i));
    g->scale[0] = _mm512_mul_ps(d, load_bytes(block + 64 + 16 * i));
    g->minimum = _mm512_xor_ps(minimum, _mm512_set1_ps(-0.0f));
}

INLINE void load_group128(const uint8_t *block, unsigned i, struct group *g)
{
    /* value + 12 of each code */
    const __m512i table =
        _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m512i exponent = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i)));
    const __mmask16 counts = _mm512_cmpge_epi32_mask(exponent, _mm512_set1_epi32((int)CARD_MXFP4_LEAST));
    const __m512i bits = _mm512_slli_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(1)), 23);
    g->scale[0] = _mm512_castsi512_ps(_mm512_maskz_mov_epi32(counts, bits));
    load_nibbles(block + 64 + 256 * i, g);
    UNROLL
    for (int k = 0; k < 8; k++) g->word[k] = _mm512_shuffle_epi8(table, g->word[k]);
}

/* Columns 4 from to 4 to of one group and one row: exact products, with the offset still in them. */
INLINE __m512i dot(const struct group *g, const int8_t *value, int from, int to, __m512i start)
{
    __m512i even = start, odd = _mm512_setzero_si512();
    UNROLL
    for (int k = from; k < to; k += 2) {
        int32_t a, b;
        memcpy(&a, value + 4 * k, 4);
        memcpy(&b, value + 4 * k + 4, 4);
        even = _mm512_dpbusd_epi32(even, g->word[k], _mm512_set1_epi32(a));
        odd = _mm512_dpbusd_epi32(odd, g->word[k + 1], _mm512_set1_epi32(b));
    }
    return _mm512_add_epi32(even, odd);
}

/* The sum of the first 16 values of a group. */
INLINE int32_t half_sum(const int8_t *value)
{
    const __m128i bytes =
        _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)value), _mm_set1_epi8((char)0x80));
    const __m128i sums = _mm_sad_epu8(bytes, _mm_setzero_si128());
    return _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4) - 128 * 16;
}

/* What a group adds to the results of one row. */
INLINE __m512 group_row(const struct group *g, uint32_t at, int32_t offset, int parts, int has_minimum,
                        const struct act_row *row, __m512 total)
{
    const int8_t *value = row->value + (size_t)at * CARD_GROUP_COLS;
    const __m512 by = _mm512_set1_ps(row->scale[at]);
    const int32_t sum = row->sum[at];
    if (parts == 1) {
        const __m512i exact = dot(g, value, 0, 8, _mm512_set1_epi32(wrapped_product(-offset, sum)));
        total = _mm512_fmadd_ps(_mm512_mul_ps(g->scale[0], by), _mm512_cvtepi32_ps(exact), total);
    } else {
        const int32_t first = half_sum(value);
        const __m512i a = dot(g, value, 0, 4, _mm512_set1_epi32(wrapped_product(-offset, first)));
        const __m512i b =
            dot(g, value, 4, 8, _mm512_set1_epi32(wrapped_product(-offset, wrapped_difference(sum, first))));
        total = _mm512_fmadd_ps(_mm512_mul_ps(g->scale[0], by), _mm512_cvtepi32_ps(a), total);
        total = _mm512_fmadd_ps(_mm512_mul_ps(g->scale[1], by), _mm512_cvtepi32_ps(b), total);
    }
    if (has_minimum) total = _mm512_fmadd_ps(_mm512_mul_ps(g->minimum, by), _mm512_set1_ps((float)sum), total);
    return total;
}

/* The same of a row's cell: two chains of four products, as one of eight would wait for itself. */
INLINE __m512 group_cell(const struct group *g, int parts, int has_minimum, const struct act_cell *cell, __m512 total)
{
    const __m512 by = _mm512_set1_ps(cell->scale);
    for (int part = 0; part < parts; part++) {
        const int from = 8 / parts * part;
        const __m512i exact = dot(g, cell->value, from, from + 8 / parts, _mm512_set1_epi32(cell->start[part]));
        total = _mm512_fmadd_ps(_mm512_mul_ps(g->scale[part], by), _mm512_cvtepi32_ps(exact), total);
    }
    if (has_minimum) total = _mm512_fmadd_ps(_mm512_mul_ps(g->minimum, by), _mm512_set1_ps(cell->sum), total);
    return total;
}

INLINE void load_group(unsigned format, unsigned block_groups, const uint8_t *block, unsigned i, struct group *g)
{
    if (block_groups == 2)
        load_group64(format, block, i, g);
    else if (block_groups == 4)
        load_group128(block, i, g);
    else
        load_group256(format, block, i, g);
}

INLINE uint32_t groups_of_block(uint32_t groups, uint32_t first, unsigned block_groups)
{
    return groups - first < block_groups ? groups - first : block_groups;
}

/*
 * Group i's share of the next block, asked for in the order of addresses. A block of Q6_K is read in three places at once,
 * which the prefetchers of processors do not follow; its next block, read from end to end, they do, and by true loads (of
 * a byte of each word) better than by the prefetch instruction, which is for what may not be there: is_last. Q4_K they
 * follow without help.
 */
INLINE void read_ahead(unsigned format, unsigned block_groups, const uint8_t *block, unsigned i, int is_last)
{
    if (format != CARD_FORMAT_Q6_K) {
        if (format != CARD_FORMAT_Q4_K) tile_prefetch(format, block_groups, block, i);
        return;
    }
    const unsigned words = card_block_bytes(format) / CARD_WORD_BYTES,
                   share = (words + block_groups - 1) / block_groups;
    const uint8_t *from = block + (size_t)CARD_WORD_BYTES * (words + words * i / block_groups);
    UNROLL
    for (unsigned k = 0; k < share; k++) {
        if (is_last)
            __builtin_prefetch(from + (size_t)CARD_WORD_BYTES * k);
        else
            (void)*(const volatile uint8_t *)(from + (size_t)CARD_WORD_BYTES * k);
    }
}

INLINE void row_of_format(unsigned format, unsigned block_groups, int parts, int has_minimum, const uint8_t *tile,
                          uint32_t tiles, uint32_t blocks, uint32_t groups, const struct act_row *row,
                          float (*acc)[CARD_TILE_ROWS])
{
    const int32_t offset = tile_offset(format);
    const size_t bytes = card_block_bytes(format);
    const uint8_t *block = tile, *end = tile + bytes * blocks * tiles;
    for (uint32_t t = 0; t < tiles; t++) {
        __m512 total = _mm512_loadu_ps(acc[t]);
        for (uint32_t b = 0; b < blocks; b++, block += bytes) {
            const uint32_t first = b * block_groups, left = groups_of_block(groups, first, block_groups);
            const int is_last = block + bytes == end;
            for (uint32_t i = 0; i < left; i++) {
                struct group g;
                read_ahead(format, block_groups, block, i, is_last);
                load_group(format, block_groups, block, i, &g);
                total = group_row(&g, first + i, offset, parts, has_minimum, row, total);
            }
        }
        _mm512_storeu_ps(acc[t], total);
    }
}

/* Rows or cells, the other is NULL. */
INLINE void rows_of_format(unsigned format, unsigned block_groups, int parts, int has_minimum, const uint8_t *tile,
                           uint32_t blocks, uint32_t groups, const struct act_row *rows, const struct act_cell *cell,
                           uint32_t n, float (*acc)[CARD_TILE_ROWS])
{
    const int32_t offset = tile_offset(format);
    for (uint32_t b = 0; b < blocks; b++) {
        const uint8_t *block = tile + (size_t)b * card_block_bytes(format);
        const uint32_t first = b * block_groups, left = groups_of_block(groups, first, block_groups);
        for (uint32_t i = 0; i < left; i++) {
            struct group g;
            tile_prefetch(format, block_groups, block, i);
            load_group(format, block_groups, block, i, &g);
            for (uint32_t r = 0; r < n; r++) {
                const __m512 start = _mm512_loadu_ps(acc[r]);
                _mm512_storeu_ps(acc[r],
                                 cell ? group_cell(&g, parts, has_minimum, cell + (size_t)(first + i) * n + r, start)
                                      : group_row(&g, first + i, offset, parts, has_minimum, rows + r, start));
            }
        }
    }
}

/* Each format with its constants: groups of a block, scales of a group, whether it has a minimum. */
#define FORMATS(F)                                                                                                     \
    F(CARD_FORMAT_INT4, 2, 1, 0)                                                                                       \
    F(CARD_FORMAT_INT4_MIN, 2, 1, 1)                                                                                   \
    F(CARD_FORMAT_INT8, 2, 1, 0)                                                                                       \
    F(CARD_FORMAT_INT8_MIN, 2, 1, 1)                                                                                   \
    F(CARD_FORMAT_Q4_K, 8, 1, 1)                                                                                       \
    F(CARD_FORMAT_Q5_K, 8, 1, 1)                                                                                       \
    F(CARD_FORMAT_Q6_K, 8, 2, 0)                                                                                       \
    F(CARD_FORMAT_MXFP4, 4, 1, 0)

/* The loops of each are compiled apart, into functions of their own that a profile tells apart. */
#define DEFINE(format, block_groups, parts, has_minimum)                                                               \
    TARGET __attribute__((noinline)) static void row_##format(const uint8_t *tile, uint32_t tiles, uint32_t blocks,    \
                                                              uint32_t groups, const struct act_row *row,              \
                                                              float(*acc)[CARD_TILE_ROWS])                             \
    {                                                                                                                  \
        row_of_format(format, block_groups, parts, has_minimum, tile, tiles, blocks, groups, row, acc);                \
    }                                                                                                                  \
    TARGET __attribute__((noinline)) static void rows_##format(const uint8_t *tile, uint32_t blocks, uint32_t groups,  \
                                                               const struct act_row *rows, uint32_t n,                 \
                                                               float(*acc)[CARD_TILE_ROWS])                            \
    {                                                                                                                  \
        rows_of_format(format, block_groups, parts, has_minimum, tile, blocks, groups, rows, NULL, n, acc);            \
    }                                                                                                                  \
    TARGET __attribute__((noinline)) static void cells_##format(const uint8_t *tile, uint32_t blocks, uint32_t groups, \
                                                                const struct act_cell *cell, uint32_t n,               \
                                                                float(*acc)[CARD_TILE_ROWS])                           \
    {                                                                                                                  \
        rows_of_format(format, block_groups, parts, has_minimum, tile, blocks, groups, NULL, cell, n, acc);            \
    }
FORMATS(DEFINE)

void row_avx512(unsigned format, const uint8_t *tile, uint32_t tiles, uint32_t blocks, uint32_t groups,
                const struct act_row *row, float (*acc)[CARD_TILE_ROWS])
{
#define CASE(format, block_groups, parts, has_minimum)                                                                 \
    case format: row_##format(tile, tiles, blocks, groups, row, acc); break;
    switch (format) {
        FORMATS(CASE)
    default: break;
    }
#undef CASE
}

void tile_avx512(unsigned format, const uint8_t *tile, uint32_t blocks, uint32_t groups, const struct act_row *rows,
                 uint32_t n, float (*acc)[CARD_TILE_ROWS])
{
    if (n == 1) {
        row_avx512(format, tile, 1, blocks, groups, rows, acc);
        return;
    }
#define CASE(format, block_groups, parts, has_minimum)                                                                 \
    case format: rows_##format(tile, blocks, groups, rows, n, acc); break;
    switch (format) {
        FORMATS(CASE)
    default: break;
    }
#undef CASE
}

void panel_avx512(unsigned format, const uint8_t *tile, uint32_t blocks, uint32_t groups, const struct act_cell *cell,
                  uint32_t n, float (*acc)[CARD_TILE_ROWS])
{
#define CASE(format, block_groups, parts, has_minimum)                                                                 \
    case format: cells_##format(tile, blocks, groups, cell, n, acc); break;
    switch (format) {
        FORMATS(CASE)
    default: break;
    }
#undef CASE
}
#endif
