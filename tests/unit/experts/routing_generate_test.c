/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/experts/routing_generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static struct routing_generator *open_or_fail(const struct routing_recipe *recipe, uint64_t seed, uint32_t n_sequences)
{
    struct routing_generator *generator;
    struct error err = {0};
    if (routing_generator_open(recipe, seed, n_sequences, &generator, &err) < 0) fail_msg("%s", err.text);
    return generator;
}

static uint64_t hash_of(const struct routing_recipe *recipe, uint64_t seed, uint32_t n_sequences, uint32_t n_steps)
{
    struct routing_generator *generator = open_or_fail(recipe, seed, n_sequences);
    const struct routing_shape *shape = &recipe->shape;
    uint64_t hash = 0;
    for (uint32_t i = 0; i < n_steps; i++) {
        struct routing_step step;
        routing_generator_next(generator, &step);
        size_t n = (size_t)shape->n_layers * n_sequences * shape->n_used, m = routing_n_predicted(shape, n_sequences);
        hash = XXH3_64bits_withSeed(step.choice, n * sizeof *step.choice, hash);
        hash = XXH3_64bits_withSeed(step.predicted, m * sizeof *step.predicted, hash);
        hash = XXH3_64bits_withSeed(step.confidence, m, hash);
    }
    routing_generator_close(generator);
    return hash;
}

static void test_seed_decides(void **state)
{
    (void)state;
    for (unsigned i = 0; routing_recipe_at(i); i++) {
        const struct routing_recipe *recipe = routing_recipe_at(i);
        assert_ptr_equal(routing_recipe_find(recipe->shape.model), recipe);
        assert_true(hash_of(recipe, 1, 2, 20) == hash_of(recipe, 1, 2, 20));
        assert_true(hash_of(recipe, 1, 2, 20) != hash_of(recipe, 2, 2, 20));
        assert_true(hash_of(recipe, 1, 2, 20) != hash_of(recipe, UINT64_C(1) << 32 | 1, 2, 20));
    }
    assert_null(routing_recipe_find("no such model"));
    /* pinned: figures in the README and in benches are of these traces */
    assert_true(hash_of(routing_recipe_find("mixtral-8x7b"), 1, 1, 100) == UINT64_C(0xb6fae7a5b9b94f3f));
}

/* Each row's experts exist and differ, and so do predictions; the first layers have none. */
static void test_rows_are_possible(void **state)
{
    (void)state;
    for (unsigned i = 0; routing_recipe_at(i); i++) {
        const struct routing_shape *shape = &routing_recipe_at(i)->shape;
        struct routing_generator *generator = open_or_fail(routing_recipe_at(i), 3, 3);
        for (int s = 0; s < 10; s++) {
            struct routing_step step;
            routing_generator_next(generator, &step);
            assert_int_equal(step.n_rows, 3);
            uint32_t rows = shape->n_layers * (1 + shape->depth) * 3;
            for (uint32_t r = 0; r < rows; r++) {
                bool predicted = r >= shape->n_layers * 3;
                uint32_t p = r - shape->n_layers * 3, distance = p / 3 % shape->depth + 1;
                const uint16_t *row = predicted ? step.predicted + p * shape->n_used : step.choice + r * shape->n_used;
                bool none = predicted && p / 3 / shape->depth < distance;
                for (uint32_t a = 0; a < shape->n_used; a++) {
                    if (none) assert_int_equal(row[a], ROUTING_NO_EXPERT);
                    if (!none) assert_in_range(row[a], 0, shape->n_experts - 1);
                    for (uint32_t b = 0; b < a && !none; b++) assert_int_not_equal(row[a], row[b]);
                }
            }
        }
        routing_generator_close(generator);
    }
}

/* The stated probabilities come out, each measured alone. */
static double repeated(const struct routing_recipe *recipe, uint32_t layer, uint32_t n_steps)
{
    struct routing_generator *generator = open_or_fail(recipe, 11, 1);
    const struct routing_shape *shape = &recipe->shape;
    uint16_t before[ROUTING_MAX_USED] = {0};
    uint32_t same = 0;
    for (uint32_t i = 0; i < n_steps; i++) {
        struct routing_step step;
        routing_generator_next(generator, &step);
        const uint16_t *row = step.choice + layer * shape->n_used;
        for (uint32_t a = 0; a < shape->n_used && i > 0; a++) same += row[a] == before[a];
        memcpy(before, row, shape->n_used * sizeof *row);
    }
    routing_generator_close(generator);
    return (double)same / ((n_steps - 1) * shape->n_used);
}

static void test_repeats(void **state)
{
    (void)state;
    struct routing_recipe recipe = {{"r", .n_layers = 3, .n_experts = 4096, .n_used = 4},
                                    .repeat = 0.4,
                                    .repeat_slope = 0.5,
                                    .topic_tokens = 10,
                                    .n_topics = 1};
    const double expected[] = {0.2, 0.4, 0.6}; /* by chance 1 in 4096 more */
    for (uint32_t layer = 0; layer < 3; layer++) {
        double got = repeated(&recipe, layer, 5000);
        if (fabs(got - expected[layer]) > 0.015) fail_msg("layer %u repeats %g", layer, got);
    }
}

/* Shares of the ranks of one token's single expert, against Zipf's law computed here. */
static void test_skew(void **state)
{
    (void)state;
    struct routing_recipe recipe = {
        {"z", .n_layers = 1, .n_experts = 16, .n_used = 1}, .zipf = 1.1, .topic_tokens = 10, .n_topics = 1};
    struct routing_generator *generator = open_or_fail(&recipe, 5, 1);
    double count[16] = {0}, total = 0;
    for (int i = 0; i < 100000; i++) {
        struct routing_step step;
        routing_generator_next(generator, &step);
        count[step.choice[0]]++;
    }
    routing_generator_close(generator);
    for (int r = 0; r < 16; r++) total += pow(r + 1, -1.1);
    for (int r = 0; r < 16; r++) {
        int best = 0;
        for (int e = 1; e < 16; e++)
            if (count[e] > count[best]) best = e;
        double expected = pow(r + 1, -1.1) / total;
        if (fabs(count[best] / 1e5 - expected) > 0.006) fail_msg("rank %d: %g, not %g", r, count[best] / 1e5, expected);
        count[best] = -1;
    }
}

/* With topics alone and one expert a topic, the expert changes when the topic does. */
static void test_topics(void **state)
{
    (void)state;
    struct routing_recipe recipe = {{"t", .n_layers = 1, .n_experts = 4096, .n_used = 1},
                                    .topic_zipf = 10,
                                    .topic_share = 1,
                                    .topic_tokens = 50,
                                    .n_topics = 1000};
    struct routing_generator *generator = open_or_fail(&recipe, 5, 1);
    uint32_t changes = 0;
    uint16_t before = 0;
    for (int i = 0; i < 50000; i++) {
        struct routing_step step;
        routing_generator_next(generator, &step);
        /* rank 1 of 2^-10: a lone other expert is no change of topic */
        if (i > 0) changes += step.choice[0] != before;
        before = step.choice[0];
    }
    routing_generator_close(generator);
    assert_in_range(changes, 1000, 1200); /* 1000 topics end, about 50 visits of rank 1 count twice */
}

static void test_accuracy_and_calibration(void **state)
{
    (void)state;
    const struct routing_recipe *recipe = routing_recipe_find("qwen3-30b-a3b");
    const struct routing_shape *shape = &recipe->shape;
    struct routing_generator *generator = open_or_fail(recipe, 9, 1);
    double right[2] = {0}, all[2] = {0}, sure_right[2][4] = {{0}}, sure_sum[2][4] = {{0}}, sure_all[2][4] = {{0}};
    for (int s = 0; s < 300; s++) {
        struct routing_step step;
        routing_generator_next(generator, &step);
        for (uint32_t l = 2; l < shape->n_layers; l++)
            for (uint32_t d = 0; d < 2; d++)
                for (uint32_t i = 0; i < shape->n_used; i++) {
                    size_t at = (l * 2 + d) * shape->n_used + i;
                    bool hit = false;
                    for (uint32_t j = 0; j < shape->n_used; j++)
                        hit |= step.choice[l * shape->n_used + j] == step.predicted[at];
                    unsigned band = step.confidence[at] / 64u;
                    right[d] += hit, all[d] += 1;
                    sure_right[d][band] += hit, sure_sum[d][band] += step.confidence[at] / 255.0,
                        sure_all[d][band] += 1;
                }
    }
    routing_generator_close(generator);
    assert_true(fabs(right[0] / all[0] - 0.947) < 0.005);
    assert_true(fabs(right[1] / all[1] - 0.947 * 0.947) < 0.007);
    for (int d = 0; d < 2; d++)
        for (int b = 0; b < 4; b++)
            if (sure_all[d][b] > 2000) assert_true(fabs(sure_right[d][b] - sure_sum[d][b]) / sure_all[d][b] < 0.03);
}

static void test_a_sequence_is_its_own(void **state)
{
    (void)state;
    const struct routing_recipe *recipe = routing_recipe_find("deepseek-v3");
    const struct routing_shape *shape = &recipe->shape;
    struct routing_generator *alone = open_or_fail(recipe, 4, 1), *beside = open_or_fail(recipe, 4, 3);
    for (int s = 0; s < 20; s++) {
        struct routing_step a, b;
        routing_generator_next(alone, &a);
        routing_generator_next(beside, &b);
        for (uint32_t l = 0; l < shape->n_layers; l++)
            assert_memory_equal(a.choice + l * shape->n_used, b.choice + l * 3 * shape->n_used,
                                shape->n_used * sizeof *a.choice);
    }
    routing_generator_close(alone);
    routing_generator_close(beside);
}

static void test_refusals(void **state)
{
    (void)state;
    const struct routing_recipe good = *routing_recipe_find("mixtral-8x7b");
    const double values[] = {-1, 11, NAN};
    for (unsigned which = 0; which < 8; which++)
        for (unsigned v = 0; v < 3; v++) {
            struct routing_recipe bad = good;
            double *fields[] = {&bad.zipf,   &bad.topic_zipf,   &bad.topic_share,
                                &bad.repeat, &bad.repeat_slope, &bad.accuracy};
            if (which < 6) *fields[which] = values[v];
            if (which == 6) bad.topic_tokens = v == 1 ? 0 : values[v];
            if (which == 7) bad.n_topics = v == 0 ? 0 : 5000;
            struct routing_generator *generator;
            struct error err = {0};
            assert_int_equal(routing_generator_open(&bad, 1, 1, &generator, &err), ERROR_BAD_ARGUMENT);
            assert_null(generator);
        }
    struct routing_generator *generator;
    assert_int_equal(routing_generator_open(&good, 1, 0, &generator, NULL), ERROR_BAD_ARGUMENT);
    struct routing_recipe bad = good;
    bad.shape.n_used = 9;
    assert_int_equal(routing_generator_open(&bad, 1, 1, &generator, NULL), ERROR_BAD_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seed_decides),
        cmocka_unit_test(test_rows_are_possible),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_skew),
        cmocka_unit_test(test_topics),
        cmocka_unit_test(test_accuracy_and_calibration),
        cmocka_unit_test(test_a_sequence_is_its_own),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
