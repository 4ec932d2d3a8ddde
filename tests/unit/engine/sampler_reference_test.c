/* SPDX-License-Identifier: Apache-2.0 */
/* Every stage and random combinations of them, in random orders, against the Python of tests/fixtures/sampling/make.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/sampler.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_VOCAB 40u
#define MOST 64u

static float number(const json_t *object, const char *name)
{
    return (float)json_number_value(json_object_get(object, name));
}
static uint32_t whole(const json_t *object, const char *name)
{
    return (uint32_t)json_integer_value(json_object_get(object, name));
}

static void read_sampling(const json_t *from, struct sampling *s, struct logit_bias *biases)
{
    const json_t *item;
    size_t i;
    *s =
        (struct sampling){.temperature = number(from, "temperature"), .top_p = number(from, "top_p"), .biases = biases};
    s->top_k = whole(from, "top_k");
    s->min_p = number(from, "min_p");
    s->typical_p = number(from, "typical_p");
    s->top_n_sigma = number(from, "top_n_sigma");
    s->xtc_probability = number(from, "xtc_probability");
    s->xtc_threshold = number(from, "xtc_threshold");
    s->repetition_penalty = number(from, "repetition_penalty");
    s->penalty_last_n = whole(from, "penalty_last_n");
    s->presence_penalty = number(from, "presence_penalty");
    s->frequency_penalty = number(from, "frequency_penalty");
    s->dry_multiplier = number(from, "dry_multiplier");
    s->dry_base = number(from, "dry_base");
    s->dry_allowed_length = whole(from, "dry_allowed_length");
    s->dry_last_n = whole(from, "dry_last_n");
    s->mirostat_tau = number(from, "mirostat_tau");
    s->mirostat_eta = number(from, "mirostat_eta");
    s->seed = strtoull(json_string_value(json_object_get(from, "seed")), NULL, 10);
    json_array_foreach(json_object_get(from, "stages"), i, item) s->stages[i] =
        (uint8_t)sampler_stage_find(json_string_value(item));
    json_array_foreach(json_object_get(from, "biases"), i, item) biases[s->n_biases++] = (struct logit_bias){
        (uint32_t)json_integer_value(json_array_get(item, 0)), (float)json_number_value(json_array_get(item, 1))};
}

static void set_bits(const json_t *list, uint32_t bits[2])
{
    const json_t *item;
    size_t i;
    bits[0] = bits[1] = 0;
    json_array_foreach(list, i, item) bits[json_integer_value(item) / 32] |= 1u << json_integer_value(item) % 32;
}

static void check_case(struct sampler *sampler, const json_t *one, int line)
{
    struct sampling sampling;
    struct logit_bias biases[8];
    float logits[N_VOCAB];
    uint32_t tokens[MOST], allowed[2], breakers[2];
    const json_t *history = json_object_get(one, "history");
    double mu = json_number_value(json_object_get(one, "mu"));
    struct error err = {0};
    read_sampling(json_object_get(one, "sampling"), &sampling, biases);
    set_bits(json_object_get(one, "allowed"), allowed);
    set_bits(json_object_get(one, "breakers"), breakers);
    for (uint32_t i = 0; i < N_VOCAB; i++)
        logits[i] = (float)json_number_value(json_array_get(json_object_get(one, "logits"), i));
    for (uint32_t i = 0; i < json_array_size(history); i++)
        tokens[i] = (uint32_t)json_integer_value(json_array_get(history, i));
    const struct sampler_history past = {.tokens = tokens,
                                         .n_tokens = (uint32_t)json_array_size(history),
                                         .n_prompt = whole(one, "n_prompt"),
                                         .allowed = json_is_null(json_object_get(one, "allowed")) ? NULL : allowed,
                                         .breakers = breakers,
                                         .mirostat_mu = &mu};
    if (sampling_check(&sampling, &err) < 0) fail_msg("case %d: %s", line, err.text);
    uint32_t token = sampler_choose(sampler, &sampling, &past, whole(one, "position"), logits);
    if (token != whole(one, "token")) fail_msg("case %d: token %u, Python has %u", line, token, whole(one, "token"));
    const json_t *after = json_object_get(one, "mu_after");
    if (json_is_number(after) && fabs(mu - json_number_value(after)) > 1e-4)
        fail_msg("case %d: mu %g, Python has %g", line, mu, json_number_value(after));
}

static void as_the_reference(void **state)
{
    FILE *file = fopen(FIXTURES "/sampling/cases.jsonl", "r");
    char *text = NULL;
    size_t room = 0;
    int line = 0;
    struct sampler *sampler;
    struct error err = {0};
    (void)state;
    assert_non_null(file);
    assert_int_equal(sampler_open(N_VOCAB, &sampler, &err), 0);
    while (getline(&text, &room, file) > 0) {
        json_t *one = json_loads(text, 0, NULL);
        assert_non_null(one);
        check_case(sampler, one, ++line);
        json_decref(one);
    }
    assert_int_equal(line, 400);
    sampler_close(sampler);
    free(text);
    fclose(file);
}

/* What cuts nothing gives the same token by all stages as by the plain way, with any mask. */
static void stages_that_cut_nothing_change_nothing(void **state)
{
    struct sampler *sampler;
    struct error err = {0};
    const uint32_t n = 1000, seed = 7;
    float *logits = malloc(2 * n * sizeof *logits);
    uint32_t bits[32], token = 1;
    (void)state;
    assert_non_null(logits);
    assert_int_equal(sampler_open(n, &sampler, &err), 0);
    for (uint32_t round = 0; round < 300; round++) {
        for (uint32_t i = 0; i < n; i++)
            logits[i] = logits[n + i] = (float)(random_bits(seed, round, i, 0) % 4096) / 300 - 5;
        for (uint32_t i = 0; i < 32; i++) bits[i] = random_bits(seed, round, i, 1) & random_bits(seed, round, i, 2);
        struct sampling plain = {.temperature = round % 5 ? 0.8f : 0,
                                 .top_p = round % 2 ? 0.9f : 1,
                                 .top_k = round % 3 ? 0 : 40,
                                 .seed = round};
        struct sampling staged = plain;
        const uint8_t order[] = {STAGE_TEMPERATURE, STAGE_TOP_K, STAGE_TOP_P, STAGE_MIN_P};
        memcpy(staged.stages, order, sizeof order);
        plain.min_p = staged.min_p = round % 7 ? 0 : 0.05f;
        const struct sampler_history past = {
            .tokens = &token, .n_tokens = 1, .n_prompt = 1, .allowed = round % 4 ? bits : NULL};
        uint32_t one = sampler_choose(sampler, &plain, &past, round, logits),
                 two = sampler_choose(sampler, &staged, &past, round, logits + n);
        if (one != two) fail_msg("round %u, seed %u: %u and %u", round, seed, one, two);
    }
    sampler_close(sampler);
    free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_reference),
        cmocka_unit_test(stages_that_cut_nothing_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
