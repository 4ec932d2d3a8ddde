/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual time of whole models on simulated cards: the same picosecond in every run, on any machine, with any number of
 * threads and however fast it computes, and for dense models also where nothing is computed. The demo model's speed is
 * pinned: whoever changes a profile, a cost or a program sees here what it does, and writes the new numbers down.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The demo model on sim:u55c: PROMPT tokens in one step, then DECODED steps of one; energy of the board. */
#define DEMO_PROMPT UINT64_C(1050027415)
#define DEMO_DECODE UINT64_C(6497427019)
#define DEMO_ENERGY UINT64_C(184930063)

enum { PROMPT = 48, DECODED = 24, PAGES = 3 };

struct run {
    uint64_t prompt_ps, decode_ps, energy_nj;
};

static void step_at(struct loaded_model *loaded, struct step_memory *memory, uint32_t from, uint32_t count,
                    uint32_t n_vocab, float *logits)
{
    struct error err = {0};
    uint32_t tokens[PROMPT];
    struct card_batch_token batch[PROMPT];
    const uint32_t pages[PAGES] = {0, 1, 2}, row = count - 1;
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = ((from + i) * 29 + 5) % n_vocab;
        batch[i] = (struct card_batch_token){.position = from + i, .visible = from + i + 1};
    }
    const struct step step = {count, tokens, batch, PAGES, pages, 1, &row, .sources = NULL};
    if (model_step(loaded, memory, &step, logits, &err) < 0) fail_msg("%s", err.text);
}

static uint64_t now(const struct card *card)
{
    uint64_t ps;
    struct error err;
    assert_int_equal(card_now(card, &ps, &err), 0);
    return ps;
}

static uint64_t energy(const struct card *card)
{
    struct card_usage usage;
    struct error err;
    assert_int_equal(card_measure(card, &usage, &err), 0);
    uint64_t nj = 0;
    for (unsigned e = 0; e < TIMELINE_ENERGIES; e++) nj += e == TIMELINE_ENERGY_HOST ? 0 : usage.energy_nj[e];
    return nj;
}

/* A prompt in one step, then token by token. path NULL: the demo model. */
static struct run run_model(const char *path, const char *spec, unsigned threads)
{
    struct error err = {0};
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct step_memory *memory;
    const struct card_options options = {.threads = threads, .memory_bytes = UINT64_C(1) << 30};
    const struct step_limits limits = {.max_tokens = PROMPT,
                                       .max_logit_rows = 1,
                                       .n_pages = PAGES,
                                       .max_pages_in_tables = PAGES,
                                       .kv_format = CARD_FORMAT_F16};
    if (model_open(path, &model, &err) < 0) fail_msg("%s", err.text);
    if (card_open(spec, &options, &card, &err) < 0) fail_msg("%s", err.text);
    if (model_load(model, card, NULL, &loaded, &err) < 0) fail_msg("%s", err.text);
    if (step_memory_open(loaded, &limits, &memory, &err) < 0) fail_msg("%s", err.text);
    const uint32_t n_vocab = model_get_config(model)->n_vocab;
    float *logits = calloc(n_vocab, sizeof *logits);
    assert_non_null(logits);
    const uint64_t start = now(card), before = energy(card);
    step_at(loaded, memory, 0, PROMPT, n_vocab, logits);
    const uint64_t prompt = now(card);
    for (uint32_t i = 0; i < DECODED; i++) step_at(loaded, memory, PROMPT + i, 1, n_vocab, logits);
    const struct run run = {prompt - start, now(card) - prompt, energy(card) - before};
    free(logits);
    step_memory_close(memory);
    loaded_model_close(loaded);
    card_close(card);
    model_close(model);
    return run;
}

static void expect_same(const struct run *a, const struct run *b, const char *what)
{
    if (memcmp(a, b, sizeof *a) == 0) return;
    fail_msg("%s: %" PRIu64 " %" PRIu64 " ps, %" PRIu64 " nJ, not %" PRIu64 " %" PRIu64 " ps, %" PRIu64 " nJ", what,
             a->prompt_ps, a->decode_ps, a->energy_nj, b->prompt_ps, b->decode_ps, b->energy_nj);
}

static void dense_models_take_the_same_time_when_nothing_is_computed(void **state)
{
    (void)state;
    static const char *const paths[] = {FIXTURES "/models/llama/model-q4_0.gguf",
                                        FIXTURES "/models/qwen3/model-q8_0.gguf",
                                        FIXTURES "/models/llama_k256/model-q4_k.gguf"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const struct run first = run_model(paths[i], "sim:u55c", 1);
        static const char *const specs[] = {"sim:u55c", "sim:u55c,simd=generic", "sim:u55c,timing"};
        for (unsigned s = 0; s < 3; s++) {
            for (unsigned threads = 1; threads <= 2; threads++) {
                const struct run run = run_model(paths[i], specs[s], threads);
                expect_same(&run, &first, specs[s]);
            }
        }
        const struct run other = run_model(paths[i], "sim:u280", 1);
        assert_true(other.prompt_ps != first.prompt_ps || other.energy_nj != first.energy_nj);
    }
}

static void the_demo_model_is_as_fast_as_written_down(void **state)
{
    (void)state;
    const struct run expected = {DEMO_PROMPT, DEMO_DECODE, DEMO_ENERGY};
    for (unsigned threads = 1; threads <= 2; threads++) {
        const struct run run = run_model(NULL, "sim:u55c", threads);
        expect_same(&run, &expected, "sim:u55c");
    }
    const struct run generic = run_model(NULL, "sim:u55c,simd=generic", 2);
    expect_same(&generic, &expected, "sim:u55c,simd=generic");
}

/* Experts are made up, but the same ones in each run. */
static void a_timing_run_with_experts_can_be_repeated(void **state)
{
    (void)state;
    const struct run first = run_model(NULL, "sim:u55c,timing", 1);
    for (unsigned threads = 1; threads <= 2; threads++) {
        const struct run run = run_model(NULL, "sim:u55c,timing", threads);
        expect_same(&run, &first, "sim:u55c,timing");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_models_take_the_same_time_when_nothing_is_computed),
        cmocka_unit_test(the_demo_model_is_as_fast_as_written_down),
        cmocka_unit_test(a_timing_run_with_experts_can_be_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
