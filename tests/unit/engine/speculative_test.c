/* SPDX-License-Identifier: Apache-2.0 */
/* Speculation: whatever is drafted, tokens, logits, ends and what stays in the pages are the same as without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/sequence.h"
#include "tests/unit/engine/fake_model.h"
#include "tests/unit/engine/recorder.h"

#define CONTEXT 300u
#define N_RUNS 6u /* sequences of one comparison */

static const struct tokenizer *const some_tokenizer = (const struct tokenizer *)1;

/* ---- a source that knows what comes, and lies as often as it is told ---- */

struct oracle {
    struct draft_source source;
    const struct recorder *answers; /* [N_RUNS]: by the first token of the prompt */
    uint32_t n_prompt[N_RUNS];
    uint32_t lies;         /* of 16 tokens */
    uint32_t wrong_offset; /* what a lie adds to a token; large: no token of the vocabulary */
    uint32_t n_joined[64]; /* sequences in each slot: never more than one */
    uint32_t n_known[64];  /* settled */
    uint32_t n_looks, n_settled;
};

static struct oracle *oracle_of(struct draft_source *source) { return (struct oracle *)(void *)source; }

static int oracle_prepare(struct draft_source *source, const struct draft_limits *limits, struct error *err)
{
    (void)source, (void)err;
    assert_int_equal(limits->n_vocab, FAKE_VOCAB);
    assert_in_range(limits->max_sequences, 1, 64);
    return 0;
}

static void oracle_join(struct draft_source *source, uint32_t slot)
{
    assert_int_equal(oracle_of(source)->n_joined[slot]++, 0);
    oracle_of(source)->n_known[slot] = 0;
}

static void oracle_leave(struct draft_source *source, uint32_t slot)
{
    assert_int_equal(oracle_of(source)->n_joined[slot]--, 1);
}

static bool oracle_look(struct draft_source *source, struct draft *draft)
{
    struct oracle *oracle = oracle_of(source);
    oracle->n_looks++;
    assert_int_equal(oracle->n_joined[draft->slot], 1);
    if (oracle->n_known[draft->slot] > 0) assert_int_equal(oracle->n_known[draft->slot], draft->n_known);
    draft->grade = draft->n_known % DRAFT_GRADES;
    return true;
}

static void oracle_propose(struct draft_source *source, struct draft *drafts, uint32_t n_drafts)
{
    struct oracle *oracle = oracle_of(source);
    for (uint32_t i = 0; i < n_drafts; i++) {
        struct draft *draft = &drafts[i];
        assert_in_range(draft->n, 1, DRAFT_MOST);
        assert_true(draft->n_known + draft->n < draft->n_longest);
        const uint32_t run = draft->tokens[0];
        assert_in_range(run, 0, N_RUNS - 1);
        const struct recorder *answer = &oracle->answers[run];
        for (uint32_t j = 0; j < draft->n; j++) {
            const uint32_t place = draft->n_known + j - oracle->n_prompt[run];
            uint32_t token = place < answer->n_tokens ? answer->tokens[place] : 0;
            if (random_bits(9, run, place, oracle->lies) % 16 < oracle->lies) {
                token += oracle->wrong_offset;
                if (oracle->wrong_offset < FAKE_VOCAB) token %= FAKE_VOCAB;
            }
            draft->tokens[draft->n_known + j] = token;
        }
    }
}

static void oracle_settle(struct draft_source *source, uint32_t slot, uint32_t n_known)
{
    oracle_of(source)->n_known[slot] = n_known;
    oracle_of(source)->n_settled++;
}

static void oracle_close(struct draft_source *source) { (void)source; }

static const struct draft_source_operations oracle_operations = {
    .prepare = oracle_prepare,
    .join = oracle_join,
    .leave = oracle_leave,
    .look = oracle_look,
    .propose = oracle_propose,
    .settle = oracle_settle,
    .close = oracle_close,
};

/* ---- running the same sequences in many ways ---- */

struct way {
    struct draft_source *source; /* NULL: without */
    bool always;
    struct sampling sampling;
    bool with_ends;         /* tokens end sequences */
    uint32_t stop_after;    /* of each */
    bool cancels;           /* sequences cancel themselves at stop_after instead */
    bool with_logits;       /* of the sequences of even number */
    uint32_t max_sequences; /* of the engine */
    uint32_t chunk;
    uint64_t card_bytes;
    float habit;
};

static void prompt_make(uint32_t *prompt, uint32_t run, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) prompt[i] = random_bits(21, run, i, 0) % FAKE_VOCAB;
    prompt[0] = run;
}

static uint32_t prompt_length(uint32_t run) { return 3 + 29 * run; }
static uint32_t n_new(uint32_t run) { return 150 - 21 * run; }

static int cancel_late(void *context, uint32_t token)
{
    struct recorder *recorder = context, as_usual = *recorder;
    as_usual.stop_after = 0;
    as_usual.cancel_in = NULL;
    (void)recorder_token(&as_usual, token);
    recorder->n_tokens = as_usual.n_tokens;
    recorder->tokens[recorder->n_tokens - 1] = token;
    if (recorder->n_tokens == recorder->stop_after) engine_cancel(recorder->cancel_in, recorder->id);
    return 0;
}

/* The engine that a way wants; with what it starts from. */
static struct engine *open_way(const struct way *way, struct loaded_model *loaded)
{
    struct engine *engine;
    struct error err = {0};
    const struct engine_options options = {.context = CONTEXT,
                                           .max_sequences = way->max_sequences ? way->max_sequences : 4,
                                           .chunk = way->chunk,
                                           .draft = way->source};
    fake_model_make(loaded, CONTEXT, way->card_bytes ? way->card_bytes : 64 << 20, 0);
    loaded->habit = way->habit;
    if (engine_open(loaded, way->with_ends ? some_tokenizer : NULL, &options, &engine, &err) < 0)
        fail_msg("%s", err.text);
    engine->draft_policy.always = way->always;
    return engine;
}

static void submit_run(struct engine *engine, const struct way *way, uint32_t run, struct recorder *recorder)
{
    uint32_t prompt[CONTEXT];
    struct error err = {0};
    *recorder = (struct recorder){.n_vocab = way->with_logits && run % 2 == 0 ? FAKE_VOCAB : 0,
                                  .stop_after = way->stop_after ? way->stop_after + 5 * run : 0};
    prompt_make(prompt, run, prompt_length(run));
    struct engine_request request = recorder_request(recorder, prompt, prompt_length(run), n_new(run));
    request.ignore_eos = !way->with_ends;
    request.sampling = way->sampling;
    if (way->cancels) {
        request.callbacks.token = cancel_late;
        recorder->cancel_in = engine;
    }
    if (engine_submit(engine, &request, &recorder->id, &err) < 0) fail_msg("%s", err.text);
}

static bool step_validated(struct engine *engine)
{
    struct error err = {0};
    const int status = engine_step(engine, &err);
    if (status < 0 || engine_validate(engine, &err) < 0) fail_msg("%s", err.text);
    return status > 0;
}

static void step_until_idle(struct engine *engine)
{
    while (step_validated(engine)) {}
}

/* All runs at once; recorders stay with the caller. Returns the engine's counters at the end. */
static struct engine_counters run_way(const struct way *way, struct recorder *recorders)
{
    struct loaded_model loaded;
    struct engine_counters counters;
    struct engine *engine = open_way(way, &loaded);
    uint64_t n_drafted = 0, n_accepted = 0;
    for (uint32_t run = 0; run < N_RUNS; run++) submit_run(engine, way, run, &recorders[run]);
    step_until_idle(engine);
    engine_count(engine, &counters);
    for (uint32_t run = 0; run < N_RUNS; run++) {
        assert_int_equal(recorders[run].n_ends, 1);
        n_drafted += recorders[run].usage.drafted_tokens;
        n_accepted += recorders[run].usage.accepted_tokens;
    }
    assert_int_equal(counters.drafted_tokens, n_drafted);
    assert_int_equal(counters.accepted_tokens, n_accepted);
    assert_true(n_accepted <= n_drafted);
    assert_int_equal(counters.pages_used, 0);
    assert_int_equal(counters.pages_reserved, 0);
    engine_close(engine);
    return counters;
}

static void assert_same_runs(const struct recorder *got, const struct recorder *expected)
{
    for (uint32_t run = 0; run < N_RUNS; run++) {
        assert_int_equal(got[run].n_tokens, expected[run].n_tokens);
        assert_memory_equal(got[run].tokens, expected[run].tokens, got[run].n_tokens * sizeof(uint32_t));
        assert_int_equal(got[run].reason, expected[run].reason);
        assert_int_equal(got[run].usage.completion_tokens, expected[run].usage.completion_tokens);
        assert_int_equal(got[run].n_rows, expected[run].n_rows);
        if (got[run].n_rows)
            assert_memory_equal(got[run].rows, expected[run].rows,
                                (size_t)got[run].n_rows * got[run].n_vocab * sizeof(float));
    }
}

static void free_runs(struct recorder *recorders)
{
    for (uint32_t run = 0; run < N_RUNS; run++) recorder_free(&recorders[run]);
}

/* Ways without a source; each is compared with itself under every source. */
static const struct way plain_ways[] = {
    {.sampling = {.top_p = 1}},
    {.sampling = {.top_p = 1}, .habit = 6},
    {.sampling = {.top_p = 1}, .habit = 9},
    {.sampling = {.top_p = 1, .temperature = 0.7f, .seed = 3}, .habit = 6},
    {.sampling = {.top_p = 0.9f, .temperature = 1.5f, .top_k = 20, .seed = 4}, .habit = 6, .chunk = 5},
    {.sampling = {.top_p = 1}, .habit = 9, .with_logits = true},
    {.sampling = {.top_p = 1, .temperature = 1, .seed = 8}, .habit = 7, .with_logits = true, .chunk = 3},
    {.sampling = {.top_p = 1, .temperature = 1, .seed = 5}, .habit = 5, .with_ends = true},
    {.sampling = {.top_p = 1}, .habit = 6, .stop_after = 31},
    {.sampling = {.top_p = 1}, .habit = 6, .stop_after = 37, .cancels = true},
    {.sampling = {.top_p = 1}, .habit = 6, .max_sequences = 1, .chunk = 1},
    {.sampling = {.top_p = 1}, .habit = 6, .max_sequences = 6, .card_bytes = 14 * FAKE_PAGE_BYTES},
    {.sampling = {.top_p = 1, .temperature = 0.5f, .seed = 6}, .habit = 8, .max_sequences = 16, .chunk = 64},
};
#define N_WAYS (sizeof plain_ways / sizeof plain_ways[0])

static void test_an_oracle_of_any_honesty(void **state)
{
    (void)state;
    static const uint32_t honesty[][2] = {{0, 1}, {1, 1}, {6, 1}, {16, 1}, {3, 1000}};
    for (size_t w = 0; w < N_WAYS; w++) {
        struct recorder plain[N_RUNS], drafted[N_RUNS];
        const struct engine_counters without = run_way(&plain_ways[w], plain);
        assert_int_equal(without.drafted_tokens, 0);
        for (size_t h = 0; h < sizeof honesty / sizeof honesty[0]; h++) {
            for (int always = 0; always < 2; always++) {
                struct oracle oracle = {.source = {.operations = &oracle_operations,
                                                   .name = "oracle",
                                                   .first_chance = {0.7f, 0.6f, 0.5f, 0.8f}},
                                        .answers = plain,
                                        .lies = honesty[h][0],
                                        .wrong_offset = honesty[h][1]};
                for (uint32_t run = 0; run < N_RUNS; run++) oracle.n_prompt[run] = prompt_length(run);
                struct way way = plain_ways[w];
                way.source = &oracle.source;
                way.always = always;
                const struct engine_counters with = run_way(&way, drafted);
                assert_same_runs(drafted, plain);
                assert_true(oracle.n_looks > 0 && oracle.n_settled > 0);
                if (oracle.lies == 0) assert_true(with.accepted_tokens > 0);
                if (oracle.lies == 0 && always && way.chunk != 1) assert_true(with.steps < without.steps);
                if (oracle.lies == 16) assert_int_equal(with.accepted_tokens, 0);
                free_runs(drafted);
            }
        }
        free_runs(plain);
    }
}

static void test_lookup(void **state)
{
    (void)state;
    for (size_t w = 0; w < N_WAYS; w++) {
        struct recorder plain[N_RUNS], drafted[N_RUNS];
        const struct engine_counters without = run_way(&plain_ways[w], plain);
        for (int always = 0; always < 2; always++) {
            struct way way = plain_ways[w];
            struct error err = {0};
            assert_int_equal(draft_lookup_make(&way.source, &err), 0);
            way.always = always;
            const struct engine_counters with = run_way(&way, drafted);
            draft_source_close(way.source);
            assert_same_runs(drafted, plain);
            if (way.habit > 8 && always) assert_true(with.steps < without.steps / 2); /* it goes in circles */
            free_runs(drafted);
        }
        free_runs(plain);
    }
}

static void test_draft_model(void **state)
{
    (void)state;
    for (size_t w = 0; w < N_WAYS; w++) {
        struct recorder plain[N_RUNS], drafted[N_RUNS];
        const struct engine_counters without = run_way(&plain_ways[w], plain);
        for (uint32_t kind = 0; kind < 6; kind++) {
            struct way way = plain_ways[w];
            struct loaded_model other;
            struct error err = {0};
            /* The same model, another one, or the same with fewer tokens of context than the sequences have. */
            fake_model_make(&other, kind / 2 == 2 ? 50 : CONTEXT, 64 << 20, 0);
            other.habit = way.habit;
            other.salt = kind / 2 == 1;
            assert_int_equal(draft_model_make(&other, &way.source, &err), 0);
            way.always = kind % 2;
            const struct engine_counters with = run_way(&way, drafted);
            draft_source_close(way.source);
            assert_same_runs(drafted, plain);
            if (way.always) assert_true(other.steps > 0);
            if (way.always && other.salt == 0) assert_true(with.accepted_tokens > 0);
            if (kind == 1) {
                assert_true(with.steps < without.steps);
                /* Only behind an end is anything drafted and not accepted. */
                if (!way.with_ends && !way.stop_after) assert_int_equal(with.accepted_tokens, with.drafted_tokens);
            }
            free_runs(drafted);
        }
        free_runs(plain);
    }
}

static void test_accepted_tokens_are_counted(void **state)
{
    (void)state;
    struct recorder plain, drafted;
    struct loaded_model loaded;
    struct engine_counters counters;
    struct way way = {.sampling = {.top_p = 1}, .max_sequences = 1};
    struct engine *engine = open_way(&way, &loaded);
    submit_run(engine, &way, 0, &plain);
    step_until_idle(engine);
    engine_close(engine);
    for (uint32_t lies = 0; lies <= 16; lies += 16) {
        struct oracle oracle = {.source = {.operations = &oracle_operations, .first_chance = {0.5f, 0.5f, 0.5f, 0.5f}},
                                .answers = &plain,
                                .n_prompt = {prompt_length(0)},
                                .lies = lies,
                                .wrong_offset = 1};
        way.source = &oracle.source;
        way.always = true;
        engine = open_way(&way, &loaded);
        submit_run(engine, &way, 0, &drafted);
        step_until_idle(engine);
        engine_count(engine, &counters);
        assert_int_equal(drafted.n_tokens, 150);
        assert_memory_equal(drafted.tokens, plain.tokens, sizeof plain.tokens);
        /* 150 tokens: one of the prompt's step; honest ones come 17 at a time, 8 * 17 and 13 more. */
        assert_int_equal(counters.steps, lies ? 150 : 1 + 8 + 1);
        assert_int_equal(counters.accepted_tokens, lies ? 0 : 8 * 16 + 12);
        uint64_t lied = 0;
        for (uint32_t sampled = 1; sampled < 150; sampled++) lied += 149 - sampled < 16 ? 149 - sampled : 16;
        assert_int_equal(counters.drafted_tokens, lies ? lied : 8 * 16 + 12);
        assert_int_equal(counters.completion_tokens, 150);
        engine_close(engine);
    }
}

/* Steps that hold fewer tokens, or fewer rows of logits, than all drafts would like: the fake model counts. */
static void test_drafts_stay_within_a_step(void **state)
{
    (void)state;
    struct recorder plain[N_RUNS], drafted[N_RUNS];
    struct way way = {.sampling = {.top_p = 1}, .max_sequences = 6, .chunk = 512}; /* all prompts in the first step */
    run_way(&way, plain);
    for (uint32_t room = 0; room < 20; room++) {
        struct oracle oracle = {
            .source = {.operations = &oracle_operations}, .answers = plain, .lies = 1, .wrong_offset = 1};
        for (uint32_t run = 0; run < N_RUNS; run++) oracle.n_prompt[run] = prompt_length(run);
        struct loaded_model loaded;
        struct engine_counters counters;
        way.source = &oracle.source;
        way.always = true;
        struct engine *engine = open_way(&way, &loaded);
        for (uint32_t run = 0; run < N_RUNS; run++) submit_run(engine, &way, run, &drafted[run]);
        step_validated(engine);
        if (room % 2)
            engine->step_limits.max_tokens = 6 + room / 2;
        else
            engine->step_limits.max_logit_rows = 6 + room / 2;
        engine->memory->limits = engine->step_limits;
        step_until_idle(engine);
        engine_count(engine, &counters);
        assert_same_runs(drafted, plain);
        assert_int_equal(counters.accepted_tokens > 0, room > 0);
        engine_close(engine);
    }
}

/* A chat's second turn over pages that were written while drafts came and went. */
static void test_only_accepted_tokens_are_remembered(void **state)
{
    (void)state;
    for (uint32_t lies = 0; lies <= 16; lies += 4) {
        struct loaded_model loaded;
        struct error err = {0};
        struct way way = {.sampling = {.top_p = 1}, .max_sequences = 2};
        struct recorder plain[2], first, second = {0}, cold = {0};
        uint32_t prompt[CONTEXT];
        struct engine *engine = open_way(&way, &loaded);
        submit_run(engine, &way, 1, &plain[1]);
        step_until_idle(engine);
        engine_close(engine);

        struct oracle oracle = {.source = {.operations = &oracle_operations, .first_chance = {0.5f, 0.5f, 0.5f, 0.5f}},
                                .answers = plain,
                                .n_prompt = {0, prompt_length(1)},
                                .lies = lies,
                                .wrong_offset = 1};
        way.source = &oracle.source;
        way.always = true;
        engine = open_way(&way, &loaded);
        submit_run(engine, &way, 1, &first);
        step_until_idle(engine);
        engine->draft_source = NULL; /* what follows shall show the pages, not the drafts */
        prompt_make(prompt, 1, prompt_length(1));
        memcpy(prompt + prompt_length(1), first.tokens, first.n_tokens * sizeof *prompt);
        const uint32_t n = prompt_length(1) + first.n_tokens;
        struct engine_request request = recorder_request(&second, prompt, n, 40);
        assert_int_equal(engine_submit(engine, &request, &second.id, &err), 0);
        step_until_idle(engine);
        request.context = &cold;
        request.prefix = PREFIX_COMPUTED;
        assert_int_equal(engine_submit(engine, &request, &cold.id, &err), 0);
        step_until_idle(engine);
        assert_int_equal(second.usage.cached_tokens, (n - 1) / CARD_PAGE_TOKENS * CARD_PAGE_TOKENS);
        assert_memory_equal(second.tokens, cold.tokens, sizeof cold.tokens);
        engine_close(engine);
    }
}

static void test_a_recurrent_model_does_not_speculate(void **state)
{
    (void)state;
    struct loaded_model loaded, other;
    struct engine_limits limits;
    struct engine_counters counters;
    struct recorder recorder;
    struct error err = {0};
    struct draft_source *source;
    const struct way way = {.sampling = {.top_p = 1}, .habit = 9};
    assert_int_equal(draft_lookup_make(&source, &err), 0);
    const struct engine_options options = {.context = CONTEXT, .max_sequences = 2, .draft = source};
    for (int recurrent = 0; recurrent < 2; recurrent++) {
        struct engine *engine;
        struct draft_source *again;
        assert_int_equal(draft_lookup_make(&again, &err), 0);
        struct engine_options with = options;
        with.draft = again;
        fake_model_make(&loaded, CONTEXT, 64 << 20, 0);
        loaded.model.config.recurrent = recurrent;
        loaded.habit = 9;
        assert_int_equal(engine_open(&loaded, NULL, &with, &engine, &err), 0);
        engine_get_limits(engine, &limits);
        assert_int_equal(limits.speculates, !recurrent);
        engine->draft_policy.always = true;
        submit_run(engine, &way, 0, &recorder);
        step_until_idle(engine);
        engine_count(engine, &counters);
        assert_int_equal(counters.drafted_tokens > 0, !recurrent);
        assert_int_equal(recorder.n_tokens, 150);
        engine_close(engine);
        draft_source_close(again);
    }
    draft_source_close(source);

    fake_model_make(&other, CONTEXT, 64 << 20, 0);
    other.model.config.recurrent = true;
    assert_int_equal(draft_model_make(&other, &source, &err), ERROR_UNSUPPORTED);
}

/* The draft model's card fails now and then, or for good: the engine goes on. */
static void test_a_failing_draft_model_changes_nothing(void **state)
{
    (void)state;
    static const uint32_t n_failures[] = {1, 2, 1000};
    struct recorder plain[N_RUNS], drafted[N_RUNS];
    struct way way = {.sampling = {.top_p = 1, .temperature = 1, .seed = 2}, .habit = 6};
    run_way(&way, plain);
    way.always = true;
    for (size_t i = 0; i < 3; i++) {
        struct loaded_model other;
        struct error err = {0};
        fake_model_make(&other, CONTEXT, 64 << 20, 0);
        other.habit = 6;
        assert_int_equal(draft_model_make(&other, &way.source, &err), 0);
        other.fail_steps = n_failures[i];
        const struct engine_counters counters = run_way(&way, drafted);
        draft_source_close(way.source);
        assert_same_runs(drafted, plain);
        assert_int_equal(counters.drafted_tokens > 0, i < 2);
        if (i == 2) assert_int_equal(other.steps, 3); /* then it is left alone */
        free_runs(drafted);
    }
    free_runs(plain);
}

/* Pages of the draft model for one sequence at a time: the others go without. */
static void test_a_draft_model_short_of_pages(void **state)
{
    (void)state;
    struct recorder plain[N_RUNS], drafted[N_RUNS];
    struct way way = {.sampling = {.top_p = 1}, .habit = 6, .max_sequences = 6};
    struct loaded_model other;
    struct error err = {0};
    run_way(&way, plain);
    way.always = true;
    fake_model_make(&other, CONTEXT, 64 << 20, 0);
    other.refuse_pages_over = 10;
    assert_int_equal(draft_model_make(&other, &way.source, &err), 0);
    const struct engine_counters counters = run_way(&way, drafted);
    draft_source_close(way.source);
    assert_same_runs(drafted, plain);
    assert_true(counters.drafted_tokens > 0);
    uint32_t n_without = 0;
    for (uint32_t run = 0; run < N_RUNS; run++) n_without += drafted[run].usage.drafted_tokens == 0;
    assert_in_range(n_without, 1, N_RUNS - 1);
    free_runs(drafted);

    other.refuse_pages_over = 9; /* a context of 300 tokens needs 10 */
    assert_int_equal(draft_model_make(&other, &way.source, &err), 0);
    struct loaded_model loaded;
    struct engine *engine;
    const struct engine_options options = {.context = CONTEXT, .max_sequences = 6, .draft = way.source};
    fake_model_make(&loaded, CONTEXT, 64 << 20, 0);
    assert_int_equal(engine_open(&loaded, NULL, &options, &engine, &err), ERROR_NO_MEMORY);
    assert_non_null(strstr(err.text, "the draft model"));
    draft_source_close(way.source);
    free_runs(plain);
}

/* On the same card the draft model's pages and step memory are part of what the engine counts. */
static void test_capacity_counts_the_draft_model(void **state)
{
    (void)state;
    uint32_t n_pages[3];
    for (int i = 0; i < 3; i++) {
        struct loaded_model loaded, other;
        struct draft_source *source = NULL;
        struct engine *engine;
        struct engine_limits limits;
        struct error err = {0};
        fake_model_make(&loaded, CONTEXT, 43 * FAKE_PAGE_BYTES, 0);
        fake_model_make(&other, CONTEXT, 43 * FAKE_PAGE_BYTES, 0);
        if (i > 0) assert_int_equal(draft_model_make(i == 1 ? &loaded : &other, &source, &err), 0);
        const struct engine_options options = {.context = CONTEXT, .max_sequences = 4, .draft = source};
        if (engine_open(&loaded, NULL, &options, &engine, &err) < 0) fail_msg("%s", err.text);
        engine_get_limits(engine, &limits);
        n_pages[i] = limits.n_pages;
        engine_close(engine);
        draft_source_close(source);
    }
    assert_int_equal(n_pages[0], 40); /* all four sequences */
    assert_int_equal(n_pages[1], 20); /* half of what there is */
    assert_int_equal(n_pages[2], 40); /* on a card of its own */
}

/* ---- lookup by itself ---- */

/* The longest match of at least 2, the most recent of these: the place after it, or 0. */
static uint32_t match_slowly(const uint32_t *tokens, uint32_t n)
{
    uint32_t longest = 1, from = 0;
    for (uint32_t end = n - 1; end >= 2; end--) { /* the match is before end */
        uint32_t length = 0;
        while (length < end && length < 16 && tokens[end - 1 - length] == tokens[n - 1 - length]) length++;
        if (length > longest) longest = length, from = end;
    }
    return from;
}

static void test_lookup_finds_the_longest_match(void **state)
{
    (void)state;
    enum { N = 400 };
    struct draft_source *source;
    struct error err = {0};
    const struct draft_limits limits = {.max_sequences = 2, .context = N + 20, .chunk = 1, .n_vocab = 100};
    uint32_t tokens[N + 20], n_found = 0, n_graded[DRAFT_GRADES] = {0};
    assert_int_equal(draft_lookup_make(&source, &err), 0);
    assert_int_equal(source->operations->prepare(source, &limits, &err), 0);
    for (uint32_t turn = 0; turn < 60; turn++) {
        const uint32_t slot = turn % 2, n_kinds = 2 + turn; /* with few kinds chains are longer than what is walked */
        for (uint32_t i = 0; i < N; i++) tokens[i] = random_bits(77, turn, i, 0) % n_kinds;
        for (uint32_t i = 100; i < 130; i++) tokens[i] = tokens[i - 60];
        source->operations->join(source, slot);
        for (uint32_t n = 1; n <= N; n += 1 + turn % 3) {
            struct draft draft = {.slot = slot, .tokens = tokens, .n_known = n, .n = 12};
            const uint32_t expected = n > 2 ? match_slowly(tokens, n) : 0;
            const bool found = source->operations->look(source, &draft);
            assert_int_equal(found, expected > 0);
            if (!found) continue;
            n_found++;
            n_graded[draft.grade]++;
            if (n_kinds > 12) assert_int_equal(draft.from, expected);
            uint32_t copy[N + 20];
            memcpy(copy, tokens, sizeof copy);
            draft.tokens = copy;
            source->operations->propose(source, &draft, 1);
            assert_int_equal(draft.n, 12);
            assert_memory_equal(copy, tokens, n * sizeof *copy);
            for (uint32_t j = 0; j < 12; j++) assert_int_equal(copy[n + j], copy[draft.from + j]);
        }
        source->operations->leave(source, slot);
    }
    assert_true(n_found > 1000);
    for (uint32_t g = 0; g < DRAFT_GRADES; g++) assert_true(n_graded[g] > 20);
    draft_source_close(source);
}

/* ---- how long ---- */

static void observe(struct draft_policy *policy, double fixed, double each)
{
    for (uint32_t i = 0; i < 100; i++) {
        const uint32_t m = 1 + random_bits(5, 0, i, 0) % 9;
        draft_policy_observe(policy, m, fixed + each * m);
    }
}

static uint32_t length_after(const struct draft_policy *policy, struct draft_record *record, uint32_t n_sequences,
                             double round_seconds)
{
    struct draft_plan plan = {.n_tokens = n_sequences, .n_expected = n_sequences};
    struct draft_record copy = *record;
    return draft_policy_length(policy, &copy, DRAFT_MOST, round_seconds, &plan);
}

static void test_policy(void **state)
{
    (void)state;
    struct draft_policy cheap = {0}, dear = {0}, hopeless = {0};
    struct draft_record good, fair, bad, all;
    draft_record_begin(&good, 0.5f);
    draft_record_begin(&fair, 0.5f);
    draft_record_begin(&bad, 0.5f);
    draft_record_begin(&all, 0.5f);
    observe(&cheap, 1, 0.02);
    observe(&dear, 1, 0.5);
    observe(&hopeless, 0, 1);
    assert_true(draft_policy_seconds(&cheap, 1) > 1.01 && draft_policy_seconds(&cheap, 1) < 1.03);
    assert_true(draft_policy_seconds(&dear, 5) > 3.4 && draft_policy_seconds(&dear, 5) < 3.6);
    for (int i = 0; i < 50; i++) {
        draft_record_result(&good, &all, 16, false);
        draft_record_result(&fair, &all, 1, true);
        draft_record_result(&bad, &all, 0, true);
    }
    assert_int_equal(length_after(&cheap, &good, 1, 0), DRAFT_MOST);
    assert_int_equal(length_after(&dear, &good, 1, 0), DRAFT_MOST);
    assert_int_equal(length_after(&hopeless, &fair, 1, 0), 0); /* a token costs as much as a step */
    assert_int_equal(length_after(&cheap, &bad, 1, 0), 0);
    /* Half of the tokens are right: drafts of k bring 2 - 2^-k in 1 + 0.02 (1 + k) seconds. */
    double best = 0;
    uint32_t best_length = 0;
    for (uint32_t k = 0; k <= DRAFT_MOST; k++) {
        const double rate = (2 - 1.0 / (1u << k)) / (1 + 0.02 * (1 + k));
        if (rate > best) best = rate, best_length = k;
    }
    assert_int_equal(length_after(&cheap, &fair, 1, 0), best_length);
    assert_int_equal(length_after(&dear, &fair, 1, 0), 1);
    assert_int_equal(length_after(&dear, &fair, 8, 0), 0);    /* the step is long already, and full */
    assert_int_equal(length_after(&cheap, &fair, 1, 0.6), 0); /* the source costs too much */

    /* What is always wrong is tried ever less often; when it is right again, it comes back. */
    uint32_t n_trials = 0, n_back = 0;
    for (uint32_t step = 0; step < 4000; step++) {
        struct draft_plan plan = {.n_tokens = 1, .n_expected = 1};
        if (draft_policy_length(&cheap, &bad, 4, 0, &plan) == 0) continue;
        n_trials++;
        draft_record_result(&bad, &all, 0, true);
    }
    assert_in_range(n_trials, 10, 25);
    for (; n_back < 1000; n_back++) {
        struct draft_plan plan = {.n_tokens = 1, .n_expected = 1};
        const uint32_t n = draft_policy_length(&cheap, &bad, 4, 0, &plan);
        if (n == 4) break;
        if (n > 0) draft_record_result(&bad, &all, n, false);
    }
    assert_in_range(n_back, 1, 600);

    /* A new sequence begins where the others are. */
    draft_record_inherit(&fair, &bad);
    assert_int_equal(fair.tried * bad.kept > 0, bad.kept > 0);
    assert_int_equal(fair.pause, bad.pause);
    assert_in_range((uint32_t)(1000 * fair.kept / fair.tried), (uint32_t)(1000 * bad.kept / bad.tried) - 1,
                    (uint32_t)(1000 * bad.kept / bad.tried) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_oracle_of_any_honesty),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_draft_model),
        cmocka_unit_test(test_accepted_tokens_are_counted),
        cmocka_unit_test(test_drafts_stay_within_a_step),
        cmocka_unit_test(test_only_accepted_tokens_are_remembered),
        cmocka_unit_test(test_a_recurrent_model_does_not_speculate),
        cmocka_unit_test(test_a_failing_draft_model_changes_nothing),
        cmocka_unit_test(test_a_draft_model_short_of_pages),
        cmocka_unit_test(test_capacity_counts_the_draft_model),
        cmocka_unit_test(test_lookup_finds_the_longest_match),
        cmocka_unit_test(test_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
