/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How weights, activations and KV pages lie in card memory.
 *
 * A matrix(R,C) is cut into tiles of 16 rows. A tile is a run of blocks along its columns, a block is a whole number
 * of 64-byte words, and tile follows tile: a matrix is one sequential stream. Rows are padded to 16 and columns to the
 * block's width with zeros, which add nothing to a sum. Within a group of 32 columns a 64-byte word holds four bytes
 * for each of 16 rows (row r at bytes 4r..4r+3), so one word feeds 16 dot products at once.
 *
 *   4-bit group (256 bytes, 4 words): in word j, byte b of row r holds column 8j+b in its low and column 8j+4+b in its
 *   high nibble (b = 0..3).
 *   8-bit group (512 bytes, 8 words): in word j, byte b of row r holds column 4j+b, signed.
 *
 *   format   columns  block: offset size content                                   weight value
 *   INT4       64     0 64  f16 scale[2][16];  64 512 two 4-bit groups             scale * (q - 8)
 *   INT4_MIN   64     0 64  f16 scale[2][16];  64 64  f16 min[2][16];
 *                     128 512 two 4-bit groups                                     scale * q + min
 *   INT8       64     0 64  f16 scale[2][16];  64 1024 two 8-bit groups            scale * q
 *   INT8_MIN   64     0 64  f16 scale[2][16];  64 64  f16 min[2][16];
 *                     128 1024 two 8-bit groups                                    scale * q + min
 *   Q4_K      256     0 32  f16 d[16]; 32 32 f16 dmin[16]; 64 128 u8 scale[8][16];
 *                     192 128 u8 min[8][16]; 320 2048 eight 4-bit groups           (d * scale) * q - (dmin * min)
 *   Q5_K      256     as Q4_K, then 2368 512: for each group 16 u32, one a row,
 *                     bit c = bit 4 of column c                                    as Q4_K, q of 5 bits
 *   Q6_K      256     0 32 f16 d[16]; 32 32 zero; 64 256 i8 scale[16][16] (one for
 *                     each 16 columns); 320 2048 eight 4-bit groups; 2368 1024: for
 *                     each group 16 u64, one a row, bits 2c..2c+1 = bits 4..5 of
 *                     column c                                                     (d * scale) * (q - 32)
 *   F32         1     rows of C floats, not tiled: f32[R][C]                       as stored
 *
 * The formats keep a GGUF file's values exactly: INT4 is Q4_0, INT4_MIN is Q4_1, INT8 is Q8_0 and Q5_0, INT8_MIN is
 * Q5_1.
 *
 * Columns that only pad a block of 256 past the activations' padding to 64 are not multiplied.
 *
 * act[T][C], the quantized activations: with G = C padded to 64, divided by 32,
 *   i8 value[T][32 G], then f32 scale[T][G], then i32 sum[T][G] (the sum of the group's 32 values, for formats with a
 *   minimum).
 *
 * A page pool is page after page; a page holds CARD_PAGE_TOKENS tokens of one layer: key[R][CARD_PAGE_TOKENS][C],
 * then value[R][CARD_PAGE_TOKENS][C], with R KV heads of C dimensions in F16 or F32.
 */
#ifndef SLUICE_CARD_LAYOUT_H
#define SLUICE_CARD_LAYOUT_H

#ifndef __OPENCL_VERSION__ /* OpenCL C has no headers: kernels/opencl/prelude.cl names the types */
#include <stdint.h>
#endif

#define CARD_TILE_ROWS 16u
#define CARD_WORD_BYTES 64u
#define CARD_GROUP_COLS 32u
#define CARD_PAGE_TOKENS 32u

enum card_format {
    CARD_FORMAT_F32 = 1,
    CARD_FORMAT_F16 = 2, /* KV pages only */
    CARD_FORMAT_INT4 = 3,
    CARD_FORMAT_INT4_MIN = 4,
    CARD_FORMAT_INT8 = 5,
    CARD_FORMAT_INT8_MIN = 6,
    CARD_FORMAT_Q4_K = 7,
    CARD_FORMAT_Q5_K = 8,
    CARD_FORMAT_Q6_K = 9,
};
#define CARD_FORMAT_END 10 /* one past the last format */

/* Columns of one block: 64 or 256; 1 for F32; 0 if format is no weight format. */
static inline uint32_t card_block_cols(unsigned format)
{
    switch (format) {
    case CARD_FORMAT_F32: return 1;
    case CARD_FORMAT_INT4:
    case CARD_FORMAT_INT4_MIN:
    case CARD_FORMAT_INT8:
    case CARD_FORMAT_INT8_MIN: return 64;
    case CARD_FORMAT_Q4_K:
    case CARD_FORMAT_Q5_K:
    case CARD_FORMAT_Q6_K: return 256;
    default: return 0;
    }
}

/* Bytes of one block of 16 rows; 0 for F32 (not tiled) and for what is no weight format. */
static inline uint32_t card_block_bytes(unsigned format)
{
    switch (format) {
    case CARD_FORMAT_INT4: return 64 + 512;
    case CARD_FORMAT_INT4_MIN: return 128 + 512;
    case CARD_FORMAT_INT8: return 64 + 1024;
    case CARD_FORMAT_INT8_MIN: return 128 + 1024;
    case CARD_FORMAT_Q4_K: return 320 + 2048;
    case CARD_FORMAT_Q5_K: return 320 + 2048 + 512;
    case CARD_FORMAT_Q6_K: return 320 + 2048 + 1024;
    default: return 0;
    }
}

static inline uint64_t card_round_up(uint64_t value, uint64_t step) { return (value + step - 1) / step * step; }

/* Bytes of matrix(rows, cols). No overflow: both are 32 bits. 0 if format is no weight format. */
static inline uint64_t card_matrix_bytes(unsigned format, uint32_t rows, uint32_t cols)
{
    if (format == CARD_FORMAT_F32) return (uint64_t)rows * cols * 4;
    if (card_block_bytes(format) == 0) return 0;
    uint64_t tiles = card_round_up(rows, CARD_TILE_ROWS) / CARD_TILE_ROWS;
    uint64_t blocks = card_round_up(cols, card_block_cols(format)) / card_block_cols(format);
    /* 2^28 tiles of 2^26 blocks at most 2^54 blocks of 576 bytes would not fit 64 bits: saturate. */
    if (blocks != 0 && tiles > UINT64_MAX / card_block_bytes(format) / blocks) return UINT64_MAX;
    return tiles * blocks * card_block_bytes(format);
}

/* Groups of 32 in one row of act[T][cols]. */
static inline uint64_t card_act_groups(uint32_t cols) { return card_round_up(cols, 64) / CARD_GROUP_COLS; }

/* Bytes of act[tokens][cols], and where its scales and sums start. */
static inline uint64_t card_act_scale_offset(uint32_t tokens, uint32_t cols)
{
    return (uint64_t)tokens * card_act_groups(cols) * CARD_GROUP_COLS;
}
static inline uint64_t card_act_sum_offset(uint32_t tokens, uint32_t cols)
{
    return card_act_scale_offset(tokens, cols) + (uint64_t)tokens * card_act_groups(cols) * 4;
}
static inline uint64_t card_act_bytes(uint32_t tokens, uint32_t cols)
{
    return card_act_sum_offset(tokens, cols) + (uint64_t)tokens * card_act_groups(cols) * 4;
}

/* Bytes of one element of a KV page; 0 if format is no page format. */
static inline uint32_t card_kv_element_bytes(unsigned format)
{
    return format == CARD_FORMAT_F32 ? 4 : format == CARD_FORMAT_F16 ? 2 : 0;
}

/* Bytes of one KV page of one layer (keys and values). */
static inline uint64_t card_page_bytes(unsigned format, uint32_t kv_heads, uint32_t head_dim)
{
    return (uint64_t)2 * CARD_PAGE_TOKENS * card_kv_element_bytes(format) * ((uint64_t)kv_heads * head_dim);
}

#endif
