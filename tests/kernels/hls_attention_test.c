/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KV_WRITE and ATTENTION: HLS C against the simulator, bit for bit. Positions at the borders of pages, windows, groups
 * of query heads past one pass (16), head sizes with odd tails, halves at odd addresses, all keys -infinity, NaN.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/both_cards.h"

enum { PAGES = 12, MAX_TOKENS = 33, ENTRIES = 40 };

static struct both both;

static uint32_t pick_position(void)
{
    static const uint32_t borders[] = {0, 1, 15, 16, 30, 31, 32, 33, 62, 63, 64, 65, 95, 96, 127};
    return draw(&both, 3) ? borders[draw(&both, sizeof borders / sizeof *borders)] : draw(&both, 160);
}

/* Tokens of a few sequences: runs of one sequence and strangers; every page number is in the pool. */
static card_addr take_batch(uint32_t tokens)
{
    uint32_t table[2 * MAX_TOKENS + ENTRIES];
    for (uint32_t t = 0; t < tokens; t++) {
        const int follows = t > 0 && draw(&both, 4) && table[2 * t - 2] < 159;
        table[2 * t] = follows ? table[2 * t - 2] + 1 : pick_position();
        table[2 * t + 1] = follows ? table[2 * t - 1] : draw(&both, 8) * 5;
    }
    for (uint32_t p = 0; p < ENTRIES; p++) table[2 * tokens + p] = draw(&both, PAGES);
    return take_words(&both, table, 8ull * tokens + 4 * ENTRIES, 4);
}

/* A pool of random pages: F16 pages of halves below 2, one in `special` of anything. */
static card_addr take_pool(unsigned format, uint32_t kv_heads, uint32_t cols, uint32_t special)
{
    const uint64_t bytes = PAGES * card_page_bytes(format, kv_heads, cols);
    if (format == CARD_FORMAT_F32) return take_floats(&both, bytes / 4, special);
    const card_addr pool = take(&both, bytes, 4);
    for (uint64_t at = 0; at < bytes; at += 2) {
        uint8_t *half = image_at(&both, pool) + at;
        const int any = special && draw(&both, special) == 0;
        store_u16(half, (uint16_t)(any ? load_u16(half) | 0x7c00 : load_u16(half) & 0xbfff));
    }
    return pool;
}

static void kv_write_of(unsigned format, uint32_t tokens, uint32_t heads, uint32_t cols, uint32_t special)
{
    const uint64_t n = (uint64_t)tokens * heads * cols;
    struct card_descriptor d = {.opcode = CARD_OP_KV_WRITE, .format = (uint8_t)format, .tokens = tokens};
    char name[100];
    d.rows = heads;
    d.cols = cols;
    d.src = take_floats(&both, n, special);
    d.weight = take_floats(&both, n, special);
    d.aux = take_batch(tokens);
    d.dst = take_pool(format, heads, cols, 0);
    d.param[0] = PAGES;
    snprintf(name, sizeof name, "KV_WRITE format %u tokens %u heads %u cols %u", format, tokens, heads, cols);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, &d, 1), 0);
    assert_same_memory(&both, name, d.dst, 0); /* F16 has one NaN, F32 is copied */
}

static void kv_write(void **state)
{
    (void)state;
    static const uint32_t cols[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 127, 128};
    for (unsigned format = CARD_FORMAT_F32; format <= CARD_FORMAT_F16; format++) {
        for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) {
            kv_write_of(format, 1, 1, cols[c], 0);
            kv_write_of(format, 33, 1 + draw(&both, 3), cols[c], 30);
            kv_write_of(format, 1 + draw(&both, 9), 2, cols[c], 30);
        }
        kv_write_of(format, 2, 1, 1024, 30);
    }
}

static struct card_descriptor attention_of(unsigned format, uint32_t tokens, uint32_t kv_heads, uint32_t group,
                                           uint32_t cols, uint32_t window, uint32_t special)
{
    const uint64_t n = (uint64_t)tokens * kv_heads * group * cols;
    struct card_descriptor d = {.opcode = CARD_OP_ATTENTION, .format = (uint8_t)format, .tokens = tokens};
    d.rows = kv_heads * group;
    d.cols = cols;
    d.src = take_floats(&both, n, special);
    d.aux = take_batch(tokens);
    d.weight = take_pool(format, kv_heads, cols, special ? special * 10 : 0);
    d.dst = take(&both, 4 * n, 4);
    d.param[0] = PAGES;
    d.param[1] = bits_of_float(0.125f);
    d.param[2] = kv_heads;
    d.param[3] = window;
    return d;
}

static void compare_attention(const struct card_descriptor *d)
{
    char name[140];
    snprintf(name, sizeof name, "ATTENTION format %u tokens %u heads %u of %u cols %u window %u", d->format, d->tokens,
             d->rows, d->param[2], d->cols, d->param[3]);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, d, 1), 0);
    assert_same_memory(&both, name, d->dst, (uint64_t)d->tokens * d->rows * d->cols);
}

static void attention(void **state)
{
    (void)state;
    static const uint32_t cols[] = {1, 8, 15, 16, 17, 31, 32, 33, 64, 80, 128};
    static const uint32_t windows[] = {0, 1, 2, 31, 32, 33, 50, 1000, UINT32_MAX};
    for (int i = 0; i < 120; i++) {
        const uint32_t tokens = i % 3 == 0 ? 1 : i % 3 == 1 ? 33 : 1 + draw(&both, 20);
        const struct card_descriptor d =
            attention_of(i % 2 ? CARD_FORMAT_F16 : CARD_FORMAT_F32, tokens, 1 + draw(&both, 2), 1 + draw(&both, 4),
                         cols[draw(&both, 11)], windows[draw(&both, 9)], i % 4 == 3 ? 60 : 0);
        compare_attention(&d);
    }
}

static void groups_past_one_pass(void **state)
{
    (void)state;
    for (uint32_t group = 15; group <= 34; group += group == 17 ? 15 : 1) {
        const struct card_descriptor d = attention_of(CARD_FORMAT_F16, 3, 2, group, 24, 0, 0);
        compare_attention(&d);
    }
}

static void longest_head(void **state)
{
    (void)state;
    struct card_descriptor d = attention_of(CARD_FORMAT_F16, 2, 1, 2, 640, 0, 0);
    compare_attention(&d);
}

/* Every key gives -infinity: nothing is seen, and 0 times infinity says so. Then infinities that do not cancel. */
static void all_scores_minus_infinity(void **state)
{
    (void)state;
    for (uint32_t sign = 0; sign < 2; sign++) {
        const struct card_descriptor d = attention_of(CARD_FORMAT_F32, 5, 1, 2, 16, 40, 0);
        const uint64_t elements = PAGES * card_page_bytes(CARD_FORMAT_F32, 1, 16) / 4;
        for (uint64_t i = 0; i < 5 * 2 * 16; i++) store_u32(image_at(&both, d.src) + 4 * i, bits_of_float(1.0f));
        for (uint64_t i = 0; i < elements; i++) {
            store_u32(image_at(&both, d.weight) + 4 * i, sign ? 0xff800000u : 0x7f800000u);
        }
        compare_attention(&d);
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
        cmocka_unit_test(kv_write),
        cmocka_unit_test(attention),
        cmocka_unit_test(longest_head),
        cmocka_unit_test(groups_past_one_pass),
        cmocka_unit_test(all_scores_minus_infinity),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
