/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MATMUL and EXPERT_MATMUL in every format: HLS C against the simulator, bit for bit. Shapes at the borders of tiles
 * (16 rows, 128 side by side), blocks (64 and 256 columns), panels (2048, 32768) and passes (8 tokens), with bias, with
 * addition, and with scales and activations that hold infinities and NaN.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/both_cards.h"

static const unsigned formats[] = {CARD_FORMAT_F32,      CARD_FORMAT_INT4, CARD_FORMAT_INT4_MIN, CARD_FORMAT_INT8,
                                   CARD_FORMAT_INT8_MIN, CARD_FORMAT_Q4_K, CARD_FORMAT_Q5_K,     CARD_FORMAT_Q6_K};
#define N_FORMATS (sizeof formats / sizeof *formats)

struct shape {
    uint32_t tokens, rows, cols;
};
static const struct shape shapes[] = {
    {1, 1, 1},      {1, 1, 64},    {33, 1, 100},  {1, 16, 32},   {1, 17, 65},   {2, 15, 256},
    {7, 33, 257},   {8, 64, 320},  {9, 128, 64},  {1, 129, 96},  {16, 16, 511}, {3, 40, 513},
    {33, 131, 200}, {1, 20, 2048}, {2, 17, 2049}, {1, 18, 4160},
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

static void run_and_compare(const char *what, const struct card_descriptor *program, unsigned n, uint64_t n_floats)
{
    const struct card_descriptor *d = &program[n - 1];
    char name[160];
    snprintf(name, sizeof name, "%s format %u tokens %u rows %u cols %u flags %u", what, d->format, d->tokens, d->rows,
             d->cols, d->flags);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, program, n), 0);
    assert_same_memory(&both, name, d->dst, n_floats);
}

static void matmul_of(unsigned format, struct shape shape, uint16_t flags, uint32_t special)
{
    struct card_descriptor program[2];
    card_addr src;
    const unsigned n = add_activations(program, format, shape.tokens, shape.cols, special, &src);
    const uint64_t results = (uint64_t)shape.tokens * shape.rows;
    struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)format, .flags = flags, .src = src};
    d.tokens = shape.tokens;
    d.rows = shape.rows;
    d.cols = shape.cols;
    d.weight = take_matrix(&both, format, shape.rows, shape.cols);
    d.dst = take_floats(&both, results, special);
    if (flags & CARD_FLAG_BIAS) d.aux = take_floats(&both, shape.rows, special);
    program[n] = d;
    run_and_compare("MATMUL", program, n + 1, results);
}

static void every_format_and_border(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            const uint16_t flags = (uint16_t)((s % 2 ? CARD_FLAG_BIAS : 0) | (s % 3 ? CARD_FLAG_ADD : 0));
            matmul_of(formats[f], shapes[s], flags, s % 4 == 3 ? 50 : 0);
        }
    }
}

static void random_shapes(void **state)
{
    (void)state;
    for (int i = 0; i < 120; i++) {
        const struct shape shape = {1 + draw(&both, 20), 1 + draw(&both, 150), 1 + draw(&both, 600)};
        matmul_of(formats[draw(&both, N_FORMATS)], shape, (uint16_t)draw(&both, 4), draw(&both, 2) ? 0 : 100);
    }
}

/* More panels of activations than stay on chip: they are loaded again for each run of tiles. */
static void columns_past_the_panels_on_chip(void **state)
{
    (void)state;
    matmul_of(CARD_FORMAT_INT4, (struct shape){2, 129, 32768 + 2048 + 33}, 0, 0);
    matmul_of(CARD_FORMAT_Q6_K, (struct shape){1, 33, 32768 + 2048 + 257}, CARD_FLAG_ADD, 0);
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
            const uint32_t header = block > 2000 ? 320 : block == 576 || block == 1088 ? 64 : 128;
            const uint64_t bytes = card_matrix_bytes(formats[f], shape.rows, shape.cols);
            for (uint64_t at = 0; at < bytes; at++) {
                const int is8 = formats[f] == CARD_FORMAT_INT8 || formats[f] == CARD_FORMAT_INT8_MIN;
                const uint8_t least = is8 ? 0x80 : 0x00, most = is8 ? 0x7f : 0xff;
                if (at % block >= header) image_at(&both, d.weight)[at] = fill ? most : least;
            }
            d.dst = take(&both, 4ull * shape.tokens * shape.rows, 4);
            program[1] = d;
            run_and_compare("largest products", program, 2, (uint64_t)shape.tokens * shape.rows);
        }
    }
}

static void expert_matmul_of(unsigned format, struct shape shape, uint32_t experts, uint32_t n_choices, int per_choice)
{
    struct card_descriptor program[2];
    card_addr src, slot[40];
    uint32_t choice[2 * 512];
    const uint32_t choices = shape.tokens * n_choices;
    const unsigned n = add_activations(program, format, per_choice ? choices : shape.tokens, shape.cols, 0, &src);
    for (uint32_t e = 0; e < experts; e++) slot[e] = take_matrix(&both, format, shape.rows, shape.cols);
    for (uint32_t i = 0; i < choices; i++) choice[2 * i] = draw(&both, experts);
    struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .src = src};
    d.flags = per_choice ? CARD_FLAG_PER_CHOICE : 0;
    d.tokens = shape.tokens;
    d.rows = shape.rows;
    d.cols = shape.cols;
    d.weight = take_words(&both, slot, 8ull * experts, 8);
    d.aux = take_words(&both, choice, 8ull * choices, 4);
    d.dst = take(&both, 4ull * choices * shape.rows, 4);
    d.param[0] = n_choices;
    d.param[1] = experts;
    program[n] = d;
    run_and_compare("EXPERT_MATMUL", program, n + 1, (uint64_t)choices * shape.rows);
}

static void experts_of_every_format(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (int per_choice = 0; per_choice < 2; per_choice++) {
            expert_matmul_of(formats[f], (struct shape){1, 17, 65}, 5, 2, per_choice);
            expert_matmul_of(formats[f], (struct shape){33, 20, 64}, 1, 1, per_choice);
            expert_matmul_of(formats[f], (struct shape){33, 33, 96}, 6, 3, per_choice); /* more than one window */
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
        cmocka_unit_test(every_format_and_border),         cmocka_unit_test(random_shapes),
        cmocka_unit_test(columns_past_the_panels_on_chip), cmocka_unit_test(largest_products),
        cmocka_unit_test(experts_of_every_format),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
