/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/experts/following.h"
#include "host/experts/guess_judge.h"

#include <math.h>
#include <stdlib.h>

#define EXPERTS 6u

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Estimates against the formula over plainly kept events. */
static void test_guesses_are_the_formulas(void **state)
{
    (void)state;
    struct following *table;
    assert_int_equal(following_open(3, EXPERTS, FOLLOWING_NEXT_LAYER, &table, NULL), 0);
    double pairs[EXPERTS][EXPERTS] = {{0}}, uses[EXPERTS] = {0}, after[EXPERTS] = {0}, tokens = 0;
    uint32_t seed = 3;
    for (int i = 0; i < 300; i++) {
        uint16_t from[2] = {(uint16_t)(next(&seed) % 3), (uint16_t)(3 + next(&seed) % 3)};
        uint16_t to[2] = {(uint16_t)((from[0] + next(&seed) % 2) % 3), (uint16_t)(3 + next(&seed) % 3)};
        uint16_t guesses[EXPERTS];
        float chances[EXPERTS];
        uint32_t n = following_guess(table, 1, from, 2, 0.0f, EXPERTS, guesses, chances);
        double expected[EXPERTS];
        for (uint32_t e = 0; e < EXPERTS && tokens > 0; e++) {
            expected[e] = 0;
            for (int f = 0; f < 2; f++)
                expected[e] += (pairs[from[f]][e] + 4 * after[e] / tokens) / (uses[from[f]] + 4) / 2;
        }
        if (tokens == 0) assert_int_equal(n, 0);
        for (uint32_t g = 0; g < n; g++) {
            assert_true(fabs(expected[guesses[g]] - (double)chances[g]) < 1e-5);
            assert_true(g == 0 || chances[g] <= chances[g - 1]);
        }
        /* all that can follow are guessed, and a threshold keeps those above it */
        uint32_t n_possible = 0, n_likely = 0;
        for (uint32_t e = 0; e < EXPERTS && tokens > 0; e++)
            n_possible += expected[e] > 0, n_likely += expected[e] > 0.4;
        assert_int_equal(n, n_possible);
        assert_in_range(following_guess(table, 1, from, 2, 0.4f, EXPERTS, guesses, chances), n_likely, n_likely);
        assert_true(following_guess(table, 1, from, 2, 0.0f, 1, guesses, chances) <= 1);
        assert_int_equal(following_guess(table, 0, from, 2, 0.0f, EXPERTS, guesses, chances), 0); /* not taught */
        following_learn(table, 1, from, 2, to, 2);
        following_learn(table, 2, from, 2, to, 2); /* nothing follows the last layer: ignored */
        for (int f = 0; f < 2; f++) {
            uses[from[f]]++;
            after[to[f]]++;
            for (int t = 0; t < 2; t++) pairs[from[f]][to[t]]++;
        }
        tokens++;
    }
    following_close(table);
}

/* 16-bit counts do not wrap: after many events the same is guessed. */
static void test_counts_do_not_overflow(void **state)
{
    (void)state;
    struct following *table;
    assert_int_equal(following_open(1, EXPERTS, FOLLOWING_NEXT_TOKEN, &table, NULL), 0);
    const uint16_t from[1] = {2}, to[1] = {4};
    uint16_t guess;
    float chance;
    for (int i = 0; i < 200000; i++) following_learn(table, 0, from, 1, to, 1);
    assert_int_equal(following_guess(table, 0, from, 1, 0.9f, 1, &guess, &chance), 1);
    assert_int_equal(guess, 4);
    following_close(table);
    assert_int_equal(following_open(UINT32_MAX, UINT32_MAX, FOLLOWING_NEXT_TOKEN, &table, NULL), ERROR_NO_MEMORY);
}

static void test_judge_switches_off_and_on(void **state)
{
    (void)state;
    struct guess_judge *judge;
    assert_int_equal(guess_judge_open(2, 1000, 1.5, &judge, NULL), ERROR_BAD_ARGUMENT);
    assert_int_equal(guess_judge_open(2, 1000, NAN, &judge, NULL), ERROR_BAD_ARGUMENT);
    assert_int_equal(guess_judge_open(2, 1000, 0.5, &judge, NULL), 0);
    assert_true(guess_judge_allows(judge, 0) && guess_judge_allows(judge, 1) && !guess_judge_allows(judge, 2));
    uint32_t n = 0;
    for (; guess_judge_allows(judge, 0) && n < 1000; n++)
        guess_judge_note(judge, 0, 1, 3); /* loses one net guess a step */
    assert_in_range(n, 8, 12);
    assert_true(guess_judge_allows(judge, 1)); /* layers are apart */
    struct guess_counts counts = guess_judge_counts(judge, 0);
    assert_int_equal(counts.wasted, 3 * n);
    assert_int_equal(counts.wasted_bytes, 3000 * n);
    for (int i = 0; i < 5; i++) guess_judge_note(judge, 0, 1, 3); /* while off, nothing is sent or wasted */
    assert_int_equal(guess_judge_counts(judge, 0).wasted, 3 * n);
    assert_int_equal(guess_judge_counts(judge, 0).wrong, 3 * (n + 5));
    for (int i = 0; i < 100; i++) guess_judge_note(judge, 0, 3, 1);
    assert_true(guess_judge_allows(judge, 0));
    assert_int_equal(guess_judge_counts(judge, 0).switched, 2);
    guess_judge_note(judge, 1, 10, 0);
    assert_int_equal(guess_judge_counts(judge, 2).right, guess_judge_counts(judge, 0).right + 10);
    for (int i = 0; i < 100000; i++) guess_judge_note(judge, 1, 1, 1); /* just break even: stays */
    assert_true(guess_judge_allows(judge, 1));
    guess_judge_close(judge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guesses_are_the_formulas),
        cmocka_unit_test(test_counts_do_not_overflow),
        cmocka_unit_test(test_judge_switches_off_and_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
