/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What 8-bit activations cost a matmul: QUANTIZE and MATMUL of the simulated card against the product of the same weights
 * and the float activations in float64. An activation is off by half a step of its group at most, so a result is by
 * the sum over groups of (step / 2) sum |weight|; nothing but float32's rounding may come on top.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/card_fixture.h"

#define ROWS 37u
#define TOKENS 5u

static const struct {
    unsigned format;
    const char *name;
} formats[] = {{CARD_FORMAT_INT4, "INT4"},         {CARD_FORMAT_INT4_MIN, "INT4_MIN"}, {CARD_FORMAT_INT8, "INT8"},
               {CARD_FORMAT_INT8_MIN, "INT8_MIN"}, {CARD_FORMAT_Q4_K, "Q4_K"},         {CARD_FORMAT_Q5_K, "Q5_K"},
               {CARD_FORMAT_Q6_K, "Q6_K"},         {CARD_FORMAT_MXFP4, "MXFP4"}};

/* Sum of three uniform numbers, and one in a hundred thirty times as large: roughly what activations look like. */
static void fill_activations(struct test_random *random, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = random_float(random) + random_float(random) + random_float(random);
        if (random_below(random, 100) == 0) x[i] *= 30;
    }
}

static void run_matmul(struct card *card, const struct test_matrix *m, const float *x, float *result)
{
    struct card_descriptor program[2] = {
        {.opcode = CARD_OP_QUANTIZE, .tokens = TOKENS, .cols = m->cols},
        {.opcode = CARD_OP_MATMUL, .format = (uint8_t)m->format, .tokens = TOKENS, .rows = m->rows, .cols = m->cols}};
    program[0].src = put_floats(card, x, (size_t)TOKENS * m->cols);
    program[0].dst = program[1].src = put(card, NULL, card_act_bytes(TOKENS, m->cols));
    program[1].weight = put(card, m->bytes, card_matrix_bytes(m->format, m->rows, m->cols));
    program[1].dst = put(card, NULL, sizeof(float) * TOKENS * m->rows);
    run_program(card, program, 2);
    get(card, result, program[1].dst, sizeof(float) * TOKENS * m->rows);
    card_free(card, program[0].src);
    card_free(card, program[0].dst);
    card_free(card, program[1].weight);
    card_free(card, program[1].dst);
}

/* The product of one row and one token in float64, how far the card may be off, and the sum of the products' magnitudes. */
static double exact_row(const struct test_matrix *m, uint32_t row, const float *x, double *bound, double *magnitude)
{
    double exact = 0;
    *bound = *magnitude = 0;
    for (uint32_t g = 0; g < m->cols; g += 32) {
        double largest = 0, weights = 0;
        for (uint32_t c = g; c < g + 32 && c < m->cols; c++) {
            const double w = m->value[(size_t)row * m->cols + c];
            exact += w * x[c];
            *magnitude += fabs(w * x[c]);
            weights += fabs(w);
            largest = fmax(largest, fabs((double)x[c]));
        }
        *bound += largest / 127 / 2 * weights;
    }
    return exact;
}

static void check_format(struct card *card, struct test_random *random, size_t f, uint32_t cols)
{
    struct test_matrix m = test_matrix_make(random, formats[f].format, ROWS, cols);
    float *x = malloc(sizeof *x * TOKENS * cols), result[TOKENS * ROWS];
    double error = 0, square = 0, largest_share = 0;
    assert_non_null(x);
    fill_activations(random, x, (size_t)TOKENS * cols);
    run_matmul(card, &m, x, result);
    for (uint32_t t = 0; t < TOKENS; t++) {
        for (uint32_t r = 0; r < ROWS; r++) {
            double bound, magnitude;
            const double exact = exact_row(&m, r, x + (size_t)t * cols, &bound, &magnitude);
            const double off = fabs((double)result[t * ROWS + r] - exact);
            /* Rounding: of the step and its reciprocal on each activation, and of one fma or two for each group. */
            bound += magnitude * (2 + cols / 16.0) * 0x1p-23;
            if (!(off <= bound))
                fail_msg("%s, %u columns: off by %g, the bound is %g", formats[f].name, cols, off, bound);
            largest_share = fmax(largest_share, off / bound);
            error += off * off;
            square += exact * exact;
        }
    }
    const double relative = sqrt(error / square);
    print_message("%-8s %5u columns: relative RMS error %.2e, at most %.2f of the bound\n", formats[f].name, cols,
                  relative, largest_share);
    /* The bound is for the worst signs of all; the errors are as random as the signs. */
    assert_true(relative > 1e-4 && relative < 2e-2);
    free(x);
    test_matrix_free(&m);
}

static void quantized_matmul_is_within_its_bound(void **state)
{
    (void)state;
    const uint32_t cols[] = {32, 288, 1024, 4096};
    struct test_random random = {.state = 20261121};
    struct card *card = open_card("sim", 2);
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) check_format(card, &random, f, cols[c]);
    }
    card_close(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(quantized_matmul_is_within_its_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
