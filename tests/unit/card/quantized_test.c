/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QUANTIZE, MATMUL and EXPERT_MATMUL of the simulated card on quantized weights: bit for bit against the contract
 * written out with scalars, within a bound of the sums in double, and near the float reference on the same weights.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/abi/card_math.h"
#include "tests/unit/card/card_fixture.h"

static const unsigned formats[] = {CARD_FORMAT_INT4, CARD_FORMAT_INT4_MIN, CARD_FORMAT_INT8, CARD_FORMAT_INT8_MIN,
                                   CARD_FORMAT_Q4_K, CARD_FORMAT_Q5_K,     CARD_FORMAT_Q6_K, CARD_FORMAT_MXFP4};
#define N_FORMATS (sizeof formats / sizeof *formats)

/* Quantized activations read back from the card. */
struct test_act {
    uint32_t tokens, cols, groups;
    uint8_t *bytes;
};
static int act_value(const struct test_act *act, uint32_t token, uint32_t col)
{
    return (int8_t)act->bytes[(size_t)token * act->groups * 32 + col];
}
static float act_scale(const struct test_act *act, uint32_t token, uint32_t group)
{
    return load_f32(act->bytes + card_act_scale_offset(act->tokens, act->cols) + 4 * (token * act->groups + group));
}
static int act_sum(const struct test_act *act, uint32_t token, uint32_t group)
{
    return (int)load_u32(act->bytes + card_act_sum_offset(act->tokens, act->cols) + 4 * (token * act->groups + group));
}

/* x[tokens][cols] through QUANTIZE: the address of the result, and a copy. */
static card_addr quantize(struct card *card, const float *x, uint32_t tokens, uint32_t cols, struct test_act *act)
{
    const size_t bytes = card_act_bytes(tokens, cols);
    struct card_descriptor d = {.opcode = CARD_OP_QUANTIZE, .tokens = tokens, .cols = cols};
    d.src = put_floats(card, x, (size_t)tokens * cols);
    d.dst = put(card, NULL, bytes);
    run_program(card, &d, 1);
    card_free(card, d.src);
    *act = (struct test_act){tokens, cols, (uint32_t)card_act_groups(cols), calloc(bytes, 1)};
    get(card, act->bytes, d.dst, bytes);
    return d.dst;
}

/* One output of a matmul by the text of kernels/README.md. *magnitude: sum of the magnitudes, *exact: sum in double. */
static float contract_row(const struct test_matrix *m, uint32_t row, const struct test_act *act, uint32_t token,
                          double *exact, double *magnitude)
{
    const uint32_t step = m->format == CARD_FORMAT_Q6_K ? 16 : 32;
    float acc = 0;
    *exact = *magnitude = 0;
    for (uint32_t first = 0; first < m->cols; first += step) {
        const size_t at = (size_t)row * m->cols + first;
        const float by = act_scale(act, token, first / 32);
        int dot = 0;
        for (uint32_t c = 0; c < step; c++) dot += m->q[at + c] * act_value(act, token, first + c);
        acc = fmaf((float)m->scale[at] * by, (float)dot, acc);
        *exact += m->scale[at] * dot * (double)by;
        *magnitude += fabs(m->scale[at] * dot * (double)by);
        if (m->format == CARD_FORMAT_INT4 || m->format == CARD_FORMAT_INT8 || m->format == CARD_FORMAT_Q6_K ||
            m->format == CARD_FORMAT_MXFP4)
            continue;
        const int sum = act_sum(act, token, first / 32);
        acc = fmaf((float)m->minimum[at] * by, (float)sum, acc);
        *exact += m->minimum[at] * sum * (double)by;
        *magnitude += fabs(m->minimum[at] * sum * (double)by);
    }
    return acc;
}

static void check_matmul(struct card *sim, struct test_random *random, unsigned format, uint32_t rows, uint32_t cols,
                         uint32_t tokens)
{
    struct test_matrix m = test_matrix_make(random, format, rows, cols);
    struct test_act act;
    float *x = random_floats(random, (size_t)tokens * cols), *result = calloc((size_t)tokens * rows, 4);
    struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)format, .tokens = tokens, .rows = rows};
    d.cols = cols;
    d.src = quantize(sim, x, tokens, cols, &act);
    d.weight = put(sim, m.bytes, card_matrix_bytes(format, rows, cols));
    d.dst = put(sim, NULL, (size_t)tokens * rows * 4);
    run_program(sim, &d, 1);
    get(sim, result, d.dst, (size_t)tokens * rows * 4);
    for (uint32_t t = 0; t < tokens; t++) {
        for (uint32_t r = 0; r < rows; r++) {
            double exact, magnitude;
            const float want = contract_row(&m, r, &act, t, &exact, &magnitude), got = result[t * rows + r];
            if (bits_of(got) != bits_of(want)) {
                fail_msg("format %u, %u x %u, token %u, row %u: %a, the contract says %a", format, rows, cols, t, r,
                         (double)got, (double)want);
            }
            assert_true(fabs((double)got - exact) <= TOLERANCE_EXACT_WEIGHTS * magnitude);
        }
    }
    card_free(sim, d.src);
    card_free(sim, d.weight);
    card_free(sim, d.dst);
    free(act.bytes);
    free(x);
    free(result);
    test_matrix_free(&m);
}

static void matmul_is_the_contract(void **state)
{
    (void)state;
    const uint32_t rows[] = {1, 15, 16, 17, 48}, cols[] = {32, 64, 96, 256, 288, 512}, tokens[] = {1, 2, 33, 65};
    struct test_random random = {.state = 7};
    struct card *sim = open_card("sim", 2);
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (size_t r = 0; r < 5; r++) {
            for (size_t c = 0; c < 6; c++) {
                for (size_t t = 0; t < 4; t++) check_matmul(sim, &random, formats[f], rows[r], cols[c], tokens[t]);
            }
        }
    }
    card_close(sim);
}

/* 16 x 256 weights that are all the least or all the most of their format, with scale 1. */
static uint8_t *extreme_matrix(unsigned format, int low, int *weight)
{
    const unsigned width = card_block_cols(format);
    const int is8 = format == CARD_FORMAT_INT8 || format == CARD_FORMAT_INT8_MIN, is_mx = format == CARD_FORMAT_MXFP4;
    const size_t bytes = card_matrix_bytes(format, 16, 256);
    const size_t header = width == 256                                                        ? 320
                          : format == CARD_FORMAT_INT4 || format == CARD_FORMAT_INT8 || is_mx ? 64
                                                                                              : 128;
    uint8_t *block = malloc(bytes);
    memset(block, is8 ? (low ? 0x80 : 0x7f) : is_mx ? (low ? 0xff : 0x77) : (low ? 0 : 0xff), bytes);
    for (size_t at = 0; at < bytes; at += card_block_bytes(format)) {
        memset(block + at, is_mx ? 128 : 0, header);
        for (size_t i = 0; i < (width == 256 ? 16 : is_mx ? 0 : 32); i++) store_u16(block + at + 2 * i, 0x3c00);
        if (width == 256) memset(block + at + 64, 1, format == CARD_FORMAT_Q6_K ? 256 : 128);
    }
    const int most = is8 ? 127 : is_mx ? 12 : width == 256 && format != CARD_FORMAT_Q4_K ? 31 : 15;
    const int least = is8 ? -128 : is_mx ? -12 : format == CARD_FORMAT_Q6_K ? -32 : 0;
    *weight = low ? least : most;
    if (format == CARD_FORMAT_INT4) *weight -= 8;
    return block;
}

/* Weights at the ends of their range against activations at theirs: the 16-bit sums of the kernel must not overflow. */
static void extreme_integers_are_exact(void **state)
{
    (void)state;
    struct card *sim = open_card("sim", 1);
    float x[256];
    for (int i = 0; i < 256; i++) x[i] = 1.0f; /* quantizes to 127 */
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (int low = 0; low < 2; low++) {
            int weight;
            uint8_t *matrix = extreme_matrix(formats[f], low, &weight);
            struct test_act act;
            struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)formats[f], .tokens = 1};
            float result[16];
            d.rows = 16;
            d.cols = 256;
            d.src = quantize(sim, x, 1, 256, &act);
            d.weight = put(sim, matrix, card_matrix_bytes(formats[f], 16, 256));
            d.dst = put(sim, NULL, sizeof result);
            run_program(sim, &d, 1);
            get(sim, result, d.dst, sizeof result);
            const double want = weight * 127.0 * 256 * (double)act_scale(&act, 0, 0);
            for (int r = 0; r < 16; r++) assert_true(fabs(result[r] - want) <= fabs(want) * 1e-6);
            free(matrix);
            free(act.bytes);
        }
    }
    card_close(sim);
}

static void quantize_is_the_contract(void **state)
{
    (void)state;
    const uint32_t cols[] = {1, 31, 32, 33, 64, 100};
    struct test_random random = {.state = 3};
    struct card *sim = open_card("sim", 2);
    for (size_t i = 0; i < 6; i++) {
        struct test_act act;
        float *x = random_floats(&random, 3u * cols[i]);
        for (uint32_t k = 0; k < cols[i]; k++) x[cols[i] + k] = 0; /* one token of zeros */
        card_free(sim, quantize(sim, x, 3, cols[i], &act));
        for (uint32_t t = 0; t < 3; t++) {
            for (uint32_t g = 0; g < act.groups; g++) {
                float largest = 0;
                int sum = 0;
                for (uint32_t c = 32 * g; c < 32 * g + 32 && c < cols[i]; c++) {
                    largest = fmaxf(largest, fabsf(x[t * cols[i] + c]));
                }
                const float scale = largest * (1.0f / 127.0f);
                assert_true(act_scale(&act, t, g) == scale);
                for (uint32_t c = 32 * g; c < 32 * g + 32; c++) {
                    const float v = c < cols[i] && largest > 0 ? x[t * cols[i] + c] * card_recip(scale) : 0;
                    assert_int_equal(act_value(&act, t, c), (int)nearbyintf(v));
                    sum += act_value(&act, t, c);
                }
                assert_int_equal(act_sum(&act, t, g), sum);
            }
        }
        free(act.bytes);
        free(x);
    }
    card_close(sim);
}

static void quantize_defines_strange_groups(void **state)
{
    (void)state;
    const float largest_float = 3.4028235e38f, smallest = 1e-45f;
    float x[6 * 32] = {0};
    struct card *sim = open_card("sim", 1);
    struct test_act act;
    for (int i = 0; i < 6 * 32; i++) x[i] = 1;
    x[5] = NAN;
    x[32] = -INFINITY;
    x[64] = largest_float;
    for (int i = 96; i < 128; i++) x[i] = smallest;
    for (int i = 128; i < 160; i++) x[i] = -0.0f;
    for (int i = 160; i < 192; i++) x[i] = (float)(i - 160) + 0.5f; /* ties once the scale is 1 */
    x[191] = 127;
    card_free(sim, quantize(sim, x, 1, 6 * 32, &act));
    assert_true(isnan(act_scale(&act, 0, 0)) && isnan(act_scale(&act, 0, 1)));
    for (uint32_t c = 0; c < 64; c++) assert_int_equal(act_value(&act, 0, c), 0);
    assert_int_equal(act_value(&act, 0, 64), 127);
    assert_int_equal(act_value(&act, 0, 65), 0);
    assert_true(isfinite(act_scale(&act, 0, 2)));
    assert_true(act_scale(&act, 0, 3) == 0 && act_scale(&act, 0, 4) == 0);
    assert_int_equal(act_sum(&act, 0, 3), 0);
    for (uint32_t c = 160; c < 191; c++) assert_int_equal(act_value(&act, 0, c), (int)nearbyintf(x[c]));
    free(act.bytes);
    card_close(sim);
}

/* What a newcomer would compute: the quantized matrix as floats on ref, float activations, close to sim's result. */
static void matmul_is_near_the_reference(void **state)
{
    (void)state;
    enum { T = 5, R = 40, C = 256 };
    struct test_random random = {.state = 11};
    struct card *sim = open_card("sim", 2), *ref = open_card("ref", 0);
    for (size_t f = 0; f < N_FORMATS; f++) {
        struct test_matrix m = test_matrix_make(&random, formats[f], R, C);
        float *x = random_floats(&random, T * C), *w = calloc(R * C, 4), a[T * R], b[T * R];
        struct test_act act;
        for (size_t i = 0; i < R * C; i++) w[i] = (float)m.value[i];
        struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)formats[f], .tokens = T, .rows = R};
        d.cols = C;
        d.src = quantize(sim, x, T, C, &act);
        d.weight = put(sim, m.bytes, card_matrix_bytes(formats[f], R, C));
        d.dst = put(sim, NULL, sizeof a);
        run_program(sim, &d, 1);
        get(sim, a, d.dst, sizeof a);
        d.format = CARD_FORMAT_F32;
        d.src = put_floats(ref, x, T * C);
        d.weight = put_floats(ref, w, R * C);
        d.dst = put(ref, NULL, sizeof b);
        run_program(ref, &d, 1);
        get(ref, b, d.dst, sizeof b);
        assert_near("MATMUL", a, b, T * R, TOLERANCE_INT8_ACTIVATIONS);
        free(act.bytes);
        free(x);
        free(w);
        test_matrix_free(&m);
    }
    card_close(sim);
    card_close(ref);
}

/* ---- experts ---- */

enum { EXPERTS = 5 };

struct expert_case {
    unsigned format;
    uint32_t tokens, choices, rows, cols;
    int per_choice;
};

static void check_experts(struct card *sim, struct test_random *random, const struct expert_case *c)
{
    const uint32_t outputs = c->tokens * c->choices, inputs = c->per_choice ? outputs : c->tokens;
    struct test_matrix m[EXPERTS];
    struct test_act act = {0};
    card_addr slot[EXPERTS];
    struct card_choice *choice = calloc(outputs, sizeof *choice);
    float *x = random_floats(random, (size_t)inputs * c->cols), *result = calloc((size_t)outputs * c->rows, 4);
    for (uint32_t i = 0; i < outputs; i++) choice[i].expert = random_below(random, EXPERTS - 1); /* one stays unused */
    for (int e = 0; e < EXPERTS; e++) {
        m[e] = test_matrix_make(random, c->format, c->rows, c->cols);
        slot[e] = put(sim, m[e].bytes, card_matrix_bytes(c->format, c->rows, c->cols));
    }
    slot[EXPERTS - 1] = UINT64_MAX; /* nobody chooses it: a slot may be empty */
    struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)c->format, .tokens = c->tokens};
    d.rows = c->rows;
    d.cols = c->cols;
    d.flags = c->per_choice ? CARD_FLAG_PER_CHOICE : 0;
    d.param[0] = c->choices;
    d.param[1] = EXPERTS;
    d.weight = put(sim, slot, sizeof slot);
    d.aux = put(sim, choice, outputs * sizeof *choice);
    d.dst = put(sim, NULL, (size_t)outputs * c->rows * 4);
    if (c->format == CARD_FORMAT_F32)
        d.src = put_floats(sim, x, (size_t)inputs * c->cols);
    else
        d.src = quantize(sim, x, inputs, c->cols, &act);
    run_program(sim, &d, 1);
    get(sim, result, d.dst, (size_t)outputs * c->rows * 4);
    for (uint32_t i = 0; i < outputs; i++) {
        const struct test_matrix *matrix = &m[choice[i].expert];
        const uint32_t input = c->per_choice ? i : i / c->choices;
        for (uint32_t r = 0; r < c->rows; r++) {
            double exact = 0, magnitude = 0;
            if (c->format != CARD_FORMAT_F32) {
                const float want = contract_row(matrix, r, &act, input, &exact, &magnitude);
                assert_int_equal(bits_of(result[i * c->rows + r]), bits_of(want));
                continue;
            }
            for (uint32_t k = 0; k < c->cols; k++) {
                exact += matrix->value[r * c->cols + k] * (double)x[input * c->cols + k];
                magnitude += fabs(matrix->value[r * c->cols + k] * (double)x[input * c->cols + k]);
            }
            assert_true(fabs((double)result[i * c->rows + r] - exact) <= TOLERANCE_FLOAT * magnitude);
        }
    }
    for (int e = 0; e + 1 < EXPERTS; e++) card_free(sim, slot[e]);
    for (int e = 0; e < EXPERTS; e++) test_matrix_free(&m[e]);
    card_free(sim, d.weight);
    card_free(sim, d.aux);
    card_free(sim, d.dst);
    card_free(sim, d.src);
    free(act.bytes);
    free(choice);
    free(x);
    free(result);
}

static void expert_matmul_is_the_contract(void **state)
{
    (void)state;
    struct test_random random = {.state = 5};
    struct card *sim = open_card("sim", 3);
    const struct expert_case cases[] = {{CARD_FORMAT_INT4, 1, 2, 17, 96, 0},    {CARD_FORMAT_INT4, 33, 2, 48, 64, 1},
                                        {CARD_FORMAT_INT8, 70, 3, 16, 64, 0},   {CARD_FORMAT_Q4_K, 9, 4, 33, 512, 1},
                                        {CARD_FORMAT_Q6_K, 4, 1, 20, 256, 0},   {CARD_FORMAT_F32, 7, 2, 19, 37, 0},
                                        {CARD_FORMAT_F32, 7, 2, 19, 37, 1},     {CARD_FORMAT_Q5_K, 1, 2, 16, 256, 0},
                                        {CARD_FORMAT_INT8_MIN, 2, 2, 1, 32, 1}, {CARD_FORMAT_INT4_MIN, 3, 2, 5, 32, 0},
                                        {CARD_FORMAT_MXFP4, 9, 4, 33, 160, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_experts(sim, &random, &cases[i]);
    card_close(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_is_the_contract),     cmocka_unit_test(quantize_defines_strange_groups),
        cmocka_unit_test(matmul_is_the_contract),       cmocka_unit_test(extreme_integers_are_exact),
        cmocka_unit_test(matmul_is_near_the_reference), cmocka_unit_test(expert_matmul_is_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
