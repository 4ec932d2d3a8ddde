/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MATMUL and EXPERT_MATMUL in every format: HLS C against the simulator, bit for bit. Shapes at the borders of tiles
 * (16 rows, 128 side by side), blocks (64 to 256 columns), panels (2048, 32768) and passes (8 tokens), with bias, with
 * addition, with scales and activations that hold infinities and NaN, and with matrices dealt over 1 to 4 banks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/both_cards.h"

static const unsigned formats[] = {CARD_FORMAT_F32,      CARD_FORMAT_INT4, CARD_FORMAT_INT4_MIN,
                                   CARD_FORMAT_INT8,     CARD_FORMAT_Q4_K, CARD_FORMAT_Q5_K,
                                   CARD_FORMAT_INT8_MIN, CARD_FORMAT_Q6_K, CARD_FORMAT_MXFP4};
#define N_FORMATS (sizeof formats / sizeof *formats)

struct shape {
    uint32_t tokens, rows, cols;
};
static const struct shape shapes[] = {
    {1, 1, 1},      {1, 1, 64},    {33, 1, 100},  {1, 16, 32},   {1, 17, 65},   {2, 15, 256},
    {7, 33, 257},   {8, 64, 320},  {9, 128, 64},  {1, 129, 96},  {16, 16, 511}, {3, 40, 513},
    {33, 131, 200}, {1, 20, 2048}, {2, 17, 2049}, {1, 18, 4160}, {2, 48, 128},  {1, 32, 129},
};

static struct both both;

/* Quantizes random floats to act[rows][cols] by the program's first descriptor, unless the format takes floats. */
static unsigned add_activations(struct card_descriptor *program, unsigned format, uint32_t rows, uint32_t cols,
                                uint32_t special, card_addr *src)
{
    const card_addr x = take_floats(&both, (uint64_t)rows * cols, special);
    *src = x;
    if (format == CARD_FORMAT_F32) return 0;
    *src = take(&both, card_act_bytes(rows, cols), 4);
    program[0] =
        (struct card_descriptor){.opcode = CARD_OP_QUANTIZE, .tokens = rows, .cols = cols, .dst = *src, .src = x};
    return 1;
}

/* The descriptor of interest is program[at]. */
static void run_and_compare(const char *what, const struct card_descriptor *program, unsigned at, unsigned n,
                            uint64_t n_floats)
{
    const struct card_descriptor *d = &program[at];
    char name[160];
    snprintf(name, sizeof name, "%s format %u tokens %u rows %u cols %u flags %u P0 %u P2 %u", what, d->format,
             d->tokens, d->rows, d->cols, d->flags, d->param[0], d->param[2]);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, program, n), 0);
    assert_same_memory(&both, name, d->dst, n_floats);
}

/* A matrix dealt over banks (0: as one run in the arena). */
static card_addr matrix_of(unsigned format, uint32_t rows, uint32_t cols, uint32_t banks)
{
    const card_addr matrix = take_matrix(&both, format, rows, cols);
    return banks ? deal(&both, matrix, format, rows, cols, banks) : matrix;
}

static void matmul_of(unsigned format, struct shape shape, uint16_t flags, uint32_t special, uint32_t banks)
{
    struct card_descriptor program[2];
    card_addr src;
    const unsigned n = add_activations(program, format, shape.tokens, shape.cols, special, &src);
    const uint64_t results = (uint64_t)shape.tokens * shape.rows;
    struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)format, .flags = flags, .src = src};
    d.tokens = shape.tokens;
    d.rows = shape.rows;
    d.cols = shape.cols;
    d.weight = matrix_of(format, shape.rows, shape.cols, banks);
    d.dst = take_floats(&both, results, special);
    d.param[0] = banks;
    if (flags & CARD_FLAG_BIAS) d.aux = take_floats(&both, shape.rows, special);
    program[n] = d;
    run_and_compare("MATMUL", program, n, n + 1, results);
}

static void every_format_and_border(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            const uint16_t flags = (uint16_t)((s % 2 ? CARD_FLAG_BIAS : 0) | (s % 3 ? CARD_FLAG_ADD : 0));
            matmul_of(formats[f], shapes[s], flags, s % 4 == 3 ? 50 : 0, 0);
        }
    }
}

static void random_shapes(void **state)
{
    (void)state;
    for (int i = 0; i < 120; i++) {
        const struct shape shape = {1 + draw(&both, 20), 1 + draw(&both, 150), 1 + draw(&both, 600)};
        matmul_of(formats[draw(&both, N_FORMATS)], shape, (uint16_t)draw(&both, 4), draw(&both, 2) ? 0 : 100, 0);
    }
}

/* Fewer tiles than banks, one round, rounds with a rest, and more than one run of 8 tiles a bank. */
static void dealt_over_banks(void **state)
{
    (void)state;
    static const struct shape dealt[] = {{1, 1, 64},    {2, 16, 100},  {1, 33, 256}, {9, 64, 65},
                                         {33, 79, 320}, {1, 513, 64},  {3, 530, 96}, {1, 1040, 64},
                                         {2, 50, 2049}, {1, 300, 513}, {9, 50, 7}};
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (size_t s = 0; s < sizeof dealt / sizeof *dealt; s++) {
            for (uint32_t banks = 1; banks <= BANKS; banks++) {
                const uint16_t flags = (uint16_t)(((s + banks) % 2 ? CARD_FLAG_BIAS : 0) | (s % 3 ? CARD_FLAG_ADD : 0));
                matmul_of(formats[f], dealt[s], flags, (s + banks) % 4 ? 0 : 50, banks);
            }
        }
    }
}

/* One matrix gives the same bits however it is dealt. */
static void check_dealing_does_not_show(unsigned format)
{
    struct card_descriptor program[2 + BANKS];
    const struct shape shape = {5, 300, 320};
    const uint64_t results = (uint64_t)shape.tokens * shape.rows;
    card_addr src, matrix;
    float result[2][5 * 300];
    const unsigned first = add_activations(program, format, shape.tokens, shape.cols, 0, &src);
    matrix = take_matrix(&both, format, shape.rows, shape.cols);
    for (uint32_t banks = 0; banks <= BANKS; banks++) {
        struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)format, .src = src};
        d.tokens = shape.tokens;
        d.rows = shape.rows;
        d.cols = shape.cols;
        d.weight = banks ? deal(&both, matrix, d.format, d.rows, d.cols, banks) : matrix;
        d.dst = take(&both, 4 * results, 4);
        d.param[0] = banks;
        program[first + banks] = d;
    }
    run_and_compare("dealt alike", program, first, first + 1 + BANKS, results);
    for (uint32_t banks = 0; banks <= BANKS; banks++) {
        struct error err = {0};
        const card_addr dst = program[first + banks].dst;
        assert_int_equal(card_read(both.hls, result[banks > 0], dst, 4 * results, NULL, 0, NULL, &err), 0);
        assert_memory_equal(result[0], result[banks > 0], 4 * results);
    }
}

static void dealing_does_not_show(void **state)
{
    (void)state;
    check_dealing_does_not_show(CARD_FORMAT_MXFP4);
    check_dealing_does_not_show(CARD_FORMAT_F32);
}

/* More panels of activations than stay on chip: they are loaded again for each run of tiles. */
static void columns_past_the_panels_on_chip(void **state)
{
    (void)state;
    matmul_of(CARD_FORMAT_INT4, (struct shape){2, 129, 32768 + 2048 + 33}, 0, 0, 0);
    matmul_of(CARD_FORMAT_Q6_K, (struct shape){1, 33, 32768 + 2048 + 257}, CARD_FLAG_ADD, 0, 0);
    matmul_of(CARD_FORMAT_MXFP4, (struct shape){2, 40, 32768 + 2048 + 129}, 0, 0, 3);
}

/* Every bit pattern a value of the format can have, against the largest activations: the packed products' borders. */
static void largest_products(void **state)
{
    (void)state;
    for (size_t f = 1; f < N_FORMATS; f++) {
        for (uint32_t fill = 0; fill < 2; fill++) {
            struct card_descriptor program[2];
            card_addr src;
            const struct shape shape = {3, 32, 512};
            (void)add_activations(program, formats[f], shape.tokens, shape.cols, 0, &src);
            for (uint32_t i = 0; i < shape.tokens * shape.cols; i++) {
                const uint32_t sign = i / shape.cols == 2 ? draw(&both, 2) : i / shape.cols;
                store_u32(image_at(&both, program[0].src) + 4ull * i, bits_of_float(sign ? -127.0f : 127.0f));
            }
            struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)formats[f], .src = src};
            d.tokens = shape.tokens;
            d.rows = shape.rows;
            d.cols = shape.cols;
            d.weight = take_matrix(&both, formats[f], shape.rows, shape.cols);
            const uint32_t block = card_block_bytes(formats[f]);
            const uint32_t header = block > 2000 ? 320 : block == 576 || block == 1088 ? 64 : 128; /* MXFP4: 1088 */
            const uint64_t bytes = card_matrix_bytes(formats[f], shape.rows, shape.cols);
            for (uint64_t at = 0; at < bytes; at++) {
                const int is8 = formats[f] == CARD_FORMAT_INT8 || formats[f] == CARD_FORMAT_INT8_MIN;
                const uint8_t least = is8 ? 0x80 : 0x00, most = is8 ? 0x7f : 0xff;
                if (at % block >= header) image_at(&both, d.weight)[at] = fill ? most : least;
            }
            d.dst = take(&both, 4ull * shape.tokens * shape.rows, 4);
            program[1] = d;
            run_and_compare("largest products", program, 1, 2, (uint64_t)shape.tokens * shape.rows);
        }
    }
}

/* What group g of token t meets the codes with: every activation but -128, which QUANTIZE never gives. */
static int met_activation(uint32_t t, uint32_t g)
{
    const int x = (int)(2 * t + g) - 127;
    return x > 127 ? 127 : x;
}

/* Every code of MXFP4 against every activation: a row a code. The results are known besides: small integers. */
static void every_code_of_mxfp4(void **state)
{
    (void)state;
    enum { TOKENS = 128, ROWS = 16, COLS = 64 };
    static const int doubled[ROWS] = CARD_MXFP4_VALUE;
    struct card_descriptor program[2];
    card_addr src;
    (void)add_activations(program, CARD_FORMAT_MXFP4, TOKENS, COLS, 0, &src);
    for (uint32_t i = 0; i < TOKENS * COLS; i++) { /* 127 in each group, for a scale of 1, and another value */
        const uint32_t t = i / COLS, c = i % COLS, g = c / 32;
        const int x = c % 32 == 0 ? 127 : c % 32 == 1 + t % 31 ? met_activation(t, g) : 0;
        store_u32(image_at(&both, program[0].src) + 4ull * i, bits_of_float((float)x));
    }
    struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = CARD_FORMAT_MXFP4, .src = src, .tokens = TOKENS};
    d.rows = ROWS;
    d.cols = COLS;
    d.weight = take_matrix(&both, d.format, ROWS, COLS);
    for (uint32_t at = 0; at < 64; at++) image_at(&both, d.weight)[at] = 128; /* 2^0 */
    for (uint32_t at = 64; at < 1088; at++) image_at(&both, d.weight)[at] = (uint8_t)(at / 4 % ROWS * 17);
    d.dst = take(&both, 4 * TOKENS * ROWS, 4);
    program[1] = d;
    run_and_compare("every code", program, 1, 2, TOKENS * ROWS);
    static float result[TOKENS][ROWS];
    struct error err = {0};
    assert_int_equal(card_read(both.hls, result, d.dst, sizeof result, NULL, 0, NULL, &err), 0);
    for (uint32_t i = 0; i < TOKENS * ROWS; i++) {
        const uint32_t t = i / ROWS, r = i % ROWS;
        const int sum = doubled[r] * (127 + met_activation(t, 0)) + doubled[r] * (127 + met_activation(t, 1));
        assert_true(result[t][r] == (float)sum);
    }
}

struct experts {
    uint32_t n, n_choices, banks;
    uint16_t flags; /* of the descriptor */
    int has_bias;
};

static void expert_matmul_of(unsigned format, struct shape shape, struct experts e)
{
    struct card_descriptor program[3];
    card_addr src, slot[40];
    uint32_t choice[2 * 512];
    const uint32_t choices = shape.tokens * e.n_choices;
    const uint32_t src_rows = e.flags & CARD_FLAG_PER_CHOICE ? choices : shape.tokens;
    unsigned n = add_activations(program, format, src_rows, shape.cols, 0, &src);
    for (uint32_t i = 0; i < e.n; i++) {
        both.part = e.banks > 1 ? draw(&both, BANKS / e.banks) : 0;
        slot[i] = matrix_of(format, shape.rows, shape.cols, e.banks);
    }
    both.part = 0;
    for (uint32_t i = 0; i < choices; i++) choice[2 * i] = draw(&both, 4) ? draw(&both, e.n) : CARD_NO_EXPERT;
    struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .src = src};
    d.flags = (uint16_t)(e.flags | (e.has_bias ? CARD_FLAG_EXTENDED : 0));
    d.tokens = shape.tokens;
    d.rows = shape.rows;
    d.cols = shape.cols;
    d.weight = take_words(&both, slot, 8ull * e.n, 8);
    if (!(e.flags & CARD_FLAG_EACH)) d.aux = take_words(&both, choice, 8ull * choices, 4);
    d.dst = take(&both, 4ull * choices * shape.rows, 4);
    d.param[0] = e.n_choices;
    d.param[1] = e.n;
    d.param[2] = e.banks;
    program[n] = d;
    if (e.has_bias) {
        program[n + 1] = (struct card_descriptor){.opcode = CARD_OP_EXTENSION, .flags = CARD_FLAG_BIAS};
        program[n + 1].src = take_floats(&both, (uint64_t)e.n * shape.rows, draw(&both, 2) ? 40 : 0);
    }
    run_and_compare("EXPERT_MATMUL", program, n, n + 1 + (e.has_bias != 0), (uint64_t)choices * shape.rows);
}

static void experts_of_every_format(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (uint32_t k = 0; k < 4; k++) {
            const uint16_t flags = k & 1 ? CARD_FLAG_PER_CHOICE : 0, each = (uint16_t)(flags | CARD_FLAG_EACH);
            const int bias = k >= 2;
            expert_matmul_of(formats[f], (struct shape){1, 17, 65}, (struct experts){5, 2, k, flags, bias});
            expert_matmul_of(formats[f], (struct shape){33, 20, 64}, (struct experts){1, 1, 1 + k, flags, bias});
            /* More than one window of choices. */
            expert_matmul_of(formats[f], (struct shape){33, 33, 96}, (struct experts){6, 3, 0, flags, bias});
            expert_matmul_of(formats[f], (struct shape){1, 40, 129}, (struct experts){3, 3, 0, each, bias});
            expert_matmul_of(formats[f], (struct shape){33, 17, 64}, (struct experts){5, 5, 4 - k, each, bias});
        }
    }
}

static int open_both(void **state)
{
    (void)state;
    both_open(&both, seed_of_run());
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    both_close(&both);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_and_border),
        cmocka_unit_test(random_shapes),
        cmocka_unit_test(dealt_over_banks),
        cmocka_unit_test(dealing_does_not_show),
        cmocka_unit_test(columns_past_the_panels_on_chip),
        cmocka_unit_test(largest_products),
        cmocka_unit_test(every_code_of_mxfp4),
        cmocka_unit_test(experts_of_every_format),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
