/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over real models on the simulated card: a sequence's bits depend on nothing but the sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/completion.h"
#include "host/engine/sequence.h"
#include "host/text/utf8.h"
#include "tests/unit/engine/model_engine.h"
#include "tests/unit/engine/recorder.h"

#include <glob.h>
#include <stdio.h>

#define N_PROMPT 45u
#define N_NEW 12u

static void prompt_make(uint32_t *prompt, uint32_t n, uint32_t salt, uint32_t n_vocab)
{
    for (uint32_t i = 0; i < n; i++) prompt[i] = random_bits(salt, 0, i, 0) % n_vocab;
}

static void submit(struct model_engine *all, struct recorder *recorder, uint32_t salt, uint32_t n_prompt,
                   uint32_t max_tokens)
{
    uint32_t prompt[64];
    struct error err = {0};
    prompt_make(prompt, n_prompt, salt, model_get_config(all->model)->n_vocab);
    struct engine_request request = recorder_request(recorder, prompt, n_prompt, max_tokens);
    if (engine_submit(all->engine, &request, &recorder->id, &err) < 0) fail_msg("%s", err.text);
}

static void finish(struct engine *engine, const struct recorder *recorder)
{
    struct error err = {0};
    while (!recorder->n_ends) {
        if (engine_step(engine, &err) < 0 || engine_validate(engine, &err) < 0) fail_msg("%s", err.text);
    }
}

/* One sequence with so many others before and behind it in the same steps; recorder keeps its logits and tokens. */
static void run_beside(const char *path, unsigned kv_format, unsigned threads, uint32_t chunk, uint32_t beside,
                       struct recorder *recorder)
{
    struct model_engine all;
    struct recorder others[4] = {0};
    const struct engine_options options = {
        .max_sequences = 1 + beside, .chunk = chunk, .context = 128, .kv_format = kv_format};
    model_engine_open(&all, path, threads, &options);
    *recorder = (struct recorder){.n_vocab = model_get_config(all.model)->n_vocab};
    for (uint32_t i = 0; i < beside; i++) {
        if (i == beside / 2) submit(&all, recorder, 1000, N_PROMPT, N_NEW);
        submit(&all, &others[i], i, 3 + 17 * i, 60);
    }
    if (beside == 0) submit(&all, recorder, 1000, N_PROMPT, N_NEW);
    finish(all.engine, recorder);
    assert_int_equal(recorder->reason, FINISH_LENGTH);
    /* Where an encoder reads the prompt, the decoder has its start token only. */
    const bool has_encoder = model_get_config(all.model)->n_encoder_layers > 0;
    assert_int_equal(recorder->n_rows, (has_encoder ? 1 : N_PROMPT) + N_NEW - 1);
    model_engine_close(&all);
}

static void assert_same_bits(const char *path, unsigned kv_format)
{
    static const struct {
        unsigned threads;
        uint32_t chunk, beside;
    } ways[] = {{1, 1, 0}, {2, 256, 0}, {1, 3, 3}, {2, 7, 1}, {2, 256, 4}};
    struct recorder alone, other;
    run_beside(path, kv_format, 1, 256, 0, &alone);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        run_beside(path, kv_format, ways[i].threads, ways[i].chunk, ways[i].beside, &other);
        assert_memory_equal(other.tokens, alone.tokens, N_NEW * sizeof(uint32_t));
        assert_memory_equal(other.rows, alone.rows, (size_t)alone.n_rows * alone.n_vocab * sizeof(float));
        recorder_free(&other);
    }
    recorder_free(&alone);
}

static void test_same_bits_in_every_way(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(FIXTURES "/models/*/model-q4_*.gguf", 0, NULL, &found), 0);
    assert_in_range(found.gl_pathc, 20, 100); /* each kind of attention, and Q4_K */
    static const unsigned formats[] = {CARD_FORMAT_F16, CARD_FORMAT_INT8, CARD_FORMAT_INT4, CARD_FORMAT_F32};
    for (size_t i = 0; i < found.gl_pathc; i++)
        assert_same_bits(found.gl_pathv[i], formats[i % (sizeof formats / sizeof formats[0])]);
    globfree(&found);
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++)
        assert_same_bits(FIXTURES "/models/qwen3_moe/model-q4_0.gguf", formats[f]);
}

#define T5 FIXTURES "/models/t5/model-q4_0.gguf"

static void refused(struct engine *engine, const struct engine_request *request, int code, const char *words)
{
    uint64_t id;
    struct error err = {0};
    assert_int_equal(engine_submit(engine, request, &id, &err), code);
    if (strstr(err.text, words) == NULL) fail_msg("not about %s: %s", words, err.text);
}

/* What an encoder reads and what its decoder begins with, said apart, are what a prompt alone stands for. */
static void test_an_encoder_reads_the_source(void **state)
{
    (void)state;
    struct model_engine all;
    struct recorder by_prompt = {0}, by_source = {0};
    struct error err = {0};
    struct engine_limits limits;
    uint32_t source[300];
    const struct engine_options options = {.max_sequences = 2, .context = 256};
    model_engine_open(&all, T5, 1, &options);
    engine_get_limits(all.engine, &limits);
    assert_int_equal(limits.source, 128);
    by_prompt.n_vocab = by_source.n_vocab = model_get_config(all.model)->n_vocab;
    prompt_make(source, 300, 1000, by_prompt.n_vocab);
    const uint32_t start = model_get_config(all.model)->start_token;
    struct engine_request request = recorder_request(&by_source, &start, 1, N_NEW);
    request.source = source;
    request.n_source = N_PROMPT;
    submit(&all, &by_prompt, 1000, N_PROMPT, N_NEW);
    if (engine_submit(all.engine, &request, &by_source.id, &err) < 0) fail_msg("%s", err.text);
    finish(all.engine, &by_prompt);
    finish(all.engine, &by_source);
    assert_int_equal(by_source.n_rows, N_NEW);
    assert_memory_equal(by_prompt.rows, by_source.rows, (size_t)N_NEW * by_source.n_vocab * sizeof(float));
    recorder_free(&by_prompt);
    recorder_free(&by_source);

    request.n_source = 129;
    refused(all.engine, &request, ERROR_TOO_LARGE, "129 tokens, it reads 128 at most");
    request.n_source = 100; /* four pages */
    request.prompt = source;
    request.n_prompt = 129;
    refused(all.engine, &request, ERROR_TOO_LARGE, "the context holds 256");
    source[1] = by_source.n_vocab + UINT32_MAX / 2;
    request.n_prompt = 1;
    refused(all.engine, &request, ERROR_BAD_ARGUMENT, "place 1 of the encoder's input");
    model_engine_close(&all);

    model_engine_open(&all, FIXTURES "/models/llama/model-q4_0.gguf", 1, &options);
    refused(all.engine, &request, ERROR_BAD_ARGUMENT, "the model has none");
    model_engine_close(&all);
}

/* Capacity counts the bytes that pages of this format have, by the table in card_layout.h written out. */
static void test_pages_of_each_format_have_their_size(void **state)
{
    (void)state;
    static const struct {
        unsigned format;
        uint32_t group_bytes; /* of 32 dimensions of one token's key or value; 0: bytes of one dimension follow */
        uint32_t bytes;
    } formats[] = {
        {CARD_FORMAT_F32, 0, 4}, {CARD_FORMAT_F16, 0, 2}, {CARD_FORMAT_INT8, 34, 0}, {CARD_FORMAT_INT4, 20, 0}};
    uint32_t before = 0;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct model_engine all;
        struct engine_limits limits;
        const struct engine_options options = {.max_sequences = 512, .kv_format = formats[i].format};
        model_engine_open(&all, NULL, 1, &options);
        engine_get_limits(all.engine, &limits);
        const struct model_config *config = model_get_config(all.model);
        uint32_t groups = (config->head_dim + 31) / 32;
        uint64_t vector =
            formats[i].group_bytes ? groups * formats[i].group_bytes : config->head_dim * formats[i].bytes;
        assert_int_equal(limits.kv_format, formats[i].format);
        assert_int_equal(limits.page_bytes, 2ull * 32 * vector * config->n_kv_heads * config->n_layers);
        assert_true(limits.context > before); /* smaller pages, longer contexts in the same memory */
        before = limits.context;
        printf("%u dimensions, format %u: %llu bytes a page, context of %u for 512 sequences\n", config->head_dim,
               formats[i].format, (unsigned long long)limits.page_bytes, limits.context);
        model_engine_close(&all);
    }
}

/* Pages that one sequence leaves behind do not show in the next one's logits. */
static void test_used_pages_leave_no_trace(void **state)
{
    (void)state;
    struct model_engine all;
    const struct engine_options options = {.max_sequences = 1, .context = 64};
    struct recorder first = {0}, dirt = {0}, again = {0};
    model_engine_open(&all, NULL, 1, &options);
    first.n_vocab = again.n_vocab = model_get_config(all.model)->n_vocab;
    submit(&all, &first, 1, 40, 10);
    finish(all.engine, &first);
    submit(&all, &dirt, 2, 60, 4);
    finish(all.engine, &dirt);
    submit(&all, &again, 1, 40, 10);
    finish(all.engine, &again);
    assert_memory_equal(first.rows, again.rows, (size_t)first.n_rows * first.n_vocab * sizeof(float));
    recorder_free(&first);
    recorder_free(&again);
    model_engine_close(&all);
}

/* Text of a completion, with every piece checked. */
struct piece_log {
    struct text text;
    size_t ends[RECORDER_TOKENS]; /* of the pieces */
    uint32_t n_pieces;
    bool ended;
    enum finish_reason reason;
};

static void on_text(void *context, const char *bytes, size_t length)
{
    struct piece_log *log = context;
    struct error err = {0};
    for (size_t at = 0; at < length;) {
        unsigned n;
        assert_int_equal(utf8_scan((const uint8_t *)bytes + at, length - at, &n), UTF8_CHARACTER);
        at += n;
    }
    assert_int_equal(text_append(&log->text, bytes, length, &err), 0);
    log->ends[log->n_pieces++] = log->text.length;
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct piece_log *log = context;
    (void)usage, (void)err;
    log->ended = true;
    log->reason = reason;
}

static void complete(struct model_engine *all, const char *prompt, const struct sampling *sampling, const char *stop,
                     struct piece_log *log)
{
    struct token_list list = {0};
    struct completion *completion;
    struct error err = {0};
    *log = (struct piece_log){0};
    assert_int_equal(tokenize(all->tokenizer, prompt, strlen(prompt), TOKENIZE_PROMPT, &list, &err), 0);
    const struct completion_options options = {
        .prompt = list.ids,
        .n_prompt = list.count,
        .max_tokens = 60,
        .ignore_eos = true,
        .sampling = *sampling,
        .stops = &stop,
        .n_stops = stop != NULL,
        .text = on_text,
        .end = on_end,
        .context = log,
    };
    assert_int_equal(completion_start(all->engine, all->tokenizer, &options, &completion, &err), 0);
    while (!log->ended) assert_int_equal(engine_step(all->engine, &err), 1);
    completion_close(completion);
    token_list_free(&list);
}

static void test_text_of_a_completion(void **state)
{
    (void)state;
    struct model_engine all;
    const struct engine_options options = {.max_sequences = 1};
    const struct sampling greedy = {.top_p = 1}, wild = {.temperature = 20, .top_p = 1, .seed = 5};
    struct piece_log whole, stopped, noise;
    model_engine_open(&all, NULL, 2, &options);
    assert_non_null(all.tokenizer);
    complete(&all, "How do I list the cards?", &greedy, NULL, &whole);
    assert_int_equal(whole.reason, FINISH_LENGTH);
    assert_in_range(whole.n_pieces, 5, 60);

    /* Two bytes on each side of the border between the third and the fourth piece stop it there. */
    char stop[5] = {0};
    size_t border = whole.ends[2];
    memcpy(stop, whole.text.bytes + border - 2, 4);
    size_t first = (size_t)(strstr(whole.text.bytes, stop) - whole.text.bytes);
    complete(&all, "How do I list the cards?", &greedy, stop, &stopped);
    assert_int_equal(stopped.reason, FINISH_STOP);
    assert_int_equal(stopped.text.length, first);
    if (first > 0) assert_memory_equal(stopped.text.bytes, whole.text.bytes, first);

    for (int i = 0; i < 10; i++) { /* tokens at random: characters in pieces and broken ones; on_text checks */
        struct sampling sampling = wild;
        sampling.choice = (uint32_t)i;
        complete(&all, "x", &sampling, NULL, &noise);
        assert_int_equal(noise.reason, FINISH_LENGTH);
        text_free(&noise.text);
    }
    text_free(&whole.text);
    text_free(&stopped.text);
    model_engine_close(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_in_every_way),
        cmocka_unit_test(test_an_encoder_reads_the_source),
        cmocka_unit_test(test_pages_of_each_format_have_their_size),
        cmocka_unit_test(test_used_pages_leave_no_trace),
        cmocka_unit_test(test_text_of_a_completion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
