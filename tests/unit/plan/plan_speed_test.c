/* SPDX-License-Identifier: Apache-2.0 */
/* Speeds: the same on every machine, to the picosecond; a sampled prompt against the whole one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/card.h"
#include "host/plan/plan_make.h"
#include "tests/unit/plan/plan_for_test.h"

static struct plan_request request_for(const struct test_model *model)
{
    return (struct plan_request){.architecture = &model->architecture,
                                 .card = "u55c",
                                 .cards = 1,
                                 .batch = 1,
                                 .kv_format = CARD_FORMAT_F16,
                                 .eur_per_kwh = -1,
                                 .no_changes = true};
}

static struct plan_decode decoded(const struct plan_request *request, uint32_t batch)
{
    struct plan_setting setting;
    struct plan_decode decode = {.batch = batch};
    struct error err = {0};
    if (plan_setting_open(request, &setting, &err) < 0) fail_msg("%s", err.text);
    if (plan_setting_decode(&setting, &decode, &err) < 0) fail_msg("%s", err.text);
    assert_true(decode.fits);
    plan_setting_close(&setting);
    return decode;
}

/*
 * Picoseconds of a step. A change of these figures is a change of the clock, of a profile or of the programs; if that is
 * meant, the new ones are what this prints.
 */
static void test_exact_steps(void **state)
{
    (void)state;
    static void (*const init[])(struct test_model *) = {test_model_dense, test_model_experts};
    static const struct {
        unsigned model;
        uint32_t batch;
        uint64_t step_ps;
    } expected[] = {{0, 1, 12535314059}, {0, 8, 88318847485}, {1, 1, 7243125385}, {1, 8, 46971579989}};
    unsigned n_other = 0;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct test_model model;
        init[expected[i].model](&model);
        struct plan_request request = request_for(&model);
        struct plan_decode decode = decoded(&request, expected[i].batch);
        if (decode.step_ps == expected[i].step_ps) continue;
        n_other++;
        print_error("%s, batch %u: %llu ps a step, not %llu\n", model.architecture.name, expected[i].batch,
                    (unsigned long long)decode.step_ps, (unsigned long long)expected[i].step_ps);
    }
    assert_int_equal(n_other, 0);
}

static void test_twice_the_same(void **state)
{
    (void)state;
    struct test_model model;
    test_model_experts(&model);
    struct plan_request request = request_for(&model);
    struct plan *first = calloc(1, sizeof *first), *second = calloc(1, sizeof *second);
    struct error err = {0};
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal(plan_make(&request, first, &err), 0);
    assert_int_equal(plan_make(&request, second, &err), 0);
    assert_memory_equal(&first->memory, &second->memory, sizeof first->memory);
    assert_memory_equal(first->decode, second->decode, sizeof first->decode);
    assert_memory_equal(first->prefill, second->prefill, sizeof first->prefill);
    assert_true(first->decode[1].tokens_per_s > first->decode[0].tokens_per_s);
    assert_true(first->prefill[1].first_token_ps > 32 * first->prefill[0].first_token_ps);
    assert_true(first->prefill[1].sampled && !first->prefill[0].sampled);
    free(first);
    free(second);
}

static void prefill_both_ways(const struct architecture *architecture, const char *card, uint32_t cards)
{
    struct plan_request request = {
        .architecture = architecture, .card = card, .batch = 1, .kv_format = CARD_FORMAT_F16, .eur_per_kwh = -1};
    struct plan_setting setting;
    struct memory_layout layout;
    struct error err = {0};
    request.cards = cards;
    struct plan_prefill sampled = {.prompt = 32768}, whole = {.prompt = 32768};
    if (plan_setting_open(&request, &setting, &err) < 0) fail_msg("%s", err.text);
    if (plan_setting_layout(&setting, 1, 32769, &layout, &err) < 0) fail_msg("%s", err.text);
    assert_true(layout.memory.fits);
    assert_int_equal(plan_speed_prefill(&setting.speed, &layout, false, &sampled, &err), 0);
    assert_int_equal(plan_speed_prefill(&setting.speed, &layout, true, &whole, &err), 0);
    assert_true(sampled.sampled && !whole.sampled);
    double error = (double)sampled.first_token_ps / (double)whole.first_token_ps - 1;
    print_message("%s on %u cards: first token %.4f %% off, energy %.4f %% off\n", architecture->name, cards,
                  100 * error, 100 * (sampled.j_per_token / whole.j_per_token - 1));
    assert_true(error > -0.01 && error < 0.01);
    assert_near(sampled.j_per_token / whole.j_per_token, 1, 0.01);
    memory_plan_close(&layout);
    plan_setting_close(&setting);
}

static void test_sampled_prompt(void **state)
{
    (void)state;
    struct test_model model;
    test_model_dense(&model);
    prefill_both_ways(&model.architecture, "u55c", 1);
    for (uint32_t i = 0; i < 32; i++)
        if (i % 4 != 3) model.layers[i].attention.chunk = 8192;
    prefill_both_ways(&model.architecture, "u55c", 3);
    test_model_experts(&model);
    prefill_both_ways(&model.architecture, "u55c", 2);
}

/* Windows, chunks, chosen positions, compressed entries, states; and experts that come over the link. */
static void test_sampled_prompt_of_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *card;
        uint32_t cards;
    } of[] = {{"Gemma-3-27B", "v80", 1},        {"Llama-4-Scout", "u200", 1},     {"DeepSeek-V3.2", "u200", 7},
              {"DeepSeek-V4-Flash", "u200", 3}, {"Qwen3.5-397B-A17B", "u200", 4}, {"gpt-oss-120b", "u55c", 1}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        struct architecture *architecture;
        struct error err = {0};
        if (architecture_by_name(of[i].name, &architecture, &err) < 0) fail_msg("%s", err.text);
        prefill_both_ways(architecture, of[i].card, of[i].cards);
        architecture_close(architecture);
    }
}

static void test_more_is_not_slower(void **state)
{
    (void)state;
    struct test_model model;
    test_model_dense(&model);
    struct plan_request request = request_for(&model), other;
    struct plan_decode base = decoded(&request, 1);
    other = request;
    other.kv_format = CARD_FORMAT_INT8;
    assert_true(decoded(&other, 1).tokens_per_s >= base.tokens_per_s);
    other = request;
    other.weight_format = CARD_FORMAT_INT8;
    assert_true(decoded(&other, 1).tokens_per_s < base.tokens_per_s);
    other = request;
    other.depth = 4000;
    assert_true(decoded(&other, 1).tokens_per_s < base.tokens_per_s);
    double before = 0;
    for (uint32_t batch = 1; batch <= 16; batch *= 2) {
        double now = decoded(&request, batch).tokens_per_s;
        assert_true(now >= 0.9 * before); /* activations that outgrow the chip cost memory traffic */
        before = now;
    }
    other = request;
    other.cards = 2; /* eight sequences in two groups, each card at work on one */
    assert_true(decoded(&other, 8).tokens_per_s > decoded(&request, 8).tokens_per_s);
    assert_true(decoded(&other, 1).tokens_per_s < 1.05 * base.tokens_per_s);
}

static void test_streaming_costs_the_link(void **state)
{
    (void)state;
    struct test_model model;
    test_model_experts(&model);
    struct plan_request request = request_for(&model), other;
    const double resident = decoded(&request, 1).tokens_per_s;
    request.card = "u50"; /* 8 GB */
    request.experts = PLAN_EXPERTS_HOST;
    struct plan_decode host = decoded(&request, 1);
    assert_true(host.streamed_bytes > 0);
    assert_true(host.tokens_per_s < resident);
    other = request;
    other.experts = PLAN_EXPERTS_NVME;
    assert_true(decoded(&other, 1).tokens_per_s <= host.tokens_per_s);
}

static void test_cards_that_hold_it(void **state)
{
    (void)state;
    struct test_model model;
    test_model_dense(&model);
    struct plan_request request = request_for(&model);
    struct plan *plan = calloc(1, sizeof *plan);
    struct error err = {0};
    request.weight_format = CARD_FORMAT_INT8;
    request.card = "kv260";
    assert_non_null(plan);
    assert_int_equal(plan_make(&request, plan, &err), 0);
    assert_false(plan->memory.fits);
    char name[32];
    unsigned cards;
    assert_int_equal(sscanf(plan->smallest, "The smallest set that holds it: %u x %31[a-z0-9]", &cards, name), 2);
    request.card = name;
    request.cards = cards;
    assert_int_equal(plan_make(&request, plan, &err), 0);
    assert_true(plan->memory.fits);
    request.cards--;
    if (request.cards > 0) assert_int_equal(plan_make(&request, plan, &err), 0);
    if (request.cards > 0) assert_false(plan->memory.fits);
    free(plan);
}

static void test_bad_requests(void **state)
{
    (void)state;
    struct test_model model;
    test_model_dense(&model);
    struct plan *plan = calloc(1, sizeof *plan);
    struct plan_request bad[6];
    static const char *const words[] = {"0 cards", "a batch of 0", "context of 200000", "--depth 4096", "u99", "gen9"};
    static const int codes[] = {ERROR_BAD_ARGUMENT, ERROR_BAD_ARGUMENT, ERROR_BAD_ARGUMENT,
                                ERROR_BAD_ARGUMENT, ERROR_NOT_FOUND,    ERROR_NOT_FOUND};
    assert_non_null(plan);
    for (int i = 0; i < 6; i++) bad[i] = request_for(&model);
    bad[0].cards = 0;
    bad[1].batch = 0;
    bad[2].context = 200000;
    bad[3].depth = 4096;
    bad[4].card = "u99";
    bad[5].host = "gen9";
    for (int i = 0; i < 6; i++) {
        struct error err = {0};
        assert_int_equal(plan_make(&bad[i], plan, &err), codes[i]);
        if (!strstr(err.text, words[i])) fail_msg("%s: %s", words[i], err.text);
    }
    free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_steps),        cmocka_unit_test(test_twice_the_same),
        cmocka_unit_test(test_sampled_prompt),     cmocka_unit_test(test_sampled_prompt_of_names),
        cmocka_unit_test(test_more_is_not_slower), cmocka_unit_test(test_streaming_costs_the_link),
        cmocka_unit_test(test_cards_that_hold_it), cmocka_unit_test(test_bad_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
