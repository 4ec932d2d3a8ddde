/* SPDX-License-Identifier: Apache-2.0 */
/* Dividing layers over cards: against every division there is, and the cases in which there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/division.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_LAYERS 9u
#define MOST_CARDS 4u

struct problem {
    uint32_t n_layers;
    unsigned n_cards;
    struct division_layer layers[MOST_LAYERS];
    struct division_card cards[MOST_CARDS];
};

/* Seconds of the busiest card, INFINITY if the division is none. */
static double busiest(const struct problem *p, const uint32_t *ends)
{
    double most = 0;
    for (unsigned c = 0; c < p->n_cards; c++) {
        const uint32_t first = c > 0 ? ends[c - 1] : 0;
        uint64_t bytes = p->cards[c].fixed_bytes;
        if (first >= ends[c] || (first > 0 && !p->layers[first].may_begin)) return INFINITY;
        for (uint32_t i = first; i < ends[c]; i++) bytes += p->layers[i].bytes;
        if (bytes > p->cards[c].bytes) return INFINITY;
        most = fmax(most, division_seconds(p->layers, first, ends[c], &p->cards[c]));
    }
    return ends[p->n_cards - 1] == p->n_layers ? most : INFINITY;
}

/* The least of it, by trying everything from card c on. */
static double try_all(const struct problem *p, uint32_t *ends, unsigned c)
{
    double least = INFINITY;
    if (c + 1 == p->n_cards) {
        ends[c] = p->n_layers;
        return busiest(p, ends);
    }
    for (ends[c] = 1; ends[c] < p->n_layers;) {
        least = fmin(least, try_all(p, ends, c + 1));
        ends[c]++;
    }
    return least;
}

/* Below n; splitmix64. */
static uint64_t draw(uint64_t *state, uint64_t n)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

static void make_problem(uint64_t seed, struct problem *p)
{
    uint64_t state = seed * 1000003;
    *p = (struct problem){.n_layers = (uint32_t)(1 + draw(&state, MOST_LAYERS)),
                          .n_cards = (unsigned)(1 + draw(&state, MOST_CARDS))};
    for (uint32_t i = 0; i < p->n_layers; i++) {
        struct division_layer *layer = &p->layers[i];
        layer->bytes = 1 + draw(&state, 100);
        layer->read_bytes = draw(&state, 100);
        if (draw(&state, 4) == 0) layer->copied_bytes = draw(&state, 50);
        layer->may_begin = draw(&state, 5) != 0;
    }
    for (unsigned c = 0; c < p->n_cards; c++) {
        struct division_card *card = &p->cards[c];
        card->bytes = 50 + draw(&state, 500);
        card->fixed_bytes = draw(&state, 30);
        card->read_bytes_per_s = (double)(1 + draw(&state, 4));
        card->copied_bytes_per_s = (double)(1 + draw(&state, 4));
    }
}

static void test_no_division_is_better(void **state)
{
    (void)state;
    const char *asked = getenv("SLUICE_SEED");
    const uint64_t first = asked ? strtoull(asked, NULL, 10) : 1;
    unsigned n_fit = 0;
    print_message("seed %llu (SLUICE_SEED)\n", (unsigned long long)first);
    for (uint64_t seed = first; seed < first + 3000; seed++) {
        struct problem p;
        uint32_t ends[MOST_CARDS], found[MOST_CARDS];
        struct error err = {0};
        bool fits;
        make_problem(seed, &p);
        const double least = try_all(&p, ends, 0);
        assert_int_equal(division_find(p.layers, p.n_layers, p.cards, p.n_cards, found, &fits, &err), 0);
        if (fits != !isinf(least)) fail_msg("seed %llu: fits %d", (unsigned long long)seed, fits);
        if (!fits) continue;
        n_fit++;
        if (busiest(&p, found) > least * (1 + 1e-12))
            fail_msg("seed %llu: %g, not %g", (unsigned long long)seed, busiest(&p, found), least);
    }
    assert_in_range(n_fit, 500, 2999); /* both kinds were seen */
}

static void find(const struct problem *p, uint32_t *ends, bool *fits)
{
    struct error err = {0};
    if (division_find(p->layers, p->n_layers, p->cards, p->n_cards, ends, fits, &err) < 0) fail_msg("%s", err.text);
}

static struct problem even(uint32_t n_layers, unsigned n_cards)
{
    struct problem p = {.n_layers = n_layers, .n_cards = n_cards};
    for (uint32_t i = 0; i < n_layers; i++)
        p.layers[i] = (struct division_layer){.bytes = 10, .read_bytes = 10, .may_begin = true};
    for (unsigned c = 0; c < n_cards; c++)
        p.cards[c] = (struct division_card){.bytes = 1000, .read_bytes_per_s = 1, .copied_bytes_per_s = 1};
    return p;
}

static void test_like_layers_on_like_cards_are_shared_evenly(void **state)
{
    (void)state;
    uint32_t ends[MOST_CARDS];
    bool fits;
    struct problem p = even(8, 4);
    find(&p, ends, &fits);
    assert_true(fits);
    for (unsigned c = 0; c < 4; c++) assert_int_equal(ends[c], 2 * (c + 1));
    p = even(9, 4); /* one card has three; the others two each, not one of them one */
    find(&p, ends, &fits);
    for (unsigned c = 0; c < 4; c++) assert_in_range(ends[c] - (c > 0 ? ends[c - 1] : 0), 2, 3);
}

static void test_a_faster_card_has_more(void **state)
{
    (void)state;
    uint32_t ends[MOST_CARDS];
    bool fits;
    struct problem p = even(8, 2);
    p.cards[1].read_bytes_per_s = 3;
    find(&p, ends, &fits);
    assert_int_equal(ends[0], 2);
    p.cards[1].bytes = 50; /* but no more than it holds */
    find(&p, ends, &fits);
    assert_true(fits);
    assert_int_equal(ends[0], 3);
}

/* The last layer has the output matrix: its card has fewer layers. */
static void test_a_heavy_end_takes_its_card(void **state)
{
    (void)state;
    uint32_t ends[MOST_CARDS];
    bool fits;
    struct problem p = even(8, 2);
    p.layers[7].read_bytes = p.layers[7].bytes = 50;
    find(&p, ends, &fits);
    assert_int_equal(ends[0], 6);
}

static void test_what_cannot_be_divided(void **state)
{
    (void)state;
    uint32_t ends[MOST_CARDS];
    bool fits;
    struct problem p = even(3, 4); /* more cards than layers */
    find(&p, ends, &fits);
    assert_false(fits);
    p = even(8, 2); /* too little memory in all */
    p.cards[0].bytes = p.cards[1].bytes = 39;
    find(&p, ends, &fits);
    assert_false(fits);
    p.cards[0].bytes = p.cards[1].bytes = 40; /* to the byte */
    find(&p, ends, &fits);
    assert_true(fits);
    assert_int_equal(ends[0], 4);
    p.cards[0].fixed_bytes = 1;
    find(&p, ends, &fits);
    assert_false(fits);
    p = even(8, 2); /* enough in all, but one layer larger than any card */
    p.layers[3].bytes = 1001;
    find(&p, ends, &fits);
    assert_false(fits);
    p = even(4, 2); /* nowhere to cut */
    for (uint32_t i = 0; i < 4; i++) p.layers[i].may_begin = false;
    find(&p, ends, &fits);
    assert_false(fits);
    p = even(4, 2); /* sizes whose sum would overflow */
    p.layers[0].bytes = p.layers[1].bytes = p.layers[2].bytes = UINT64_MAX / 2 + 1;
    p.cards[0].bytes = p.cards[1].bytes = UINT64_MAX;
    find(&p, ends, &fits);
    assert_false(fits);
    p = even(4, 1);
    find(&p, ends, &fits);
    assert_true(fits);
    assert_int_equal(ends[0], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_division_is_better),
        cmocka_unit_test(test_like_layers_on_like_cards_are_shared_evenly),
        cmocka_unit_test(test_a_faster_card_has_more),
        cmocka_unit_test(test_a_heavy_end_takes_its_card),
        cmocka_unit_test(test_what_cannot_be_divided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
