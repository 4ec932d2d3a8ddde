/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine chooses for context, sequences and pages, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/sequence.h"
#include "tests/unit/engine/fake_model.h"

#define MODEL_CONTEXT 1000u /* 32 pages */
#define PAGE_OF_MODEL 32u

/* Bytes of a card that leave room for just so many pages beside the reserve and a step's memory. */
static uint64_t bytes_for(uint64_t pages) { return (pages * FAKE_PAGE_BYTES + 1600) * 32 / 31 + 32; }

static int open_context(uint32_t model_context, uint64_t bytes_free, unsigned threads, struct engine_options options,
                        struct engine_limits *limits, struct error *err)
{
    struct loaded_model loaded;
    struct engine *engine;
    fake_model_make(&loaded, model_context, bytes_free, threads);
    int status = engine_open(&loaded, NULL, &options, &engine, err);
    if (status == 0) engine_get_limits(engine, limits);
    engine_close(engine);
    return status;
}

static int try_open(uint64_t bytes_free, unsigned threads, struct engine_options options, struct engine_limits *limits,
                    struct error *err)
{
    return open_context(MODEL_CONTEXT, bytes_free, threads, options, limits, err);
}

static struct engine_limits chosen(uint64_t bytes_free, unsigned threads, struct engine_options options)
{
    struct engine_limits limits = {0};
    struct error err = {0};
    if (try_open(bytes_free, threads, options, &limits, &err) < 0) fail_msg("%s", err.text);
    return limits;
}

static void refused(uint64_t bytes_free, struct engine_options options, int code, const char *words)
{
    struct engine_limits limits;
    struct error err = {0};
    assert_int_equal(try_open(bytes_free, 0, options, &limits, &err), code);
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void test_defaults(void **state)
{
    (void)state;
    struct engine_limits limits = chosen(bytes_for(1000), 0, (struct engine_options){0});
    assert_int_equal(limits.context, MODEL_CONTEXT);
    assert_int_equal(limits.max_sequences, 16);
    assert_int_equal(limits.n_pages, 16 * PAGE_OF_MODEL);
    assert_int_equal(limits.chunk, 256);
    assert_int_equal(limits.kv_format, CARD_FORMAT_F16);
    assert_true(limits.context_is_model_limit);
    assert_int_equal(limits.page_bytes, FAKE_PAGE_BYTES);

    limits = chosen(bytes_for(7 * PAGE_OF_MODEL), 0, (struct engine_options){0}); /* fewer sequences first */
    assert_int_equal(limits.context, MODEL_CONTEXT);
    assert_int_equal(limits.max_sequences, 7);

    limits = chosen(bytes_for(4 * 10), 0, (struct engine_options){0}); /* then a shorter context for four */
    assert_int_equal(limits.context, 10 * CARD_PAGE_TOKENS);
    assert_int_equal(limits.max_sequences, 4);
    assert_int_equal(limits.n_pages, 40);
    assert_false(limits.context_is_model_limit);

    limits = chosen(bytes_for(2), 0, (struct engine_options){0}); /* at last fewer than four */
    assert_int_equal(limits.context, CARD_PAGE_TOKENS);
    assert_int_equal(limits.max_sequences, 2);
}

/* Where positions end the card would refuse every step, so a context ends there too, whatever a file claims. */
static void test_card_counts_positions(void **state)
{
    (void)state;
    const uint64_t bytes = bytes_for(2 * CARD_MAX_POSITIONS / CARD_PAGE_TOKENS);
    struct engine_limits limits;
    struct error err = {0};
    struct engine_options options = {.max_sequences = 1};
    if (open_context(UINT32_MAX, bytes, 0, options, &limits, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(limits.context, CARD_MAX_POSITIONS);
    assert_false(limits.context_is_model_limit);
    options.context = CARD_MAX_POSITIONS;
    assert_int_equal(open_context(UINT32_MAX, bytes, 0, options, &limits, &err), 0);
    options.context++;
    assert_int_equal(open_context(UINT32_MAX, bytes, 0, options, &limits, &err), ERROR_BAD_ARGUMENT);
    if (!strstr(err.text, "a card counts to 4194304")) fail_msg("%s", err.text);
}

static void test_as_asked(void **state)
{
    (void)state;
    struct engine_limits limits = chosen(bytes_for(40), 0, (struct engine_options){.context = 320});
    assert_int_equal(limits.context, 320);
    assert_int_equal(limits.max_sequences, 4);

    limits = chosen(bytes_for(40), 0, (struct engine_options){.context = MODEL_CONTEXT});
    assert_int_equal(limits.max_sequences, 1); /* a context that was asked for may leave one sequence */

    limits = chosen(bytes_for(40), 0, (struct engine_options){.max_sequences = 8});
    assert_int_equal(limits.context, 5 * CARD_PAGE_TOKENS);
    assert_int_equal(limits.max_sequences, 8);

    limits = chosen(bytes_for(40), 0, (struct engine_options){.context = MODEL_CONTEXT, .max_sequences = 8});
    assert_int_equal(limits.context, MODEL_CONTEXT); /* one fits whole, the others wait for pages */
    assert_int_equal(limits.max_sequences, 8);
    assert_in_range(limits.n_pages, 39, 40);

    limits = chosen(bytes_for(40), 0, (struct engine_options){.context = 32, .max_sequences = 1, .chunk = 7});
    assert_int_equal(limits.chunk, 7);
    assert_int_equal(limits.n_pages, 1);
}

/* A simulated card shares the host's memory: by default it takes half of what is free, a real card all of it. */
static void test_memory_of_the_host(void **state)
{
    (void)state;
    struct engine_limits real = chosen(bytes_for(16 * PAGE_OF_MODEL), 0, (struct engine_options){0});
    struct engine_limits simulated = chosen(bytes_for(16 * PAGE_OF_MODEL), 2, (struct engine_options){0});
    struct engine_limits asked = chosen(bytes_for(16 * PAGE_OF_MODEL), 2, (struct engine_options){.context = 1000});
    assert_int_equal(real.max_sequences, 16);
    assert_int_equal(simulated.max_sequences, 7);
    assert_int_equal(asked.max_sequences, 16);
    struct engine_limits tight = chosen(bytes_for(1), 2, (struct engine_options){0}); /* half would hold nothing */
    assert_int_equal(tight.n_pages, 1);
}

static void test_refusals(void **state)
{
    (void)state;
    refused(bytes_for(1000), (struct engine_options){.context = 1001}, ERROR_BAD_ARGUMENT,
            "a context of 1001 tokens was asked for, the model has 1000");
    refused(bytes_for(1000), (struct engine_options){.chunk = 5000}, ERROR_BAD_ARGUMENT, "4096 at most (--chunk)");
    refused(bytes_for(1000), (struct engine_options){.max_sequences = 5000}, ERROR_BAD_ARGUMENT, "5000 sequences");
    refused(bytes_for(1000), (struct engine_options){.kv_format = CARD_FORMAT_F32}, ERROR_UNSUPPORTED, "it has f16");
    refused(bytes_for(1000), (struct engine_options){.kv_format = 77}, ERROR_UNSUPPORTED, "it has f16");
    refused(bytes_for(9), (struct engine_options){.context = MODEL_CONTEXT}, ERROR_NO_MEMORY,
            "one sequence fits with --ctx 288");
    refused(bytes_for(9), (struct engine_options){.max_sequences = 20}, ERROR_NO_MEMORY, "20 sequences of 32 tokens");
    refused(2000, (struct engine_options){0}, ERROR_NO_MEMORY, "too little for one KV page");
}

/* Free bytes in several banks may not join: the pool shrinks until the card takes it, but never below one sequence. */
static void test_card_refuses_the_pool(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine;
    struct engine_limits limits;
    struct error err = {0};
    const struct engine_options options = {0};
    fake_model_make(&loaded, MODEL_CONTEXT, bytes_for(1000), 0);
    loaded.refuse_pages_over = 300;
    assert_int_equal(engine_open(&loaded, NULL, &options, &engine, &err), 0);
    engine_get_limits(engine, &limits);
    assert_in_range(limits.n_pages, 260, 300);
    engine_close(engine);
    loaded.refuse_pages_over = PAGE_OF_MODEL;
    assert_int_equal(engine_open(&loaded, NULL, &options, &engine, &err), 0);
    engine_close(engine);
    loaded.refuse_pages_over = PAGE_OF_MODEL - 1;
    assert_int_equal(engine_open(&loaded, NULL, &options, &engine, &err), ERROR_NO_MEMORY);
    assert_null(engine);
}

/* Pages chosen for four whole sequences, 128 pages, on a card whose banks have these bytes free. */
static uint32_t pages_over(const uint64_t *bytes_free, unsigned banks)
{
    struct loaded_model loaded;
    struct engine *engine;
    struct engine_limits limits = {0};
    struct error err = {0};
    const struct engine_options options = {.context = MODEL_CONTEXT, .max_sequences = 4};
    fake_model_make(&loaded, MODEL_CONTEXT, 0, 0);
    loaded.model.config.n_layers = 1;
    loaded.card.info.n_banks = banks;
    for (unsigned b = 0; b < banks; b++)
        loaded.card.info.bank[b].bytes = loaded.card.info.bank[b].bytes_free = bytes_free[b];
    if (engine_open(&loaded, NULL, &options, &engine, &err) < 0) fail_msg("%s", err.text);
    engine_get_limits(engine, &limits);
    engine_close(engine);
    return limits.n_pages;
}

/* Dealt over banks, the fullest of them counts for each. A step's memory, less than a page, lies in one of them. */
static void test_pages_are_dealt_over_banks(void **state)
{
    (void)state;
    const uint64_t lost = FAKE_PAGE_BYTES + 2 * CARD_ALIGNMENT; /* of each bank, at most: part of a page, roundings */
    const uint64_t room = (20 * FAKE_PAGE_BYTES + lost) * 32 / 31 + 32; /* 20 pages, what is lost, the reserve */
    assert_int_equal(pages_over((const uint64_t[]){room, room, room, room}, 4), 78);
    assert_int_equal(pages_over((const uint64_t[]){room, room, 2 * room}, 3), 60);
    assert_int_equal(pages_over((const uint64_t[]){2 * room, room, room}, 3), 60);
    /* More is in the first banks than in all of them. */
    assert_int_equal(pages_over((const uint64_t[]){2 * room, 2 * room, room / 2}, 3), 85);
    /* Dealing would lose more than half: pools are not dealt, and all free bytes count. */
    assert_int_equal(pages_over((const uint64_t[]){room, 10 * room}, 2), 4 * PAGE_OF_MODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_card_counts_positions),
        cmocka_unit_test(test_as_asked),
        cmocka_unit_test(test_memory_of_the_host),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_card_refuses_the_pool),
        cmocka_unit_test(test_pages_are_dealt_over_banks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
