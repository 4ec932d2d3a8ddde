/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences, pages and batches over a model layer that notices every wrong page (fake_model.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/sequence.h"
#include "tests/unit/engine/fake_model.h"
#include "tests/unit/engine/recorder.h"

#define CONTEXT 200u
#define PAGES(tokens) (((tokens) + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS)

static const struct tokenizer *const some_tokenizer = (const struct tokenizer *)1;

static struct engine *open_engine(struct loaded_model *loaded, struct engine_options options)
{
    struct engine *engine;
    struct error err = {0};
    fake_model_make(loaded, CONTEXT, 64 << 20, 0);
    if (engine_open(loaded, NULL, &options, &engine, &err) < 0) fail_msg("%s", err.text);
    return engine;
}

static void prompt_make(uint32_t *prompt, size_t n, uint32_t salt)
{
    for (size_t i = 0; i < n; i++) prompt[i] = (uint32_t)((i * 7 + salt * 13 + i * i % 5) % FAKE_VOCAB);
}

static void submit(struct engine *engine, struct recorder *recorder, uint32_t salt, uint32_t n_prompt,
                   uint32_t max_tokens)
{
    uint32_t prompt[CONTEXT];
    struct error err = {0};
    prompt_make(prompt, n_prompt, salt);
    struct engine_request request = recorder_request(recorder, prompt, n_prompt, max_tokens);
    if (engine_submit(engine, &request, &recorder->id, &err) < 0) fail_msg("%s", err.text);
}

static void step_validated(struct engine *engine)
{
    struct error err = {0};
    if (engine_step(engine, &err) < 0 || engine_validate(engine, &err) < 0) fail_msg("%s", err.text);
}

static void finish(struct engine *engine, const struct recorder *recorder)
{
    for (int i = 0; !recorder->n_ends; i++) {
        assert_in_range(i, 0, 5000);
        step_validated(engine);
    }
}

static void assert_empty(const struct engine *engine)
{
    struct engine_counters counters;
    engine_count(engine, &counters);
    assert_int_equal(counters.pages_used, 0);
    assert_int_equal(counters.pages_reserved, 0);
    assert_int_equal(counters.running, 0);
    assert_int_equal(counters.waiting, 0);
}

/* The tokens of one sequence run alone, one prompt token at a time: what every other way must give. */
static void expected_tokens(uint32_t salt, uint32_t n_prompt, uint32_t max_tokens, struct recorder *out)
{
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 1, .chunk = 1});
    submit(engine, out, salt, n_prompt, max_tokens);
    finish(engine, out);
    engine_close(engine);
}

static void test_ends_with_length_and_returns_pages(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){0});
    struct recorder recorder = {0};
    submit(engine, &recorder, 1, 40, 30);
    step_validated(engine);
    struct engine_counters counters;
    engine_count(engine, &counters);
    assert_int_equal(counters.pages_used, PAGES(40));
    assert_int_equal(counters.pages_reserved, PAGES(70));
    assert_int_equal(counters.running, 1);
    finish(engine, &recorder);
    assert_int_equal(recorder.reason, FINISH_LENGTH);
    assert_int_equal(recorder.n_tokens, 30);
    assert_int_equal(recorder.usage.prompt_tokens, 40);
    assert_int_equal(recorder.usage.completion_tokens, 30);
    assert_true(recorder.usage.prefill_seconds >= 0 && recorder.usage.decode_seconds >= 0);
    assert_empty(engine);
    engine_count(engine, &counters);
    assert_int_equal(counters.prompt_tokens, 40);
    assert_int_equal(counters.completion_tokens, 30);
    assert_int_equal(counters.steps, 30);
    engine_close(engine);
}

static void test_context_is_never_exceeded(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){0});
    struct recorder long_one = {0}, full = {0}, full_with_logits = {.n_vocab = FAKE_VOCAB}, prefill = {0};
    submit(engine, &long_one, 1, CONTEXT - 5, UINT32_MAX);
    submit(engine, &full, 2, CONTEXT, 10);
    submit(engine, &full_with_logits, 3, CONTEXT, 10);
    submit(engine, &prefill, 4, 50, 0);
    step_validated(engine);
    assert_int_equal(full.n_ends, 1); /* at once */
    finish(engine, &long_one);
    finish(engine, &full_with_logits);
    finish(engine, &prefill);
    assert_int_equal(long_one.reason, FINISH_LENGTH);
    assert_int_equal(long_one.n_tokens, 5);
    assert_int_equal(full.reason, FINISH_LENGTH);
    assert_int_equal(full.n_tokens, 0);
    assert_int_equal(full_with_logits.n_rows, CONTEXT);
    assert_int_equal(full_with_logits.n_tokens, 0);
    assert_int_equal(prefill.reason, FINISH_LENGTH);
    assert_int_equal(prefill.n_tokens, 0);
    assert_empty(engine);
    recorder_free(&full_with_logits);
    engine_close(engine);
}

static void assert_refused(struct engine *engine, const struct engine_request *request, int code, const char *words)
{
    struct error err = {0};
    uint64_t id;
    assert_int_equal(engine_submit(engine, request, &id, &err), code);
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void test_wrong_requests_are_refused(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){0});
    struct recorder recorder = {0};
    uint32_t prompt[CONTEXT + 1] = {0};
    struct engine_request good = recorder_request(&recorder, prompt, 3, 5), bad = good;
    bad.n_prompt = CONTEXT + 1;
    assert_refused(engine, &bad, ERROR_TOO_LARGE, "the prompt has 201 tokens, the context holds 200");
    bad.n_prompt = 0;
    assert_refused(engine, &bad, ERROR_BAD_ARGUMENT, "no tokens");
    prompt[2] = FAKE_VOCAB;
    assert_refused(engine, &good, ERROR_BAD_ARGUMENT, "token 61 at place 2");
    prompt[2] = 0;
    const struct sampling wrong[] = {
        {.temperature = -1, .top_p = 1},
        {.temperature = 0.0f / 0.0f, .top_p = 1},
        {.top_p = 0},
        {.top_p = 1.5f},
        {.top_p = 1, .min_p = -0.1f},
        {.top_p = 1, .min_p = 2},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        bad = good;
        bad.sampling = wrong[i];
        assert_refused(engine, &bad, ERROR_BAD_ARGUMENT, i < 2 ? "temperature" : i < 4 ? "top_p" : "min_p");
    }
    assert_empty(engine);
    assert_int_equal(recorder.n_ends, 0);
    engine_close(engine);
}

static void test_waits_for_pages_in_order(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct error err = {0};
    struct engine *engine;
    fake_model_make(&loaded, CONTEXT, 0, 0);
    loaded.card.info.bank[0].bytes_free = 10 * FAKE_PAGE_BYTES; /* less reserve and step memory: 9 pages of 4 x 7 */
    const struct engine_options options = {.context = CONTEXT, .max_sequences = 4};
    if (engine_open(&loaded, NULL, &options, &engine, &err) < 0) fail_msg("%s", err.text);
    struct engine_limits limits;
    engine_get_limits(engine, &limits);
    assert_int_equal(limits.n_pages, 9);
    struct recorder first = {0}, large = {0}, small = {0};
    struct engine_counters counters;
    submit(engine, &first, 1, 60, 60);  /* 4 pages */
    submit(engine, &large, 2, 150, 50); /* 7 pages: waits */
    submit(engine, &small, 3, 10, 10);  /* 1 page: would fit, but does not overtake */
    step_validated(engine);
    engine_count(engine, &counters);
    assert_int_equal(counters.running, 1);
    assert_int_equal(counters.waiting, 2);
    finish(engine, &small);
    assert_int_equal(first.n_ends, 1);
    assert_int_equal(first.n_tokens, 60); /* was not disturbed */
    finish(engine, &large);
    assert_true(large.usage.queue_seconds > 0);
    assert_empty(engine);
    engine_close(engine);
}

static void test_same_tokens_beside_others_and_in_any_chunk(void **state)
{
    (void)state;
    enum { N = 5 };
    static const uint32_t chunks[] = {1, 3, 7, 32, 256};
    struct recorder alone[N] = {0};
    for (uint32_t i = 0; i < N; i++) expected_tokens(i, 20 + 33 * i, 40, &alone[i]);
    assert_memory_not_equal(alone[0].tokens, alone[1].tokens, 40 * sizeof(uint32_t));
    for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
        struct loaded_model loaded;
        struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 3, .chunk = chunks[c]});
        struct recorder together[N] = {0};
        for (uint32_t i = 0; i < N; i++) submit(engine, &together[i], i, 20 + 33 * i, 40);
        for (uint32_t i = 0; i < N; i++) finish(engine, &together[i]);
        for (uint32_t i = 0; i < N; i++) {
            assert_int_equal(together[i].n_tokens, 40);
            assert_memory_equal(together[i].tokens, alone[i].tokens, 40 * sizeof(uint32_t));
        }
        assert_in_range(loaded.most_tokens, 1, chunks[c] + 3);
        assert_true(loaded.most_sequences >= 2);
        assert_true(chunks[c] > 1 || loaded.most_decoding >= 2);
        assert_empty(engine);
        engine_close(engine);
    }
}

static void test_logits_of_every_position(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct recorder alone = {.n_vocab = FAKE_VOCAB}, beside = {.n_vocab = FAKE_VOCAB}, other = {0};
    expected_tokens(3, 90, 20, &alone);
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 2, .chunk = 64});
    submit(engine, &other, 1, 70, 50);
    submit(engine, &beside, 3, 90, 20);
    finish(engine, &beside);
    assert_int_equal(alone.n_rows, 90 + 19); /* the last token is not fed back */
    assert_int_equal(beside.n_rows, alone.n_rows);
    assert_memory_equal(beside.rows, alone.rows, alone.n_rows * FAKE_VOCAB * sizeof(float));
    recorder_free(&alone);
    recorder_free(&beside);
    engine_close(engine);
}

static void test_cancel(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 2});
    struct recorder running = {0}, stays = {0}, waiting = {0}, never = {0}, itself = {.cancel_in = engine};
    struct engine_counters counters;
    submit(engine, &running, 1, 40, 100);
    submit(engine, &stays, 2, 40, 20);
    submit(engine, &waiting, 3, 40, 20);
    submit(engine, &never, 4, 40, 20);
    step_validated(engine);
    engine_cancel(engine, never.id);
    engine_cancel(engine, running.id);
    engine_cancel(engine, 12345);
    step_validated(engine);
    assert_int_equal(running.n_ends, 1);
    assert_int_equal(running.n_tokens, 1); /* gone before the next step */
    assert_int_equal(running.reason, FINISH_CANCELLED);
    assert_int_equal(never.n_ends, 1);
    assert_int_equal(never.reason, FINISH_CANCELLED);
    engine_count(engine, &counters);
    assert_int_equal(counters.pages_reserved, 2 * PAGES(60));
    engine_cancel(engine, running.id); /* ended already */
    finish(engine, &stays);
    finish(engine, &waiting);
    assert_int_equal(waiting.reason, FINISH_LENGTH);
    submit(engine, &itself, 5, 10, 100);
    finish(engine, &itself);
    assert_int_equal(itself.reason, FINISH_CANCELLED);
    assert_int_equal(itself.n_tokens, 1);
    assert_empty(engine);
    engine_close(engine);
}

static void test_token_callback_and_end_tokens_stop(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine;
    struct error err = {0};
    struct recorder free_run = {0}, stopped = {.stop_after = 4}, ended = {0};
    expected_tokens(9, 12, 60, &free_run);
    fake_model_make(&loaded, CONTEXT, 64 << 20, 0);
    const struct engine_options options = {0};
    assert_int_equal(engine_open(&loaded, some_tokenizer, &options, &engine, &err), 0);
    submit(engine, &stopped, 9, 12, 60);
    finish(engine, &stopped);
    assert_int_equal(stopped.reason, FINISH_STOP);
    assert_int_equal(stopped.n_tokens, 4);

    uint32_t prompt[12], n_before_end = 0;
    prompt_make(prompt, 12, 9);
    while (!tokenizer_is_end(some_tokenizer, free_run.tokens[n_before_end])) n_before_end++;
    assert_in_range(n_before_end, 1, 59);
    struct engine_request request = recorder_request(&ended, prompt, 12, 60);
    request.ignore_eos = false;
    assert_int_equal(engine_submit(engine, &request, &ended.id, &err), 0);
    finish(engine, &ended);
    assert_int_equal(ended.reason, FINISH_STOP);
    assert_int_equal(ended.n_tokens, n_before_end); /* the end token is not shown */
    assert_empty(engine);
    engine_close(engine);
}

static void test_seed_decides(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){0});
    struct recorder runs[4] = {0};
    uint32_t prompt[8];
    prompt_make(prompt, 8, 1);
    for (uint32_t i = 0; i < 4; i++) {
        struct engine_request request = recorder_request(&runs[i], prompt, 8, 60);
        struct error err = {0};
        request.sampling = (struct sampling){.temperature = 1.0f, .top_p = 1, .seed = i == 2 ? 8 : 7, .choice = i == 3};
        assert_int_equal(engine_submit(engine, &request, &runs[i].id, &err), 0);
    }
    for (int i = 0; i < 4; i++) finish(engine, &runs[i]);
    assert_memory_equal(runs[0].tokens, runs[1].tokens, 60 * sizeof(uint32_t));
    assert_memory_not_equal(runs[0].tokens, runs[2].tokens, 60 * sizeof(uint32_t)); /* another seed */
    assert_memory_not_equal(runs[0].tokens, runs[3].tokens, 60 * sizeof(uint32_t)); /* another choice */
    engine_close(engine);
}

static void test_failed_step_ends_its_sequences_only(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 2});
    struct recorder a = {0}, b = {0}, later = {0};
    submit(engine, &a, 1, 40, 20);
    submit(engine, &b, 2, 40, 20);
    submit(engine, &later, 3, 40, 20);
    step_validated(engine);
    loaded.fail_steps = 1;
    step_validated(engine);
    assert_int_equal(a.reason, FINISH_ERROR);
    assert_int_equal(a.error.code, ERROR_CARD);
    assert_int_equal(b.n_ends, 1);
    assert_int_equal(later.n_ends, 0);
    finish(engine, &later);
    assert_int_equal(later.reason, FINISH_LENGTH);
    assert_int_equal(later.n_tokens, 20);
    assert_empty(engine);
    engine_close(engine);
}

static void test_lost_card_ends_all(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 1});
    struct recorder recorders[5] = {0};
    struct error err = {0};
    for (uint32_t i = 0; i < 5; i++) submit(engine, &recorders[i], i, 10, 10);
    loaded.fail_steps = 100;
    int status;
    while ((status = engine_step(engine, &err)) > 0)
        ;
    assert_int_equal(status, ERROR_CARD);
    assert_non_null(strstr(err.text, "failed 3 steps in a row: fake card: a step failed"));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(recorders[i].n_ends, 1);
        assert_int_equal(recorders[i].reason, FINISH_ERROR);
    }
    assert_int_equal(loaded.steps, 3);
    assert_empty(engine);
    assert_int_equal(engine_step(engine, &err), ERROR_CARD);
    struct engine_request request = recorder_request(&recorders[0], (const uint32_t[]){1}, 1, 1);
    assert_refused(engine, &request, ERROR_CARD, "3 steps in a row");
    engine_close(engine);
}

/* Requests fail as long as a file cannot be read, but the card is not taken for lost. */
static void test_unreadable_file_ends_requests_only(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 1});
    struct recorder recorders[7] = {0};
    for (uint32_t i = 0; i < 7; i++) submit(engine, &recorders[i], i, 10, 10);
    loaded.fail_steps = 6;
    loaded.fail_code = ERROR_IO;
    for (int i = 0; i < 7; i++) {
        finish(engine, &recorders[i]);
        assert_int_equal(recorders[i].reason, i < 6 ? FINISH_ERROR : FINISH_LENGTH);
        if (i < 6) assert_int_equal(recorders[i].error.code, ERROR_IO);
    }
    assert_empty(engine);
    engine_close(engine);
}

static void test_queue_limit_stop_and_drain(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 1, .queue_limit = 2});
    struct recorder a = {0}, b = {0}, c = {0};
    struct error err = {0};
    submit(engine, &a, 1, 10, 10);
    submit(engine, &b, 2, 10, 10);
    struct engine_request request = recorder_request(&c, (const uint32_t[]){1}, 1, 1);
    assert_refused(engine, &request, ERROR_BUSY, "2 requests are waiting");
    engine_stop(engine, true);
    assert_refused(engine, &request, ERROR_BUSY, "stopping");
    assert_int_equal(engine_run(engine, &err), 0);
    assert_int_equal(a.reason, FINISH_LENGTH);
    assert_int_equal(b.n_tokens, 10);
    assert_empty(engine);
    engine_close(engine);

    engine = open_engine(&loaded, (struct engine_options){.max_sequences = 1});
    a = b = (struct recorder){0};
    submit(engine, &a, 1, 10, 10);
    submit(engine, &b, 2, 10, 10);
    step_validated(engine);
    engine_stop(engine, false);
    engine_stop(engine, true); /* does not take the stop back */
    assert_int_equal(engine_run(engine, &err), 0);
    assert_int_equal(a.reason, FINISH_CANCELLED);
    assert_int_equal(b.reason, FINISH_CANCELLED);
    assert_empty(engine);
    engine_close(engine);
}

static void test_close_ends_every_sequence(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 1});
    struct recorder a = {0}, b = {0};
    submit(engine, &a, 1, 10, 10);
    step_validated(engine);
    submit(engine, &b, 2, 10, 10);
    engine_close(engine);
    assert_int_equal(a.n_ends, 1);
    assert_int_equal(a.reason, FINISH_CANCELLED);
    assert_int_equal(b.n_ends, 1);
    assert_int_equal(b.reason, FINISH_CANCELLED);
}

/* Submits, cancels and card errors at random; the invariants hold after every step and all tokens are right. */
static void random_traffic(bool recurrent)
{
    enum { N = 300 };
    static struct recorder recorders[N], alone[8];
    uint32_t salt_of[N], n_submitted = 0;
    struct loaded_model loaded;
    memset(recorders, 0, sizeof recorders);
    for (uint32_t salt = 0; salt < 8; salt++) expected_tokens(salt, 5 + salt * 20, 40, &alone[salt]);
    struct error err = {0};
    struct engine *engine;
    fake_model_make(&loaded, CONTEXT, 0, 0);
    loaded.model.config.recurrent = recurrent;
    loaded.card.info.bank[0].bytes_free = 22 * FAKE_PAGE_BYTES;
    const struct engine_options options = {.context = CONTEXT, .max_sequences = 6, .chunk = 24, .queue_limit = N};
    if (engine_open(&loaded, NULL, &options, &engine, &err) < 0) fail_msg("%s", err.text);

    for (uint32_t turn = 0; n_submitted < N || engine->live; turn++) {
        uint32_t dice = random_bits(2024, 0, turn, 0);
        assert_in_range(turn, 0, 100000);
        if (n_submitted < N && dice % 4 == 0) {
            uint32_t salt = (dice >> 8) % 8;
            salt_of[n_submitted] = salt;
            submit(engine, &recorders[n_submitted++], salt, 5 + salt * 20, (dice >> 16) % 41);
        }
        if (n_submitted > 0 && dice % 9 == 1) engine_cancel(engine, recorders[(dice >> 8) % n_submitted].id);
        if (dice % 53 == 2) loaded.fail_steps = 1;
        step_validated(engine);
    }
    unsigned n_of[4] = {0};
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(recorders[i].n_ends, 1);
        n_of[recorders[i].reason]++;
        assert_memory_equal(recorders[i].tokens, alone[salt_of[i]].tokens, recorders[i].n_tokens * sizeof(uint32_t));
    }
    assert_true(n_of[FINISH_LENGTH] > N / 4);
    assert_true(n_of[FINISH_CANCELLED] > 5);
    assert_true(n_of[FINISH_ERROR] > 5);
    assert_empty(engine);
    engine_close(engine);
}

static void test_random_traffic(void **state)
{
    (void)state;
    random_traffic(false);
}

/* A sequence's slot names its state: no other sequence's tokens may go through it while it runs. */
static void test_random_traffic_of_a_recurrent_model(void **state)
{
    (void)state;
    random_traffic(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_with_length_and_returns_pages),
        cmocka_unit_test(test_context_is_never_exceeded),
        cmocka_unit_test(test_wrong_requests_are_refused),
        cmocka_unit_test(test_waits_for_pages_in_order),
        cmocka_unit_test(test_same_tokens_beside_others_and_in_any_chunk),
        cmocka_unit_test(test_logits_of_every_position),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_token_callback_and_end_tokens_stop),
        cmocka_unit_test(test_seed_decides),
        cmocka_unit_test(test_failed_step_ends_its_sequences_only),
        cmocka_unit_test(test_lost_card_ends_all),
        cmocka_unit_test(test_unreadable_file_ends_requests_only),
        cmocka_unit_test(test_queue_limit_stop_and_drain),
        cmocka_unit_test(test_close_ends_every_sequence),
        cmocka_unit_test(test_random_traffic),
        cmocka_unit_test(test_random_traffic_of_a_recurrent_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
