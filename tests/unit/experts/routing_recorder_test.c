/* SPDX-License-Identifier: Apache-2.0 */
/* --record-routing: the same rows however the tokens came into steps, whose sequence they are, and what cannot be recorded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/experts/experts.h"
#include "host/experts/routing_trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL FIXTURES "/models/qwen3_moe/model-q4_0.gguf"
#define DENSE FIXTURES "/models/llama/model-q4_0.gguf"
#define N_TOKENS 24u
#define N_LAYERS 2u
#define N_USED 2u

struct recorded {
    uint32_t n_rows, sequence[N_TOKENS];
    uint16_t choice[N_TOKENS][N_LAYERS][N_USED];
};

/* Tokens in chunks; wanted: rows of logits of each chunk, its last ones. again: from the start, a second time. */
static void record(const char *path, const char *spec, uint32_t slots, uint32_t chunk, uint32_t wanted, unsigned times)
{
    const struct card_options options = {.threads = 1, .memory_bytes = 32u << 20};
    const struct model_load_options how = {.threads = 1, .expert_slots = slots, .record_routing = path};
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct step_memory *memory;
    struct card_info info;
    struct error err = {0};
    if (model_open(MODEL, &model, &err) < 0 || card_open(spec, &options, &card, &err) < 0 ||
        experts_load(model, card, &how, &loaded, &err) < 0)
        fail_msg("%s", err.text);
    card_describe(card, &info);
    const struct step_limits limits = {.max_tokens = N_TOKENS,
                                       .max_logit_rows = N_TOKENS,
                                       .n_pages = 4,
                                       .max_pages_in_tables = 4,
                                       .kv_format = info.kv_default};
    if (step_memory_open(loaded, &limits, &memory, &err) < 0) fail_msg("%s", err.text);
    const uint32_t n_vocab = model_get_config(model)->n_vocab, pages[2] = {0, 1};
    float *logits = calloc((size_t)N_TOKENS * n_vocab, sizeof *logits);
    assert_non_null(logits);
    for (uint32_t at = 0; at < times * N_TOKENS; at += chunk) {
        uint32_t tokens[N_TOKENS], rows[N_TOKENS];
        struct card_batch_token batch[N_TOKENS];
        for (uint32_t i = 0; i < chunk; i++) {
            const uint32_t position = at % N_TOKENS + i;
            tokens[i] = (position * 29 + 5) % n_vocab;
            batch[i] = (struct card_batch_token){.position = position, .visible = position + 1};
            if (i >= chunk - wanted) rows[i - (chunk - wanted)] = i;
        }
        const struct step step = {chunk, tokens, batch, 2, pages, wanted, rows, .sources = NULL};
        experts_begin_step(loaded, &step);
        if (model_step(loaded, memory, &step, logits, &err) < 0) fail_msg("%s", err.text);
        experts_end_step(loaded);
    }
    if (experts_end_recording(loaded, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(experts_end_recording(loaded, &err), 0); /* nothing is left to end */
    free(logits);
    step_memory_close(memory);
    loaded_model_close(loaded);
    card_close(card);
    model_close(model);
}

static void read_back(const char *path, struct recorded *out)
{
    struct routing_trace *trace;
    struct routing_step step;
    struct error err = {0};
    memset(out, 0, sizeof *out);
    if (routing_trace_open(path, &trace, &err) < 0) fail_msg("%s", err.text);
    assert_true(routing_trace_is_whole(trace));
    assert_int_equal(routing_trace_shape(trace)->n_layers, N_LAYERS);
    assert_int_equal(routing_trace_shape(trace)->n_used, N_USED);
    assert_true(routing_trace_shape(trace)->model_hash != 0);
    while (routing_trace_next(trace, &step, &err) == 1) {
        for (uint32_t r = 0; r < step.n_rows; r++, out->n_rows++) {
            assert_true(out->n_rows < N_TOKENS);
            out->sequence[out->n_rows] = step.sequence[r];
            for (uint32_t layer = 0; layer < N_LAYERS; layer++)
                memcpy(out->choice[out->n_rows][layer], step.choice + ((size_t)layer * step.n_rows + r) * N_USED,
                       sizeof out->choice[0][0]);
        }
    }
    assert_int_equal(err.code, 0);
    routing_trace_close(trace);
    assert_int_equal(unlink(path), 0);
}

static void path_for(char path[64]) { snprintf(path, 64, "/tmp/routing_recorder_test.%ld", (long)getpid()); }

static void rows_do_not_depend_on_steps(void **state)
{
    (void)state;
    struct recorded want, got;
    char path[64];
    path_for(path);
    record(path, "sim", 0, 1, 1, 1);
    read_back(path, &want);
    assert_int_equal(want.n_rows, N_TOKENS);
    assert_int_equal(want.sequence[0], ROUTING_PROMPT);
    assert_int_equal(want.sequence[1], 0);
    bool differ = false;
    for (uint32_t i = 1; i < N_TOKENS; i++)
        differ = differ || memcmp(want.choice[i], want.choice[0], sizeof want.choice[0]) != 0;
    assert_true(differ);
    static const struct {
        const char *spec;
        uint32_t slots, chunk;
    } cases[] = {{"sim", 0, 12}, {"sim", 4, 12}, {"sim", 16, 24}, {"sim:u55c", 4, 3}, {"ref", 8, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        record(path, cases[i].spec, cases[i].slots, cases[i].chunk, cases[i].chunk, 1);
        read_back(path, &got);
        if (strcmp(cases[i].spec, "ref") != 0)
            assert_memory_equal(&got, &want, sizeof want);
        else
            assert_int_equal(got.n_rows, want.n_rows);
    }
    record(path, "sim", 4, 8, 2, 1); /* rows that the last layer leaves out are no rows */
    read_back(path, &got);
    assert_int_equal(got.n_rows, 2 * N_TOKENS / 8);
    for (uint32_t i = 0; i < got.n_rows; i++)
        assert_memory_equal(got.choice[i], want.choice[i / 2 * 8 + 6 + i % 2], sizeof want.choice[0]);
}

static void a_slot_that_starts_over_is_another_sequence(void **state)
{
    (void)state;
    struct recorded got;
    char path[64];
    path_for(path);
    record(path, "sim", 0, 12, 1, 3);
    read_back(path, &got);
    assert_int_equal(got.n_rows, 6);
    for (uint32_t i = 0; i < 6; i++) /* rows 11 and 23 are no neighbours */
        assert_int_equal(got.sequence[i] & ~ROUTING_PROMPT, i);
    record(path, "sim", 0, 12, 12, 2);
    assert_int_equal(unlink(path), 0);
}

static void refusals(void **state)
{
    (void)state;
    const struct card_options options = {.threads = 1, .memory_bytes = 32u << 20};
    struct model_load_options how = {.threads = 1, .record_routing = "/tmp/no/such/folder/trace"};
    struct model *model;
    struct card *card;
    struct loaded_model *loaded = NULL;
    struct error err = {0};
    assert_int_equal(card_open("sim", &options, &card, &err), 0);
    if (model_open(MODEL, &model, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(experts_load(model, card, &how, &loaded, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "/tmp/no/such/folder/trace"));
    assert_null(loaded);
    model_close(model);
    if (model_open(DENSE, &model, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(experts_load(model, card, &how, &loaded, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "has no experts"));
    model_close(model);
    card_close(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_do_not_depend_on_steps),
        cmocka_unit_test(a_slot_that_starts_over_is_another_sequence),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
