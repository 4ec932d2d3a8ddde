/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantized layouts of safetensors folders: integers, zeros and scales are drawn, packed here as the quantizers pack them, and every
 * value must come back exactly: one by one, by rows of blocks, and from the card's format as near as it says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/model/hf/weights.h"
#include "host/model/pack.h"
#include "host/model/scaled.h"
#include "host/model/unpack.h"
#include "kernels/abi/card_math.h"
#include "tests/unit/model/safetensors_bytes.h"

#include <math.h>
#include <time.h>

#define ROWS 24u
#define COLS 96u

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    static uint32_t count;
    uint32_t counter[4] = {count++, 0, 0, 0};
    philox4x32(counter, (const uint32_t[2]){seed, 7});
    return counter[0] % below;
}

/* What a layout stands for. */
struct matrix {
    int q[ROWS][COLS], zero[ROWS][COLS];
    float scale[ROWS][COLS];
    uint32_t group_of[COLS];
};

static struct {
    struct st_bytes st;
    struct safetensors *file;
    uint8_t *bytes;
    json_t *quantization;
    struct hf_weights weights;
    struct error err;
} t;

static const struct safetensors_tensor *find(const void *context, const char *name)
{
    (void)context;
    for (size_t i = 0; i < safetensors_n_tensors(t.file); i++)
        if (strcmp(safetensors_tensor_at(t.file, i)->name.bytes, name) == 0) return safetensors_tensor_at(t.file, i);
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    st_init(&t.st);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hf_weights_release(&t.weights);
    safetensors_close(t.file);
    json_decref(t.quantization);
    free(t.bytes);
    free(t.st.data);
    return 0;
}

/* Reads what was added. */
static int read_all(const char *quantization)
{
    size_t n_bytes;
    const struct hf_tensors all = {NULL, find};
    struct hf_config config = {0};
    t.bytes = st_file(&t.st, &n_bytes);
    if (safetensors_open_memory(t.bytes, n_bytes, "test", &t.file, &t.err) < 0) fail_msg("%s", t.err.text);
    t.quantization = json_loads(quantization, 0, NULL);
    config.quantization = t.quantization;
    int status = 0;
    for (size_t i = 0; i < safetensors_n_tensors(t.file) && status == 0; i++)
        status = hf_weights_add(&t.weights, &config, &all, safetensors_tensor_at(t.file, i), &t.err);
    return status;
}

/* Scales that a half has exactly, so that all layouts can store them. */
static void draw_matrix(struct matrix *m, int least, int most, int least_zero, int most_zero, uint32_t group,
                        uint32_t row_block)
{
    uint32_t n_groups = COLS / group;
    for (uint32_t c = 0; c < COLS; c++) m->group_of[c] = c / group;
    for (uint32_t r = 0; r < ROWS; r++) {
        float scale[COLS];
        int zero[COLS];
        for (uint32_t g = 0; g < n_groups; g++) {
            scale[g] = r % row_block == 0 ? (float)(1 + draw(2047)) * 0x1p-15f : m->scale[r - 1][g * group];
            zero[g] = least_zero + (int)draw((uint32_t)(most_zero - least_zero + 1));
        }
        for (uint32_t c = 0; c < COLS; c++) {
            m->q[r][c] = least + (int)draw((uint32_t)(most - least + 1));
            m->scale[r][c] = scale[c / group];
            m->zero[r][c] = zero[c / group];
        }
    }
}

static void or_bits(uint8_t *words, size_t word, unsigned bits, unsigned at, int value)
{
    uint32_t old = load_u32(words + 4 * word);
    assert_true(value >= 0 && value < 1 << bits);
    store_u32(words + 4 * word, old | (uint32_t)value << bits * at);
}

static void store_half(uint8_t *to, size_t index, float value) { store_u16(to + 2 * index, card_f32_to_f16(value)); }

/* The packed form of what the card computes: no further from the values than packing says, and exact where it says so. */
static void check_packed(const struct hf_weight *w, const struct matrix *m, const uint8_t *rows)
{
    unsigned format = pack_format(w->type, UINT32_MAX & ~(1u << CARD_FORMAT_F32));
    struct pack_source source = {.type = w->type, .data = rows, .rows = ROWS, .cols = COLS};
    struct pack_result result = {0};
    static uint8_t packed[1 << 18];
    static float got[2 * CARD_TILE_ROWS * COLS];
    double errors = 0;
    assert_true(card_matrix_bytes(format, ROWS, COLS) <= sizeof packed);
    pack_pieces(&source, format, 0, pack_n_pieces(ROWS), packed, &result);
    assert_false(result.not_finite || result.too_large || result.no_memory);
    for (uint32_t piece = 0; piece < pack_n_pieces(ROWS); piece++)
        unpack_tile(format, packed + piece * card_tile_bytes(format, COLS),
                    ROWS - 16 * piece < 16 ? ROWS - 16 * piece : 16, COLS, got + 16 * piece * COLS);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) {
            double wanted = (double)((float)(m->q[r][c] - m->zero[r][c]) * m->scale[r][c]);
            double error = (double)got[r * COLS + c] - wanted;
            errors += error * error;
        }
    assert_true(fabs(errors - result.error_squares) <= 1e-3 * result.error_squares + 1e-12);
    if (w->type == GGUF_SCALED_INT4 || w->type == GGUF_SCALED_INT8) assert_true(errors == 0);
    if (w->type == GGUF_SCALED_INT4_ZERO || w->type == GGUF_SCALED_INT8_ZERO)
        assert_true(errors <= 1e-6 * result.value_squares); /* halves of products of scale and zero */
}

static void check_values(const struct matrix *m, enum gguf_tensor_type type)
{
    assert_int_equal(t.weights.count, 1);
    const struct hf_weight *w = &t.weights.items[0];
    assert_string_equal(w->name.bytes, "x.weight");
    assert_int_equal(w->rows, ROWS);
    assert_int_equal(w->cols, COLS);
    assert_int_equal(w->type, type);
    static uint8_t rows[ROWS * COLS * 4];
    size_t stride = hf_weight_row_bytes(w);
    for (uint32_t r = 0; r < ROWS; r++) {
        float decoded[COLS];
        hf_weight_row(w, 0, r, rows + r * stride);
        gguf_decode(w->type, rows + r * stride, COLS, decoded);
        for (uint32_t c = 0; c < COLS; c++) {
            float wanted = (float)(m->q[r][c] - m->zero[r][c]) * m->scale[r][c];
            if (hf_weight_at(w, 0, r, c) != wanted || decoded[c] != wanted)
                fail_msg("row %u column %u: %g and %g, not %g", r, c, (double)hf_weight_at(w, 0, r, c),
                         (double)decoded[c], (double)wanted);
        }
    }
    if (type != GGUF_F32) check_packed(w, m, rows);
}

/* AutoGPTQ: words down the columns, zeros less one along the rows. */
static void add_gptq(const struct matrix *m, uint32_t group, unsigned bits, int shift, bool with_order)
{
    uint32_t in_word = 32 / bits, n_groups = COLS / group;
    uint8_t *q =
        st_add(&t.st, "x.qweight", "I32", 2, (const uint32_t[2]){COLS / in_word, ROWS}, COLS / in_word * ROWS * 4);
    uint8_t *zeros = st_add(&t.st, "x.qzeros", "I32", 2, (const uint32_t[2]){n_groups, ROWS / in_word},
                            n_groups * ROWS / in_word * 4);
    uint8_t *scales = st_add(&t.st, "x.scales", "F16", 2, (const uint32_t[2]){n_groups, ROWS}, n_groups * ROWS * 2);
    uint8_t *order = with_order ? st_add(&t.st, "x.g_idx", "I32", 1, (const uint32_t[1]){COLS}, COLS * 4) : NULL;
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) {
            uint32_t g = m->group_of[c];
            or_bits(q, c / in_word * ROWS + r, bits, c % in_word, m->q[r][c]);
            if (c == 0 || order != NULL || c % group == 0) {
                uint8_t *word = zeros + 4 * (g * (ROWS / in_word) + r / in_word);
                store_u32(word, load_u32(word) & ~(((1u << bits) - 1) << bits * (r % in_word)));
                or_bits(zeros, g * (ROWS / in_word) + r / in_word, bits, r % in_word, m->zero[r][c] - shift);
                store_half(scales, g * ROWS + r, m->scale[r][c]);
            }
            if (order != NULL) store_u32(order + 4 * c, g);
        }
}

static void test_gptq(void **state)
{
    (void)state;
    static struct matrix m;
    draw_matrix(&m, 0, 15, 1, 16, 32, 1);
    add_gptq(&m, 32, 4, 1, true);
    assert_int_equal(read_all("{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32}"), 0);
    check_values(&m, GGUF_SCALED_INT4_ZERO);
}

static void test_gptq_symmetric(void **state)
{
    (void)state;
    static struct matrix m;
    draw_matrix(&m, 0, 15, 8, 8, 96, 1);
    add_gptq(&m, 96, 4, 1, false);
    assert_int_equal(read_all("{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":-1}"), 0);
    check_values(&m, GGUF_SCALED_INT4);
}

static void test_gptq_8_bits_of_version_2(void **state)
{
    (void)state;
    static struct matrix m;
    draw_matrix(&m, 0, 255, 0, 255, 32, 1);
    add_gptq(&m, 32, 8, 0, false);
    assert_int_equal(
        read_all("{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":32,\"checkpoint_format\":\"gptq_v2\"}"), 0);
    check_values(&m, GGUF_SCALED_INT8_ZERO);
}

/* Groups of columns that lie anywhere: each column's scale and zero are those of its group. */
static void test_gptq_act_order(void **state)
{
    (void)state;
    static struct matrix m, groups;
    draw_matrix(&groups, 0, 15, 1, 16, 32, 1);
    m = groups;
    for (uint32_t c = 0; c < COLS; c++) {
        uint32_t g = m.group_of[c] = c * 7 % COLS / 32;
        for (uint32_t r = 0; r < ROWS; r++) {
            m.scale[r][c] = groups.scale[r][32 * g];
            m.zero[r][c] = groups.zero[r][32 * g];
        }
    }
    add_gptq(&m, 32, 4, 1, true);
    assert_int_equal(read_all("{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"desc_act\":true}"), 0);
    check_values(&m, GGUF_F32);
}

static void test_awq(void **state)
{
    (void)state;
    static struct matrix m;
    static const unsigned place[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    draw_matrix(&m, 0, 15, 0, 15, 32, 1);
    uint8_t *q = st_add(&t.st, "x.qweight", "I32", 2, (const uint32_t[2]){COLS, ROWS / 8}, COLS * ROWS / 2);
    uint8_t *zeros = st_add(&t.st, "x.qzeros", "I32", 2, (const uint32_t[2]){3, ROWS / 8}, 3 * ROWS / 2);
    uint8_t *scales = st_add(&t.st, "x.scales", "F16", 2, (const uint32_t[2]){3, ROWS}, 3 * ROWS * 2);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) {
            or_bits(q, c * (ROWS / 8) + r / 8, 4, place[r % 8], m.q[r][c]);
            if (c % 32 != 0) continue;
            or_bits(zeros, c / 32 * (ROWS / 8) + r / 8, 4, place[r % 8], m.zero[r][c]);
            store_half(scales, c / 32 * ROWS + r, m.scale[r][c]);
        }
    assert_int_equal(read_all("{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"version\":\"gemm\"}"), 0);
    check_values(&m, GGUF_SCALED_INT4_ZERO);
}

/* compressed-tensors: half the range is added before packing, to zeros too, which are packed down the rows. */
static void add_compressed(const struct matrix *m, uint32_t group, unsigned bits, bool with_zeros)
{
    uint32_t in_word = 32 / bits, n_groups = COLS / group, zero_rows = (ROWS + in_word - 1) / in_word;
    uint8_t *q = st_add(&t.st, "x.weight_packed", "I32", 2, (const uint32_t[2]){ROWS, COLS / in_word},
                        ROWS * COLS / in_word * 4);
    uint8_t *scales =
        st_add(&t.st, "x.weight_scale", "F16", 2, (const uint32_t[2]){ROWS, n_groups}, ROWS * n_groups * 2);
    uint8_t *shape = st_add(&t.st, "x.weight_shape", "I64", 1, (const uint32_t[1]){2}, 16);
    uint8_t *zeros = with_zeros ? st_add(&t.st, "x.weight_zero_point", "I32", 2,
                                         (const uint32_t[2]){zero_rows, n_groups}, zero_rows * n_groups * 4)
                                : NULL;
    store_u64(shape, ROWS);
    store_u64(shape + 8, COLS);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++) {
            or_bits(q, r * (COLS / in_word) + c / in_word, bits, c % in_word, m->q[r][c] + (1 << (bits - 1)));
            if (c % group != 0) continue;
            store_half(scales, r * n_groups + c / group, m->scale[r][c]);
            if (zeros != NULL)
                or_bits(zeros, r / in_word * n_groups + c / group, bits, r % in_word,
                        m->zero[r][c] + (1 << (bits - 1)));
        }
}

static void test_compressed_int4(void **state)
{
    (void)state;
    static struct matrix m;
    draw_matrix(&m, -8, 7, 0, 0, 32, 1);
    add_compressed(&m, 32, 4, false);
    assert_int_equal(read_all("{\"quant_method\":\"compressed-tensors\"}"), 0);
    check_values(&m, GGUF_SCALED_INT4);
}

static void test_compressed_int4_with_zeros(void **state)
{
    (void)state;
    static struct matrix m;
    draw_matrix(&m, -8, 7, -8, 7, 32, 1);
    add_compressed(&m, 32, 4, true);
    assert_int_equal(read_all("{\"quant_method\":\"compressed-tensors\"}"), 0);
    check_values(&m, GGUF_SCALED_INT4_ZERO);
}

static void test_compressed_int8_packed_by_channels(void **state)
{
    (void)state;
    static struct matrix m;
    draw_matrix(&m, -128, 127, 0, 0, 96, 1);
    add_compressed(&m, 96, 8, false);
    assert_int_equal(read_all("{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"group_0\":"
                              "{\"weights\":{\"num_bits\":8}}}}"),
                     0);
    check_values(&m, GGUF_SCALED_INT8);
}

static void test_compressed_int8(void **state)
{
    (void)state;
    static struct matrix m;
    draw_matrix(&m, -128, 127, 0, 0, 96, 1);
    uint8_t *q = st_add(&t.st, "x.weight", "I8", 2, (const uint32_t[2]){ROWS, COLS}, ROWS * COLS);
    uint8_t *scales = st_add(&t.st, "x.weight_scale", "F32", 2, (const uint32_t[2]){ROWS, 1}, ROWS * 4);
    for (uint32_t r = 0; r < ROWS; r++) {
        store_u32(scales + 4 * r, bits_of_float(m.scale[r][0]));
        for (uint32_t c = 0; c < COLS; c++) q[r * COLS + c] = (uint8_t)m.q[r][c];
    }
    assert_int_equal(read_all("{\"quant_method\":\"compressed-tensors\"}"), 0);
    check_values(&m, GGUF_SCALED_INT8);
}

/* Blocks of 16 rows by 32 columns; the last ones are cut off. E4M3 by its definition. */
static void test_fp8_blocks(void **state)
{
    (void)state;
    static float scale[2][3];
    uint8_t *q = st_add(&t.st, "x.weight", "F8_E4M3", 2, (const uint32_t[2]){ROWS, COLS}, ROWS * COLS);
    uint8_t *scales = st_add(&t.st, "x.weight_scale_inv", "F32", 2, (const uint32_t[2]){2, 3}, 24);
    for (uint32_t i = 0; i < 6; i++) {
        scale[i / 3][i % 3] = (float)(1 + draw(1u << 23)) * 0x1p-24f;
        store_u32(scales + 4 * i, bits_of_float(scale[i / 3][i % 3]));
    }
    for (uint32_t i = 0; i < ROWS * COLS; i++) {
        q[i] = (uint8_t)i;
        if ((q[i] & 0x7f) == 0x7f) q[i] = 0x7e; /* the NaN */
    }
    assert_int_equal(read_all("{\"quant_method\":\"fp8\",\"weight_block_size\":[16,32]}"), 0);
    const struct hf_weight *w = &t.weights.items[0];
    assert_int_equal(w->type, GGUF_SCALED_FP8);
    for (uint32_t r = 0; r < ROWS; r++) {
        uint8_t row[3 * 36];
        float decoded[COLS];
        hf_weight_row(w, 0, r, row);
        gguf_decode(w->type, row, COLS, decoded);
        for (uint32_t c = 0; c < COLS; c++) {
            uint8_t byte = t.st.data[r * COLS + c];
            int exponent = byte >> 3 & 15;
            float value =
                exponent == 0 ? ldexpf((float)(byte & 7), -9) : ldexpf((float)(8 + (byte & 7)), exponent - 10);
            float wanted = (byte & 0x80 ? -value : value) * scale[r / 16][c / 32];
            assert_true(hf_weight_at(w, 0, r, c) == wanted && decoded[c] == wanted);
        }
    }
}

static void test_nan_scales_are_found(void **state)
{
    (void)state;
    static struct matrix m;
    draw_matrix(&m, -8, 7, 0, 0, 32, 1);
    m.scale[5][32] = NAN;
    add_compressed(&m, 32, 4, false);
    assert_int_equal(read_all("{\"quant_method\":\"compressed-tensors\"}"), 0);
    static uint8_t rows[ROWS * COLS], packed[1 << 18];
    const struct hf_weight *w = &t.weights.items[0];
    for (uint32_t r = 0; r < ROWS; r++) hf_weight_row(w, 0, r, rows + r * hf_weight_row_bytes(w));
    struct pack_source source = {.type = w->type, .data = rows, .rows = ROWS, .cols = COLS};
    struct pack_result result = {0};
    pack_pieces(&source, pack_format(w->type, UINT32_MAX), 0, pack_n_pieces(ROWS), packed, &result);
    assert_true(result.not_finite);
}

/* Each of these is refused with a message that has the word and the tensor's name. */
static void expect_refusal(const char *quantization, const char *word)
{
    if (read_all(quantization) == 0 || strstr(t.err.text, word) == NULL || strstr(t.err.text, "x.") == NULL)
        fail_msg("\"%s\" has no \"%s\"", t.err.text, word);
    assert_int_equal(teardown(NULL), 0);
    assert_int_equal(setup(NULL), 0);
}

static void test_contradictions(void **state)
{
    (void)state;
    static struct matrix m;
    draw_matrix(&m, 0, 15, 1, 16, 32, 1);
    add_gptq(&m, 32, 4, 1, false);
    expect_refusal("{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":48}", "group_size");
    add_gptq(&m, 32, 4, 1, false);
    expect_refusal("{\"quant_method\":\"gptq\",\"bits\":3}", "bits");
    add_gptq(&m, 32, 4, 1, false);
    expect_refusal("{\"quant_method\":\"hqq\"}", "quant_method");
    add_gptq(&m, 32, 4, 1, true);
    store_u32(t.st.data + t.st.n_data - 4, 3);
    expect_refusal("{\"quant_method\":\"gptq\",\"bits\":4}", "g_idx");
    (void)st_add(&t.st, "x.qweight", "I32", 2, (const uint32_t[2]){12, 24}, 12 * 24 * 4);
    expect_refusal("{\"quant_method\":\"awq\"}", "scales");
    (void)st_add(&t.st, "x.qweight", "I32", 2, (const uint32_t[2]){12, 24}, 12 * 24 * 4);
    (void)st_add(&t.st, "x.qzeros", "I32", 2, (const uint32_t[2]){5, 3}, 5 * 3 * 4);
    (void)st_add(&t.st, "x.scales", "F16", 2, (const uint32_t[2]){5, 24}, 5 * 24 * 2);
    expect_refusal("{\"quant_method\":\"gptq\",\"bits\":4}", "divide");
    (void)st_add(&t.st, "x.weight", "F8_E4M3", 2, (const uint32_t[2]){32, 32}, 1024);
    expect_refusal("{}", "weight_scale");
    (void)st_add(&t.st, "x.weight", "F8_E4M3", 2, (const uint32_t[2]){32, 32}, 1024);
    (void)st_add(&t.st, "x.weight_scale_inv", "F32", 2, (const uint32_t[2]){3, 1}, 12);
    expect_refusal("{}", "blocks");
    (void)st_add(&t.st, "x.weight", "F8_E5M2", 2, (const uint32_t[2]){32, 32}, 1024);
    expect_refusal("{}", "F8_E5M2");
    add_compressed(&m, 32, 8, false);
    store_u64(t.st.data + t.st.n_data - 8, COLS + 1);
    expect_refusal("{\"config_groups\":{\"g\":{\"weights\":{\"num_bits\":8}}}}", "weight_shape");
}

int main(void)
{
    seed = (uint32_t)time(NULL);
    print_message("seed %u\n", seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gptq, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gptq_symmetric, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gptq_8_bits_of_version_2, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gptq_act_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_awq, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compressed_int4, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compressed_int4_with_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compressed_int8_packed_by_channels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compressed_int8, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fp8_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nan_scales_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contradictions, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
