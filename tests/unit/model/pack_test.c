/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packer against an independent reader of the card layout: blocks of random bytes are packed, every weight is read
 * back as the text of card_layout.h says, and must have the bits that gguf_decode gives for the same blocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/bytes.h"
#include "host/model/pack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALL_FORMATS 0xffffffffu

static uint32_t random_state;

static uint32_t random_u32(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state ^ random_state >> 15;
}

/* A half of ordinary size, either sign; never infinite, sometimes zero or subnormal. */
static uint16_t random_half(void)
{
    uint32_t bits = random_u32();
    if (bits % 31 == 0) return (uint16_t)(bits >> 8 & 0x83ffu);
    return (uint16_t)((bits >> 8 & 0x83ffu) | (8u + (bits >> 24) % 12u) << 10);
}

static float half_value(uint16_t bits)
{
    float value;
    uint8_t bytes[2];
    store_u16(bytes, bits);
    gguf_decode(GGUF_F16, bytes, 1, &value);
    return value;
}

/* Where a block's half is that everything else is multiplied by. */
static unsigned half_offset(enum gguf_tensor_type type)
{
    switch ((unsigned)type) {
    case GGUF_Q2_K: return 80;
    case GGUF_Q3_K: return 108;
    case GGUF_Q6_K: return 208;
    case GGUF_TQ1_0: return 52;
    case GGUF_TQ2_0: return 64;
    default: return 0;
    }
}

/* A half whose eighth is a half too: the card's unit of IQ1 is an eighth of the file's, that of IQ3_XXS half of it. */
static uint16_t random_half_with_eighth(void)
{
    uint16_t half;
    do half = random_half();
    while ((half & 0x7fff) != 0 && (half & 0x7c00) <= 4 << 10);
    return half;
}

/* The same in the four top nibbles of IQ1_M's scales. */
static void put_half_of_iq1_m(uint8_t *block, uint16_t half)
{
    for (unsigned i = 0; i < 4; i++)
        block[49 + 2 * i] = (uint8_t)((block[49 + 2 * i] & 15u) | ((unsigned)half >> 4 * i & 15u) << 4);
}

/* Where the halves of a block's header are; everything else may be random. */
static void random_block(enum gguf_tensor_type type, uint8_t *block)
{
    unsigned bytes = gguf_block_bytes(type);
    for (unsigned i = 0; i < bytes; i++) block[i] = (uint8_t)random_u32();
    switch (type) {
    case GGUF_Q2_K: store_u16(block + 82, random_half()); /* fall through */
    case GGUF_Q3_K:
    case GGUF_IQ3_S:
    case GGUF_IQ4_NL:
    case GGUF_TQ1_0:
    case GGUF_TQ2_0: store_u16(block + half_offset(type), random_half()); break;
    case GGUF_IQ1_S:
    case GGUF_IQ2_XXS:
    case GGUF_IQ2_XS:
    case GGUF_IQ2_S:
    case GGUF_IQ4_XS:
    case GGUF_IQ3_XXS: store_u16(block, random_half_with_eighth()); break;
    case GGUF_IQ1_M: put_half_of_iq1_m(block, random_half_with_eighth()); break;
    case GGUF_Q8_K: store_u32(block, bits_of_float(half_value(random_half_with_eighth()) * 1.0001f)); break;
    case GGUF_NVFP4: /* scales of five octaves, bit 7 not counting */
        for (unsigned i = 0; i < 4; i++) block[i] = (uint8_t)((block[i] & 0x87) | (4 + random_u32() % 5) << 3);
        break;
    case GGUF_Q4_1:
    case GGUF_Q5_1:
    case GGUF_Q4_K:
    case GGUF_Q5_K: store_u16(block + 2, random_half()); /* fall through */
    case GGUF_Q4_0:
    case GGUF_Q5_0:
    case GGUF_Q8_0:
    case GGUF_F16: store_u16(block, random_half()); break;
    case GGUF_Q6_K: store_u16(block + 208, random_half()); break;
    case GGUF_MXFP4: block[0] = (uint8_t)(CARD_MXFP4_LEAST + random_u32() % (253 - CARD_MXFP4_LEAST)); break;
    case GGUF_BF16:
        store_u16(block, (uint16_t)((random_u32() & 0x807fu) | (0x3c00u + (random_u32() & 0x03ffu))));
        break;
    default: store_u32(block, bits_of_float((float)(int32_t)random_u32() * 0x1p-31f)); break;
    }
}

/* One weight of a packed matrix, from the table in card_layout.h. */
struct reader {
    const uint8_t *matrix;
    unsigned format;
    uint32_t cols;
};

static unsigned nibble_at(const uint8_t *group, unsigned row, unsigned column)
{
    unsigned word = column / 8, within = column % 8;
    uint8_t byte = group[64 * word + 4 * row + within % 4];
    return within < 4 ? byte & 15u : byte >> 4;
}

static int byte_at(const uint8_t *group, unsigned row, unsigned column)
{
    return (int8_t)group[64 * (column / 4) + 4 * row + column % 4];
}

static float weight_of_64(const uint8_t *block, unsigned format, unsigned row, unsigned column)
{
    unsigned group = column / 32, c = column % 32;
    float scale = half_value(load_u16(block + 2 * (16 * group + row)));
    float min = half_value(load_u16(block + 64 + 2 * (16 * group + row)));
    switch (format) {
    case CARD_FORMAT_INT4: return scale * (float)((int)nibble_at(block + 64 + 256 * group, row, c) - 8);
    case CARD_FORMAT_INT4_MIN: return scale * (float)nibble_at(block + 128 + 256 * group, row, c) + min;
    case CARD_FORMAT_INT8: return scale * (float)byte_at(block + 64 + 512 * group, row, c);
    default: return scale * (float)byte_at(block + 128 + 512 * group, row, c) + min;
    }
}

static float weight_of_mxfp4(const uint8_t *block, unsigned row, unsigned column)
{
    static const float magnitudes[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    unsigned group = column / 32, code = nibble_at(block + 64 + 256 * group, row, column % 32);
    int exponent = block[16 * group + row];
    if (exponent < (int)CARD_MXFP4_LEAST) return 0.0f;
    float value = ldexpf(magnitudes[code & 7], exponent - 127);
    return code > 8 ? -value : value; /* 8 is zero */
}

static float weight_of_256(const uint8_t *block, unsigned format, unsigned row, unsigned column)
{
    unsigned group = column / 32, c = column % 32;
    float d = half_value(load_u16(block + 2 * row)), dmin = half_value(load_u16(block + 32 + 2 * row));
    unsigned q = nibble_at(block + 320 + 256 * group, row, c);
    if (format == CARD_FORMAT_Q6_K) {
        unsigned high = (unsigned)block[2368 + 128 * group + 64 * (c / 16) + 4 * row + c % 4] >> 2 * (c / 4 % 4) & 3u;
        int scale = (int8_t)block[64 + 16 * (column / 16) + row];
        return d * (float)scale * (float)((int)(q | high << 4) - 32);
    }
    if (format == CARD_FORMAT_Q5_K) q |= ((unsigned)block[2368 + 64 * group + 4 * row + c % 4] >> c / 4 & 1u) << 4;
    float scale = d * (float)block[64 + 16 * group + row], min = dmin * (float)block[192 + 16 * group + row];
    return scale * (float)q - min;
}

static float weight_at(const struct reader *reader, uint32_t row, uint32_t column)
{
    if (reader->format == CARD_FORMAT_F32) return load_f32(reader->matrix + 4 * ((size_t)row * reader->cols + column));
    uint32_t width = card_block_cols(reader->format), n_blocks = (reader->cols + width - 1) / width;
    size_t index = (size_t)(row / 16) * n_blocks + column / width;
    const uint8_t *block = reader->matrix + index * card_block_bytes(reader->format);
    if (width == 128) return weight_of_mxfp4(block, row % 16, column % 128);
    return width == 64 ? weight_of_64(block, reader->format, row % 16, column % 64)
                       : weight_of_256(block, reader->format, row % 16, column % 256);
}

struct case_of_type {
    enum gguf_tensor_type type;
    unsigned format;
};

static const struct case_of_type quantized[] = {
    {GGUF_Q4_0, CARD_FORMAT_INT4},     {GGUF_Q4_1, CARD_FORMAT_INT4_MIN}, {GGUF_Q5_0, CARD_FORMAT_INT8},
    {GGUF_Q5_1, CARD_FORMAT_INT8_MIN}, {GGUF_Q8_0, CARD_FORMAT_INT8},     {GGUF_Q4_K, CARD_FORMAT_Q4_K},
    {GGUF_Q5_K, CARD_FORMAT_Q5_K},     {GGUF_Q6_K, CARD_FORMAT_Q6_K},     {GGUF_MXFP4, CARD_FORMAT_MXFP4},
    {GGUF_Q3_K, CARD_FORMAT_Q6_K},     {GGUF_IQ1_S, CARD_FORMAT_Q6_K},    {GGUF_IQ1_M, CARD_FORMAT_Q6_K},
    {GGUF_IQ3_XXS, CARD_FORMAT_Q6_K},  {GGUF_IQ3_S, CARD_FORMAT_Q6_K},    {GGUF_NVFP4, CARD_FORMAT_Q6_K},
    {GGUF_TQ1_0, CARD_FORMAT_INT4},    {GGUF_TQ2_0, CARD_FORMAT_INT4},    {GGUF_IQ4_NL, CARD_FORMAT_INT8},
};
/* Those that no card format keeps: the largest relative error of one weight, of its group's largest. */
static const struct {
    enum gguf_tensor_type type;
    double bound;
} rounded[] = {
    {GGUF_Q8_K, 0x1p-11},  {GGUF_IQ2_XXS, 0x1p-11}, {GGUF_IQ4_XS, 0x1p-11},
    {GGUF_IQ2_XS, 0.0325}, {GGUF_IQ2_S, 0.0325},    {GGUF_Q2_K, 0.0045},
};
static const uint32_t row_counts[] = {1, 15, 16, 17, 40};
static const uint32_t column_counts[] = {32, 64, 96, 256, 512};

static uint8_t *random_matrix(enum gguf_tensor_type type, uint32_t rows, uint32_t cols)
{
    size_t n_blocks = (size_t)rows * cols / gguf_block_elements(type), bytes = gguf_block_bytes(type);
    uint8_t *data = malloc(n_blocks * bytes);
    assert_non_null(data);
    for (size_t i = 0; i < n_blocks; i++) random_block(type, data + i * bytes);
    return data;
}

/* Packs in two calls when there are pieces enough, into memory full of ones: what packing must zero, it must zero. */
static uint8_t *packed_matrix(const struct pack_source *source, unsigned format, struct pack_result *result)
{
    size_t bytes = card_matrix_bytes(format, source->rows, source->cols);
    uint8_t *out = malloc(bytes);
    assert_non_null(out);
    memset(out, 0xff, bytes);
    uint32_t n = pack_n_pieces(source->rows), first = n / 2;
    assert_int_equal(pack_bytes_before(format, source->rows, source->cols, n), bytes);
    pack_pieces(source, format, 0, first, out, result);
    pack_pieces(source, format, first, n - first, out + pack_bytes_before(format, source->rows, source->cols, first),
                result);
    return out;
}

static void check_exact(enum gguf_tensor_type type, unsigned format, uint32_t rows, uint32_t cols)
{
    uint8_t *data = random_matrix(type, rows, cols);
    struct pack_source source = {.type = type, .data = data, .rows = rows, .cols = cols};
    struct pack_result result = {0};
    uint8_t *packed = packed_matrix(&source, format, &result);
    float *want = malloc(sizeof *want * rows * cols);
    gguf_decode(type, data, (size_t)rows * cols, want);
    struct reader reader = {packed, format, cols};
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < cols; c++) {
            uint32_t got = bits_of_float(weight_at(&reader, r, c)), bits = bits_of_float(want[(size_t)r * cols + c]);
            if (got != bits)
                fail_msg("%s %ux%u (%u,%u): %08x, not %08x", gguf_tensor_type_name(type), rows, cols, r, c, got, bits);
        }
    assert_false(result.not_finite);
    assert_false(result.too_large);
    assert_true(result.error_squares == 0);
    free(want);
    free(packed);
    free(data);
}

static void test_quantized_types_keep_their_bits(void **state)
{
    (void)state;
    random_state = 3;
    for (size_t t = 0; t < sizeof quantized / sizeof quantized[0]; t++)
        for (size_t r = 0; r < sizeof row_counts / sizeof row_counts[0]; r++)
            for (size_t c = 0; c < sizeof column_counts / sizeof column_counts[0]; c++) {
                if (column_counts[c] % gguf_block_elements(quantized[t].type) != 0) continue;
                assert_int_equal(pack_format(quantized[t].type, ALL_FORMATS), quantized[t].format);
                check_exact(quantized[t].type, quantized[t].format, row_counts[r], column_counts[c]);
            }
}

static void test_every_type_decodes_to_f32_exactly(void **state)
{
    (void)state;
    random_state = 4;
    uint32_t only_f32 = 1u << CARD_FORMAT_F32;
    for (size_t t = 0; t < sizeof quantized / sizeof quantized[0]; t++) {
        assert_int_equal(pack_format(quantized[t].type, only_f32), CARD_FORMAT_F32);
        check_exact(quantized[t].type, CARD_FORMAT_F32, 17, 512);
    }
    const enum gguf_tensor_type floats[] = {GGUF_F32, GGUF_F16, GGUF_BF16};
    for (size_t t = 0; t < 3; t++) {
        assert_false(pack_rounds(floats[t], CARD_FORMAT_F32));
        check_exact(floats[t], CARD_FORMAT_F32, 33, 300);
        check_exact(floats[t], CARD_FORMAT_F32, 1, 7);
    }
}

/* Rows and columns beyond the matrix must not add to a sum: quantized values and minima there are zero. */
static void test_padding_is_zero(void **state)
{
    (void)state;
    random_state = 5;
    for (size_t t = 0; t < sizeof quantized / sizeof quantized[0]; t++) {
        uint32_t width = card_block_cols(quantized[t].format), rows = 17;
        uint32_t cols = gguf_block_elements(quantized[t].type) == 256 || width == 256 ? 256 : 96;
        uint8_t *data = random_matrix(quantized[t].type, rows, cols);
        struct pack_source source = {.type = quantized[t].type, .data = data, .rows = rows, .cols = cols};
        struct pack_result result = {0};
        uint8_t *packed = packed_matrix(&source, quantized[t].format, &result);
        struct reader reader = {packed, quantized[t].format, cols};
        for (uint32_t r = 0; r < 32; r++)
            for (uint32_t c = 0; c < (width == 256 ? 256u : 128u); c++)
                if (r >= rows || c >= cols) assert_true(weight_at(&reader, r, c) == 0.0f);
        free(packed);
        free(data);
    }
}

/* Q8_0's rule: d = largest / 127 as a half, q = round(value / d), and the error is what was measured. */
static void test_floats_become_int8_by_the_rule_of_q8_0(void **state)
{
    (void)state;
    random_state = 6;
    const enum gguf_tensor_type floats[] = {GGUF_F32, GGUF_F16, GGUF_BF16};
    for (size_t t = 0; t < 3; t++) {
        uint32_t rows = 17, cols = 100;
        uint8_t *data = random_matrix(floats[t], rows, cols);
        float *values = malloc(sizeof *values * rows * cols);
        gguf_decode(floats[t], data, (size_t)rows * cols, values);
        struct pack_source source = {.type = floats[t], .data = data, .rows = rows, .cols = cols};
        struct pack_result result = {0};
        assert_int_equal(pack_format(floats[t], ALL_FORMATS), CARD_FORMAT_INT8);
        assert_true(pack_rounds(floats[t], CARD_FORMAT_INT8));
        uint8_t *packed = packed_matrix(&source, CARD_FORMAT_INT8, &result);
        struct reader reader = {packed, CARD_FORMAT_INT8, cols};
        double errors = 0, squares = 0;
        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t c = 0; c < cols; c++) {
                float value = values[r * cols + c], got = weight_at(&reader, r, c), largest = 0;
                for (uint32_t i = c / 32 * 32; i < cols && i < c / 32 * 32 + 32; i++)
                    largest = fmaxf(largest, fabsf(values[r * cols + i]));
                assert_true(fabs((double)got - (double)value) <= (double)largest / 127 * (0.5 + 127 * 0x1p-11) * 1.001);
                errors += ((double)got - (double)value) * ((double)got - (double)value);
                squares += (double)value * (double)value;
            }
        assert_true(result.error_squares > 0);
        assert_true(fabs(result.error_squares - errors) <= 1e-9 * errors);
        assert_true(fabs(result.value_squares - squares) <= 1e-9 * squares);
        free(packed);
        free(values);
        free(data);
    }
}

/* Read back weight by weight: within the bound, and the error is what was measured. */
static void check_rounded(enum gguf_tensor_type type, double bound)
{
    enum { ROWS = 17, COLS = 512 };
    uint8_t *data = random_matrix(type, ROWS, COLS);
    float *values = malloc(sizeof *values * ROWS * COLS);
    gguf_decode(type, data, (size_t)ROWS * COLS, values);
    struct pack_source source = {.type = type, .data = data, .rows = ROWS, .cols = COLS};
    struct pack_result result = {0};
    unsigned format = pack_format(type, ALL_FORMATS);
    assert_true(pack_rounds(type, format));
    uint8_t *packed = packed_matrix(&source, format, &result);
    struct reader reader = {packed, format, COLS};
    double errors = 0, squares = 0;
    for (uint32_t i = 0; i < ROWS * COLS; i++) {
        double value = (double)values[i], error = (double)weight_at(&reader, i / COLS, i % COLS) - value, largest = 0;
        for (uint32_t k = i / 32 * 32; k < i / 32 * 32 + 32; k++) largest = fmax(largest, fabs((double)values[k]));
        if (fabs(error) > largest * bound)
            fail_msg("%s (%u,%u): %g, off by %g of %g", gguf_tensor_type_name(type), i / COLS, i % COLS, value,
                     error / largest, bound);
        errors += error * error;
        squares += value * value;
    }
    assert_false(result.not_finite || result.too_large);
    assert_true(errors > 0);
    assert_true(fabs(result.error_squares - errors) <= 1e-3 * errors);
    assert_true(fabs(result.value_squares - squares) <= 1e-5 * squares);
    free(packed);
    free(values);
    free(data);
}

static void test_what_no_format_keeps_is_rounded_and_measured(void **state)
{
    (void)state;
    random_state = 9;
    for (size_t t = 0; t < sizeof rounded / sizeof rounded[0]; t++) check_rounded(rounded[t].type, rounded[t].bound);
}

/* An eighth of the least half is none, and five octaves of NVFP4's scales are all that fit. */
static void test_units_and_scales_that_do_not_fit_are_measured(void **state)
{
    (void)state;
    random_state = 10;
    uint8_t *tiny = random_matrix(GGUF_IQ1_S, 1, 256), *wide = random_matrix(GGUF_NVFP4, 1, 256);
    store_u16(tiny, 1);
    wide[0] = 0x7e;
    wide[1] = 0x01;
    struct pack_source sources[] = {{.type = GGUF_IQ1_S, .data = tiny, .rows = 1, .cols = 256},
                                    {.type = GGUF_NVFP4, .data = wide, .rows = 1, .cols = 256}};
    for (unsigned i = 0; i < 2; i++) {
        struct pack_result result = {0};
        free(packed_matrix(&sources[i], CARD_FORMAT_Q6_K, &result));
        assert_true(result.error_squares > 0 && result.value_squares > 0 && !result.not_finite);
    }
    wide[1] = 0x7f;
    struct pack_result result = {0};
    free(packed_matrix(&sources[1], CARD_FORMAT_Q6_K, &result));
    assert_true(result.not_finite);
    free(tiny);
    free(wide);
}

/* With 127 as the largest d is one, so that every value is its own quotient: the nearest integer, ties away from zero. */
static void test_ties_are_rounded_away_from_zero(void **state)
{
    (void)state;
    enum { COLS = 32 * 256 };
    float *values = calloc(COLS, sizeof *values);
    assert_non_null(values);
    for (unsigned c = 0; c < COLS; c++) {
        float tie = (float)(c / 32 % 127) + 0.5f;
        float near = c % 3 == 0 ? tie : nextafterf(tie, c % 3 == 1 ? 0.0f : 200.0f);
        values[c] = c % 32 == 7 ? 127.0f : c % 2 ? near : -near;
    }
    struct pack_source source = {.type = GGUF_F32, .data = (const uint8_t *)values, .rows = 1, .cols = COLS};
    struct pack_result result = {0};
    uint8_t *packed = packed_matrix(&source, CARD_FORMAT_INT8, &result);
    struct reader reader = {packed, CARD_FORMAT_INT8, COLS};
    for (uint32_t c = 0; c < COLS; c++) {
        float want = roundf(values[c]), got = weight_at(&reader, 0, c);
        assert_true(got == want);
    }
    free(packed);
    free(values);
}

/* Integers times a power of two, the largest 127: INT8 holds them, so nothing may be lost. */
static void test_values_of_int8_are_not_changed(void **state)
{
    (void)state;
    uint8_t data[4 * 64];
    for (unsigned i = 0; i < 64; i++) store_u32(data + 4 * i, bits_of_float(((float)i * 4 - 125.0f) * 0x1p-6f));
    struct pack_source source = {.type = GGUF_F32, .data = data, .rows = 1, .cols = 64};
    struct pack_result result = {0};
    store_u32(data + 4 * 10, bits_of_float(127 * 0x1p-6f));
    store_u32(data + 4 * 40, bits_of_float(-127 * 0x1p-6f));
    uint8_t *packed = packed_matrix(&source, CARD_FORMAT_INT8, &result);
    struct reader reader = {packed, CARD_FORMAT_INT8, 64};
    for (uint32_t c = 0; c < 64; c++) assert_true(weight_at(&reader, 0, c) == load_f32(data + 4 * c));
    assert_true(result.error_squares == 0);
    free(packed);
}

static void test_scales_that_are_not_finite_are_seen(void **state)
{
    (void)state;
    random_state = 7;
    const uint16_t bad[] = {0x7c00, 0xfc00, 0x7e00, 0xffff};
    for (size_t t = 0; t < sizeof quantized / sizeof quantized[0]; t++)
        for (size_t b = 0; b < 4; b++) {
            enum gguf_tensor_type type = quantized[t].type;
            if (type == GGUF_MXFP4 || type == GGUF_NVFP4 || type == GGUF_IQ1_M) continue; /* have none, or none whole */
            uint8_t *data = random_matrix(type, 16, 256);
            size_t last = 16u * 256u / gguf_block_elements(type) - 1;
            store_u16(data + last * gguf_block_bytes(type) + half_offset(type), bad[b]);
            struct pack_source source = {.type = type, .data = data, .rows = 16, .cols = 256};
            struct pack_result result = {0};
            free(packed_matrix(&source, quantized[t].format, &result));
            assert_true(result.not_finite);
            free(data);
        }
}

/* Exponent 255 is refused, also where the values become floats, whatever they are; all others pass. */
static void test_mxfp4_exponents(void **state)
{
    (void)state;
    random_state = 8;
    for (unsigned exponent = 0; exponent < 256; exponent++) {
        uint8_t *data = random_matrix(GGUF_MXFP4, 16, 128);
        data[17 * 63] = (uint8_t)exponent; /* the last block: row 15, group 3 */
        struct pack_source source = {.type = GGUF_MXFP4, .data = data, .rows = 16, .cols = 128};
        struct pack_result result = {0}, as_floats = {0};
        uint8_t *packed = packed_matrix(&source, CARD_FORMAT_MXFP4, &result);
        assert_int_equal(packed[16 * 3 + 15], exponent);
        assert_int_equal(result.not_finite, exponent == 255);
        free(packed);
        memset(data + 17 * 63 + 1, 0, 16); /* finite values, decoded */
        free(packed_matrix(&source, CARD_FORMAT_F32, &as_floats));
        assert_int_equal(as_floats.not_finite, exponent == 255);
        free(data);
    }
}

static void test_floats_that_do_not_fit_are_seen(void **state)
{
    (void)state;
    uint8_t data[4 * 32] = {0};
    struct pack_source source = {.type = GGUF_F32, .data = data, .rows = 1, .cols = 32};
    struct pack_result result = {0};
    store_u32(data + 8, bits_of_float(1e9f)); /* 1e9 / 127 is beyond a half */
    free(packed_matrix(&source, CARD_FORMAT_INT8, &result));
    assert_true(result.too_large);
    result = (struct pack_result){0};
    store_u32(data + 8, 0x7fc00000u);
    free(packed_matrix(&source, CARD_FORMAT_INT8, &result));
    assert_true(result.not_finite);
    result = (struct pack_result){0};
    free(packed_matrix(&source, CARD_FORMAT_F32, &result));
    assert_true(result.not_finite);
}

static void test_a_card_without_a_format_gets_f32_or_nothing(void **state)
{
    (void)state;
    uint32_t f32 = 1u << CARD_FORMAT_F32;
    assert_int_equal(pack_format(GGUF_Q4_K, f32 | 1u << CARD_FORMAT_INT4), CARD_FORMAT_F32);
    assert_int_equal(pack_format(GGUF_Q4_0, f32 | 1u << CARD_FORMAT_INT4), CARD_FORMAT_INT4);
    assert_int_equal(pack_format(GGUF_Q4_K, 1u << CARD_FORMAT_INT4), 0);
    assert_int_equal(pack_format(GGUF_TQ1_0, f32 | 1u << CARD_FORMAT_INT8), CARD_FORMAT_F32);
    assert_int_equal(pack_format(GGUF_IQ2_XS, 1u << CARD_FORMAT_INT4), 0);
    assert_int_equal(pack_format(GGUF_Q1_0, ALL_FORMATS), 0);
}

/* For each group of 32: no value further from its own than half a step, and what is said of the error is so. */
static void check_four_bits(unsigned format, uint32_t rows, uint32_t cols)
{
    float *data = malloc(sizeof *data * rows * cols);
    assert_non_null(data);
    for (uint32_t i = 0; i < rows * cols; i++) data[i] = (float)((int32_t)random_u32() >> 8) * 0x1p-24f;
    struct pack_source source = {.type = GGUF_F32, .data = (const uint8_t *)data, .rows = rows, .cols = cols};
    struct pack_result result = {0};
    uint8_t *packed = packed_matrix(&source, format, &result);
    struct reader reader = {packed, format, cols};
    double errors = 0;
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < cols; c += 32) {
            const float *group = data + (size_t)r * cols + c;
            float least = group[0], most = group[0], largest = 0;
            for (uint32_t i = 0; i < 32; i++) {
                least = fminf(least, group[i]);
                most = fmaxf(most, group[i]);
                largest = fmaxf(largest, fabsf(group[i]));
            }
            /* INT4 reaches as far as the largest on one side and one step less on the other. */
            double step = format == CARD_FORMAT_INT4 ? (double)largest / 8 : (double)(most - least) / 15;
            double bound = (format == CARD_FORMAT_INT4 ? 1.0 : 0.5) * step + (double)largest * 0x1p-10;
            for (uint32_t i = 0; i < 32; i++) {
                double error = (double)weight_at(&reader, r, c + i) - (double)group[i];
                if (fabs(error) > bound) fail_msg("(%u,%u): off by %g, more than %g", r, c + i, error, bound);
                errors += error * error;
            }
        }
    assert_true(errors > 0 && fabs(errors - result.error_squares) <= 1e-4 * errors);
    assert_false(result.not_finite || result.too_large);
    data[7] = INFINITY;
    free(packed);
    free(packed_matrix(&source, format, &result));
    assert_true(result.not_finite);
    free(data);
}

static void test_floats_become_four_bits(void **state)
{
    (void)state;
    random_state = 11;
    for (size_t i = 0; i < sizeof column_counts / sizeof column_counts[0]; i++) {
        check_four_bits(CARD_FORMAT_INT4, 17, column_counts[i]);
        check_four_bits(CARD_FORMAT_INT4_MIN, 17, column_counts[i]);
    }
    assert_true(pack_fits(GGUF_BF16, CARD_FORMAT_INT4) && pack_fits(GGUF_F16, CARD_FORMAT_INT8));
    assert_false(pack_fits(GGUF_Q8_0, CARD_FORMAT_INT4) || pack_fits(GGUF_F16, CARD_FORMAT_Q6_K));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantized_types_keep_their_bits),
        cmocka_unit_test(test_every_type_decodes_to_f32_exactly),
        cmocka_unit_test(test_padding_is_zero),
        cmocka_unit_test(test_floats_become_int8_by_the_rule_of_q8_0),
        cmocka_unit_test(test_what_no_format_keeps_is_rounded_and_measured),
        cmocka_unit_test(test_units_and_scales_that_do_not_fit_are_measured),
        cmocka_unit_test(test_floats_become_four_bits),
        cmocka_unit_test(test_ties_are_rounded_away_from_zero),
        cmocka_unit_test(test_values_of_int8_are_not_changed),
        cmocka_unit_test(test_scales_that_are_not_finite_are_seen),
        cmocka_unit_test(test_mxfp4_exponents),
        cmocka_unit_test(test_floats_that_do_not_fit_are_seen),
        cmocka_unit_test(test_a_card_without_a_format_gets_f32_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
