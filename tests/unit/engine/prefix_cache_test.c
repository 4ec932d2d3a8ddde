/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that sequences with the same prefix share: found by content, held as often as used, evicted oldest first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/sequence.h"
#include "tests/unit/engine/fake_model.h"
#include "tests/unit/engine/recorder.h"

#define CONTEXT 400u
#define PAGE CARD_PAGE_TOKENS

static void tokens_make(uint32_t *tokens, uint32_t n, uint32_t salt)
{
    for (uint32_t i = 0; i < n; i++) tokens[i] = random_bits(salt, 0, i, 0) % FAKE_VOCAB;
}

/* ---- the pool ---- */

static void assert_valid(const struct page_pool *pool, const struct page_table *const *tables, size_t n)
{
    struct error err = {0};
    if (pages_validate(pool, tables, n, &err) < 0) fail_msg("%s", err.text);
}

static void test_pages_are_found_by_their_whole_prefix(void **state)
{
    (void)state;
    struct page_pool pool;
    struct error err = {0};
    uint32_t tokens[4 * PAGE], numbers[2][8];
    struct page_table a = {.pages = numbers[0]}, b = {.pages = numbers[1]};
    const struct page_table *const both[] = {&a, &b};
    tokens_make(tokens, 4 * PAGE, 1);
    assert_int_equal(page_pool_open(&pool, 8, &err), 0);
    assert_true(pages_reserve(&pool, &a, 4, tokens, 4 * PAGE));
    assert_int_equal(a.n_pages, 0); /* nothing is known yet */
    pages_take(&pool, &a, 4);
    pages_remember(&pool, &a, tokens, 3 * PAGE + 31);
    assert_int_equal(a.n_blocks, 3); /* the fourth page is not full */

    assert_true(pages_reserve(&pool, &b, 5, tokens, 4 * PAGE));
    assert_int_equal(b.n_pages, 3);
    assert_memory_equal(numbers[0], numbers[1], 3 * sizeof(uint32_t));
    assert_int_equal(pool.n_reserved, 6); /* 4 held, 2 promised: shared pages count once */
    assert_valid(&pool, both, 2);
    pages_release(&pool, &b);

    /* The second page's tokens alone, or after another first page, are another prefix. */
    assert_true(pages_reserve(&pool, &b, 3, tokens + PAGE, 3 * PAGE));
    assert_int_equal(b.n_pages, 0);
    pages_release(&pool, &b);
    tokens[PAGE - 1] ^= 1;
    assert_true(pages_reserve(&pool, &b, 3, tokens, 3 * PAGE));
    assert_int_equal(b.n_pages, 0);
    pages_release(&pool, &b);
    tokens[PAGE - 1] ^= 1;

    /* A partial page of tokens is not looked for; what nobody holds is found again. */
    pages_release(&pool, &a);
    assert_int_equal(pool.cache.n_idle, 3);
    assert_int_equal(pool.n_held, 0);
    assert_true(pages_reserve(&pool, &b, 3, tokens, 3 * PAGE - 1));
    assert_int_equal(b.n_pages, 2);
    assert_int_equal(pool.cache.n_idle, 1);
    assert_valid(&pool, both, 2);
    pages_release(&pool, &b);
    page_pool_close(&pool);
}

static void test_the_oldest_are_evicted_from_their_ends(void **state)
{
    (void)state;
    struct page_pool pool;
    struct error err = {0};
    uint32_t tokens[3][2 * PAGE], numbers[8];
    struct page_table table = {.pages = numbers};
    const struct page_table *const one[] = {&table};
    assert_int_equal(page_pool_open(&pool, 6, &err), 0);
    for (uint32_t i = 0; i < 3; i++) {
        tokens_make(tokens[i], 2 * PAGE, 10 + i);
        assert_true(pages_reserve(&pool, &table, 2, tokens[i], 2 * PAGE));
        pages_take(&pool, &table, 2);
        pages_remember(&pool, &table, tokens[i], 2 * PAGE);
        pages_release(&pool, &table);
    }
    assert_int_equal(pool.n_free, 0);
    assert_int_equal(pool.cache.n_idle, 6);
    assert_true(pages_reserve(&pool, &table, 2, tokens[0], 2 * PAGE)); /* used again: the first is now the youngest */
    pages_release(&pool, &table);
    assert_true(pages_reserve(&pool, &table, 1, NULL, 0)); /* room for one page: the end of the second goes */
    pages_take(&pool, &table, 1);
    pages_release(&pool, &table);
    assert_valid(&pool, one, 1);
    const uint32_t found[3] = {2, 1, 2};
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(pages_reserve(&pool, &table, 2, tokens[i], 2 * PAGE));
        assert_int_equal(table.n_pages, found[i]);
        pages_release(&pool, &table);
    }
    pages_forget_all(&pool);
    assert_int_equal(pool.n_free, 6);
    assert_true(pages_reserve(&pool, &table, 2, tokens[0], 2 * PAGE));
    assert_int_equal(table.n_pages, 0);
    pages_release(&pool, &table);
    assert_valid(&pool, one, 1);
    page_pool_close(&pool);
}

/* Many tables over few pages, prefixes from a small tree: the invariants hold and found pages hold what they should. */
static void test_random(void **state)
{
    (void)state;
    enum { N = 10, PAGES = 14, LONGEST = 6 };
    struct page_pool pool;
    struct error err = {0};
    uint32_t numbers[N][LONGEST], tokens[N][LONGEST * PAGE], content[PAGES][PAGE];
    struct page_table tables[N];
    const struct page_table *pointers[N];
    uint32_t n_shared = 0, n_refused = 0;
    assert_int_equal(page_pool_open(&pool, PAGES, &err), 0);
    for (uint32_t i = 0; i < N; i++) tables[i] = (struct page_table){.pages = numbers[i]}, pointers[i] = &tables[i];
    for (uint32_t turn = 0; turn < 5000; turn++) {
        const uint32_t dice = random_bits(5, 0, turn, 0), i = dice % N;
        struct page_table *table = &tables[i];
        if (table->n_reserved > 0) {
            pages_release(&pool, table);
        } else {
            const uint32_t n = 1 + (dice >> 8) % LONGEST;
            for (uint32_t p = 0; p < n; p++) tokens_make(tokens[i] + p * PAGE, PAGE, 100 * p + (dice >> (10 + p)) % 2);
            if (!pages_reserve(&pool, table, n, tokens[i], n * PAGE)) {
                n_refused++;
                continue;
            }
            n_shared += table->n_pages;
            for (uint32_t p = 0; p < table->n_pages; p++)
                assert_memory_equal(content[numbers[i][p]], tokens[i] + p * PAGE, sizeof content[0]);
            const uint32_t from = table->n_pages;
            pages_take(&pool, table, n);
            for (uint32_t p = from; p < n; p++) memcpy(content[numbers[i][p]], tokens[i] + p * PAGE, sizeof content[0]);
            pages_remember(&pool, table, tokens[i], n * PAGE);
        }
        assert_valid(&pool, pointers, N);
    }
    assert_true(n_shared > 1000 && n_refused > 100);
    for (uint32_t i = 0; i < N; i++) pages_release(&pool, &tables[i]);
    page_pool_close(&pool);
}

/* ---- the engine ---- */

static struct engine *open_engine(struct loaded_model *loaded, uint64_t card_bytes, bool recurrent)
{
    struct engine *engine;
    struct error err = {0};
    const struct engine_options options = {.max_sequences = 4, .context = CONTEXT};
    fake_model_make(loaded, CONTEXT, card_bytes, 0);
    loaded->model.config.recurrent = recurrent;
    if (engine_open(loaded, NULL, &options, &engine, &err) < 0) fail_msg("%s", err.text);
    return engine;
}

static void run(struct engine *engine, struct recorder *recorder, const uint32_t *prompt, uint32_t n, uint32_t n_new,
                enum engine_prefix prefix)
{
    struct error err = {0};
    struct engine_request request = recorder_request(recorder, prompt, n, n_new);
    request.prefix = prefix;
    if (engine_submit(engine, &request, &recorder->id, &err) < 0) fail_msg("%s", err.text);
    while (!recorder->n_ends)
        if (engine_step(engine, &err) < 0 || engine_validate(engine, &err) < 0) fail_msg("%s", err.text);
}

static void test_a_warm_prefix_gives_the_same_tokens(void **state)
{
    (void)state;
    struct loaded_model loaded;
    uint32_t prompt[300];
    tokens_make(prompt, 300, 3);
    for (uint32_t n = 1; n <= 130; n += n < 36 ? 5 : 31) {
        struct engine *engine = open_engine(&loaded, 64 << 20, false);
        struct recorder cold = {0}, warm = {0}, computed = {0};
        run(engine, &cold, prompt, n, 40, PREFIX_AUTO);
        run(engine, &warm, prompt, n, 40, PREFIX_AUTO);
        run(engine, &computed, prompt, n, 40, PREFIX_COMPUTED);
        assert_int_equal(cold.usage.cached_tokens, 0);
        assert_int_equal(warm.usage.cached_tokens, (n - 1) / PAGE * PAGE); /* never the last token */
        assert_int_equal(computed.usage.cached_tokens, 0);
        assert_int_equal(cold.n_tokens, 40);
        assert_memory_equal(cold.tokens, warm.tokens, sizeof cold.tokens);
        assert_memory_equal(cold.tokens, computed.tokens, sizeof cold.tokens);
        engine_close(engine);
    }
}

/* The second turn of a chat starts from the first one's answer. */
static void test_generated_tokens_are_a_prefix_too(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, 64 << 20, false);
    struct recorder first = {0}, second = {0}, cold = {0};
    uint32_t prompt[300];
    tokens_make(prompt, 50, 4);
    run(engine, &first, prompt, 50, 60, PREFIX_AUTO);
    memcpy(prompt + 50, first.tokens, 60 * sizeof *prompt);
    tokens_make(prompt + 110, 20, 5);
    run(engine, &second, prompt, 130, 20, PREFIX_AUTO);
    run(engine, &cold, prompt, 130, 20, PREFIX_COMPUTED);
    assert_int_equal(second.usage.cached_tokens, 96); /* 109 tokens were computed: three whole pages */
    assert_memory_equal(second.tokens, cold.tokens, sizeof cold.tokens);
    engine_close(engine);
}

static void test_sequences_share_pages_while_they_run(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, 64 << 20, false);
    struct recorder recorders[4] = {0};
    struct engine_counters counters;
    struct error err = {0};
    uint32_t prompt[200];
    tokens_make(prompt, 200, 6);
    run(engine, &recorders[0], prompt, 161, 1, PREFIX_AUTO);
    for (uint32_t i = 1; i < 4; i++) {
        struct engine_request request = recorder_request(&recorders[i], prompt, 161, 10);
        if (engine_submit(engine, &request, &recorders[i].id, &err) < 0) fail_msg("%s", err.text);
    }
    if (engine_step(engine, &err) < 0 || engine_validate(engine, &err) < 0) fail_msg("%s", err.text);
    engine_count(engine, &counters);
    assert_int_equal(counters.running, 3);
    assert_int_equal(counters.pages_used, 5 + 3);
    assert_int_equal(counters.cached_tokens, 3 * 160);
    for (uint32_t i = 1; i < 4; i++) {
        while (!recorders[i].n_ends)
            if (engine_step(engine, &err) < 0 || engine_validate(engine, &err) < 0) fail_msg("%s", err.text);
        assert_int_equal(recorders[i].tokens[0], recorders[0].tokens[0]);
    }
    engine_count(engine, &counters);
    assert_int_equal(counters.pages_used, 0);
    assert_int_equal(counters.pages_reserved, 0);
    assert_int_equal(counters.pages_cached, 5);
    engine_close(engine);
}

static void test_logits_come_from_where_the_cache_ends(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, 64 << 20, false);
    struct recorder whole = {.n_vocab = FAKE_VOCAB}, again = {.n_vocab = FAKE_VOCAB};
    uint32_t prompt[100];
    tokens_make(prompt, 100, 7);
    run(engine, &whole, prompt, 100, 0, PREFIX_AUTO);
    run(engine, &again, prompt, 100, 0, PREFIX_AUTO); /* whoever asks for logits gets all of them */
    assert_int_equal(again.n_rows, 100);
    assert_int_equal(again.usage.cached_tokens, 0);
    assert_memory_equal(whole.rows, again.rows, 100 * FAKE_VOCAB * sizeof(float));
    recorder_free(&whole);
    recorder_free(&again);
    engine_close(engine);
}

static void test_a_failed_step_empties_the_cache(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, 64 << 20, false);
    struct recorder first = {0}, failing = {0}, after = {0};
    uint32_t prompt[100];
    tokens_make(prompt, 100, 8);
    run(engine, &first, prompt, 100, 5, PREFIX_AUTO);
    loaded.fail_steps = 1;
    run(engine, &failing, prompt, 100, 5, PREFIX_AUTO);
    assert_int_equal(failing.reason, FINISH_ERROR);
    run(engine, &after, prompt, 100, 5, PREFIX_AUTO);
    assert_int_equal(after.usage.cached_tokens, 0);
    assert_memory_equal(first.tokens, after.tokens, sizeof first.tokens);
    engine_close(engine);
}

static void test_a_recurrent_model_computes_every_token(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine = open_engine(&loaded, 64 << 20, true);
    struct recorder first = {0}, second = {0};
    uint32_t prompt[100];
    tokens_make(prompt, 100, 9);
    run(engine, &first, prompt, 100, 10, PREFIX_CACHED);
    run(engine, &second, prompt, 100, 10, PREFIX_CACHED);
    assert_int_equal(second.usage.cached_tokens, 0);
    assert_memory_equal(first.tokens, second.tokens, sizeof first.tokens);
    engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_are_found_by_their_whole_prefix),
        cmocka_unit_test(test_the_oldest_are_evicted_from_their_ends),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_a_warm_prefix_gives_the_same_tokens),
        cmocka_unit_test(test_generated_tokens_are_a_prefix_too),
        cmocka_unit_test(test_sequences_share_pages_while_they_run),
        cmocka_unit_test(test_logits_come_from_where_the_cache_ends),
        cmocka_unit_test(test_a_failed_step_empties_the_cache),
        cmocka_unit_test(test_a_recurrent_model_computes_every_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
