/* SPDX-License-Identifier: Apache-2.0 */
/* No allocation in the token path, on any thread: malloc counts while a guard is armed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/completion.h"
#include "host/engine/draft_load.h"
#include "host/engine/sequence.h"
#include "tests/unit/engine/model_engine.h"

#include <stdatomic.h>
#include <stdlib.h>

static atomic_bool armed;
static atomic_uint n_allocations;

static void count_allocation(void)
{
    if (atomic_load_explicit(&armed, memory_order_relaxed))
        atomic_fetch_add_explicit(&n_allocations, 1, memory_order_relaxed);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#ifdef SANITIZED /* the sanitizers have their own malloc, which tells whoever asks */
extern int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t),
                                                     void (*)(const volatile void *));

static void on_malloc(const volatile void *block, size_t size)
{
    (void)block, (void)size;
    count_allocation();
}

static void on_free(const volatile void *block) { (void)block; }

static void install_guard(void)
{
    assert_int_not_equal(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free), 0);
}
#else /* glibc's malloc under the names that it keeps for replacements */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);
void *aligned_alloc(size_t alignment, size_t size);

void *malloc(size_t size)
{
    count_allocation();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    count_allocation();
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    count_allocation();
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count_allocation();
    return __libc_memalign(alignment, size);
}

static void install_guard(void) {}
#endif

static unsigned n_pieces, n_ended;

static void on_text(void *context, const char *bytes, size_t length)
{
    (void)context, (void)bytes, (void)length;
    n_pieces++;
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    (void)context, (void)usage, (void)err;
    assert_int_not_equal(reason, FINISH_ERROR);
    n_ended++;
}

static void step_all(struct engine *engine, bool guarded)
{
    struct error err = {0};
    int status;
    atomic_store(&armed, guarded);
    do status = engine_step(engine, &err);
    while (status > 0);
    atomic_store(&armed, false);
    if (status < 0) fail_msg("%s", err.text);
}

static void test_guard_works(void **state)
{
    (void)state;
    atomic_store(&armed, true);
    void *volatile block = malloc(10);
    atomic_store(&armed, false);
    free(block);
    assert_int_equal(atomic_exchange(&n_allocations, 0), 1);
}

/* Prefill in chunks beside decode, four kinds of sampling, stop strings, text, and sequences that end. */
static void run_four(struct model_engine *all, bool guarded)
{
    struct completion *completions[4];
    struct error err = {0};
    static const char *const stops[] = {"never said", "nor this"};
    static const struct sampling sampling[4] = {
        {.top_p = 1},
        {.temperature = 1, .top_p = 1, .seed = 1},
        {.temperature = 1, .top_p = 0.9f, .min_p = 0.01f, .seed = 2},
        {.temperature = 1, .top_p = 0.9f, .top_k = 40, .seed = 3},
    };
    uint32_t prompt[100];
    for (uint32_t i = 0; i < 100; i++) prompt[i] = random_bits(1, 0, i, 0) % model_get_config(all->model)->n_vocab;
    n_ended = n_pieces = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const struct completion_options request = {
            .prompt = prompt + i,
            .n_prompt = 40 + 19 * i,
            .max_tokens = 30 + 10 * i,
            .ignore_eos = true,
            .sampling = sampling[i],
            .stops = stops,
            .n_stops = 2,
            .text = on_text,
            .end = on_end,
        };
        assert_int_equal(completion_start(all->engine, all->tokenizer, &request, &completions[i], &err), 0);
    }
    step_all(all->engine, guarded);
    assert_int_equal(n_ended, 4);
    assert_in_range(n_pieces, 60, 180);
    for (uint32_t i = 0; i < 4; i++) completion_close(completions[i]);
}

/* On an engine that is open: the simulated card's own scratch memory grows to the largest program it has seen. */
static void assert_no_allocations(struct model_engine *all)
{
    assert_non_null(all->tokenizer);
    run_four(all, false);
    run_four(all, true);
    assert_int_equal(atomic_exchange(&n_allocations, 0), 0);
}

static void test_steps_do_not_allocate(void **state)
{
    (void)state;
    struct model_engine all;
    const struct engine_options options = {.max_sequences = 4, .chunk = 16};
    model_engine_open(&all, FIXTURES "/models/llama/model-q4_0.gguf", 2, &options);
    assert_no_allocations(&all);
    model_engine_close(&all);
}

static void test_drafts_do_not_allocate(void **state)
{
    (void)state;
    const struct draft_load_options ways[] = {{.lookup = true},
                                              {.model_path = FIXTURES "/models/llama/model-q8_0.gguf", .threads = 2}};
    for (size_t i = 0; i < 2; i++) {
        struct model_engine all;
        struct draft_load load;
        struct engine_counters counters;
        struct error err = {0};
        struct engine_options options = {.max_sequences = 4, .chunk = 16};
        model_engine_open(&all, FIXTURES "/models/llama/model-q4_0.gguf", 2, &options);
        engine_close(all.engine);
        assert_int_equal(draft_load(&ways[i], all.model, all.card, &load, &err), 0);
        options.draft = load.source;
        assert_int_equal(engine_open(all.loaded, all.tokenizer, &options, &all.engine, &err), 0);
        all.engine->draft_policy.always = true; /* or the two runs would not have the same steps */
        assert_no_allocations(&all);
        engine_count(all.engine, &counters);
        assert_true(counters.drafted_tokens > 0);
        engine_close(all.engine);
        all.engine = NULL;
        draft_load_close(&load);
        model_engine_close(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_works),
        cmocka_unit_test(test_steps_do_not_allocate),
        cmocka_unit_test(test_drafts_do_not_allocate),
    };
    install_guard();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
