/* SPDX-License-Identifier: Apache-2.0 */
/* On a card that keeps a clock the engine knows no other time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/sequence.h"
#include "tests/unit/engine/fake_model.h"
#include "tests/unit/engine/recorder.h"

#include <time.h>

#define CONTEXT 200u
#define TOKEN_PS 1000000000u /* a millisecond */

static unsigned n_wall_clocks;

/* In place of the C library's: who reads a wall clock here is counted, and gets none. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    (void)clock;
    n_wall_clocks++;
    *now = (struct timespec){.tv_sec = n_wall_clocks};
    return 0;
}

static struct engine *open_engine(struct loaded_model *loaded, struct engine_options options, uint64_t token_ps)
{
    struct engine *engine;
    struct error err = {0};
    fake_model_make(loaded, CONTEXT, 64 << 20, 0);
    loaded->card.token_ps = token_ps;
    if (engine_open(loaded, NULL, &options, &engine, &err) < 0) fail_msg("%s", err.text);
    return engine;
}

static void submit(struct engine *engine, struct recorder *recorder, uint32_t n_prompt, uint32_t max_tokens,
                   uint64_t arrived_ps)
{
    uint32_t prompt[CONTEXT];
    struct error err = {0};
    for (uint32_t i = 0; i < n_prompt; i++) prompt[i] = i * 7 % FAKE_VOCAB;
    struct engine_request request = recorder_request(recorder, prompt, n_prompt, max_tokens);
    request.prefix = PREFIX_COMPUTED;
    request.arrived_ps = arrived_ps;
    if (engine_submit(engine, &request, &recorder->id, &err) < 0) fail_msg("%s", err.text);
}

static void finish(struct engine *engine, const struct recorder *recorder)
{
    struct error err = {0};
    while (!recorder->n_ends)
        if (engine_step(engine, &err) < 0) fail_msg("%s", err.text);
}

/* 1e-12 is no power of two: sums of it are exact but for the last bit. */
static void assert_ms(double seconds, unsigned ms)
{
    if (seconds < 1e-3 * ms - 1e-12 || seconds > 1e-3 * ms + 1e-12) fail_msg("%.15f s are not %u ms", seconds, ms);
}

static void test_times_are_the_cards(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 1, .chunk = 16}, TOKEN_PS);
    struct recorder first = {0}, second = {0};
    n_wall_clocks = 0;
    loaded.card.now_ps = 5 * (uint64_t)TOKEN_PS; /* whatever came before, loading for one */
    submit(engine, &first, 40, 10, 0);
    submit(engine, &second, 20, 4, 0);
    finish(engine, &first);
    finish(engine, &second);
    assert_ms(first.usage.queue_seconds, 0);
    assert_ms(first.usage.prefill_seconds, 40);
    assert_ms(first.usage.decode_seconds, 9); /* the prompt's last step picked the first token */
    assert_ms(second.usage.queue_seconds, 49);
    assert_ms(second.usage.prefill_seconds, 20);
    assert_ms(second.usage.decode_seconds, 3);
    engine_close(engine);
    assert_int_equal(n_wall_clocks, 0);
}

/* What arrived while a step ran has waited since then, although nobody could submit it before. */
static void test_an_arrival_may_lie_in_the_past(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){.max_sequences = 2, .chunk = 64}, TOKEN_PS);
    struct recorder first = {0}, second = {0};
    struct error err = {0};
    n_wall_clocks = 0;
    submit(engine, &first, 50, 30, 0);
    assert_int_equal(engine_step(engine, &err), 1);
    submit(engine, &second, 10, 2, 20 * (uint64_t)TOKEN_PS);
    finish(engine, &second);
    assert_ms(second.usage.queue_seconds, 30);
    assert_ms(second.usage.prefill_seconds, 11); /* its prompt, and the first one's token beside it */
    assert_ms(second.usage.decode_seconds, 2);
    engine_close(engine);
    assert_int_equal(first.reason, FINISH_CANCELLED);
    assert_int_equal(n_wall_clocks, 0);
}

/* The length of drafts follows what steps took, and so may not follow this machine. */
static void test_drafts_are_the_same_every_time(void **state)
{
    (void)state;
    struct recorder recorders[2] = {{0}, {0}};
    uint64_t steps[2];
    for (int i = 0; i < 2; i++) {
        struct loaded_model loaded;
        struct draft_source *source;
        struct error err = {0};
        if (draft_lookup_make(&source, &err) < 0) fail_msg("%s", err.text);
        struct engine *engine = open_engine(&loaded, (struct engine_options){.draft = source}, TOKEN_PS);
        loaded.habit = 9;
        n_wall_clocks = 0;
        submit(engine, &recorders[i], 30, 150, 0);
        finish(engine, &recorders[i]);
        steps[i] = loaded.steps;
        engine_close(engine);
        draft_source_close(source);
        assert_int_equal(n_wall_clocks, 0);
    }
    assert_true(recorders[0].usage.accepted_tokens > 0);
    assert_int_equal(steps[0], steps[1]);
    assert_memory_equal(&recorders[0].usage, &recorders[1].usage, sizeof recorders[0].usage);
}

static void test_without_a_clock_the_wall_has_one(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, (struct engine_options){0}, 0);
    struct recorder recorder = {0};
    n_wall_clocks = 0;
    submit(engine, &recorder, 10, 3, 12345); /* of a clock that it does not have: ignored */
    finish(engine, &recorder);
    assert_true(n_wall_clocks > 0);
    assert_true(recorder.usage.prefill_seconds >= 1 && recorder.usage.decode_seconds >= 1); /* a second a reading */
    engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_are_the_cards),
        cmocka_unit_test(test_an_arrival_may_lie_in_the_past),
        cmocka_unit_test(test_drafts_are_the_same_every_time),
        cmocka_unit_test(test_without_a_clock_the_wall_has_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
