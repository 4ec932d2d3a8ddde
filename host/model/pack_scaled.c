/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/pack_scaled.h"

#include "host/base/vector_clones.h"
#include "host/model/scaled.h"
#include "kernels/abi/card_math.h"

#define PACK_INLINE static inline __attribute__((always_inline))
#define LOW_NIBBLES 0x0f0f0f0fu

unsigned pack_scaled_format(enum gguf_tensor_type type)
{
    switch ((unsigned)type) {
    case GGUF_SCALED_INT4: return CARD_FORMAT_INT4;
    case GGUF_SCALED_INT4_ZERO: return CARD_FORMAT_INT4_MIN;
    case GGUF_SCALED_INT8: return CARD_FORMAT_INT8;
    case GGUF_SCALED_INT8_ZERO: return CARD_FORMAT_INT8_MIN;
    default: return 0;
    }
}

/* Of a group's integers, as they are stored. */
struct sums {
    int32_t values, squares;
};

/* 16 bytes with columns 0..15 in the low and 16..31 in the high nibbles, to one row of a 4-bit group. */
PACK_INLINE struct sums put_nibbles(const uint8_t *source, uint8_t *group, unsigned row)
{
    struct sums sums = {0, 0};
    for (unsigned half = 0; half < 2; half++) {
        uint32_t first = load_u32(source + 8 * half), second = load_u32(source + 8 * half + 4);
        uint8_t *low = group + half * CARD_WORD_BYTES + 4 * row;
        store_u32(low, (first & LOW_NIBBLES) | (second & LOW_NIBBLES) << 4);
        store_u32(low + 2 * CARD_WORD_BYTES, (first >> 4 & LOW_NIBBLES) | (second & ~LOW_NIBBLES));
    }
    for (unsigned i = 0; i < 16; i++) {
        int32_t low = source[i] & 15, high = source[i] >> 4;
        sums.values += low + high;
        sums.squares += low * low + high * high;
    }
    return sums;
}

PACK_INLINE struct sums put_bytes(const uint8_t *source, uint8_t *group, unsigned row)
{
    struct sums sums = {0, 0};
    for (unsigned word = 0; word < 8; word++) memcpy(group + word * CARD_WORD_BYTES + 4 * row, source + 4 * word, 4);
    for (unsigned i = 0; i < SCALED_COLS; i++) {
        int32_t q = (int8_t)source[i];
        sums.values += q;
        sums.squares += q * q;
    }
    return sums;
}

/* A half of a finite value; too_large where it has none. */
PACK_INLINE float put_half(float value, uint8_t *to, struct pack_result *result)
{
    uint16_t half = card_f32_to_f16(value);
    bool finite = (bits_of_float(value) & 0x7f800000u) != 0x7f800000u;
    result->not_finite |= !finite;
    result->too_large |= finite && (half & 0x7c00u) == 0x7c00u;
    store_u16(to, half);
    return card_f16_to_f32(half);
}

/*
 * The card has scale * q + least, and should have exact * (q - zero): the squares of the difference, a * q + b, and of the values
 * follow from the sums.
 */
PACK_INLINE void measure(struct sums sums, float exact, int zero, float scale, double least, struct pack_result *result)
{
    double a = (double)scale - (double)exact, b = least + (double)exact * zero;
    double n = SCALED_COLS, values = sums.values, squares = sums.squares;
    result->error_squares += a * a * squares + 2 * a * b * values + n * b * b;
    result->value_squares += (double)exact * (double)exact * (squares - 2.0 * zero * values + n * zero * zero);
}

/* Constants when it is inlined: what the type is. */
PACK_INLINE void pack_tile(const struct pack_source *source, bool is_int4, bool has_zero, const uint8_t *rows,
                           unsigned n_rows, uint8_t *out, struct pack_result *result)
{
    const unsigned header = has_zero ? 128 : 64, values_at = has_zero ? 6 : 4;
    const unsigned format = is_int4 ? (has_zero ? CARD_FORMAT_INT4_MIN : CARD_FORMAT_INT4)
                                    : (has_zero ? CARD_FORMAT_INT8_MIN : CARD_FORMAT_INT8);
    const size_t block_bytes = values_at + (is_int4 ? 16 : 32), stride = source->cols / SCALED_COLS * block_bytes;
    struct pack_result seen = *result;
    for (uint32_t g = 0; g < source->cols / SCALED_COLS; g++) {
        uint8_t *to = out + g / 2 * card_block_bytes(format);
        for (unsigned r = 0; r < n_rows; r++) {
            const uint8_t *block = rows + r * stride + g * block_bytes;
            uint8_t *group = to + header + (is_int4 ? 256 : 512) * (g % 2);
            const float exact = load_f32(block);
            const int zero = has_zero ? (int16_t)load_u16(block + 4) : is_int4 ? 8 : 0;
            float scale = put_half(exact, to + 32 * (g % 2) + 2 * r, &seen);
            double least = -(double)zero * (double)scale;
            if (has_zero) least = (double)put_half(-(float)zero * exact, to + 64 + 32 * (g % 2) + 2 * r, &seen);
            struct sums sums =
                is_int4 ? put_nibbles(block + values_at, group, r) : put_bytes(block + values_at, group, r);
            measure(sums, exact, zero, scale, least, &seen);
        }
    }
    *result = seen;
}

VECTOR_CLONES
void pack_scaled_tile(const struct pack_source *source, const uint8_t *rows, unsigned n_rows, uint8_t *out,
                      struct pack_result *result)
{
    switch ((unsigned)source->type) {
    case GGUF_SCALED_INT4: pack_tile(source, true, false, rows, n_rows, out, result); break;
    case GGUF_SCALED_INT4_ZERO: pack_tile(source, true, true, rows, n_rows, out, result); break;
    case GGUF_SCALED_INT8: pack_tile(source, false, false, rows, n_rows, out, result); break;
    default: pack_tile(source, false, true, rows, n_rows, out, result); break;
    }
}
