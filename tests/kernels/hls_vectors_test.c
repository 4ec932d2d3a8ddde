/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NORM, QUANTIZE, ROPE, ROUTER, GLU, EXPERT_SUM and GATHER: HLS C against the simulator, bit for bit. Shapes at the
 * borders of lanes (16), groups (32, 64), chunks (4096) and heads, operands at every multiple of 4, and data with
 * infinities, NaN, subnormals and zeros of both signs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/both_cards.h"

static const uint32_t lengths[] = {1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 100, 127, 128, 129, 257, 1000};
static const uint32_t long_lengths[] = {4095, 4096, 4097, 8192, 8229};
static const uint32_t token_counts[] = {1, 2, 3, 7, 8, 9, 33};
#define PICK(both, from) (from)[draw(both, sizeof(from) / sizeof *(from))]
#define ROUNDS 60

static struct both both;

static uint32_t pick_length(void) { return draw(&both, 8) == 0 ? PICK(&both, long_lengths) : PICK(&both, lengths); }

/* Long vectors with few tokens, so that the arena holds them. */
static uint32_t pick_tokens(uint32_t cols) { return cols > 2000 ? 1 + draw(&both, 3) : PICK(&both, token_counts); }

static uint32_t pick_special(void) { return draw(&both, 2) ? 0 : 40; }

/* Runs one descriptor whose result is n floats at dst. */
static void compare(const char *what, const struct card_descriptor *d, uint64_t n_floats)
{
    char name[120];
    snprintf(name, sizeof name, "%s tokens %u rows %u cols %u flags %u", what, d->tokens, d->rows, d->cols, d->flags);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, d, 1), 0);
    assert_same_memory(&both, name, d->dst, n_floats);
}

static void norm(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(), tokens = pick_tokens(cols), rows = 1 + draw(&both, 3);
        const uint64_t n = (uint64_t)tokens * rows * cols;
        struct card_descriptor d = {.opcode = CARD_OP_NORM, .tokens = tokens, .rows = rows, .cols = cols};
        d.src = take_floats(&both, n, pick_special());
        d.weight = take_floats(&both, cols, pick_special());
        d.dst = draw(&both, 2) ? d.src : take(&both, 4 * n, 4);
        d.param[0] = draw(&both, 4) ? bits_of_float(1e-6f) : 0;
        compare("NORM", &d, n);
    }
}

/* Values whose scale is at the border of the normal numbers: 127 times 2^-126, give or take some ulp. */
static void put_border_values(card_addr at, uint64_t n)
{
    const uint32_t border = bits_of_float(127.0f * 0x1p-126f);
    for (uint64_t k = 0; k < n; k++) store_u32(image_at(&both, at) + 4 * k, k % 32 ? 0 : border - 2 + draw(&both, 5));
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
        const uint32_t cols = pick_length(), tokens = pick_tokens(cols);
        struct card_descriptor d = {.opcode = CARD_OP_QUANTIZE, .tokens = tokens, .cols = cols};
        d.src = take_floats(&both, (uint64_t)tokens * cols, pick_special());
        if (i % 4 == 1) put_small_values(d.src, (uint64_t)tokens * cols);
        if (i % 4 == 2) put_border_values(d.src, (uint64_t)tokens * cols);
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
        uint32_t table[2 * 33];
        for (uint32_t t = 0; t < tokens; t++) {
            table[2 * t] = draw(&both, 4) ? draw(&both, 4096) : CARD_MAX_POSITIONS - 1 - draw(&both, 3);
            table[2 * t + 1] = draw(&both, 1000); /* ROPE reads no page */
        }
        d.flags = draw(&both, 2) ? CARD_FLAG_INTERLEAVED : 0;
        d.dst = take_floats(&both, n, pick_special());
        d.weight = take_floats(&both, turns / 2, 0);
        d.aux = take_words(&both, table, 8ull * tokens, 4);
        d.param[0] = turns;
        d.param[1] = bits_of_float(draw(&both, 2) ? 1.0f : 1.2f);
        compare("ROPE", &d, n);
    }
}

/* Many equal logits: ties go to the lower index. */
static void make_ties(card_addr at, uint64_t n)
{
    for (uint64_t i = 1; i < n; i++) {
        uint8_t *to = image_at(&both, at) + 4 * i;
        if (draw(&both, 3) == 0) memcpy(to, to - 4, 4);
    }
}

static void router(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(), tokens = pick_tokens(cols);
        const uint32_t most = cols < 256 ? cols : 256, rows = 1 + draw(&both, draw(&both, 4) ? most / 8 + 1 : most);
        struct card_descriptor d = {.opcode = CARD_OP_ROUTER, .tokens = tokens, .rows = rows < most ? rows : most};
        d.cols = cols;
        d.flags = draw(&both, 2) ? CARD_FLAG_RENORMALIZE : 0;
        d.src = take_floats(&both, (uint64_t)tokens * cols, i % 4 ? pick_special() : 3); /* many NaN and infinities */
        if (draw(&both, 2)) make_ties(d.src, (uint64_t)tokens * cols);
        d.dst = take(&both, 8ull * tokens * d.rows, 4);
        d.param[0] = bits_of_float(draw(&both, 2) ? 1.0f : 2.5f);
        compare("ROUTER", &d, 2ull * tokens * d.rows);
    }
}

static void glu(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(), tokens = pick_tokens(cols);
        const uint64_t n = (uint64_t)tokens * cols;
        struct card_descriptor d = {.opcode = CARD_OP_GLU, .tokens = tokens, .cols = cols};
        d.src = take_floats(&both, n, pick_special());
        d.weight = take_floats(&both, n, pick_special());
        d.dst = draw(&both, 2) ? d.src : take(&both, 4 * n, 4);
        compare("GLU", &d, n);
    }
}

static void expert_sum(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(), tokens = pick_tokens(cols), n_choices = 1 + draw(&both, 5);
        struct card_descriptor d = {.opcode = CARD_OP_EXPERT_SUM, .tokens = tokens, .cols = cols};
        d.dst = take_floats(&both, (uint64_t)tokens * cols, pick_special());
        d.src = take_floats(&both, (uint64_t)tokens * n_choices * cols, pick_special());
        d.aux = take_floats(&both, 2ull * tokens * n_choices, pick_special()); /* any bits name an expert here */
        d.param[0] = n_choices;
        compare("EXPERT_SUM", &d, (uint64_t)tokens * cols);
    }
}

static void gather(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(), tokens = pick_tokens(cols), rows = 1 + draw(&both, cols > 2000 ? 5 : 40);
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
        cmocka_unit_test(norm), cmocka_unit_test(quantize),   cmocka_unit_test(rope),   cmocka_unit_test(router),
        cmocka_unit_test(glu),  cmocka_unit_test(expert_sum), cmocka_unit_test(gather),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
