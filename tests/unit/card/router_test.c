/* SPDX-License-Identifier: Apache-2.0 */
/* ROUTER and TOP_K of the simulated card against a plain sort and double: scoring, bias, groups, ties, NaN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/run_for_test.h"

enum { MAX_EXPERTS_HERE = 300 };

/* ---- the contract's order, by its words ---- */

struct ranked {
    uint32_t index;
    float value;
};

static int by_rank(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (isnan(a->value) != isnan(b->value)) return isnan(a->value) ? 1 : -1;
    if (a->value > b->value) return -1;
    if (a->value < b->value) return 1;
    return a->index < b->index ? -1 : 1;
}

static float without_subnormals(float x)
{
    return bits_of(x) & 0x7f800000u ? x : float_of_bits(bits_of(x) & 0x80000000u);
}

/* Indexes and values of all n, best first. */
static struct ranked *rank(const float *value, uint32_t n)
{
    struct ranked *all = malloc(n * sizeof *all);
    assert_non_null(all);
    for (uint32_t i = 0; i < n; i++) all[i] = (struct ranked){i, without_subnormals(value[i])};
    qsort(all, n, sizeof *all, by_rank);
    return all;
}

/* ---- TOP_K ---- */

static void check_top_k(struct card *card, const float *value, uint32_t tokens, uint32_t n, uint32_t k)
{
    struct card_choice *choice = malloc((size_t)tokens * k * sizeof *choice);
    struct test_run run = {.d = {.opcode = CARD_OP_TOP_K, .tokens = tokens, .rows = k, .cols = n}, .result = choice};
    run.dst = (struct host_data){NULL, (size_t)tokens * k * sizeof *choice};
    run.src = (struct host_data){value, (size_t)tokens * n * 4};
    run_on(card, &run);
    for (uint32_t t = 0; t < tokens; t++) {
        struct ranked *want = rank(value + (size_t)t * n, n);
        for (uint32_t j = 0; j < k; j++) {
            const struct card_choice *got = &choice[t * k + j];
            if (got->expert != want[j].index || bits_of(got->weight) != written_bits(want[j].value)) {
                fail_msg("TOP_K %u of %u, token %u, place %u: %u (%a), not %u (%a)", k, n, t, j, got->expert,
                         (double)got->weight, want[j].index, (double)want[j].value);
            }
        }
        free(want);
    }
    free(choice);
}

static void top_k_is_the_head_of_a_sort(void **state)
{
    struct test_random random = seeded("top_k");
    const uint32_t lengths[] = {1, 2, 15, 16, 17, 33, 100, 1000, 4099};
    static const uint32_t special[] = {0x7fc00000, 0xffc00001, 0x7f800000, 0xff800000, 0,
                                       0x80000000, 1,          0x80000001, 0x007fffff, 0x00800000};
    for (unsigned i = 0; i < 9 * 4; i++) {
        const uint32_t n = lengths[i % 9], tokens = 1 + i % 3;
        float *value = random_floats(&random, (size_t)tokens * n);
        /* All different; many ties; ties with special values; nothing but special values. */
        for (size_t k = 0; k < (size_t)tokens * n; k++) {
            if (i / 9 > 0) value[k] = (float)((int)random_below(&random, 5) - 2);
            if (i / 9 == 3 || (i / 9 == 2 && random_below(&random, 3) == 0))
                value[k] = float_of_bits(special[random_below(&random, 10)]);
        }
        const uint32_t ks[] = {1, 2, 8, 40, 255};
        for (int k = 0; k < 5; k++) {
            if (ks[k] <= n) check_top_k(*state, value, tokens, n, ks[k]);
        }
        if (n <= 255) check_top_k(*state, value, tokens, n, n);
        free(value);
    }
}

static void top_k_takes_a_whole_vocabulary(void **state)
{
    enum { N = 262144 };
    struct test_random random = seeded("top_k_vocabulary");
    float *value = random_floats(&random, N);
    check_top_k(*state, value, 1, N, 64);
    for (int i = 0; i < N; i++) value[i] = (float)i; /* the heap changes at every element */
    check_top_k(*state, value, 1, N, 64);
    free(value);
}

/* ---- ROUTER ---- */

struct router_case {
    uint32_t experts, choices, groups, groups_chosen;
    unsigned scoring, flags;
    float factor;
};

/* Scores, and the keys that choose, in double. */
static void score_plainly(const struct router_case *c, const float *logit, const float *bias, double *score,
                          double *key)
{
    double largest = -INFINITY, sum = 0;
    for (uint32_t e = 0; e < c->experts; e++) largest = fmax(largest, logit[e]);
    for (uint32_t e = 0; e < c->experts; e++) sum += exp(logit[e] - largest);
    for (uint32_t e = 0; e < c->experts; e++) {
        score[e] = c->scoring == CARD_SCORING_SIGMOID ? 1 / (1 + exp(-logit[e])) : exp(logit[e] - largest) / sum;
        key[e] = c->flags & CARD_FLAG_BIAS ? score[e] + bias[e] : logit[e];
    }
}

/* Marks the experts of groups that do not take part with a key of -infinity. */
static void drop_groups(const struct router_case *c, double *key)
{
    const uint32_t n = c->groups ? c->experts / c->groups : c->experts;
    double value[MAX_EXPERTS_HERE];
    if (c->groups <= 1) return;
    for (uint32_t g = 0; g < c->groups; g++) {
        double best = -INFINITY, second = -INFINITY;
        for (uint32_t e = g * n; e < (g + 1) * n; e++) {
            if (key[e] > best) {
                second = best;
                best = key[e];
            } else if (key[e] > second) {
                second = key[e];
            }
        }
        value[g] = c->flags & CARD_FLAG_GROUP_PAIRS ? best + second : best;
    }
    for (uint32_t g = 0; g < c->groups; g++) {
        uint32_t better = 0;
        for (uint32_t other = 0; other < c->groups; other++)
            better += value[other] > value[g] || (value[other] == value[g] && other < g);
        for (uint32_t e = g * n; better >= c->groups_chosen && e < (g + 1) * n; e++) key[e] = -INFINITY;
    }
}

static void check_route(const struct router_case *c, const float *logit, const float *bias,
                        const struct card_choice *choice)
{
    double score[MAX_EXPERTS_HERE], key[MAX_EXPERTS_HERE], total = 0;
    score_plainly(c, logit, bias, score, key);
    drop_groups(c, key);
    uint32_t want[MAX_EXPERTS_HERE];
    for (uint32_t j = 0; j < c->choices; j++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < c->experts; e++) best = key[e] > key[best] ? e : best;
        want[j] = best;
        key[best] = -INFINITY;
        total += score[best];
    }
    for (uint32_t j = 0; j < c->choices; j++) {
        const double weight = score[want[j]] / (c->flags & CARD_FLAG_RENORMALIZE ? total : 1) * (double)c->factor;
        if (choice[j].expert != want[j]) fail_msg("ROUTER place %u: expert %u, not %u", j, choice[j].expert, want[j]);
        assert_close("ROUTER weight", &choice[j].weight, &weight, 1, 2e-6);
    }
}

static void run_router(struct card *card, const struct router_case *c, uint32_t tokens, const float *logit,
                       const float *bias, struct card_choice *choice)
{
    struct test_run run = {
        .d = {.opcode = CARD_OP_ROUTER, .tokens = tokens, .rows = c->choices, .cols = c->experts},
        .dst = {NULL, (size_t)tokens * c->choices * sizeof *choice},
        .src = {logit, (size_t)tokens * c->experts * 4},
        .result = choice,
    };
    run.d.format = (uint8_t)c->scoring;
    run.d.flags = (uint16_t)c->flags;
    run.d.param[0] = bits_of(c->factor);
    run.d.param[1] = c->groups;
    run.d.param[2] = c->groups_chosen;
    if (c->flags & CARD_FLAG_BIAS) run.aux = (struct host_data){bias, c->experts * 4u};
    run_on(card, &run);
}

static void router_agrees_with_double(void **state)
{
    struct test_random random = seeded("router");
    const struct {
        uint32_t experts, choices, groups, groups_chosen;
    } shapes[] = {{1, 1, 0, 0},  {8, 2, 1, 1},    {17, 17, 0, 0}, {128, 8, 0, 0}, {256, 8, 8, 4},
                  {64, 6, 4, 1}, {288, 12, 9, 9}, {32, 8, 16, 4}, {160, 6, 8, 3}, {20, 3, 2, 1}};
    for (unsigned i = 0; i < 10 * 16; i++) {
        enum { T = 3 };
        struct router_case c = {shapes[i % 10].experts, shapes[i % 10].choices, shapes[i % 10].groups,
                                shapes[i % 10].groups_chosen, .factor = 2.5f};
        const unsigned set = i / 10;
        c.scoring = set & 1;
        if (set & 2) c.flags |= CARD_FLAG_BIAS;
        if (set & 4) c.flags |= CARD_FLAG_RENORMALIZE;
        if (set & 8) c.flags |= CARD_FLAG_GROUP_PAIRS;
        float logit[T * MAX_EXPERTS_HERE], bias[MAX_EXPERTS_HERE];
        struct card_choice choice[T * MAX_EXPERTS_HERE];
        for (size_t k = 0; k < (size_t)T * c.experts; k++) logit[k] = random_float(&random) * 6;
        fill_random(&random, bias, c.experts);
        run_router(*state, &c, T, logit, bias, choice);
        for (size_t t = 0; t < T; t++) check_route(&c, logit + t * c.experts, bias, choice + t * c.choices);
    }
}

static void ties_of_groups_and_experts_go_to_the_lower_index(void **state)
{
    /* Groups of 3: best keys 2, 5, 5, 5; pairs 4, 5, 9, 9. */
    const float logit[12] = {2, 2, 2, 5, 0, -1, 4, 5, 4, 5, 4, 5};
    struct router_case c = {12, 3, 4, 2, .factor = 1};
    struct card_choice choice[3];
    run_router(*state, &c, 1, logit, NULL, choice);
    assert_int_equal(choice[0].expert, 3); /* groups 1 and 2 */
    assert_int_equal(choice[1].expert, 7);
    assert_int_equal(choice[2].expert, 6);
    c.flags = CARD_FLAG_GROUP_PAIRS; /* groups 3 (10) and 2 (9) */
    run_router(*state, &c, 1, logit, NULL, choice);
    assert_int_equal(choice[0].expert, 7);
    assert_int_equal(choice[1].expert, 9);
    assert_int_equal(choice[2].expert, 11);
}

static void nan_and_infinite_logits_come_in_order(void **state)
{
    const float logit[6] = {-NAN, -INFINITY, 0.0f, -0.0f, 0x1p-130f, NAN};
    struct router_case c = {6, 6, 0, 0, .factor = 1, .flags = CARD_FLAG_RENORMALIZE};
    struct card_choice choice[6];
    for (unsigned scoring = 0; scoring < CARD_SCORING_END; scoring++) {
        c.scoring = scoring;
        run_router(*state, &c, 1, logit, NULL, choice);
        const uint32_t want[6] = {2, 3, 4, 1, 0, 5}; /* zeros of any kind tie */
        for (int j = 0; j < 6; j++) {
            assert_int_equal(choice[j].expert, want[j]);
            assert_int_equal(bits_of(choice[j].weight), 0x7fc00000); /* the sum has a NaN in it */
        }
    }
    /* A sigmoid knows nothing of its neighbours: only NaN logits have NaN weights. */
    c.flags = 0;
    run_router(*state, &c, 1, logit, NULL, choice);
    for (int j = 0; j < 3; j++) assert_true(choice[j].weight == 0.5f);
    assert_int_equal(bits_of(choice[3].weight), 0);
    assert_int_equal(bits_of(choice[4].weight), 0x7fc00000);
    assert_int_equal(bits_of(choice[5].weight), 0x7fc00000);
}

static int setup(void **state)
{
    *state = open_card("sim", 2);
    return 0;
}

static int teardown(void **state)
{
    card_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_k_is_the_head_of_a_sort),
        cmocka_unit_test(top_k_takes_a_whole_vocabulary),
        cmocka_unit_test(router_agrees_with_double),
        cmocka_unit_test(ties_of_groups_and_experts_go_to_the_lower_index),
        cmocka_unit_test(nan_and_infinite_logits_come_in_order),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
