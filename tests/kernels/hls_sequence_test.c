/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INDEX, SCAN and CONV, which work along a sequence: HLS C against the simulator, bit for bit. Lists shorter and longer
 * than what is visible, ties and NaN among scores, heads past one pass (64), states that begin, go on and change within
 * a step, widths and dimensions with odd tails, infinities, NaN and numbers at the border of the subnormals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/page_data.h"

#define PICK(from) (from)[draw(&both, sizeof(from) / sizeof *(from))]

static struct both both;

static const uint32_t dims[] = {1, 2, 8, 15, 16, 17, 31, 32, 33, 64, 65, 80, 96, 127, 128};

/* Floats with exponents in [low, high]. */
static void put_exponents(card_addr at, uint64_t n, uint32_t low, uint32_t high)
{
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *to = image_at(&both, at) + 4 * i;
        store_u32(to, (load_u32(to) & 0x807fffffu) | (low + draw(&both, high - low + 1)) << 23);
    }
}

/* ---- INDEX ---- */

static void index_of(struct card_descriptor d[2], unsigned format, uint32_t tokens, uint32_t heads, uint32_t cols,
                     uint32_t listed, uint32_t special)
{
    struct card_batch_token token[MAX_TOKENS];
    memset(d, 0, 2 * sizeof *d);
    d[0] = (struct card_descriptor){.opcode = CARD_OP_INDEX, .format = (uint8_t)format, .tokens = tokens};
    d[0].flags = CARD_FLAG_EXTENDED;
    d[0].rows = heads;
    d[0].cols = cols;
    d[0].src = take_floats(&both, (uint64_t)tokens * heads * cols, special);
    d[0].weight = take_pool(&both, format, 1, cols, 0, special * 10);
    make_tokens(&both, token, tokens);
    d[0].aux = take_batch(&both, token, tokens);
    d[0].dst = take(&both, 4ull * tokens * listed, 4);
    d[0].param[0] = PAGES;
    d[0].param[1] = bits_of_float(0.125f);
    d[0].param[3] = listed;
    d[1].opcode = CARD_OP_EXTENSION;
    d[1].src = take_floats(&both, (uint64_t)tokens * heads, special);
}

static void compare_index(const struct card_descriptor d[2])
{
    char name[120];
    snprintf(name, sizeof name, "INDEX format %u tokens %u heads %u cols %u listed %u", d->format, d->tokens, d->rows,
             d->cols, d->param[3]);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, d, 2), 0);
    assert_same_memory(&both, name, d->dst, (uint64_t)d->tokens * d->param[3]);
    assert_same_when_dealt(&both, name, d, 2, 4ull * d->tokens * d->param[3]);
}

static void index_lists(void **state)
{
    (void)state;
    static const uint32_t lists[] = {1, 2, 3, 7, 16, 31, 32, 33, 64, 100, 159, 160, 161, 200};
    struct card_descriptor d[2];
    for (uint32_t i = 0; i < 160; i++) {
        const uint32_t tokens = i % 3 == 0 ? 1 : 1 + draw(&both, 33);
        index_of(d, page_formats[i % N_PAGE_FORMATS], tokens, 1 + draw(&both, 9), PICK(dims), PICK(lists),
                 draw(&both, 3) ? 0 : 40);
        compare_index(d);
    }
    index_of(d, CARD_FORMAT_F16, 2, 64, 128, 20, 0);
    compare_index(d);
    index_of(d, CARD_FORMAT_INT8, 2, 65, 33, 20, 0);
    compare_index(d);
    index_of(d, CARD_FORMAT_INT4, 3, 130, 16, 7, 0);
    compare_index(d);
    index_of(d, CARD_FORMAT_F32, 1, 1, 1024, 7, 0);
    compare_index(d);
}

/* Few different scores: ties go to the lower position. NaN of keys and weights comes last. */
static void index_ties(void **state)
{
    (void)state;
    struct card_descriptor d[2];
    for (uint32_t i = 0; i < 60; i++) {
        const uint32_t cols = 4, listed = 1 + draw(&both, 60);
        index_of(d, CARD_FORMAT_F32, 4, 2, cols, listed, 0);
        for (uint64_t k = 0; k < PAGES * CARD_PAGE_TOKENS * cols; k++) {
            const uint32_t bits = i % 3 == 1 && draw(&both, 20) == 0  ? 0xffc12345u
                                  : i % 3 == 2 && draw(&both, 9) == 0 ? 0x7f800000u
                                                                      : 0;
            store_u32(image_at(&both, d->weight) + 4 * k, bits ? bits : bits_of_float((float)draw(&both, 2)));
        }
        for (uint64_t k = 0; k < 4 * 2 * cols; k++) store_u32(image_at(&both, d->src) + 4 * k, bits_of_float(8.0f));
        for (uint64_t k = 0; k < 4 * 2; k++) {
            store_u32(image_at(&both, d[1].src) + 4 * k, bits_of_float(draw(&both, 3) ? 1.0f : -1.0f));
        }
        compare_index(d);
    }
}

static void index_at_the_border_of_subnormals(void **state)
{
    (void)state;
    struct card_descriptor d[2];
    for (uint32_t i = 0; i < 40; i++) {
        index_of(d, page_formats[i % N_PAGE_FORMATS], 4, 2, 20, 9, 0);
        put_exponents(d->src, 4 * 2 * 20, i % 2 ? 0 : 60, i % 2 ? 12 : 68);
        if (d->format == CARD_FORMAT_F32) put_exponents(d->weight, PAGES * CARD_PAGE_TOKENS * 20ull, 60, 68);
        put_exponents(d[1].src, 8, 0, 130);
        compare_index(d);
    }
}

/* ---- SCAN and CONV ---- */

/*
 * Runs of a few tokens of one state each; some begin their sequence. Each state occurs once, so that its tokens are
 * neighbours. The number of tokens, at most `most`.
 */
static uint32_t make_runs(struct card_batch_token *token, uint32_t most)
{
    uint32_t n = 0;
    const uint32_t turn = draw(&both, STATES);
    for (uint32_t s = 0; s < STATES && n < most; s++) {
        const uint32_t length = draw(&both, 3) ? 1 + draw(&both, 9) : 1;
        const uint32_t from = draw(&both, 2) ? 0 : 1 + draw(&both, 1000);
        for (uint32_t i = 0; i < length && n < most; i++, n++) {
            token[n] = (struct card_batch_token){from + i, 0xffffffffu, 0xffffffffu, (s + turn) % STATES};
        }
        if (draw(&both, 4) == 0) break;
    }
    return n;
}

static void compare_states(const char *what, const struct card_descriptor d[2], uint64_t n)
{
    char name[160];
    snprintf(name, sizeof name, "%s tokens %u rows %u cols %u P1 %u P2 %u flags %u %u", what, d->tokens, d->rows,
             d->cols, d->param[1], d->param[2], d->flags, d[1].flags);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, d, 2), 0);
    assert_same_memory(&both, name, d->dst, n);
}

static void scan_of(struct card_descriptor d[2], uint32_t most, uint32_t key_heads, uint32_t group, uint32_t keys,
                    uint32_t values, uint32_t special)
{
    struct card_batch_token token[MAX_TOKENS];
    const uint32_t tokens = make_runs(token, most), heads = key_heads * group;
    memset(d, 0, 2 * sizeof *d);
    d[0] = (struct card_descriptor){.opcode = CARD_OP_SCAN, .flags = CARD_FLAG_EXTENDED, .tokens = tokens};
    d[0].flags =
        (uint16_t)(d[0].flags | (draw(&both, 2) ? CARD_FLAG_EACH : 0) | (draw(&both, 2) ? CARD_FLAG_INTERLEAVED : 0));
    d[0].rows = heads;
    d[0].cols = keys;
    d[0].src = take_floats(&both, (uint64_t)tokens * key_heads * keys, special);
    d[0].weight = take_floats(&both, (uint64_t)tokens * key_heads * keys, special);
    d[0].aux = take_words(&both, token, sizeof *token * tokens, 4);
    d[0].dst = take(&both, 4ull * tokens * heads * values, 4);
    d[0].param[0] = STATES;
    d[0].param[1] = values;
    d[0].param[2] = key_heads;
    d[1].opcode = CARD_OP_EXTENSION;
    d[1].dst = take_floats(&both, (uint64_t)STATES * heads * keys * values, special * 10);
    d[1].src = take_floats(&both, (uint64_t)tokens * heads * values, special);
    d[1].weight = take_floats(&both, (uint64_t)tokens * heads * (d->flags & CARD_FLAG_EACH ? keys : 1), special);
    d[1].aux = take_floats(&both, (uint64_t)tokens * heads, special);
}

/* Decays below 0 and keys that are short, as models have them, so that states stay of ordinary size. */
static void make_tame(const struct card_descriptor d[2])
{
    const uint64_t keys = (uint64_t)d->tokens * d->param[2] * d->cols;
    const uint64_t decays = (uint64_t)d->tokens * d->rows * (d->flags & CARD_FLAG_EACH ? d->cols : 1);
    put_exponents(d->weight, keys, 118, 124);
    for (uint64_t i = 0; i < decays; i++) {
        uint8_t *at = image_at(&both, d[1].weight) + 4 * i;
        store_u32(at, load_u32(at) | 0x80000000u);
    }
    put_exponents(d[1].weight, decays, 110, 127);
    put_exponents(d[1].aux, (uint64_t)d->tokens * d->rows, 120, 126);
}

static void scan(void **state)
{
    (void)state;
    struct card_descriptor d[2];
    for (uint32_t i = 0; i < 160; i++) {
        scan_of(d, 33, 1 + draw(&both, 3), 1 + draw(&both, 3), PICK(dims), PICK(dims), i % 4 == 0 ? 60 : 0);
        if (i % 4 < 3) make_tame(d);
        compare_states("SCAN", d, (uint64_t)d->tokens * d->rows * d->param[1]);
    }
    static const uint32_t longest[][2] = {{200, 257}, {1024, 5}, {3, 1024}, {129, 129}};
    for (uint32_t i = 0; i < 4; i++) {
        scan_of(d, 5, 1, 1, longest[i][0], longest[i][1], 0);
        make_tame(d);
        compare_states("SCAN", d, (uint64_t)d->tokens * d->rows * d->param[1]);
    }
}

static void scan_at_the_border_of_subnormals(void **state)
{
    (void)state;
    struct card_descriptor d[2];
    for (uint32_t i = 0; i < 40; i++) {
        scan_of(d, 10, 1, 2, 20, 40, 0);
        const uint64_t tokens = d->tokens;
        make_tame(d);
        put_exponents(d[1].dst, STATES * 2 * 20 * 40ull, 0, i % 2 ? 4 : 127);
        put_exponents(d->weight, tokens * 20, 0, 127);
        put_exponents(d->src, tokens * 20, 0, 127);
        put_exponents(d[1].src, tokens * 2 * 40, 0, i % 2 ? 4 : 127);
        compare_states("SCAN", d, tokens * 2 * 40);
    }
}

static void conv_of(struct card_descriptor d[2], uint32_t most, uint32_t cols, uint32_t width, uint32_t special)
{
    struct card_batch_token token[MAX_TOKENS];
    const uint32_t tokens = make_runs(token, most);
    memset(d, 0, 2 * sizeof *d);
    d[0] =
        (struct card_descriptor){.opcode = CARD_OP_CONV, .flags = CARD_FLAG_EXTENDED, .tokens = tokens, .cols = cols};
    d[0].src = take_floats(&both, (uint64_t)tokens * cols, special);
    d[0].weight = take_floats(&both, (uint64_t)cols * width, special);
    d[0].aux = take_words(&both, token, sizeof *token * tokens, 4);
    d[0].dst = take(&both, 4ull * tokens * cols, 4);
    d[0].param[0] = STATES;
    d[0].param[1] = width;
    d[1].opcode = CARD_OP_EXTENSION;
    d[1].flags = draw(&both, 2) ? CARD_FLAG_BIAS : 0;
    d[1].dst = take(&both, 4ull * STATES * (width - 1) * cols, 4); /* any bits: they move */
    if (d[1].flags) d[1].src = take_floats(&both, cols, special);
}

static void conv(void **state)
{
    (void)state;
    static const uint32_t channels[] = {1, 15, 16, 17, 100, 511, 512, 513, 1000, 1024, 1200};
    struct card_descriptor d[2];
    for (uint32_t i = 0; i < 200; i++) {
        conv_of(d, 33, PICK(channels), 2 + i % 7, i % 4 == 0 ? 20 : 0);
        if (i % 5 == 4) {
            put_exponents(d->src, (uint64_t)d->tokens * d->cols, 0, i % 2 ? 70 : 5);
            put_exponents(d->weight, (uint64_t)d->cols * d->param[1], 50, i % 2 ? 70 : 128);
        }
        compare_states("CONV", d, (uint64_t)d->tokens * d->cols);
    }
}

/* A step of many tokens gives what steps of one token give: on the engine alone, results and states. */
static void steps_of_one_token(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 12; i++) {
        struct card_descriptor d[2], one[2 * MAX_TOKENS];
        struct error err = {0};
        if (i % 2)
            conv_of(d, 20, 70, 4, 0);
        else
            scan_of(d, 20, 1, 2, 24, 40, 0);
        if (i % 2 == 0) make_tame(d);
        const uint64_t rows = i % 2 ? 1 : 2, states = i % 2 ? STATES * 3 * 70 * 4 : STATES * 2 * 24 * 40 * 4;
        const uint64_t dst = (uint64_t)d->tokens * (i % 2 ? 70 : 80) * 4, src = i % 2 ? 70 : 24;
        for (uint32_t t = 0; t < d->tokens; t++) {
            memcpy(one + 2 * t, d, sizeof d);
            one[2 * t].tokens = 1;
            one[2 * t].dst += dst / d->tokens * t;
            one[2 * t].src += 4 * src * t;
            one[2 * t].aux += 16ull * t;
            if (i % 2) continue;
            one[2 * t].weight += 4 * src * t;
            one[2 * t + 1].src += 4 * rows * 40 * t;
            one[2 * t + 1].weight += 4 * rows * (d->flags & CARD_FLAG_EACH ? 24 : 1) * t;
            one[2 * t + 1].aux += 4 * rows * t;
        }
        uint8_t *result[4];
        both_upload(&both);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(card_write(both.hls, both.arena, both.image, ARENA_BYTES, NULL, 0, NULL, &err), 0);
            if (card_submit(both.hls, k ? one : d, k ? 2 * d->tokens : 2, NULL, 0, NULL, &err))
                fail_msg("%s", err.text);
            result[k] = malloc(dst);
            result[2 + k] = malloc(states);
            assert_true(result[k] && result[2 + k]);
            assert_int_equal(card_read(both.hls, result[k], d->dst, dst, NULL, 0, NULL, &err), 0);
            assert_int_equal(card_read(both.hls, result[2 + k], d[1].dst, states, NULL, 0, NULL, &err), 0);
        }
        assert_memory_equal(result[0], result[1], dst);
        assert_memory_equal(result[2], result[3], states);
        for (int k = 0; k < 4; k++) free(result[k]);
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
        cmocka_unit_test(index_lists),
        cmocka_unit_test(index_ties),
        cmocka_unit_test(index_at_the_border_of_subnormals),
        cmocka_unit_test(scan),
        cmocka_unit_test(scan_at_the_border_of_subnormals),
        cmocka_unit_test(conv),
        cmocka_unit_test(steps_of_one_token),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
