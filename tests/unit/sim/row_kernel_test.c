/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel for one row gives, of several tiles in one call, the bits of tile_generic tile by tile: every weight format, one
 * tile and many, with the last block's padding and without. The tiles end where their allocation ends, so that a sanitizer
 * sees what reads past them; results past the last tile stay.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/base/float_mode.h"
#include "sim/tile_kernels.h"
#include "tests/unit/card/pack_for_test.h"

enum { MOST_TILES = 9, MOST_GROUPS = 24 };

struct row_case {
    unsigned format;
    uint32_t tiles, blocks, groups;
    uint8_t *weights;
    int8_t value[MOST_GROUPS * CARD_GROUP_COLS];
    float scale[MOST_GROUPS];
    int32_t sum[MOST_GROUPS];
    float want[MOST_TILES + 1][CARD_TILE_ROWS], got[MOST_TILES + 1][CARD_TILE_ROWS];
};

static uint64_t seed_of_run(void)
{
    const char *given = getenv("SLUICE_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 0) : 20261123;
    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

/* Scales of blocks are finite: no half has all exponent bits. */
static void make_case(struct test_random *random, struct row_case *c)
{
    const size_t block_bytes = card_block_bytes(c->format), bytes = block_bytes * c->blocks * c->tiles;
    c->weights = malloc(bytes);
    assert_non_null(c->weights);
    for (size_t i = 0; i < bytes; i++) {
        c->weights[i] = (uint8_t)random_u32(random);
        if (i % block_bytes < 128) c->weights[i] &= 0x3b;
    }
    for (size_t g = 0; g < c->groups; g++) {
        c->scale[g] = random_float(random);
        c->sum[g] = 0;
        for (unsigned i = 0; i < CARD_GROUP_COLS; i++) {
            c->value[g * CARD_GROUP_COLS + i] = (int8_t)((int)random_below(random, 255) - 127);
            c->sum[g] += c->value[g * CARD_GROUP_COLS + i];
        }
    }
    for (uint32_t t = 0; t <= MOST_TILES; t++) {
        for (unsigned r = 0; r < CARD_TILE_ROWS; r++) c->want[t][r] = c->got[t][r] = random_float(random);
    }
}

static void compare(row_kernel *kernel, struct test_random *random, struct row_case *c)
{
    make_case(random, c);
    const struct act_row row = {c->value, c->scale, c->sum};
    const size_t tile_bytes = (size_t)card_block_bytes(c->format) * c->blocks;
    const uint64_t mode = float_mode_enter();
    for (uint32_t t = 0; t < c->tiles; t++)
        tile_generic(c->format, c->weights + t * tile_bytes, c->blocks, c->groups, &row, 1, c->want + t);
    kernel(c->format, c->weights, c->tiles, c->blocks, c->groups, &row, c->got);
    float_mode_set(mode);
    free(c->weights);
    for (uint32_t t = 0; t <= MOST_TILES; t++) {
        for (unsigned r = 0; r < CARD_TILE_ROWS; r++) {
            if (memcmp(&c->got[t][r], &c->want[t][r], sizeof(float)) == 0) continue;
            fail_msg("format %u, %u tiles of %u blocks, %u groups: [%u][%u] is %a, not %a", c->format, c->tiles,
                     c->blocks, c->groups, t, r, (double)c->got[t][r], (double)c->want[t][r]);
        }
    }
}

static void many_tiles_give_the_bits_of_each(void **state)
{
    (void)state;
    const char *name;
    row_kernel *kernel = row_kernel_of(tile_kernel_find(NULL, &name));
    if (!kernel) {
        print_message("%s has no kernel for one row\n", name);
        skip();
    }
    struct test_random random = {.state = seed_of_run()};
    struct row_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    for (c->format = CARD_FORMAT_INT4; c->format < CARD_FORMAT_END; c->format++) {
        const uint32_t most = card_block_cols(c->format) / CARD_GROUP_COLS;
        for (unsigned i = 0; i < 200; i++) {
            c->tiles = 1 + random_below(&random, MOST_TILES);
            c->blocks = 1 + random_below(&random, MOST_GROUPS / most);
            c->groups = (c->blocks - 1) * most + 2 * (1 + random_below(&random, most / 2));
            compare(kernel, &random, c);
        }
    }
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_tiles_give_the_bits_of_each)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
