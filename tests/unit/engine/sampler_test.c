/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/philox.h"
#include "host/engine/sampler.h"
#include "kernels/abi/card_math.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Known answers of Philox4x32-10 from Random123's kat_vectors (Salmon et al.). */
static void test_philox_vectors(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], result[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint32_t counter[4];
        memcpy(counter, vectors[i].counter, sizeof counter);
        philox4x32(counter, vectors[i].key);
        assert_memory_equal(counter, vectors[i].result, sizeof counter);
    }
    assert_int_equal(random_bits(0, 0, 0, 0), 0x6627e8d5);
    /* seed is the key, low word first; position, choice, draw and 0 are the counter */
    uint32_t counter[4] = {7, 5, 3, 0};
    philox4x32(counter, (const uint32_t[]){0x89abcdef, 0x01234567});
    assert_int_equal(random_bits(0x0123456789abcdefull, 5, 7, 3), counter[0]);
}

static struct sampler *open_sampler(uint32_t n_vocab)
{
    struct sampler *sampler;
    struct error err = {0};
    assert_int_equal(sampler_open(n_vocab, &sampler, &err), 0);
    return sampler;
}

/* Long rows go through blocks of lanes: the same as looking at one after the other, ties and NaN too. */
static void test_greedy_long(void **state)
{
    (void)state;
    enum { LONGEST = 1500 };
    const struct sampling greedy = {.top_p = 1};
    float logits[LONGEST];
    for (uint32_t n = 1; n <= LONGEST; n += 1 + n / 9) {
        struct sampler *sampler = open_sampler(n);
        for (uint32_t kind = 0; kind < 4; kind++) {
            for (uint32_t i = 0; i < n; i++) {
                const uint32_t r = random_bits(n, kind, i, 0);
                logits[i] = kind > 1 && r % 3 == 0 ? NAN : (float)(r >> 8) * (kind % 2 ? 0x1p-24f : 0x1p-20f);
                if (kind == 0) logits[i] = (float)(r % 4); /* many ties */
                if (kind == 3) logits[i] = -logits[i];
            }
            uint32_t best = 0;
            for (uint32_t i = 1; i < n; i++) {
                if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i]))) best = i;
            }
            assert_int_equal(sampler_pick(sampler, &greedy, 0, logits), best);
        }
        sampler_close(sampler);
    }
}

static void test_greedy(void **state)
{
    (void)state;
    struct sampler *sampler = open_sampler(5);
    const struct sampling greedy = {.top_p = 1};
    const struct sampling cold = {.temperature = 1e-38f, .top_p = 1}, icy = {.temperature = 1e-20f, .top_p = 1};
    assert_int_equal(sampler_pick(sampler, &greedy, 0, (float[]){1, 3, 2, 3, 0}), 1); /* ties: the lower index */
    assert_int_equal(sampler_pick(sampler, &cold, 0, (float[]){1, 3, 2, 4, 0}), 3);
    assert_int_equal(sampler_pick(sampler, &icy, 9, (float[]){1, 3, 2, 4, 0}), 3);
    assert_int_equal(sampler_pick(sampler, &greedy, 0, (float[]){NAN, -INFINITY, NAN, -5, NAN}), 3);
    assert_int_equal(sampler_pick(sampler, &greedy, 0, (float[]){NAN, -INFINITY, NAN, NAN, NAN}), 1);
    assert_int_equal(sampler_pick(sampler, &greedy, 0, (float[]){NAN, NAN, NAN, NAN, NAN}), 0);
    const struct sampling warm[] = {{.temperature = 1, .top_p = 1},
                                    {.temperature = 1, .top_p = 0.5f, .min_p = 0.1f},
                                    {.temperature = 1, .top_p = 1, .top_k = 3}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(sampler_pick(sampler, &warm[i], 0, (float[]){NAN, NAN, NAN, NAN, NAN}), 0);
        assert_int_equal(sampler_pick(sampler, &warm[i], 0, (float[]){NAN, NAN, 1, NAN, -INFINITY}), 2);
        assert_int_equal(sampler_pick(sampler, &warm[i], 0, (float[]){0, INFINITY, 1, NAN, 0}), 1);
    }
    sampler_close(sampler);
}

/* Which tokens come out in many draws. */
static void drawn(const struct sampling *sampling, const float *logits, uint32_t n, uint32_t n_draws, uint32_t *counts)
{
    struct sampler *sampler = open_sampler(n);
    memset(counts, 0, n * sizeof *counts);
    for (uint32_t position = 0; position < n_draws; position++)
        counts[sampler_pick(sampler, sampling, position, logits)]++;
    sampler_close(sampler);
}

static void assert_set(const struct sampling *sampling, const float *logits, uint32_t n, uint32_t expected)
{
    uint32_t counts[16], set = 0;
    drawn(sampling, logits, n, 4000, counts);
    for (uint32_t i = 0; i < n; i++) set |= (counts[i] > 0 ? 1u : 0u) << i;
    assert_int_equal(set, expected);
}

/* Probabilities 0.4 0.1 0.1 0.2 0.05 0.15 of tokens 0 to 5. */
static void six_logits(float *logits)
{
    static const double probability[6] = {0.4, 0.1, 0.1, 0.2, 0.05, 0.15};
    for (int i = 0; i < 6; i++) logits[i] = (float)log(probability[i]) + 3;
}

static void test_limits_keep_exact_sets(void **state)
{
    (void)state;
    float logits[6];
    six_logits(logits);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1}, logits, 6, 0x3f);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1, .top_k = 1}, logits, 6, 0x01);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1, .top_k = 3}, logits, 6, 0x29);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1, .top_k = 4}, logits, 6, 0x2b); /* 1 ties with 2 */
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1, .top_k = 6}, logits, 6, 0x3f);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1, .top_k = 600}, logits, 6, 0x3f);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 0.39f}, logits, 6, 0x01);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 0.41f}, logits, 6, 0x09);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 0.76f}, logits, 6, 0x2b);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 0.96f}, logits, 6, 0x3f);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1e-6f}, logits, 6, 0x01);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1, .min_p = 0.3f}, logits, 6, 0x29);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1, .min_p = 0.2f}, logits, 6, 0x2f);
    assert_set(&(struct sampling){.temperature = 1, .top_p = 1, .min_p = 1}, logits, 6, 0x01);
    /* top_p counts within what top_k left: 0.4 of 0.75 */
    assert_set(&(struct sampling){.temperature = 1, .top_p = 0.5f, .top_k = 3}, logits, 6, 0x01);
    /* a high temperature flattens before the limits cut */
    assert_set(&(struct sampling){.temperature = 50, .top_p = 1, .min_p = 0.9f}, logits, 6, 0x3f);
}

/* Pearson's statistic against exact probabilities stays below its mean plus six standard deviations. */
static void assert_distribution(const struct sampling *sampling, const float *logits, uint32_t n, const double *weight)
{
    enum { DRAWS = 40000 };
    uint32_t counts[64];
    double total = 0, statistic = 0;
    unsigned degrees = 0;
    drawn(sampling, logits, n, DRAWS, counts);
    for (uint32_t i = 0; i < n; i++) total += weight[i];
    for (uint32_t i = 0; i < n; i++) {
        double expected = DRAWS * weight[i] / total;
        if (expected <= 0) {
            assert_int_equal(counts[i], 0);
            continue;
        }
        statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
        degrees++;
    }
    degrees--;
    if (statistic > degrees + 6 * sqrt(2.0 * degrees)) fail_msg("chi-square %g with %u degrees", statistic, degrees);
    assert_true(statistic > 0.05 * degrees); /* as random as random numbers, not more even */
}

static void test_distribution(void **state)
{
    (void)state;
    float logits[64];
    double weight[64];
    for (int i = 0; i < 64; i++) {
        logits[i] = (float)(random_bits(5, 0, (uint32_t)i, 1) >> 8) * 0x1p-22f; /* [0, 4) */
        weight[i] = exp((double)logits[i] / 1.3);
    }
    assert_distribution(&(struct sampling){.temperature = 1.3f, .top_p = 1, .seed = 42}, logits, 64, weight);
    for (int i = 0; i < 64; i++) weight[i] = exp((double)logits[i]);
    assert_distribution(&(struct sampling){.temperature = 1, .top_p = 1, .seed = 43}, logits, 64, weight);
    six_logits(logits);
    const double top_three[6] = {0.4, 0, 0, 0.2, 0, 0.15};
    assert_distribution(&(struct sampling){.temperature = 1, .top_p = 1, .top_k = 3, .seed = 1ull << 40}, logits, 6,
                        top_three);
    assert_distribution(&(struct sampling){.temperature = 1, .top_p = 0.74f, .seed = 9, .choice = 3}, logits, 6,
                        top_three);
    assert_distribution(&(struct sampling){.temperature = 1, .top_p = 1, .min_p = 0.3f, .seed = 11}, logits, 6,
                        top_three);
}

/* A limit that cuts nothing changes nothing, though another path is taken; and whichever limit cuts, the draw is the same. */
static void test_paths_agree(void **state)
{
    (void)state;
    enum { N = 1000 };
    static float logits[N];
    struct sampler *sampler = open_sampler(N);
    uint32_t distinct = 0, last = N;
    for (uint32_t i = 0; i < N; i++) logits[i] = (float)(random_bits(6, 0, i, 1) >> 8) * 0x1p-21f;
    for (uint32_t position = 0; position < 300; position++) {
        struct sampling plain = {.temperature = 0.8f, .top_p = 1, .seed = 3}, other = plain;
        uint32_t token = sampler_pick(sampler, &plain, position, logits);
        distinct += token != last;
        last = token;
        other.top_k = N;
        assert_int_equal(sampler_pick(sampler, &other, position, logits), token);
        other.top_k = 0;
        other.min_p = 1e-30f;
        assert_int_equal(sampler_pick(sampler, &other, position, logits), token);
        other.min_p = 0;
        other.top_p = 0.99999994f; /* the last of the tail at most: agrees unless that one was drawn */
        assert_int_equal(sampler_pick(sampler, &other, position, logits), token);
        struct sampling by_k = plain, by_p = plain;
        by_k.top_k = 1;
        by_p.top_p = 1e-6f;
        assert_int_equal(sampler_pick(sampler, &by_k, position, logits),
                         sampler_pick(sampler, &by_p, position, logits));
    }
    assert_true(distinct > 100);
    sampler_close(sampler);
}

/* The definition, written out: order all, cut three times, draw in order of index. */
static uint32_t plain_pick(const struct sampling *sampling, uint32_t position, const float *logits, uint32_t n)
{
    uint32_t order[256], kept = n;
    float weight[256];
    bool in[256] = {false};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = i;
        while (at > 0 && logits[order[at - 1]] < logits[i]) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    for (uint32_t i = 0; i < n; i++)
        weight[i] = card_exp((logits[i] - logits[order[0]]) * card_recip(sampling->temperature));
    if (sampling->top_k > 0 && sampling->top_k < n) kept = sampling->top_k;
    for (uint32_t i = 0; i < kept; i++) in[order[i]] = true;
    double total = 0, prefix = 0, sum = 0, reached = 0;
    for (uint32_t i = 0; i < n; i++) total += in[i] ? (double)weight[i] : 0;
    if (sampling->top_p < 1) {
        for (uint32_t i = 0; i < kept; i++) {
            in[order[i]] = i == 0 || prefix < (double)sampling->top_p * total;
            prefix += (double)weight[order[i]];
        }
    }
    for (uint32_t i = 0; i < n; i++) in[i] = in[i] && weight[i] >= sampling->min_p;
    for (uint32_t i = 0; i < n; i++) sum += in[i] ? (double)weight[i] : 0;
    double unit = (random_bits(sampling->seed, sampling->choice, position, 0) >> 8) * 0x1p-24;
    for (uint32_t i = 0; i < n; i++) {
        reached += in[i] ? (double)weight[i] : 0;
        if (in[i] && reached > unit * sum) return i;
    }
    return n;
}

static void test_against_the_definition(void **state)
{
    (void)state;
    enum { N = 200 };
    float logits[N];
    struct sampler *sampler = open_sampler(N);
    for (uint32_t round = 0; round < 3000; round++) {
        uint32_t dice = random_bits(77, 0, round, 0);
        const float top_p[4] = {1, 0.3f, 0.9f, 0.999f}, min_p[4] = {0, 0, 0.02f, 0.5f};
        const uint32_t top_k[4] = {0, 0, 7, 150};
        const struct sampling sampling = {.temperature = 0.25f * (float)(1 + (dice >> 6) % 8),
                                          .top_p = top_p[dice & 3],
                                          .min_p = min_p[dice >> 2 & 3],
                                          .top_k = top_k[dice >> 4 & 3],
                                          .seed = round};
        /* few distinct values: ties are everywhere */
        for (uint32_t i = 0; i < N; i++) logits[i] = (float)(random_bits(78, round, i, 0) % 23) * 0.5f;
        assert_int_equal(sampler_pick(sampler, &sampling, round, logits), plain_pick(&sampling, round, logits, N));
    }
    sampler_close(sampler);
}

static void test_seed_choice_and_position_decide(void **state)
{
    (void)state;
    enum { N = 64 };
    float logits[N] = {0};
    struct sampler *sampler = open_sampler(N);
    const struct sampling base = {.temperature = 1, .top_p = 1, .seed = 1};
    struct sampling seed = base, choice = base;
    seed.seed = 1 + (1ull << 32); /* the high half counts */
    choice.choice = 1;
    unsigned same_seed = 0, same_choice = 0, same_position = 0;
    for (uint32_t position = 0; position < 200; position++) {
        uint32_t token = sampler_pick(sampler, &base, position, logits);
        assert_int_equal(sampler_pick(sampler, &base, position, logits), token); /* no state */
        same_seed += sampler_pick(sampler, &seed, position, logits) == token;
        same_choice += sampler_pick(sampler, &choice, position, logits) == token;
        same_position += sampler_pick(sampler, &base, position + 1, logits) == token;
    }
    assert_in_range(same_seed, 0, 20);
    assert_in_range(same_choice, 0, 20);
    assert_in_range(same_position, 0, 20);
    sampler_close(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_vectors),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_greedy_long),
        cmocka_unit_test(test_limits_keep_exact_sets),
        cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_paths_agree),
        cmocka_unit_test(test_against_the_definition),
        cmocka_unit_test(test_seed_choice_and_position_decide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
