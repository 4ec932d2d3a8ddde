/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Panels of packed activations give the bits of rows: every weight format, one panel and several, the last one short, with
 * one thread and with several. tile_generic, which quantized_test.c holds against the contract, says what is right. And what
 * the cells hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/float_mode.h"
#include "sim/act_panel.h"
#include "tests/unit/card/pack_for_test.h"

enum { MOST_ROWS = 130, MOST_GROUPS = 16, MOST_BYTES = MOST_GROUPS * 640 };

struct panel_case {
    unsigned format;
    uint32_t n, blocks, groups;
    uint8_t tile[MOST_BYTES];
    int8_t value[MOST_ROWS * MOST_GROUPS * CARD_GROUP_COLS]; /* [n][groups][32], and so on */
    float scale[MOST_ROWS * MOST_GROUPS];
    int32_t sum[MOST_ROWS * MOST_GROUPS];
    struct act_cell cell[MOST_ROWS * MOST_GROUPS];
    float want[MOST_ROWS][CARD_TILE_ROWS], got[MOST_ROWS][CARD_TILE_ROWS];
};

static uint64_t seed_of_run(void)
{
    const char *given = getenv("SLUICE_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 0) : 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

/* Scales of blocks are finite: no half has all exponent bits. */
static void make_case(struct test_random *random, struct panel_case *c)
{
    const size_t bytes = card_block_bytes(c->format);
    for (size_t i = 0; i < c->blocks * bytes; i++) {
        c->tile[i] = (uint8_t)random_u32(random);
        if (i % bytes < 128) c->tile[i] &= 0x3b;
    }
    for (size_t g = 0; g < (size_t)c->n * c->groups; g++) {
        c->scale[g] = random_float(random);
        c->sum[g] = 0;
        for (unsigned i = 0; i < CARD_GROUP_COLS; i++) {
            c->value[g * CARD_GROUP_COLS + i] = (int8_t)((int)random_below(random, 255) - 127);
            c->sum[g] += c->value[g * CARD_GROUP_COLS + i];
        }
    }
}

static void run_rows(struct panel_case *c)
{
    struct act_row row[MOST_ROWS];
    for (uint32_t i = 0; i < c->n; i++) {
        const size_t g = (size_t)i * c->groups;
        row[i] = (struct act_row){c->value + g * CARD_GROUP_COLS, c->scale + g, c->sum + g};
    }
    tile_generic(c->format, c->tile, c->blocks, c->groups, row, c->n, c->want);
}

static void run_panels(struct panel_case *c, panel_kernel *kernel)
{
    for (uint32_t from = 0; from < c->n; from += PANEL_ROWS) {
        const uint32_t n = c->n - from < PANEL_ROWS ? c->n - from : PANEL_ROWS;
        kernel(c->format, c->tile, c->blocks, c->groups, act_panel_at(c->cell, from, c->groups), n, c->got + from);
    }
}

static void compare(struct pool *pool, panel_kernel *kernel, struct test_random *random, struct panel_case *c)
{
    const struct act_row first = {c->value, c->scale, c->sum};
    make_case(random, c);
    for (uint32_t i = 0; i < MOST_ROWS; i++) {
        for (unsigned r = 0; r < CARD_TILE_ROWS; r++) c->want[i][r] = c->got[i][r] = random_float(random);
    }
    act_panel_pack(pool, c->format, &first, c->n, c->groups, c->cell);
    const uint64_t mode = float_mode_enter();
    run_rows(c);
    run_panels(c, kernel);
    float_mode_set(mode);
    for (uint32_t i = 0; i < MOST_ROWS; i++) { /* rows from n on have not changed */
        for (unsigned r = 0; r < CARD_TILE_ROWS; r++) {
            if (memcmp(&c->got[i][r], &c->want[i][r], sizeof(float)) == 0) continue;
            fail_msg("format %u, %u rows, %u groups: [%u][%u] is %a, not %a", c->format, c->n, c->groups, i, r,
                     (double)c->got[i][r], (double)c->want[i][r]);
        }
    }
}

static void panels_give_the_bits_of_rows(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 4, 63, 64, 65, 128, 130};
    const char *name;
    panel_kernel *kernel = panel_kernel_of(tile_kernel_find(NULL, &name));
    if (!kernel) {
        print_message("%s has no kernel for panels\n", name);
        skip();
    }
    struct test_random random = {.state = seed_of_run()};
    struct panel_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        struct pool *pool;
        struct error err;
        assert_int_equal(pool_open(threads, &pool, &err), 0);
        for (c->format = CARD_FORMAT_INT4; c->format < CARD_FORMAT_END; c->format++) {
            const uint32_t most = card_block_cols(c->format) / CARD_GROUP_COLS;
            for (unsigned i = 0; i < 3 * sizeof counts / sizeof *counts; i++) {
                c->n = counts[i / 3];
                c->blocks = 1 + random_below(&random, MOST_GROUPS / most);
                c->groups = (c->blocks - 1) * most + 2 * (1 + random_below(&random, most / 2));
                compare(pool, kernel, &random, c);
            }
        }
        pool_close(pool);
    }
    free(c);
}

static void a_cell_has_what_takes_the_offset_back(void **state)
{
    (void)state;
    int8_t value[CARD_GROUP_COLS];
    for (int i = 0; i < 32; i++) value[i] = (int8_t)(i < 16 ? 3 : -127);
    const float scale = 0.5f;
    const int32_t sum = 16 * 3 - 16 * 127;
    const struct act_row row = {value, &scale, &sum};
    struct act_cell cell;
    struct pool *pool;
    struct error err;
    assert_int_equal(pool_open(1, &pool, &err), 0);
    act_panel_pack(pool, CARD_FORMAT_INT4, &row, 1, 1, &cell);
    assert_int_equal(cell.start[0], -8 * sum);
    assert_true(cell.sum == (float)sum && cell.scale == scale);
    assert_memory_equal(cell.value, value, sizeof value);
    act_panel_pack(pool, CARD_FORMAT_Q6_K, &row, 1, 1, &cell);
    assert_int_equal(cell.start[0], -32 * 16 * 3);
    assert_int_equal(cell.start[1], 32 * 16 * 127);
    pool_close(pool);
}

static void sizes_that_overflow_saturate(void **state)
{
    (void)state;
    assert_int_equal(act_panel_bytes(3, 5), 15 * sizeof(struct act_cell));
    assert_true(act_panel_bytes(UINT32_MAX, UINT32_MAX) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels_give_the_bits_of_rows),
        cmocka_unit_test(a_cell_has_what_takes_the_offset_back),
        cmocka_unit_test(sizes_that_overflow_saturate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
