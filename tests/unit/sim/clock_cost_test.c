/* SPDX-License-Identifier: Apache-2.0 */
/* The matmul array's cycles against those that Verilator measured on the RTL (kernels/rtl/README.md). */
#include "clock_for_test.h"

#include "sim/cost.h"

/* A run of the RTL: one pipeline, one token; rows of 16 in tiles, cols in blocks of 64. */
static uint64_t cycles(uint32_t rows, uint32_t cols)
{
    struct card_profile card;
    round_card(&card);
    return sim_cost_tiles(&card.engine, CARD_FORMAT_INT4, cols, rows / CARD_TILE_ROWS, 1) + card.engine.matmul.end;
}

static void cycles_are_those_of_the_rtl(void **state)
{
    (void)state;
    /* Multiples of four tiles: exact. */
    assert_int_equal(cycles(256, 4096), 9359);
    assert_int_equal(cycles(64, 4096), 1 + 64 + 8 + 36 * 64 + 70);
    /* One tile alone: 2,156 measured; the model is above, by less than part_round_slack_cycles of cycles.json. */
    assert_true(cycles(16, 4096) >= 2156 && cycles(16, 4096) <= 2156 + 36);
    for (unsigned tiles = 1; tiles < 4; tiles++) assert_int_equal(cycles(16 * tiles, 4096), cycles(16, 4096));
}

/* Other formats stream their own words, 64 bytes a cycle, once sums are not what is waited for. */
static void other_formats_differ_by_their_words(void **state)
{
    (void)state;
    struct card_profile card;
    round_card(&card);
    static const unsigned formats[] = {CARD_FORMAT_INT4, CARD_FORMAT_INT4_MIN, CARD_FORMAT_INT8, CARD_FORMAT_INT8_MIN,
                                       CARD_FORMAT_Q4_K, CARD_FORMAT_Q5_K,     CARD_FORMAT_Q6_K, CARD_FORMAT_MXFP4};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const uint64_t words = 4 * card_tile_bytes(formats[i], 1024) / CARD_WORD_BYTES, load = 1 + 16 + 2;
        assert_int_equal(sim_cost_tiles(&card.engine, formats[i], 1024, 4, 1), load + words);
        assert_int_equal(sim_cost_tiles(&card.engine, formats[i], 1024, 8, 1), load + 2 * words);
        assert_int_equal(sim_cost_tiles(&card.engine, formats[i], 1024, 4, 3), 1 + 3 * (16 + 2) + 3 * words);
        card.engine.tokens_per_word = 2;
        assert_int_equal(sim_cost_tiles(&card.engine, formats[i], 1024, 4, 3), 1 + 3 * (16 + 2) + 2 * words);
        card.engine.tokens_per_word = 1;
    }
}

/* What a shape costs does not fall when the shape grows. */
static void more_costs_no_less(void **state)
{
    (void)state;
    struct card_profile card;
    round_card(&card);
    for (unsigned format = CARD_FORMAT_INT4; format < CARD_FORMAT_END; format++) {
        for (uint32_t cols = 64; cols <= 4096; cols += 192) {
            for (uint64_t tiles = 1; tiles < 20; tiles++) {
                const uint64_t cost = sim_cost_tiles(&card.engine, format, cols, tiles, 5);
                assert_true(sim_cost_tiles(&card.engine, format, cols, tiles + 1, 5) >= cost);
                assert_true(sim_cost_tiles(&card.engine, format, cols + 64, tiles, 5) >= cost);
                assert_true(sim_cost_tiles(&card.engine, format, cols, tiles, 6) > cost);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cycles_are_those_of_the_rtl),
        cmocka_unit_test(other_formats_differ_by_their_words),
        cmocka_unit_test(more_costs_no_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
