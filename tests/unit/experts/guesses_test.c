/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guesses at experts: those that are mostly right are brought, those that are mostly wrong are not any more after some tries,
 * and come back when they are right again; what has a slot is not brought; the table learns what follows what.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/experts/guesses.h"

#include <stdio.h>
#include <string.h>

#define LAYERS 3u
#define EXPERTS 32u
#define USED 4u
#define BYTES 1000u

static uint32_t seed = 20261121;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static bool in_none(const void *context, uint32_t layer, uint32_t expert)
{
    (void)context;
    (void)layer;
    (void)expert;
    return false;
}

static bool in_even(const void *context, uint32_t layer, uint32_t expert)
{
    (void)context;
    (void)layer;
    return expert % 2 == 0;
}

static const struct guesses_slots empty = {in_none, NULL}, half = {in_even, NULL};

static struct guesses *open_guesses(bool router, bool table)
{
    struct guesses *guesses;
    struct error err = {0};
    const struct guesses_shape shape = {LAYERS, EXPERTS, USED, 2, BYTES, {router, table}};
    if (guesses_open(&shape, &guesses, &err) < 0) fail_msg("%s", err.text);
    return guesses;
}

/* USED different experts for each token. */
static void choose(struct card_choice *choices, uint32_t n_tokens)
{
    for (uint32_t t = 0; t < n_tokens; t++) {
        const uint32_t first = draw(EXPERTS);
        for (uint32_t i = 0; i < USED; i++) choices[t * USED + i].expert = (first + i * 7) % EXPERTS;
    }
}

/* Rounds in which each guess of rank r is right with a probability of right[r] percent; how many were brought in the last ones. */
static uint64_t play(struct guesses *guesses, uint32_t n_tokens, uint32_t rounds, const uint32_t right[USED],
                     const struct guesses_slots *slots)
{
    struct card_choice before[8 * USED] = {0}, ahead[8 * USED], after[8 * USED];
    uint16_t out[EXPERTS];
    uint64_t brought = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        choose(before, n_tokens);
        guesses_learn(guesses, 0, before, n_tokens);
        choose(after, n_tokens);
        memcpy(ahead, after, sizeof ahead);
        for (uint32_t k = 0; k < n_tokens * USED; k++)
            if (draw(100) >= right[k % USED])
                ahead[k].expert = (ahead[k].expert + 3) % EXPERTS; /* of nobody's choice */
        const uint32_t n = guesses_of_router(guesses, 1, 1, ahead, n_tokens, slots, out);
        assert_true(n <= EXPERTS);
        for (uint32_t k = 0; k < n; k++) {
            assert_false(slots->has_slot(NULL, 1, out[k]));
            for (uint32_t j = 0; j < k; j++) assert_int_not_equal(out[j], out[k]);
        }
        if (i >= rounds - rounds / 4) brought += n;
        guesses_learn(guesses, 1, after, n_tokens);
    }
    return brought;
}

static void what_is_right_is_brought(void **state)
{
    (void)state;
    static const uint32_t good[USED] = {95, 90, 85, 80}, mixed[USED] = {95, 90, 5, 5}, bad[USED] = {20, 15, 10, 5};
    struct guesses *guesses = open_guesses(true, false);
    const uint64_t most = play(guesses, 1, 400, good, &empty);
    assert_true(most >= 95 * USED);
    struct guess_counts counts = guesses_count(guesses, EXPERTS_GUESS_ROUTER, LAYERS);
    assert_int_equal(counts.sent, counts.right + counts.wrong);
    assert_int_equal(counts.wasted_bytes, counts.wasted * BYTES);
    assert_true(counts.right > 4 * counts.wrong);
    /* Only the ranks that are right. */
    const uint64_t some = play(guesses, 1, 1200, mixed, &empty);
    assert_true(some > 300 * 2 - 60 && some < 300 * 2 + 60);
    /* None, though they are still judged; and all again. */
    assert_true(play(guesses, 1, 1600, bad, &empty) < 40);
    assert_true(play(guesses, 1, 1600, good, &empty) > 400 * (USED - 1));
    guesses_close(guesses);
}

/* Two layers ahead, with a guess for the layer between still to be judged: as the ranks were right at that distance. */
static void farther_guesses_have_chances_of_their_own(void **state)
{
    (void)state;
    for (uint32_t is_right = 0; is_right < 2; is_right++) {
        struct guesses *guesses = open_guesses(true, false);
        uint16_t out[EXPERTS];
        uint32_t n = 0;
        for (uint32_t i = 0; i < 200; i++) {
            struct card_choice choices[3][USED] = {0}, ahead[USED];
            for (uint32_t layer = 0; layer < 3; layer++) choose(choices[layer], 1);
            memcpy(ahead, choices[2], sizeof ahead);
            for (uint32_t k = 0; k < USED && !is_right; k++) ahead[k].expert = (ahead[k].expert + 3) % EXPERTS;
            guesses_learn(guesses, 0, choices[0], 1);
            assert_int_equal(guesses_of_router(guesses, 2, 3, ahead, 1, &empty, out),
                             0); /* deeper than it was opened */
            n = guesses_of_router(guesses, 2, 2, ahead, 1, &empty, out);
            (void)guesses_of_router(guesses, 1, 1, choices[1], 1, &empty, out);
            guesses_learn(guesses, 1, choices[1], 1);
            guesses_learn(guesses, 2, choices[2], 1);
        }
        assert_int_equal(n, is_right ? USED : 0);
        guesses_close(guesses);
    }
}

static void what_has_a_slot_is_not(void **state)
{
    (void)state;
    static const uint32_t good[USED] = {99, 99, 99, 99};
    struct guesses *guesses = open_guesses(true, false);
    const uint64_t brought = play(guesses, 8, 100, good, &half);
    assert_true(brought > 0);
    const struct guess_counts counts = guesses_count(guesses, EXPERTS_GUESS_ROUTER, 1);
    assert_int_equal(guesses_count(guesses, EXPERTS_GUESS_ROUTER, 0).sent, 0);
    assert_true(counts.sent > 0 && counts.wrong * 10 < counts.right);
    guesses_close(guesses);
}

/* Where an expert's followers are always the same, the table finds them, and does not repeat what the router has said. */
static void the_table_learns_what_follows(void **state)
{
    (void)state;
    struct guesses *guesses = open_guesses(true, true);
    struct card_choice before[USED], after[USED];
    uint16_t out[EXPERTS], ahead[EXPERTS];
    for (uint32_t i = 0; i < 300; i++) {
        const uint32_t group = draw(8);
        for (uint32_t k = 0; k < USED; k++) before[k] = (struct card_choice){.expert = group * USED + k};
        for (uint32_t k = 0; k < USED; k++) after[k] = (struct card_choice){.expert = (group + 3) % 8 * USED + k};
        guesses_learn(guesses, 0, before, 1);
        uint32_t n_router = 0;
        if (i >= 250) n_router = guesses_of_router(guesses, 1, 1, after, 1, &empty, ahead);
        const uint32_t n = guesses_of_table(guesses, 1, &empty, out);
        if (i >= 200 && i < 250) assert_int_equal(n, USED);
        if (i >= 250) assert_int_equal(n_router + n, USED);
        for (uint32_t k = 0; k < n && i >= 200; k++) assert_int_equal(out[k] / USED, (group + 3) % 8);
        guesses_learn(guesses, 1, after, 1);
        assert_int_equal(guesses_of_table(guesses, 1, &empty, out), 0); /* layer 2 is next, not 1 */
    }
    const struct guess_counts counts = guesses_count(guesses, EXPERTS_GUESS_TABLE, LAYERS);
    assert_true(counts.right > 500);
    guesses_close(guesses);
}

/* Steps of many tokens are not guessed for, nor do they judge what was guessed for others. */
static void long_steps_are_let_alone(void **state)
{
    (void)state;
    struct guesses *guesses = open_guesses(true, true);
    struct card_choice choices[64 * USED];
    uint16_t out[EXPERTS];
    choose(choices, 64);
    guesses_learn(guesses, 0, choices, 1);
    assert_true(guesses_of_router(guesses, 1, 1, choices, 1, &empty, out) > 0);
    guesses_learn(guesses, 1, choices, 64);
    assert_int_equal(guesses_of_router(guesses, 2, 1, choices, 64, &empty, out), 0);
    assert_int_equal(guesses_of_table(guesses, 2, &empty, out), 0);
    const struct guess_counts counts = guesses_count(guesses, EXPERTS_GUESS_ROUTER, LAYERS);
    assert_int_equal(counts.right + counts.wrong, 0);
    guesses_close(guesses);
    guesses_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_right_is_brought), cmocka_unit_test(farther_guesses_have_chances_of_their_own),
        cmocka_unit_test(what_has_a_slot_is_not),   cmocka_unit_test(the_table_learns_what_follows),
        cmocka_unit_test(long_steps_are_let_alone),
    };
    printf("seed %u\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
