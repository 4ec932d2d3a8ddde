/* SPDX-License-Identifier: Apache-2.0 */
/* Speculation over real models on the simulated card: tokens and logits have the same bits with and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/draft_load.h"
#include "host/engine/sequence.h"
#include "tests/unit/engine/model_engine.h"
#include "tests/unit/engine/recorder.h"

#include <glob.h>
#include <stdio.h>
#include <unistd.h>

#define N_PROMPT 50u
#define N_NEW 60u
#define N_SEQUENCES 3u

/* A prompt that repeats itself, so that there is something to look up. */
static void prompt_make(uint32_t *prompt, uint32_t salt, uint32_t n_vocab)
{
    for (uint32_t i = 0; i < N_PROMPT; i++) prompt[i] = random_bits(salt, 0, i % 17, 0) % n_vocab;
}

/* Sequences with logits, greedy and not, side by side with speculation as asked for; always: whatever it brings. */
static struct engine_counters run_all(const char *path, const struct draft_load_options *drafts, unsigned kv_format,
                                      struct recorder *recorders)
{
    static const struct sampling sampling[N_SEQUENCES] = {
        {.top_p = 1},
        {.temperature = 0.7f, .top_p = 1, .seed = 1},
        {.temperature = 1, .top_p = 0.9f, .top_k = 40, .seed = 2},
    };
    struct model_engine all;
    struct draft_load load;
    struct engine_counters counters;
    struct error err = {0};
    struct engine_options options = {.max_sequences = N_SEQUENCES, .context = 128, .kv_format = kv_format, .chunk = 64};
    model_engine_open(&all, path, 1, &options);
    engine_close(all.engine);
    if (draft_load(drafts, all.model, all.card, &load, &err) < 0) fail_msg("%s", err.text);
    options.draft = load.source;
    if (engine_open(all.loaded, NULL, &options, &all.engine, &err) < 0) fail_msg("%s", err.text);
    all.engine->draft_policy.always = true;
    const uint32_t n_vocab = model_get_config(all.model)->n_vocab;
    for (uint32_t i = 0; i < N_SEQUENCES; i++) {
        uint32_t prompt[N_PROMPT];
        prompt_make(prompt, i, n_vocab);
        recorders[i] = (struct recorder){.n_vocab = n_vocab};
        struct engine_request request = recorder_request(&recorders[i], prompt, N_PROMPT, N_NEW);
        request.sampling = sampling[i];
        if (engine_submit(all.engine, &request, &recorders[i].id, &err) < 0) fail_msg("%s", err.text);
    }
    int status;
    do {
        status = engine_step(all.engine, &err);
        if (status < 0 || engine_validate(all.engine, &err) < 0) fail_msg("%s", err.text);
    } while (status > 0);
    engine_count(all.engine, &counters);
    engine_close(all.engine);
    all.engine = NULL;
    draft_load_close(&load);
    model_engine_close(&all);
    return counters;
}

static void assert_same(const char *path, const struct draft_load_options *drafts, unsigned kv_format,
                        const struct recorder *plain)
{
    struct recorder drafted[N_SEQUENCES];
    const struct engine_counters counters = run_all(path, drafts, kv_format, drafted);
    for (uint32_t i = 0; i < N_SEQUENCES; i++) {
        assert_int_equal(drafted[i].n_tokens, N_NEW);
        assert_memory_equal(drafted[i].tokens, plain[i].tokens, N_NEW * sizeof(uint32_t));
        assert_int_equal(drafted[i].n_rows, plain[i].n_rows);
        assert_memory_equal(drafted[i].rows, plain[i].rows, (size_t)plain[i].n_rows * plain[i].n_vocab * sizeof(float));
        recorder_free(&drafted[i]);
    }
    assert_true(counters.drafted_tokens > 0);
    printf("%s, pages of format %u, %s: %llu of %llu drafted tokens right, %llu steps\n",
           path + sizeof FIXTURES + sizeof "models", kv_format, drafts->model_path ? "draft model" : "lookup",
           (unsigned long long)counters.accepted_tokens, (unsigned long long)counters.drafted_tokens,
           (unsigned long long)counters.steps);
    if (!drafts->model_path) return;
    assert_in_range(counters.accepted_tokens, 1, counters.drafted_tokens - 1); /* both happen */
}

static void test_same_bits(void **state)
{
    (void)state;
    static const unsigned formats[] = {CARD_FORMAT_F16, CARD_FORMAT_INT8, CARD_FORMAT_INT4, CARD_FORMAT_F32};
    glob_t found;
    assert_int_equal(glob(FIXTURES "/models/*/model-q8_0.gguf", 0, NULL, &found), 0);
    assert_in_range(found.gl_pathc, 4, 100);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char other[300];
        const char *path = found.gl_pathv[i];
        snprintf(other, sizeof other, "%.*sq4_0.gguf", (int)(strlen(path) - strlen("q8_0.gguf")), path);
        if (access(other, R_OK) != 0) continue; /* no smaller file to draft with */
        const struct draft_load_options off = {0}, lookup = {.lookup = true},
                                        model = {.model_path = other, .threads = 1};
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            struct recorder plain[N_SEQUENCES];
            const struct engine_counters counters = run_all(path, &off, formats[f], plain);
            assert_int_equal(counters.steps, 3 + N_NEW - 1); /* three chunks of prompts */
            assert_int_equal(counters.drafted_tokens, 0);
            assert_same(path, &lookup, formats[f], plain);
            assert_same(path, &model, formats[f], plain);
            for (uint32_t s = 0; s < N_SEQUENCES; s++) recorder_free(&plain[s]);
        }
    }
    globfree(&found);
}

static void test_another_vocabulary_is_refused(void **state)
{
    (void)state;
    struct model *demo, *llama;
    struct card *card;
    struct draft_load load;
    struct error err = {0};
    const struct card_options options = {.threads = 1, .memory_bytes = 64u << 20};
    assert_int_equal(model_open(NULL, &demo, &err), 0);
    assert_int_equal(model_open(FIXTURES "/models/llama/model-q4_0.gguf", &llama, &err), 0);
    assert_int_equal(card_open("sim", &options, &card, &err), 0);
    const struct draft_load_options same = {.model_path = FIXTURES "/models/llama/model-q8_0.gguf"},
                                    missing = {.model_path = FIXTURES "/models/llama/nothing.gguf"}, off = {0};
    assert_int_equal(draft_load(&same, demo, card, &load, &err), ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "their vocabularies differ at token"));
    assert_true(draft_load(&missing, llama, card, &load, &err) < 0);
    assert_int_equal(draft_load(&same, llama, card, &load, &err), 0);
    assert_string_equal(load.source->name, "model");
    draft_load_close(&load);
    assert_int_equal(draft_load(&off, llama, card, &load, &err), 0);
    assert_null(load.source);
    card_close(card);
    model_close(llama);
    model_close(demo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_another_vocabulary_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
