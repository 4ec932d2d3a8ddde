/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NORM, QUANTIZE, ROPE and GATHER: HLS C against the simulator, bit for bit. Shapes at the borders of lanes (16), groups
 * (32, 64), chunks (4096) and heads, operands at every multiple of 4, and data with infinities, NaN, subnormals and
 * zeros of both signs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/both_cards.h"
#include "tests/kernels/shapes.h"

static const uint32_t token_counts[] = {1, 2, 3, 7, 8, 9, 33};
#define ROUNDS 60

static struct both both;

/* Runs one descriptor whose result is n floats at dst. */
static void compare(const char *what, const struct card_descriptor *d, uint64_t n_floats)
{
    char name[120];
    snprintf(name, sizeof name, "%s tokens %u rows %u cols %u flags %u", what, d->tokens, d->rows, d->cols, d->flags);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, d, 1), 0);
    assert_same_memory(&both, name, d->dst, n_floats);
}

static void norm_of(unsigned flags)
{
    const uint32_t cols = pick_length(&both), tokens = pick_tokens(&both, cols), rows = 1 + draw(&both, 3);
    const uint64_t n = (uint64_t)tokens * rows * cols, weights = (uint64_t)(flags & CARD_FLAG_EACH ? rows : 1) * cols;
    struct card_descriptor d = {.opcode = CARD_OP_NORM, .tokens = tokens, .rows = rows, .cols = cols};
    d.flags = (uint16_t)flags;
    d.src = take_floats(&both, n, pick_special(&both));
    if (!(flags & CARD_FLAG_UNWEIGHTED)) d.weight = take_floats(&both, weights, pick_special(&both));
    if (flags & CARD_FLAG_BIAS) d.aux = take_floats(&both, weights, pick_special(&both));
    d.dst = draw(&both, 2) ? d.src : take(&both, 4 * n, 4);
    d.param[0] = draw(&both, 4) ? bits_of_float(1e-6f) : 0;
    compare("NORM", &d, n);
}

/* Every combination of what NORM knows. */
static void norm(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 96; i++) {
        norm_of((i & 1 ? CARD_FLAG_LAYER : 0u) | (i & 2 ? CARD_FLAG_SUM : 0u) | (i & 4 ? CARD_FLAG_BIAS : 0u) |
                (i & 8 ? CARD_FLAG_EACH : 0u) | (i & 16 ? CARD_FLAG_UNWEIGHTED : 0u));
    }
}

/* Values whose scale is at the border where groups become zeros: 127 times 2^-64, give or take some ulp. */
static void put_border_values(card_addr at, uint64_t n)
{
    const uint32_t border = bits_of_float(127.0f * 0x1p-64f);
    for (uint64_t k = 0; k < n; k++) store_u32(image_at(&both, at) + 4 * k, k % 32 ? 0 : border - 2 + draw(&both, 5));
}

/* The same around the least normal number, all of a group: subnormals count as zeros. */
static void put_tiny_values(card_addr at, uint64_t n)
{
    for (uint64_t k = 0; k < n; k++) {
        store_u32(image_at(&both, at) + 4 * k, draw(&both, 2) << 31 | (0x00800000u - 2 + draw(&both, 4)));
    }
}

/* Any small values: whole groups of subnormals and zeros among them. */
static void put_small_values(card_addr at, uint64_t n)
{
    for (uint64_t k = 0; k < n; k++) {
        uint8_t *to = image_at(&both, at) + 4 * k;
        store_u32(to, (load_u32(to) & 0x807fffffu) | draw(&both, 10) << 23);
    }
}

static void quantize(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(&both), tokens = pick_tokens(&both, cols);
        struct card_descriptor d = {.opcode = CARD_OP_QUANTIZE, .tokens = tokens, .cols = cols};
        d.src = take_floats(&both, (uint64_t)tokens * cols, pick_special(&both));
        if (i % 4 == 1) put_small_values(d.src, (uint64_t)tokens * cols);
        if (i % 4 == 2) put_border_values(d.src, (uint64_t)tokens * cols);
        if (i % 12 == 3) put_tiny_values(d.src, (uint64_t)tokens * cols);
        d.dst = take(&both, card_act_bytes(tokens, cols), 4);
        compare("QUANTIZE", &d, 0); /* even its NaN is one pattern */
    }
}

static void rope(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = 2 + draw(&both, i % 10 == 0 ? 1023 : 130), tokens = PICK(&both, token_counts);
        const uint32_t rows = cols > 500 ? 1 : 1 + draw(&both, 4), turns = 2 * (1 + draw(&both, cols / 2));
        const uint64_t n = (uint64_t)tokens * rows * cols;
        struct card_descriptor d = {.opcode = CARD_OP_ROPE, .tokens = tokens, .rows = rows, .cols = cols};
        struct card_batch_token table[33];
        for (uint32_t t = 0; t < tokens; t++) { /* ROPE reads nothing but positions */
            table[t].position = draw(&both, 4) ? draw(&both, 4096) : CARD_MAX_POSITIONS - 1 - draw(&both, 3);
            table[t].first_page = table[t].visible = table[t].state = draw(&both, UINT32_MAX);
        }
        d.flags = draw(&both, 2) ? CARD_FLAG_INTERLEAVED : 0;
        d.dst = take_floats(&both, n, pick_special(&both));
        d.weight = take_floats(&both, turns / 2, 0);
        d.aux = take_words(&both, table, sizeof *table * tokens, 4);
        d.param[0] = turns;
        d.param[1] = bits_of_float(draw(&both, 2) ? 1.0f : 1.2f);
        d.param[2] = draw(&both, 2) ? draw(&both, cols - turns + 1) : 0;
        compare("ROPE", &d, n);
    }
}

static void gather(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(&both), tokens = pick_tokens(&both, cols),
                       rows = 1 + draw(&both, cols > 2000 ? 5 : 40);
        uint32_t index[33];
        for (uint32_t t = 0; t < tokens; t++) index[t] = draw(&both, rows);
        struct card_descriptor d = {.opcode = CARD_OP_GATHER, .tokens = tokens, .rows = rows, .cols = cols};
        d.src = take(&both, 4ull * rows * cols, 4);
        d.aux = take_words(&both, index, 4ull * tokens, 4);
        d.dst = take(&both, 4ull * tokens * cols, 4);
        compare("GATHER", &d, 0);
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
        cmocka_unit_test(norm),
        cmocka_unit_test(quantize),
        cmocka_unit_test(rope),
        cmocka_unit_test(gather),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
