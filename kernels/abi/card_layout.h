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
 *   Q5_K      256     as Q4_K, then 2368 512: a word for each group, bit k of byte
 *                     b of a row = bit 4 of column 4k+b (k = 0..7, b = 0..3)       as Q4_K, q of 5 bits
 *   Q6_K      256     0 32 f16 d[16]; 32 32 zero; 64 256 i8 scale[16][16] (one for
 *                     each 16 columns); 320 2048 eight 4-bit groups; 2368 1024:
 *                     two words for each group, in word j bits 2i..2i+1 of byte b
 *                     of a row = bits 4..5 of column 16j+4i+b (i, b = 0..3)        (d * scale) * (q - 32)
 *   MXFP4     128     0 64 u8 exponent[4][16]; 64 1024 four 4-bit groups, whose
 *                     nibbles are codes of CARD_MXFP4_VALUE                        2^(exponent - 128) * value
 *   F32         1     no blocks: rows of C floats, f32[R][C], unpadded             as stored
 *
 * The formats keep a GGUF file's values exactly: INT4 is Q4_0, INT4_MIN is Q4_1, INT8 is Q8_0 and Q5_0, INT8_MIN is
 * Q5_1. The one exception: an MXFP4 exponent below CARD_MXFP4_LEAST counts as a scale of zero, so that no product
 * of a scale of weights and one of activations underflows (kernels/README.md).
 *
 * A matrix may be dealt over N banks, so that N memory channels are read at once, each as one sequential stream: tile t
 * of a matrix whose address is (bank b, offset o), b < N, lies in bank (b + t) % N at offset
 * o + (b + t) / N * (bytes of a tile). Matrices with tiles of one size may follow each other without a gap: the next one
 * starts with b = (b + tiles) % N. Where a table may say b >= N (slots of EXPERT_MATMUL), the matrix is dealt over the Nth part of
 * the banks that has b, N to a part from bank 0 on: g = b - b % N, tile t in bank g + (b % N + t) % N at offset
 * o + (b % N + t) / N * (bytes of a tile). Tile t of a dealt F32 matrix is its rows 16t..16t+15, f32[16][C]; the last one may have
 * fewer rows, but takes as much memory, which is not read.
 *
 * Columns that only pad a block of 256 past the activations' padding to 64 are not multiplied.
 *
 * act[T][C], the quantized activations: with G = C padded to 64, divided by 32,
 *   i8 value[T][32 G], then f32 scale[T][G], then i32 sum[T][G] (the sum of the group's 32 values, for formats with a
 *   minimum).
 *
 * A page pool is page after page; dealt over N banks, page p lies where tile p of a matrix whose tiles have the bytes of
 * a page would, whole in one bank. A page holds CARD_PAGE_TOKENS tokens of one layer: a block of keys for each KV head,
 * then a block of values for each KV head (none in pages of keys only). A block of vectors of D dimensions, with
 * H = D padded to 32, divided by 32:
 *   F32, F16  [CARD_PAGE_TOKENS][D]
 *   INT8      i8 q[CARD_PAGE_TOKENS][32 H], then f16 scale[CARD_PAGE_TOKENS][H]; value = scale * q
 *   INT4      u8 q[CARD_PAGE_TOKENS][16 H], byte b of a group: dimension b in the low nibble, b + 16 in the high one; then
 *             f16 scale[CARD_PAGE_TOKENS][H], then f16 min[CARD_PAGE_TOKENS][H]; value = scale * q + min
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
    CARD_FORMAT_F16 = 2, /* KV pages only; INT4 and INT8 are page formats too */
    CARD_FORMAT_INT4 = 3,
    CARD_FORMAT_INT4_MIN = 4,
    CARD_FORMAT_INT8 = 5,
    CARD_FORMAT_INT8_MIN = 6,
    CARD_FORMAT_Q4_K = 7,
    CARD_FORMAT_Q5_K = 8,
    CARD_FORMAT_Q6_K = 9,
    CARD_FORMAT_MXFP4 = 10,
};
#define CARD_FORMAT_END 11 /* one past the last format */

/*
 * MXFP4: twice the values of the codes 0 to 15, which are FP4 E2M1 of the OCP Microscaling Formats specification 1.0;
 * doubled, they are integers. The scale's factor of a half makes up for it.
 */
#define CARD_MXFP4_VALUE                                                                                               \
    {                                                                                                                  \
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12                                                        \
    }
#define CARD_MXFP4_LEAST 92u /* 2^-36 */

/* Columns of one block: 64, 128 or 256; 1 for F32; 0 if format is no weight format. */
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
    case CARD_FORMAT_MXFP4: return 128;
    default: return 0;
    }
}

/* Bytes of one block of 16 rows; 0 for F32, which has none, and for what is no weight format. */
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
    case CARD_FORMAT_MXFP4: return 64 + 1024;
    default: return 0;
    }
}

static inline uint64_t card_round_up(uint64_t value, uint64_t step) { return (value + step - 1) / step * step; }

/*
 * Bytes of matrix(rows, cols) in one piece; dealt, one of F32 takes whole tiles. No overflow: both are 32 bits. 0 if format
 * is no weight format.
 */
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

/* Bytes of one tile of 16 rows of matrix(R, cols); 0 if format is no weight format. */
static inline uint64_t card_tile_bytes(unsigned format, uint32_t cols)
{
    if (format == CARD_FORMAT_F32) return (uint64_t)CARD_TILE_ROWS * cols * 4;
    if (card_block_cols(format) == 0) return 0;
    return card_round_up(cols, card_block_cols(format)) / card_block_cols(format) * card_block_bytes(format);
}

/* The first of the banks over which a matrix is dealt that starts in `bank`; 0 where that is below `banks`. */
static inline uint32_t card_first_bank(uint32_t bank, uint32_t banks)
{
    return banks > 1 && bank >= banks ? bank - bank % banks : banks > 1 ? 0 : bank;
}

/* Where tile `tile` of a matrix, or page of a pool, dealt over `banks` (0 counts as 1) lies: its bank and the offset. */
static inline uint32_t card_tile_bank(uint32_t bank, uint64_t tile, uint32_t banks)
{
    const uint32_t first = card_first_bank(bank, banks);
    return banks > 1 ? first + (uint32_t)((bank - first + tile) % banks) : bank;
}
static inline uint64_t card_tile_offset(uint32_t bank, uint64_t offset, uint64_t tile, uint32_t banks,
                                        uint64_t tile_bytes)
{
    return offset + (banks > 1 ? (bank - card_first_bank(bank, banks) + tile) / banks : tile) * tile_bytes;
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

/* Bytes of the block of one KV head's vectors of `dims` dimensions in a page; 0 if format is no page format. */
static inline uint64_t card_page_block_bytes(unsigned format, uint32_t dims)
{
    uint64_t groups = card_round_up(dims, CARD_GROUP_COLS) / CARD_GROUP_COLS;
    switch (format) {
    case CARD_FORMAT_F32: return (uint64_t)4 * CARD_PAGE_TOKENS * dims;
    case CARD_FORMAT_F16: return (uint64_t)2 * CARD_PAGE_TOKENS * dims;
    case CARD_FORMAT_INT8: return CARD_PAGE_TOKENS * groups * (CARD_GROUP_COLS + 2);
    case CARD_FORMAT_INT4: return CARD_PAGE_TOKENS * groups * (CARD_GROUP_COLS / 2 + 4);
    default: return 0;
    }
}

/* Bytes of one KV page of one layer; value_dims 0: pages of keys only. */
static inline uint64_t card_page_bytes(unsigned format, uint32_t kv_heads, uint32_t key_dims, uint32_t value_dims)
{
    return kv_heads * (card_page_block_bytes(format, key_dims) +
                       (value_dims != 0 ? card_page_block_bytes(format, value_dims) : 0));
}

#endif
