/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integers and scales to the card format that keeps most of them:
 *
 *   Q3_K, IQ1, IQ3, NVFP4   Q6_K has a unit of half precision, a scale of eight bits for each 16 columns, and integers of six bits:
 *                           all of them fit. Nothing is lost, but for units that have no half (an eighth of a subnormal one),
 *                           and for NVFP4 scales that are some hundred times smaller than the block's largest.
 *   TQ1_0, TQ2_0            INT4: nothing is lost.
 *   IQ2, IQ4_XS, Q8_K       Their integers need eight bits, and INT8's one scale for 32 columns is a half: unit * scale is
 *                           rounded to it, which costs at most 2^-12. Where the two scales of IQ2_XS and IQ2_S in 32 columns
 *                           differ, the integers of the smaller one are rounded too.
 *
 * What that costs is measured on every weight.
 */
#include "host/model/pack_integers.h"

#include "host/base/bytes.h"
#include "host/base/vector_clones.h"
#include "host/model/gguf_integers.h"
#include "kernels/abi/card_math.h"

#define PACK_INLINE static inline __attribute__((always_inline))
#define LOW_NIBBLES 0x0f0f0f0fu
#define HIGH_PAIRS 0x03030303u
#define HALVES_OF_16 (GGUF_INTEGERS / 16)
#define AHEAD_BYTES 512u /* how far ahead a row is asked for */

unsigned pack_integers_format(enum gguf_tensor_type type)
{
    switch ((unsigned)type) {
    case GGUF_Q3_K:
    case GGUF_IQ1_S:
    case GGUF_IQ1_M:
    case GGUF_IQ3_XXS:
    case GGUF_IQ3_S:
    case GGUF_NVFP4: return CARD_FORMAT_Q6_K;
    case GGUF_TQ1_0:
    case GGUF_TQ2_0: return CARD_FORMAT_INT4;
    case GGUF_Q8_K:
    case GGUF_IQ2_XXS:
    case GGUF_IQ2_XS:
    case GGUF_IQ2_S:
    case GGUF_IQ4_XS: return CARD_FORMAT_INT8;
    default: return 0;
    }
}

/* Sums of squares of a block, in units of the block's own, side by side so that a loop over them is vector instructions. */
struct lanes {
    float errors[16], squares[16];
};

PACK_INLINE void add_lanes(const struct lanes *lanes, float unit, struct pack_result *result)
{
    double errors = 0, squares = 0, scale = (double)unit * (double)unit;
    for (unsigned j = 0; j < 16; j++) {
        errors += (double)lanes->errors[j];
        squares += (double)lanes->squares[j];
    }
    result->error_squares += errors * scale;
    result->value_squares += squares * scale;
}

PACK_INLINE bool is_finite(float value) { return (bits_of_float(value) & 0x7f800000u) != 0x7f800000u; }

/* A scale as a half, and what it stands for then. */
struct half_scale {
    uint16_t half;
    float value;
};

PACK_INLINE struct half_scale half_of(float scale, bool *too_large)
{
    struct half_scale made;
    made.half = card_f32_to_f16(scale);
    made.value = card_f16_to_f32(made.half);
    *too_large |= (made.half & 0x7c00u) == 0x7c00u;
    return made;
}

/* 32 six-bit values to a row of group g: the low four bits and the upper two. */
PACK_INLINE void put_six_bits(const int8_t q[CARD_GROUP_COLS], unsigned g, uint8_t *block, unsigned row)
{
    uint8_t *low = block + 320 + 256 * g + 4 * row, *high = block + 2368 + 128 * g + 4 * row;
    for (unsigned half = 0; half < 2; half++) {
        uint32_t v[4], upper = 0;
        for (unsigned i = 0; i < 4; i++) {
            /* -32 to 31 plus 32, without a carry out of the byte: bit 5 turned over, bits 6 and 7 dropped. */
            v[i] = load_u32((const uint8_t *)q + 16 * half + 4 * i) ^ 0x20202020u;
            upper |= (v[i] >> 4 & HIGH_PAIRS) << 2 * i;
        }
        store_u32(low + CARD_WORD_BYTES * 2 * half, (v[0] & LOW_NIBBLES) | (v[1] & LOW_NIBBLES) << 4);
        store_u32(low + CARD_WORD_BYTES * (2 * half + 1), (v[2] & LOW_NIBBLES) | (v[3] & LOW_NIBBLES) << 4);
        store_u32(high + CARD_WORD_BYTES * half, upper);
    }
}

/* The sum of (scale * q)^2 over the block. */
PACK_INLINE double squares_of(const struct gguf_integers *in)
{
    int32_t sums[16] = {0}; /* of 16 squares of at most 127 * 32 */
    for (unsigned i = 0; i < HALVES_OF_16; i++)
        for (unsigned j = 0; j < 16; j++) {
            int16_t product = (int16_t)(in->scale[i] * in->q[16 * i + j]);
            sums[j] += product * product;
        }
    double total = 0;
    for (unsigned j = 0; j < 16; j++) total += sums[j];
    return total;
}

PACK_INLINE void put_q6_k(const struct gguf_integers *in, bool measured, uint8_t *block, unsigned row,
                          struct pack_result *result)
{
    struct half_scale unit = half_of(in->unit, &result->too_large);
    store_u16(block + 2 * row, unit.half);
    for (unsigned i = 0; i < HALVES_OF_16; i++) block[64 + 16 * i + row] = (uint8_t)in->scale[i];
    for (unsigned g = 0; g < HALVES_OF_16 / 2; g++) put_six_bits(in->q + 32 * g, g, block, row);
    if (!measured) return;
    double squares = squares_of(in), error = (double)unit.value - (double)in->unit;
    result->error_squares += error * error * squares;
    result->value_squares += (double)in->unit * (double)in->unit * squares;
}

/* -8 to 7 as nibbles, to a row of four blocks of 64 columns. */
PACK_INLINE void put_int4(const struct gguf_integers *in, uint8_t *blocks, unsigned row, struct pack_result *result)
{
    struct half_scale unit = half_of(in->unit, &result->too_large);
    for (unsigned g = 0; g < HALVES_OF_16 / 2; g++) {
        uint8_t *block = blocks + g / 2 * card_block_bytes(CARD_FORMAT_INT4);
        uint8_t *words = block + 64 + 256 * (g % 2) + 4 * row;
        store_u16(block + 32 * (g % 2) + 2 * row, unit.half);
        for (unsigned j = 0; j < 4; j++) {
            uint32_t low = load_u32((const uint8_t *)in->q + 32 * g + 8 * j) ^ 0x08080808u;
            uint32_t high = load_u32((const uint8_t *)in->q + 32 * g + 8 * j + 4) ^ 0x08080808u;
            store_u32(words + CARD_WORD_BYTES * j, (low & LOW_NIBBLES) | (high & LOW_NIBBLES) << 4);
        }
    }
}

/* 16 integers of IQ2 times a factor of at most two, rounded. Scales are relative to the unit. */
PACK_INLINE void stretch(const int8_t q[16], float factor, float exact_scale, float scale, int8_t out[16],
                         struct lanes *lanes)
{
    int32_t whole[16];
    for (unsigned j = 0; j < 16; j++) whole[j] = (int32_t)((float)q[j] * factor + (q[j] < 0 ? -0.5f : 0.5f));
    for (unsigned j = 0; j < 16; j++) out[j] = (int8_t)whole[j];
    for (unsigned j = 0; j < 16; j++) {
        float value = exact_scale * (float)q[j], error = scale * (float)whole[j] - value;
        lanes->errors[j] += error * error;
        lanes->squares[j] += value * value;
    }
}

/* 32 integers that stay as they are; scales relative to the unit. */
PACK_INLINE void measure_scale(const int8_t q[CARD_GROUP_COLS], float exact_scale, float difference,
                               struct lanes *lanes)
{
    float error = difference * difference, square = exact_scale * exact_scale;
    for (unsigned j = 0; j < 16; j++) {
        float sum = (float)(q[j] * q[j] + q[j + 16] * q[j + 16]);
        lanes->errors[j] += error * sum;
        lanes->squares[j] += square * sum;
    }
}

PACK_INLINE void put_int8(const struct gguf_integers *in, uint8_t *blocks, unsigned row, struct pack_result *result)
{
    struct lanes lanes = {0};
    float inverse = in->unit != 0 ? 1.0f / in->unit : 0.0f;
    if (!is_finite(inverse)) inverse = 0.0f; /* below 2^-128, where all is zero on the card: an error of one */
    for (unsigned g = 0; g < HALVES_OF_16 / 2; g++) {
        uint8_t *block = blocks + g / 2 * card_block_bytes(CARD_FORMAT_INT8);
        uint8_t *words = block + 64 + 512 * (g % 2) + 4 * row;
        int8_t stretched[CARD_GROUP_COLS];
        const int8_t *q = in->q + 32 * g;
        float first = in->scale[2 * g], second = in->scale[2 * g + 1], larger = first > second ? first : second;
        bool same = first == second;
        struct half_scale scale = half_of(in->unit * (same ? first : larger * 0.5f), &result->too_large);
        float relative = scale.value * inverse;
        if (same) {
            measure_scale(q, first, (scale.value - in->unit * first) * inverse, &lanes);
        } else { /* the larger one's integers are doubled, the other's go to the nearest multiples */
            stretch(q, 2.0f * first / larger, first, relative, stretched, &lanes);
            stretch(q + 16, 2.0f * second / larger, second, relative, stretched + 16, &lanes);
            q = stretched;
        }
        store_u16(block + 32 * (g % 2) + 2 * row, scale.half);
        for (unsigned word = 0; word < 8; word++)
            store_u32(words + CARD_WORD_BYTES * word, load_u32((const uint8_t *)q + 4 * word));
    }
    add_lanes(&lanes, in->unit, result);
}

/*
 * Up to four blocks of NVFP4 as one of integers. A scale is a number of 15 at most times a power of two: with the largest one's
 * as 8 to 15 times 8, all of the four octaves below it are integers, and one more, since codes up to 12 can be doubled. What
 * is smaller is rounded, and returned as the sum of squared errors.
 */
PACK_INLINE double read_nvfp4(const uint8_t *blocks, unsigned n_blocks, struct gguf_integers *out)
{
    static const int8_t values[16] = CARD_MXFP4_VALUE;
    unsigned fraction[HALVES_OF_16] = {0}, shift[HALVES_OF_16] = {0}, largest = 0;
    double error_squares = 0;
    *out = (struct gguf_integers){0};
    for (unsigned i = 0; i < 4 * n_blocks; i++) {
        unsigned bits = blocks[36 * (i / 4) + i % 4], exponent = bits >> 3 & 15u;
        fraction[i] = bits == 0x7f ? 0 : exponent ? 8 + (bits & 7) : bits & 7; /* times 2^(shift - 10) */
        shift[i] = exponent ? exponent - 1 : 0;
        if (fraction[i] != 0 && shift[i] > largest) largest = shift[i];
    }
    int least = (int)largest - 4; /* the unit's power of two: scales are even to the last octave but one */
    out->unit = float_of_bits((uint32_t)(least + 127 - 10) << 23);
    for (unsigned i = 0; i < 4 * n_blocks; i++) {
        const uint8_t *codes = blocks + 36 * (i / 4) + 4 + 8 * (i % 4);
        int up = (int)shift[i] - least; /* 4 at most: with doubled codes 3 */
        unsigned doubled = up > 0 ? 2 : 1;
        int scale = up > 0 ? (int)fraction[i] << (up - 1) : up < -8 ? 0 : ((int)fraction[i] + (1 << -up >> 1)) >> -up;
        double exact = (double)fraction[i] * (up < 0 ? 1.0 / (1 << -up) : (double)(1 << up)), error;
        out->scale[i] = (int8_t)scale;
        for (unsigned j = 0; j < 8; j++) {
            out->q[16 * i + j] = (int8_t)(values[codes[j] & 15] * (int)doubled);
            out->q[16 * i + 8 + j] = (int8_t)(values[codes[j] >> 4] * (int)doubled);
        }
        error = ((double)scale - exact / doubled) * (double)out->unit;
        for (unsigned j = 0; error != 0 && j < 16; j++)
            error_squares += error * error * (double)(out->q[16 * i + j] * out->q[16 * i + j]);
    }
    return error_squares;
}

/* The block at this column of a row. */
PACK_INLINE void read_block(const struct pack_source *source, const uint8_t *row, uint32_t column,
                            struct gguf_integers *out, struct pack_result *result)
{
    if (source->type == GGUF_NVFP4) {
        unsigned count = source->cols - column < GGUF_INTEGERS ? source->cols - column : GGUF_INTEGERS;
        const uint8_t *blocks = row + (size_t)(column / 64) * 36;
        result->error_squares += read_nvfp4(blocks, count / 64, out);
        result->not_finite |= gguf_has_nan_scale(GGUF_NVFP4, blocks, count);
        return;
    }
    gguf_read_integers(source->type, row + (size_t)(column / GGUF_INTEGERS) * gguf_block_bytes(source->type), out);
    result->not_finite |= !is_finite(out->unit);
}

VECTOR_CLONES
void pack_integers_tile(const struct pack_source *source, const uint8_t *rows, unsigned n_rows, uint8_t *out,
                        struct pack_result *result)
{
    unsigned format = pack_integers_format(source->type);
    size_t stride = pack_row_bytes(source);
    size_t step = (size_t)(GGUF_INTEGERS / card_block_cols(format)) * card_block_bytes(format);
    bool measured = pack_rounds(source->type, format);
    struct pack_result seen = *result;
    for (uint32_t c = 0; c < source->cols; c += GGUF_INTEGERS, out += step)
        for (unsigned r = 0; r < n_rows; r++) {
            struct gguf_integers block;
            read_block(source, rows + r * stride, c, &block, &seen);
            if (format == CARD_FORMAT_Q6_K)
                put_q6_k(&block, measured, out, r, &seen);
            else if (format == CARD_FORMAT_INT4)
                put_int4(&block, out, r, &seen);
            else
                put_int8(&block, out, r, &seen);
        }
    if (seen.not_finite) seen.too_large = result->too_large;
    *result = seen;
}
