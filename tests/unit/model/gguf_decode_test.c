/* SPDX-License-Identifier: Apache-2.0 */
/* Every block format against gguf-py, bit for bit (tests/fixtures/gguf/make_decode_vectors.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/bytes.h"
#include "host/base/map_file.h"
#include "host/base/memory.h"
#include "host/model/gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const enum gguf_tensor_type supported[] = {
    GGUF_F32,    GGUF_F16,   GGUF_BF16,  GGUF_Q4_0,   GGUF_Q4_1,  GGUF_Q5_0,    GGUF_Q5_1,   GGUF_Q8_0,    GGUF_Q2_K,
    GGUF_Q3_K,   GGUF_Q4_K,  GGUF_Q5_K,  GGUF_Q6_K,   GGUF_Q8_K,  GGUF_IQ2_XXS, GGUF_IQ2_XS, GGUF_IQ3_XXS, GGUF_IQ1_S,
    GGUF_IQ4_NL, GGUF_IQ3_S, GGUF_IQ2_S, GGUF_IQ4_XS, GGUF_IQ1_M, GGUF_TQ1_0,   GGUF_TQ2_0,  GGUF_MXFP4,   GGUF_NVFP4};
enum { N_SUPPORTED = sizeof supported / sizeof supported[0] };

/* The bits that count: those of a NaN depend on the machine. */
static uint32_t bits_of(float value) { return isnan(value) ? 0x7fc00000u : bits_of_float(value); }

/* 64-bit FNV-1a, word by word. */
static uint64_t hash_of(const float *values, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) hash = (hash ^ bits_of(values[i])) * 0x100000001b3u;
    return hash;
}

/* Bytes of what is expected of n_elements: a hash for each block, or the values. */
static size_t expected_bytes(unsigned type, size_t n_elements)
{
    unsigned block = gguf_block_elements((enum gguf_tensor_type)type);
    return block > 32 ? 8 * (n_elements / block) : 4 * n_elements;
}

/* bytes and expected lie anywhere in the file: the decoder must not ask for alignment. */
static void check_record(unsigned type, const uint8_t *bytes, const uint8_t *expected, size_t n_elements)
{
    float *out = memory_array(n_elements, sizeof *out);
    size_t block = gguf_block_elements((enum gguf_tensor_type)type);
    assert_non_null(out);
    gguf_decode((enum gguf_tensor_type)type, bytes, n_elements, out);
    for (size_t i = 0; block <= 32 && i < n_elements; i++)
        if (bits_of(out[i]) != load_u32(expected + 4 * i))
            fail_msg("%s: element %zu is %a (%08x), gguf-py says %08x", gguf_tensor_type_name(type), i, (double)out[i],
                     bits_of(out[i]), load_u32(expected + 4 * i));
    for (size_t i = 0; block > 32 && i < n_elements / block; i++)
        if (hash_of(out + block * i, block) != load_u64(expected + 8 * i))
            fail_msg("%s: block %zu has other values than gguf-py's", gguf_tensor_type_name(type), i);
    free(out);
}

static void decodes_as_gguf_py(void **state)
{
    (void)state;
    struct map_file vectors;
    struct error err = {0};
    assert_int_equal(map_file_open(FIXTURES "/gguf/decode-vectors.bin", &vectors, &err), 0);
    assert_memory_equal(vectors.bytes, "GDV2", 4);
    assert_int_equal(load_u32(vectors.bytes + 4), N_SUPPORTED);
    size_t at = 8;
    bool seen[GGUF_TENSOR_TYPE_END] = {false};
    for (int i = 0; i < N_SUPPORTED; i++) {
        assert_true(range_fits(at, 12, vectors.size));
        unsigned type = load_u32(vectors.bytes + at);
        size_t n_bytes = load_u32(vectors.bytes + at + 4), n_elements = load_u32(vectors.bytes + at + 8);
        at += 12;
        assert_true(range_fits(at, n_bytes + expected_bytes(type, n_elements), vectors.size));
        assert_true(type < GGUF_TENSOR_TYPE_END && gguf_type_supported((enum gguf_tensor_type)type));
        assert_int_equal(n_bytes / gguf_block_bytes((enum gguf_tensor_type)type),
                         n_elements / gguf_block_elements((enum gguf_tensor_type)type));
        seen[type] = true;
        check_record(type, vectors.bytes + at, vectors.bytes + at + n_bytes, n_elements);
        at += n_bytes + expected_bytes(type, n_elements);
    }
    assert_int_equal(at, vectors.size);
    for (int i = 0; i < N_SUPPORTED; i++) assert_true(seen[supported[i]]);
    map_file_close(&vectors);
}

static void every_half_is_exact(void **state)
{
    (void)state;
    static uint8_t all[2 * 0x10000];
    static float together[0x10000]; /* many at a time take another loop than one alone */
    for (uint32_t half = 0; half < 0x10000; half++) store_u16(all + 2 * half, (uint16_t)half);
    gguf_decode(GGUF_F16, all, 0x10000, together);
    for (uint32_t half = 0; half < 0x10000; half++) {
        float value;
        gguf_decode(GGUF_F16, all + 2 * half, 1, &value);
        assert_int_equal(bits_of_float(together[half]), bits_of_float(value));
        int exponent = (int)(half >> 10 & 31);
        double mantissa = half & 0x3ff;
        double expected = exponent == 0    ? ldexp(mantissa, -24)
                          : exponent == 31 ? mantissa > 0 ? (double)NAN : (double)INFINITY
                                           : ldexp(1024 + mantissa, exponent - 25);
        if (half & 0x8000) expected = -expected;
        if (isnan(expected)) {
            assert_true(isnan(value));
        } else {
            assert_int_equal(bits_of_float(value), bits_of_float((float)expected));
        }
    }
}

/* The values of FP4 E2M1 written out, with each sign, at the exponents' ends and the middle. */
static void every_mxfp4_code_at_every_exponent(void **state)
{
    (void)state;
    const double magnitudes[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    for (int exponent = 0; exponent < 256; exponent++) {
        uint8_t block[17] = {(uint8_t)exponent};
        float out[32];
        for (int j = 0; j < 16; j++) block[1 + j] = (uint8_t)(j | (15 - j) << 4);
        gguf_decode(GGUF_MXFP4, block, 32, out);
        for (int i = 0; i < 32; i++) {
            int code = i < 16 ? i : 31 - i;
            double value = ldexp(code & 8 ? -magnitudes[code & 7] : magnitudes[code & 7], exponent - 127);
            assert_true(out[i] == (float)value); /* infinite past float's range; 255 as gguf-py has it */
        }
    }
}

static void the_nan_of_mxfp4_is_found_in_any_block(void **state)
{
    (void)state;
    uint8_t blocks[5 * 17];
    memset(blocks, 0xff, sizeof blocks); /* codes may be anything */
    for (int b = 0; b < 5; b++) blocks[17 * b] = 254;
    assert_false(gguf_has_nan_scale(GGUF_MXFP4, blocks, 5 * 32));
    for (int b = 0; b < 5; b++) {
        blocks[17 * b] = 255;
        assert_true(gguf_has_nan_scale(GGUF_MXFP4, blocks, 5 * 32));
        assert_true(b == 4 || !gguf_has_nan_scale(GGUF_MXFP4, blocks + 17 * (b + 1), (size_t)(4 - b) * 32));
        assert_false(gguf_has_nan_scale(GGUF_Q8_0, blocks, 64));
        blocks[17 * b] = 0;
    }
}

static void what_is_not_supported_decodes_to_nan(void **state)
{
    (void)state;
    uint8_t block[256] = {0};
    float out[256];
    gguf_decode(GGUF_Q1_0, block, 256, out);
    for (int i = 0; i < 256; i++) assert_true(isnan(out[i]));
}

static void type_table_is_consistent(void **state)
{
    (void)state;
    char list[512] = "";
    for (int i = 0; i < N_SUPPORTED; i++) {
        assert_true(gguf_type_supported(supported[i]));
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 gguf_tensor_type_name(supported[i]));
    }
    assert_string_equal(list, GGUF_SUPPORTED_TYPES);
    int n_known = 0, n_supported = 0;
    for (unsigned type = 0; type < 300; type++) {
        bool known = gguf_block_elements((enum gguf_tensor_type)type) != 0;
        assert_int_equal(known, gguf_block_bytes((enum gguf_tensor_type)type) != 0);
        assert_int_equal(known, strcmp(gguf_tensor_type_name(type), "unknown") != 0);
        n_known += known;
        n_supported += gguf_type_supported((enum gguf_tensor_type)type);
    }
    const int n_scaled = GGUF_TENSOR_TYPE_END - GGUF_FILE_TYPE_END; /* ours, which no file has: scaled.h */
    assert_int_equal(n_scaled, 5);
    assert_int_equal(n_known, 34 + n_scaled);
    assert_int_equal(n_supported, N_SUPPORTED + n_scaled);
    assert_string_equal(gguf_tensor_type_name(GGUF_IQ3_XXS), "IQ3_XXS");
    assert_int_equal(gguf_block_bytes(GGUF_Q6_K), 210);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_as_gguf_py),
        cmocka_unit_test(every_half_is_exact),
        cmocka_unit_test(every_mxfp4_code_at_every_exponent),
        cmocka_unit_test(the_nan_of_mxfp4_is_found_in_any_block),
        cmocka_unit_test(what_is_not_supported_decodes_to_nan),
        cmocka_unit_test(type_table_is_consistent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
