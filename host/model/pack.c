/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cell is what one row has in one block of the card layout: 64, 128 or 256 columns. Each type has one function that moves a
 * cell; all of them only move bits, save the one for float types. GGUF block formats: ggml-common.h and gguf_decode.c.
 */
#include "host/model/pack.h"

#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/base/vector_clones.h"
#include "host/model/gguf_iq4.h"
#include "host/model/pack_integers.h"
#include "host/model/pack_round4.h"
#include "host/model/pack_scaled.h"
#include "host/model/unpack.h"
#include "kernels/abi/card_math.h"

#include <math.h>
#include <string.h>

#define LOW_NIBBLES 0x0f0f0f0fu
#define NIBBLE_GROUP_BYTES 256u /* of a 4-bit group: 32 columns of 16 rows */
#define BYTE_GROUP_BYTES 512u   /* of an 8-bit group */
#define K_GROUPS 8u             /* groups in a block of 256 columns */
#define K_NIBBLES 320u          /* offset of the 4-bit groups in the Q4_K, Q5_K and Q6_K blocks */
#define PREFETCH_BYTES 512u     /* how far ahead a row is asked for */
#define K_HIGH_BITS 2368u       /* offset of the bits above them */
#define ROUND_GROUPS 8u         /* of a float row, rounded at once */
#define ROUND_COLS (ROUND_GROUPS * CARD_GROUP_COLS)

/* What is called for every group: left to itself, the compiler calls it. */
#define PACK_INLINE static inline __attribute__((always_inline))

/* n_groups (of 32 columns) at source go to row `row` of block. True if a scale is infinite or not a number. */
typedef bool cell_function(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row);

/* Copies half i of a block's header to entry `row` of the list of 16 at list; true if it is not finite. */
PACK_INLINE bool put_half(const uint8_t *source, uint8_t *list, unsigned row)
{
    uint16_t half = load_u16(source);
    store_u16(list + 2 * row, half);
    return (half & 0x7c00u) == 0x7c00u;
}

/* 16 bytes with columns 0..15 in the low and 16..31 in the high nibbles, to one row of a 4-bit group. */
PACK_INLINE void put_nibbles(const uint8_t *source, uint8_t *group, unsigned row)
{
    for (unsigned half = 0; half < 2; half++) {
        uint32_t first = load_u32(source + 8 * half), second = load_u32(source + 8 * half + 4);
        uint8_t *low = group + half * CARD_WORD_BYTES + 4 * row;
        store_u32(low, (first & LOW_NIBBLES) | (second & LOW_NIBBLES) << 4);
        store_u32(low + 2 * CARD_WORD_BYTES, (first >> 4 & LOW_NIBBLES) | (second & ~LOW_NIBBLES));
    }
}

/* The low nibbles of 32 bytes are columns 0..31 of one group, the high ones of another. */
PACK_INLINE void put_nibble_planes(const uint8_t *source, uint8_t *low, uint8_t *high, unsigned row)
{
    for (unsigned word = 0; word < 4; word++) {
        uint32_t first = load_u32(source + 8 * word), second = load_u32(source + 8 * word + 4);
        size_t at = word * CARD_WORD_BYTES + 4 * row;
        store_u32(low + at, (first & LOW_NIBBLES) | (second & LOW_NIBBLES) << 4);
        store_u32(high + at, (first >> 4 & LOW_NIBBLES) | (second & ~LOW_NIBBLES));
    }
}

PACK_INLINE void put_bytes(const uint8_t values[CARD_GROUP_COLS], uint8_t *group, unsigned row)
{
    for (unsigned word = 0; word < 8; word++) memcpy(group + word * CARD_WORD_BYTES + 4 * row, values + 4 * word, 4);
}

static bool cell_q4_0(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    bool bad = false;
    for (unsigned g = 0; g < n_groups; g++, source += 18) {
        bad |= put_half(source, block + 32 * g, row);
        put_nibbles(source + 2, block + 64 + NIBBLE_GROUP_BYTES * g, row);
    }
    return bad;
}

static bool cell_q4_1(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    bool bad = false;
    for (unsigned g = 0; g < n_groups; g++, source += 20) {
        bad |= put_half(source, block + 32 * g, row);
        bad |= put_half(source + 2, block + 64 + 32 * g, row);
        put_nibbles(source + 4, block + 128 + NIBBLE_GROUP_BYTES * g, row);
    }
    return bad;
}

/* Bits 0..3, one in each byte's bit 4. */
PACK_INLINE uint32_t spread_bits(uint32_t bits) { return ((bits & 15u) * 0x00204081u & 0x01010101u) << 4; }

/*
 * The 32 five-bit values of Q5_0 and Q5_1: bit 4 of column c is bit c of the word, the rest are nibbles as in Q4_0. With
 * centred, less 16: a value without bit 4 is negative then, and has the bits above it instead.
 */
PACK_INLINE void five_bit_values(const uint8_t *high, const uint8_t *nibbles, bool centred,
                                 uint8_t values[CARD_GROUP_COLS])
{
    uint32_t bits = load_u32(high), flip = centred ? 0x10101010u : 0, factor = centred ? 15u : 1u;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t pair = load_u32(nibbles + 4 * i);
        store_u32(values + 4 * i, (pair & LOW_NIBBLES) | (spread_bits(bits >> 4 * i) ^ flip) * factor);
        store_u32(values + 16 + 4 * i, (pair >> 4 & LOW_NIBBLES) | (spread_bits(bits >> (16 + 4 * i)) ^ flip) * factor);
    }
}

static bool cell_q5_0(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    bool bad = false;
    for (unsigned g = 0; g < n_groups; g++, source += 22) {
        uint8_t values[CARD_GROUP_COLS];
        bad |= put_half(source, block + 32 * g, row);
        five_bit_values(source + 2, source + 6, true, values);
        put_bytes(values, block + 64 + BYTE_GROUP_BYTES * g, row);
    }
    return bad;
}

static bool cell_q5_1(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    bool bad = false;
    for (unsigned g = 0; g < n_groups; g++, source += 24) {
        uint8_t values[CARD_GROUP_COLS];
        bad |= put_half(source, block + 32 * g, row);
        bad |= put_half(source + 2, block + 64 + 32 * g, row);
        five_bit_values(source + 4, source + 8, false, values);
        put_bytes(values, block + 128 + BYTE_GROUP_BYTES * g, row);
    }
    return bad;
}

static bool cell_iq4_nl(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    bool bad = false;
    for (unsigned g = 0; g < n_groups; g++, source += 18) {
        int8_t values[CARD_GROUP_COLS];
        bad |= put_half(source, block + 32 * g, row);
        gguf_iq4_values(source + 2, values);
        put_bytes((const uint8_t *)values, block + 64 + BYTE_GROUP_BYTES * g, row);
    }
    return bad;
}

static bool cell_q8_0(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    bool bad = false;
    for (unsigned g = 0; g < n_groups; g++, source += 34) {
        bad |= put_half(source, block + 32 * g, row);
        put_bytes(source + 2, block + 64 + BYTE_GROUP_BYTES * g, row);
    }
    return bad;
}

/* The header of Q4_K and Q5_K: d, dmin, then eight 6-bit scales and minima in 12 bytes. */
static bool put_k_header(const uint8_t *source, uint8_t *block, unsigned row)
{
    const uint8_t *packed = source + 4;
    bool bad = put_half(source, block, row);
    bad |= put_half(source + 2, block + 32, row);
    /* Four at a time: the first four are the low six bits of a byte, the others put together of three places. */
    uint32_t first = load_u32(packed), second = load_u32(packed + 4), third = load_u32(packed + 8);
    const uint32_t scales[2] = {first & 0x3f3f3f3fu, (third & LOW_NIBBLES) | (first >> 2 & 0x30303030u)};
    const uint32_t mins[2] = {second & 0x3f3f3f3fu, (third >> 4 & LOW_NIBBLES) | (second >> 2 & 0x30303030u)};
    for (unsigned g = 0; g < K_GROUPS; g++) {
        block[64 + 16 * g + row] = (uint8_t)(scales[g / 4] >> 8 * (g % 4));
        block[192 + 16 * g + row] = (uint8_t)(mins[g / 4] >> 8 * (g % 4));
    }
    return bad;
}

/* The 128 bytes of nibbles of Q4_K and Q5_K: 32 bytes hold group 2i low and group 2i + 1 high. */
static void put_k_nibbles(const uint8_t *source, uint8_t *block, unsigned row)
{
    for (unsigned pair = 0; pair < K_GROUPS / 2; pair++)
        put_nibble_planes(source + 32 * pair, block + K_NIBBLES + 2 * NIBBLE_GROUP_BYTES * pair,
                          block + K_NIBBLES + 2 * NIBBLE_GROUP_BYTES * pair + NIBBLE_GROUP_BYTES, row);
}

static bool cell_q4_k(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    (void)n_groups;
    put_k_nibbles(source + 16, block, row);
    return put_k_header(source, block, row);
}

static bool cell_q5_k(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    (void)n_groups;
    const uint8_t *high = source + 16; /* bit g of byte c is bit 4 of column c of group g */
    put_k_nibbles(source + 48, block, row);
    for (unsigned g = 0; g < K_GROUPS; g++) {
        uint32_t bits = 0;
        for (unsigned k = 0; k < 8; k++) bits |= (load_u32(high + 4 * k) >> g & 0x01010101u) << k;
        store_u32(block + K_HIGH_BITS + CARD_WORD_BYTES * g + 4 * row, bits);
    }
    return put_k_header(source, block, row);
}

/* Of 16 bytes the two bits from `shift` on: columns 4i..4i+3 at bits 2i of the result's bytes. */
PACK_INLINE uint32_t two_bits(const uint8_t *bytes, unsigned shift)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < 4; i++) bits |= (load_u32(bytes + 4 * i) >> shift & 0x03030303u) << 2 * i;
    return bits;
}

/* 128 bytes of low nibbles, 64 of high bits, 16 scales, d. Each half of the block is four groups in planes. */
static bool cell_q6_k(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    (void)n_groups;
    for (unsigned half = 0; half < 2; half++) {
        uint8_t *groups = block + K_NIBBLES + 4 * NIBBLE_GROUP_BYTES * half;
        uint8_t *words = block + K_HIGH_BITS + 8 * CARD_WORD_BYTES * half + 4 * row;
        const uint8_t *high = source + 128 + 32 * half;
        for (unsigned i = 0; i < 2; i++)
            put_nibble_planes(source + 64 * half + 32 * i, groups + NIBBLE_GROUP_BYTES * i,
                              groups + NIBBLE_GROUP_BYTES * (i + 2), row);
        for (unsigned plane = 0; plane < 4; plane++) {
            store_u32(words + 2 * CARD_WORD_BYTES * plane, two_bits(high, 2 * plane));
            store_u32(words + 2 * CARD_WORD_BYTES * plane + CARD_WORD_BYTES, two_bits(high + 16, 2 * plane));
        }
    }
    for (unsigned i = 0; i < 16; i++) block[64 + 16 * i + row] = source[192 + i];
    return put_half(source + 208, block, row);
}

/* Exponent 255 is refused, as by gguf_has_nan_scale. */
static bool cell_mxfp4(const uint8_t *source, unsigned n_groups, uint8_t *block, unsigned row)
{
    bool bad = false;
    for (unsigned g = 0; g < n_groups; g++, source += 17) {
        block[16 * g + row] = source[0];
        bad |= source[0] == 255;
        put_nibbles(source + 1, block + 64 + NIBBLE_GROUP_BYTES * g, row);
    }
    return bad;
}

/* Inlined into round_tile, which has clones: the loops below over 32 values become vector instructions there. */
/* The bits of the largest magnitude; 0x7f800000 or more if one is infinite or not a number. */
PACK_INLINE uint32_t largest_bits(const float values[CARD_GROUP_COLS])
{
    uint32_t largest = 0;
    for (unsigned c = 0; c < CARD_GROUP_COLS; c++) {
        uint32_t magnitude = bits_of_float(values[c]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

typedef float float_lanes __attribute__((vector_size(4 * sizeof(float))));
typedef double double_lanes __attribute__((vector_size(4 * sizeof(double))));

/* Of quantized values: two times four sums, so that additions overlap. */
struct rounding {
    double_lanes errors[2], squares[2];
};

PACK_INLINE void measure_error(const float values[CARD_GROUP_COLS], const float rounded[CARD_GROUP_COLS],
                               struct rounding *rounding)
{
    for (unsigned c = 0; c < CARD_GROUP_COLS; c += 8) {
        for (unsigned i = 0; i < 2; i++) {
            float_lanes exact, near;
            memcpy(&exact, values + c + 4 * i, sizeof exact);
            memcpy(&near, rounded + c + 4 * i, sizeof near);
            double_lanes value = __builtin_convertvector(exact, double_lanes);
            double_lanes error = __builtin_convertvector(near, double_lanes) - value;
            rounding->errors[i] += error * error;
            rounding->squares[i] += value * value;
        }
    }
}

PACK_INLINE void add_rounding(const struct rounding *rounding, struct pack_result *result)
{
    double_lanes errors = rounding->errors[0] + rounding->errors[1];
    double_lanes squares = rounding->squares[0] + rounding->squares[1];
    result->error_squares += (errors[0] + errors[1]) + (errors[2] + errors[3]);
    result->value_squares += (squares[0] + squares[1]) + (squares[2] + squares[3]);
}

/* The nearest integer, ties away from zero, of magnitudes below 2^22. A half itself would round up what is just below one. */
PACK_INLINE int32_t nearest(float q)
{
    const uint32_t below_half = 0x3effffffu;
    return (int32_t)(q + float_of_bits(below_half | (bits_of_float(q) & 0x80000000u)));
}

/* What is the same for 32 columns of a float row, for all groups that are decoded at once. */
struct group_scales {
    uint32_t largest[ROUND_GROUPS]; /* magnitude's bits */
    uint16_t half[ROUND_GROUPS];    /* d as it is stored */
    float scale[ROUND_GROUPS];      /* its value */
    float inverse[ROUND_GROUPS];    /* of d before it was rounded; 0 where every weight is 0 */
};

/*
 * Scales by Q8_0's rule (ggml's quantize_row_q8_0): d = largest magnitude / 127, stored as a half. For all groups side by side,
 * without branches: one by one, the chain of divisions and conversions took longer than all the rest. A d of zero, and one below
 * 2^-128, whose half is zero too, have no finite inverse.
 */
PACK_INLINE void choose_scales(struct group_scales *scales)
{
    for (unsigned g = 0; g < ROUND_GROUPS; g++) {
        float d = float_of_bits(scales->largest[g]) / 127.0f;
        uint32_t inverse = bits_of_float(1.0f / d);
        scales->inverse[g] = float_of_bits(inverse & (0u - (inverse < 0x7f800000u)));
        uint16_t half = card_f32_to_f16(d);
        scales->half[g] = half;
        scales->scale[g] = card_f16_to_f32(half);
    }
}

/* 32 floats to one row of an 8-bit group: q = round(value / d), ties away from zero. */
PACK_INLINE void put_rounded(const float values[CARD_GROUP_COLS], float inverse, float scale, uint8_t *group,
                             unsigned row, struct rounding *rounding)
{
    float rounded[CARD_GROUP_COLS];
    uint8_t quantized[CARD_GROUP_COLS];
    for (unsigned c = 0; c < CARD_GROUP_COLS; c++) {
        int32_t whole = nearest(values[c] * inverse);
        rounded[c] = scale * (float)whole;
        quantized[c] = (uint8_t)whole;
    }
    put_bytes(quantized, group, row);
    measure_error(values, rounded, rounding);
}

/* ROUND_COLS floats to one row of n_blocks blocks. */
PACK_INLINE void round_row(const float values[ROUND_COLS], uint32_t n_blocks, uint8_t *out, unsigned row,
                           struct rounding *rounding, struct pack_result *result)
{
    struct group_scales scales;
    uint32_t largest = 0;
    bool too_large = false;
    for (unsigned g = 0; g < ROUND_GROUPS; g++) {
        scales.largest[g] = largest_bits(values + CARD_GROUP_COLS * g);
        largest = scales.largest[g] > largest ? scales.largest[g] : largest;
    }
    if (largest >= 0x7f800000u) {
        result->not_finite = true;
        return;
    }
    choose_scales(&scales);
    for (unsigned g = 0; g < 2 * n_blocks; g++) {
        uint8_t *block = out + g / 2 * card_block_bytes(CARD_FORMAT_INT8);
        store_u16(block + 32 * (g % 2) + 2 * row, scales.half[g]);
        put_rounded(values + CARD_GROUP_COLS * g, scales.inverse[g], scales.scale[g],
                    block + 64 + BYTE_GROUP_BYTES * (g % 2), row, rounding);
        too_large |= (scales.half[g] & 0x7c00u) == 0x7c00u;
    }
    result->too_large |= too_large;
}

static const struct {
    cell_function *cell; /* NULL for float types */
    unsigned format;
} types[] = {
    [GGUF_Q4_0] = {cell_q4_0, CARD_FORMAT_INT4},  [GGUF_Q4_1] = {cell_q4_1, CARD_FORMAT_INT4_MIN},
    [GGUF_Q5_0] = {cell_q5_0, CARD_FORMAT_INT8},  [GGUF_Q5_1] = {cell_q5_1, CARD_FORMAT_INT8_MIN},
    [GGUF_Q8_0] = {cell_q8_0, CARD_FORMAT_INT8},  [GGUF_Q4_K] = {cell_q4_k, CARD_FORMAT_Q4_K},
    [GGUF_Q5_K] = {cell_q5_k, CARD_FORMAT_Q5_K},  [GGUF_Q6_K] = {cell_q6_k, CARD_FORMAT_Q6_K},
    [GGUF_F32] = {NULL, CARD_FORMAT_INT8},        [GGUF_F16] = {NULL, CARD_FORMAT_INT8},
    [GGUF_BF16] = {NULL, CARD_FORMAT_INT8},       [GGUF_MXFP4] = {cell_mxfp4, CARD_FORMAT_MXFP4},
    [GGUF_Q2_K] = {NULL, CARD_FORMAT_INT8},       [GGUF_IQ4_NL] = {cell_iq4_nl, CARD_FORMAT_INT8},
    [GGUF_SCALED_FP8] = {NULL, CARD_FORMAT_INT8},
};

/* Values that no card format has: decoded, and rounded as floats are. */
static bool is_rounded(enum gguf_tensor_type type)
{
    return type == GGUF_F32 || type == GGUF_F16 || type == GGUF_BF16 || type == GGUF_Q2_K || type == GGUF_SCALED_FP8;
}

unsigned pack_format(enum gguf_tensor_type type, uint32_t weight_formats)
{
    if (!gguf_type_supported(type)) return 0;
    unsigned format = pack_integers_format(type);
    if (format == 0) format = pack_scaled_format(type);
    if (format == 0) format = types[type].format;
    if (weight_formats >> format & 1u) return format;
    return weight_formats >> CARD_FORMAT_F32 & 1u ? CARD_FORMAT_F32 : 0;
}

bool pack_rounds(enum gguf_tensor_type type, unsigned format)
{
    bool kept = type == GGUF_TQ1_0 || type == GGUF_TQ2_0 || type == GGUF_Q3_K || type == GGUF_IQ3_S;
    bool may = is_rounded(type) || pack_scaled_format(type) != 0 || (pack_integers_format(type) != 0 && !kept);
    return format != CARD_FORMAT_F32 && may;
}

bool pack_is_float(enum gguf_tensor_type type)
{
    return type == GGUF_F32 || type == GGUF_F16 || type == GGUF_BF16 || type == GGUF_SCALED_FP8;
}

bool pack_fits(enum gguf_tensor_type type, unsigned format)
{
    bool four = format == CARD_FORMAT_INT4 || format == CARD_FORMAT_INT4_MIN;
    return format == CARD_FORMAT_F32 || format == pack_format(type, UINT32_MAX) || (four && pack_is_float(type));
}

uint32_t pack_n_pieces(uint32_t rows) { return rows / CARD_TILE_ROWS + (rows % CARD_TILE_ROWS != 0); }

uint64_t pack_bytes_before(unsigned format, uint32_t rows, uint32_t cols, uint32_t n)
{
    uint64_t last = (uint64_t)n * CARD_TILE_ROWS;
    return card_matrix_bytes(format, last < rows ? (uint32_t)last : rows, cols);
}

size_t pack_row_bytes(const struct pack_source *source)
{
    return (size_t)(source->cols / gguf_block_elements(source->type)) * gguf_block_bytes(source->type);
}

/* Rows of floats: decoded exactly, checked, one after the other. */
static void pack_floats(const struct pack_source *source, uint32_t first, uint32_t n, uint8_t *out,
                        struct pack_result *result)
{
    size_t stride = pack_row_bytes(source);
    uint32_t row = first * CARD_TILE_ROWS;
    uint32_t end = source->rows - row > (uint64_t)n * CARD_TILE_ROWS ? row + n * CARD_TILE_ROWS : source->rows;
    for (; row < end; row++, out += (size_t)source->cols * 4) {
        const uint8_t *from = source->data + row * stride;
        for (uint32_t c = 0; c < source->cols; c += 256) {
            float values[256];
            uint32_t count = source->cols - c < 256 ? source->cols - c : 256;
            size_t offset = (size_t)(c / gguf_block_elements(source->type)) * gguf_block_bytes(source->type);
            gguf_decode(source->type, from + offset, count, values);
            result->not_finite |= gguf_has_nan_scale(source->type, from + offset, count);
            for (uint32_t i = 0; i < count; i++) result->not_finite |= !isfinite(values[i]);
            memcpy(out + (size_t)c * 4, values, (size_t)count * 4);
        }
    }
}

/*
 * Asks for bytes of one row that will be read soon. Rows of less than a page: the processor loses count of so many streams in one
 * page. After a row's end comes the same row of the next tile.
 */
PACK_INLINE void prefetch_row(const uint8_t *row, size_t at, size_t n_bytes, size_t stride)
{
    if (at >= stride) at += (CARD_TILE_ROWS - 1) * stride;
    for (size_t line = 0; line < n_bytes; line += 64) __builtin_prefetch(row + at + line);
}

/* One tile from float rows: of each row as much at a time as goes to a few blocks. */
VECTOR_CLONES
static void round_tile(const struct pack_source *source, const uint8_t *rows, unsigned n_rows, uint8_t *out,
                       struct pack_result *result)
{
    const size_t stride = pack_row_bytes(source), block_bytes = card_block_bytes(CARD_FORMAT_INT8);
    const size_t bytes = ROUND_COLS / gguf_block_elements(source->type) * gguf_block_bytes(source->type);
    struct pack_result seen = *result;
    struct rounding rounding = {0};
    bool nan_scale = false;
    for (uint32_t c = 0; c < source->cols; c += ROUND_COLS, out += ROUND_COLS / 64 * block_bytes) {
        uint32_t count = source->cols - c < ROUND_COLS ? source->cols - c : ROUND_COLS;
        for (unsigned r = 0; r < n_rows; r++) {
            const uint8_t *row = rows + r * stride;
            float values[ROUND_COLS];
            size_t at = c / ROUND_COLS * bytes;
            prefetch_row(row, at + bytes, bytes, stride);
            gguf_decode(source->type, row + at, count, values);
            nan_scale |= gguf_has_nan_scale(source->type, row + at, count);
            for (uint32_t i = count; i < ROUND_COLS; i++) values[i] = 0.0f;
            round_row(values, (count + 63) / 64, out, r, &rounding, &seen);
        }
    }
    add_rounding(&rounding, &seen);
    seen.not_finite |= nan_scale;
    *result = seen;
}

static void move_tile(const struct pack_source *source, unsigned format, const uint8_t *rows, unsigned n_rows,
                      uint8_t *out, struct pack_result *result)
{
    cell_function *cell = types[source->type].cell;
    size_t stride = pack_row_bytes(source);
    uint32_t width = card_block_cols(format);
    size_t cell_bytes = (size_t)(width / gguf_block_elements(source->type)) * gguf_block_bytes(source->type);
    bool bad = false;
    for (uint32_t c = 0; c < source->cols; c += width, out += card_block_bytes(format)) {
        unsigned n_groups = (source->cols - c < width ? source->cols - c : width) / CARD_GROUP_COLS;
        size_t at = c / width * cell_bytes;
        for (unsigned r = 0; r < n_rows; r++) {
            prefetch_row(rows + r * stride, at + PREFETCH_BYTES, cell_bytes, stride);
            bad |= cell(rows + r * stride + at, n_groups, out, r);
        }
    }
    result->not_finite |= bad;
}

/* Pieces of a matrix that is packed already. */
static void copy_pieces(const struct pack_source *source, unsigned format, uint32_t first, uint32_t n, uint8_t *out)
{
    uint64_t begin = pack_bytes_before(source->packed, source->rows, source->cols, first);
    uint64_t end = pack_bytes_before(source->packed, source->rows, source->cols, first + n);
    if (format == source->packed) {
        memcpy(out, source->data + begin, end - begin);
        return;
    }
    uint64_t tile_bytes = card_tile_bytes(source->packed, source->cols);
    for (uint32_t piece = first; piece < first + n; piece++, out += (size_t)CARD_TILE_ROWS * source->cols * 4) {
        uint32_t row = piece * CARD_TILE_ROWS;
        uint32_t n_rows = source->rows - row < CARD_TILE_ROWS ? source->rows - row : CARD_TILE_ROWS;
        unpack_tile(source->packed, source->data + piece * tile_bytes, n_rows, source->cols, (float *)(void *)out);
    }
}

struct pack_source pack_source_of(const struct gguf_tensor *tensor, uint32_t rows, uint32_t cols, uint64_t first,
                                  uint32_t n)
{
    struct pack_source source = {.type = tensor->type, .rows = n * rows, .cols = cols};
    if (tensor->data != NULL) {
        source.data = tensor->data + first * rows * pack_row_bytes(&source);
    } else {
        source.made = tensor->rows;
        source.first_row = first * rows;
    }
    return source;
}

/* Piece by piece: rows are made as a source of their own, which is packed and forgotten. */
static void pack_made(const struct pack_source *source, unsigned format, uint32_t first, uint32_t n, uint8_t *out,
                      struct pack_result *result)
{
    uint8_t *rows = memory_array(CARD_TILE_ROWS, pack_row_bytes(source));
    if (rows == NULL) {
        result->no_memory = true;
        return;
    }
    for (uint32_t piece = first; piece < first + n; piece++) {
        uint32_t row = piece * CARD_TILE_ROWS, left = source->rows - row;
        struct pack_source made = {.type = source->type, .data = rows, .cols = source->cols};
        made.rows = left < CARD_TILE_ROWS ? left : CARD_TILE_ROWS;
        source->made->read(source->made, source->first_row + row, made.rows, rows);
        pack_pieces(&made, format, 0, 1, out, result);
        out += pack_bytes_before(format, source->rows, source->cols, piece + 1) -
               pack_bytes_before(format, source->rows, source->cols, piece);
    }
    free(rows);
}

void pack_pieces(const struct pack_source *source, unsigned format, uint32_t first, uint32_t n, uint8_t *out,
                 struct pack_result *result)
{
    if (source->packed != 0) {
        copy_pieces(source, format, first, n, out);
        return;
    }
    if (source->data == NULL) {
        pack_made(source, format, first, n, out, result);
        return;
    }
    if (format == CARD_FORMAT_F32) {
        pack_floats(source, first, n, out, result);
        return;
    }
    uint64_t tile_bytes = card_matrix_bytes(format, CARD_TILE_ROWS, source->cols);
    bool padded_cols = source->cols % card_block_cols(format) != 0 || format == CARD_FORMAT_Q6_K;
    for (uint32_t piece = first; piece < first + n; piece++, out += tile_bytes) {
        uint32_t row = piece * CARD_TILE_ROWS;
        unsigned n_rows = source->rows - row < CARD_TILE_ROWS ? source->rows - row : CARD_TILE_ROWS;
        const uint8_t *rows = source->data + row * pack_row_bytes(source);
        if (padded_cols || n_rows < CARD_TILE_ROWS) memset(out, 0, tile_bytes);
        if (is_rounded(source->type) && format != CARD_FORMAT_INT8)
            pack_round4_tile(source, format, rows, n_rows, out, result);
        else if (is_rounded(source->type))
            round_tile(source, rows, n_rows, out, result);
        else if (pack_integers_format(source->type) != 0)
            pack_integers_tile(source, rows, n_rows, out, result);
        else if (pack_scaled_format(source->type) != 0)
            pack_scaled_tile(source, rows, n_rows, out, result);
        else
            move_tile(source, format, rows, n_rows, out, result);
    }
}
