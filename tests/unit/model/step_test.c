/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading and stepping real files on both cards: memory is what was promised and returns, a token's logits have the
 * same bits in every batch, and wrong steps are refused before anything runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/model/tiny_model.h"

#include <math.h>

#define N_TOKENS 45u
#define N_PAGES 5u

static const char *const files[] = {"llama/model-q4_0.gguf", "llama_k256/model-q4_k.gguf", "qwen2/model-q8_0.gguf",
                                    "qwen3/model-f32.gguf", "qwen3_moe/model-q4_0.gguf"};
static const char *const cards[] = {"ref", "sim"};

struct fixture {
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct step_memory *memory;
    uint32_t n_vocab;
};

static uint64_t free_bytes(const struct card *card)
{
    struct card_info info;
    uint64_t bytes = 0;
    card_describe(card, &info);
    for (unsigned b = 0; b < info.n_banks; b++) bytes += info.bank[b].bytes_free;
    return bytes;
}

static struct step_limits limits_of(const struct card *card)
{
    struct card_info info;
    card_describe(card, &info);
    return (struct step_limits){.max_tokens = 2 * N_TOKENS,
                                .max_logit_rows = 2 * N_TOKENS,
                                .n_pages = N_PAGES,
                                .max_pages_in_tables = 4,
                                .kv_format = info.kv_default};
}

static void open_model(struct fixture *f, const char *file, const char *card)
{
    char path[512];
    struct error err = {0};
    (void)snprintf(path, sizeof path, "%s/models/%s", FIXTURES, file);
    if (model_open(path, &f->model, &err) < 0) fail_msg("%s", err.text);
    const struct card_options options = {.threads = 2, .memory_bytes = 64u << 20};
    if (card_open(card, &options, &f->card, &err) < 0) fail_msg("%s", err.text);
    f->n_vocab = model_get_config(f->model)->n_vocab;
}

/* kv_format 0: the card's default. */
static void open_with_pages(struct fixture *f, const char *file, const char *card, unsigned kv_format)
{
    struct error err = {0};
    open_model(f, file, card);
    if (model_load(f->model, f->card, NULL, &f->loaded, &err) < 0) fail_msg("%s", err.text);
    struct step_limits limits = limits_of(f->card);
    if (kv_format != 0) limits.kv_format = kv_format;
    if (step_memory_open(f->loaded, &limits, &f->memory, &err) < 0) fail_msg("%s", err.text);
}

static void open_all(struct fixture *f, const char *file, const char *card) { open_with_pages(f, file, card, 0); }

static void close_all(struct fixture *f)
{
    step_memory_close(f->memory);
    loaded_model_close(f->loaded);
    card_close(f->card);
    model_close(f->model);
    *f = (struct fixture){0};
}

static uint32_t token_at(const struct fixture *f, uint32_t i) { return (i * 37 + 11) % f->n_vocab; }

static void test_memory_is_what_was_promised_and_returns(void **state)
{
    (void)state;
    for (size_t c = 0; c < 2; c++)
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
            struct fixture f = {0};
            struct error err = {0};
            struct card_info info;
            struct model_card_needs needs;
            open_model(&f, files[i], cards[c]);
            uint64_t at_start = free_bytes(f.card);
            card_describe(f.card, &info);
            assert_int_equal(model_card_needs(f.model, &info, &needs, &err), 0);
            assert_int_equal(model_load(f.model, f.card, NULL, &f.loaded, &err), 0);
            uint64_t loaded = free_bytes(f.card);
            assert_int_equal(at_start - loaded, needs.expert_bytes + needs.other_bytes);
            assert_int_equal(at_start - loaded, loaded_model_card_bytes(f.loaded));
            assert_ptr_equal(loaded_model_source(f.loaded), f.model);
            struct step_limits limits = limits_of(f.card);
            card_describe(f.card, &info);
            assert_int_equal(step_memory_open(f.loaded, &limits, &f.memory, &err), 0);
            assert_int_equal(loaded - free_bytes(f.card), model_page_bytes(f.model, limits.kv_format) * limits.n_pages +
                                                              model_step_bytes(f.model, &info, &limits));
            step_memory_close(f.memory);
            assert_int_equal(free_bytes(f.card), loaded);
            loaded_model_close(f.loaded);
            assert_int_equal(free_bytes(f.card), at_start);
            card_close(f.card);
            model_close(f.model);
        }
}

/* The sequence in pieces of `chunk` tokens over these pages; logits[N_TOKENS][n_vocab]. */
static void run_chunks(struct fixture *f, uint32_t chunk, const uint32_t pages[2], float *logits)
{
    for (uint32_t at = 0; at < N_TOKENS; at += chunk) {
        uint32_t n = N_TOKENS - at < chunk ? N_TOKENS - at : chunk, tokens[N_TOKENS], rows[N_TOKENS];
        struct card_batch_token batch[N_TOKENS];
        struct error err = {0};
        for (uint32_t i = 0; i < n; i++) {
            tokens[i] = token_at(f, at + i);
            batch[i] = (struct card_batch_token){.position = at + i, .first_page = 0, .visible = at + i + 1};
            rows[i] = i;
        }
        const struct step step = {n, tokens, batch, 2, pages, n, rows, .sources = NULL};
        if (model_step(f->loaded, f->memory, &step, logits + (size_t)at * f->n_vocab, &err) < 0)
            fail_msg("%s", err.text);
    }
}

/* Two sequences side by side in one step, the second one shorter and of other tokens; the first one's logits of some rows. */
static void run_beside(struct fixture *f, const uint32_t rows[], uint32_t n_rows, float *logits)
{
    uint32_t tokens[2 * N_TOKENS], pages[4] = {4, 1, 0, 2}, n = 0;
    struct card_batch_token batch[2 * N_TOKENS];
    struct error err = {0};
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        tokens[n] = token_at(f, i);
        batch[n++] = (struct card_batch_token){.position = i, .first_page = 2, .visible = i + 1};
    }
    for (uint32_t i = 0; i < N_TOKENS - 10; i++) {
        tokens[n] = token_at(f, 3 * i + 1);
        batch[n++] = (struct card_batch_token){.position = i, .first_page = 0, .visible = i + 1};
    }
    const struct step step = {n, tokens, batch, 4, pages, n_rows, rows, .sources = NULL};
    if (model_step(f->loaded, f->memory, &step, logits, &err) < 0) fail_msg("%s", err.text);
}

static void test_logits_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    const uint32_t pages[2] = {3, 0}, other_pages[2] = {1, 4}, some_rows[3] = {0, 31, 44};
    for (size_t c = 0; c < 2; c++)
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
            struct fixture f = {0};
            open_all(&f, files[i], cards[c]);
            size_t n = (size_t)N_TOKENS * f.n_vocab;
            float *whole = calloc(n, sizeof *whole), *other = calloc(n, sizeof *other);
            run_chunks(&f, N_TOKENS, pages, whole);
            for (size_t k = 0; k < n; k++) assert_true(isfinite(whole[k]));
            assert_memory_not_equal(whole, whole + f.n_vocab, f.n_vocab * sizeof *whole);
            run_chunks(&f, 1, other_pages, other);
            assert_memory_equal(whole, other, n * sizeof *whole);
            run_chunks(&f, 7, pages, other);
            assert_memory_equal(whole, other, n * sizeof *whole);
            run_beside(&f, some_rows, 3, other);
            for (uint32_t r = 0; r < 3; r++)
                assert_memory_equal(whole + (size_t)some_rows[r] * f.n_vocab, other + (size_t)r * f.n_vocab,
                                    f.n_vocab * sizeof *whole);
            free(whole);
            free(other);
            close_all(&f);
        }
}

/* The logits of N_TOKENS tokens with pages of this format; the caller's to free. */
static float *logits_with_pages(const char *file, const char *card, unsigned kv_format, uint32_t *n_vocab)
{
    const uint32_t pages[2] = {2, 4};
    struct fixture f = {0};
    open_with_pages(&f, file, card, kv_format);
    float *logits = calloc((size_t)N_TOKENS * f.n_vocab, sizeof *logits);
    assert_non_null(logits);
    run_chunks(&f, 20, pages, logits);
    *n_vocab = f.n_vocab;
    close_all(&f);
    return logits;
}

/* Mean over rows of the squared error by the squared distance of the wanted row from its mean. */
static double row_error(const float *got, const float *want, uint32_t n_vocab)
{
    double sum = 0;
    for (uint32_t r = 0; r < N_TOKENS; r++, got += n_vocab, want += n_vocab) {
        double mean = 0, errors = 0, squares = 0;
        for (uint32_t i = 0; i < n_vocab; i++) mean += (double)want[i] / n_vocab;
        for (uint32_t i = 0; i < n_vocab; i++) {
            double error = (double)got[i] - (double)want[i], distance = (double)want[i] - mean;
            errors += error * error;
            squares += distance * distance;
        }
        sum += errors / squares / N_TOKENS;
    }
    return sum;
}

/* Each page format costs what its bits do, on both cards: half, 8 bits and 4 bits for the largest of 32 dimensions. */
static void test_page_formats_lose_no_more_than_their_bits(void **state)
{
    (void)state;
    static const struct {
        unsigned format;
        const char *name;
        double ref, sim; /* most error against ref with F32 pages; sim has that of its activations besides */
    } formats[] = {{CARD_FORMAT_F32, "F32", 0, 2e-3},
                   {CARD_FORMAT_F16, "F16", 1e-6, 2e-3},
                   {CARD_FORMAT_INT8, "INT8", 5e-4, 2e-3},
                   {CARD_FORMAT_INT4, "INT4", 6e-2, 6e-2}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        uint32_t n_vocab;
        float *want = logits_with_pages(files[i], "ref", CARD_FORMAT_F32, &n_vocab);
        double before = -1;
        for (size_t k = 0; k < sizeof formats / sizeof formats[0]; k++) {
            float *ref = logits_with_pages(files[i], "ref", formats[k].format, &n_vocab);
            float *sim = logits_with_pages(files[i], "sim", formats[k].format, &n_vocab);
            double ref_error = row_error(ref, want, n_vocab), sim_error = row_error(sim, want, n_vocab);
            printf("%-24s %-4s pages: error %.1e on ref, %.1e on sim\n", files[i], formats[k].name, ref_error,
                   sim_error);
            assert_true(ref_error <= formats[k].ref && ref_error > before); /* fewer bits lose more */
            before = ref_error;
            assert_true(sim_error <= formats[k].sim);
            free(ref);
            free(sim);
        }
        free(want);
    }
}

static void test_a_step_without_logits_fills_the_pages(void **state)
{
    (void)state;
    const uint32_t pages[2] = {0, 1}, last_row[1] = {0};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct fixture f = {0};
        struct error err = {0};
        open_all(&f, files[i], "sim");
        float *whole = calloc((size_t)N_TOKENS * f.n_vocab, sizeof *whole), *last = calloc(f.n_vocab, sizeof *last);
        uint32_t tokens[N_TOKENS];
        struct card_batch_token batch[N_TOKENS];
        run_chunks(&f, N_TOKENS, pages, whole);
        for (uint32_t t = 0; t < N_TOKENS; t++) {
            tokens[t] = token_at(&f, t);
            batch[t] = (struct card_batch_token){.position = t, .first_page = 0, .visible = t + 1};
        }
        const uint32_t other_pages[2] = {3, 2};
        const struct step silent = {N_TOKENS - 1, tokens, batch, 2, other_pages, 0, NULL, .sources = NULL};
        const struct step one = {1,        tokens + N_TOKENS - 1, batch + N_TOKENS - 1, 2, other_pages, 1,
                                 last_row, .sources = NULL};
        assert_int_equal(model_step(f.loaded, f.memory, &silent, NULL, &err), 0);
        assert_int_equal(model_step(f.loaded, f.memory, &one, last, &err), 0);
        assert_memory_equal(whole + (size_t)(N_TOKENS - 1) * f.n_vocab, last, f.n_vocab * sizeof *last);
        free(whole);
        free(last);
        close_all(&f);
    }
}

static void expect_bad_step(struct fixture *f, const struct step *step, const char *words)
{
    struct error err = {0};
    struct card_counters before, after;
    card_count(f->card, &before);
    assert_int_equal(model_step(f->loaded, f->memory, step, NULL, &err), ERROR_BAD_ARGUMENT);
    if (strstr(err.text, words) == NULL) fail_msg("\"%s\" has no \"%s\"", err.text, words);
    card_count(f->card, &after);
    assert_int_equal(before.programs, after.programs);
    assert_int_equal(before.bytes_to_card, after.bytes_to_card);
}

static void test_wrong_steps_are_refused(void **state)
{
    (void)state;
    struct fixture f = {0};
    open_all(&f, files[0], "sim");
    uint32_t token = 1, page = 0, rows[2] = {0, 0};
    struct card_batch_token place = {.visible = 1};
    const struct step good = {1, &token, &place, 1, &page, 1, rows, .sources = NULL};
    struct step bad = good;
    bad.n_tokens = 0;
    expect_bad_step(&f, &bad, "step of 0 tokens");
    bad.n_tokens = 2 * N_TOKENS + 1;
    expect_bad_step(&f, &bad, "limits are 90");
    bad = good;
    bad.n_pages = 5;
    expect_bad_step(&f, &bad, "5 table pages");
    bad = good;
    bad.n_logit_rows = 2 * N_TOKENS + 1;
    expect_bad_step(&f, &bad, "91 rows of logits");
    bad = good;
    bad.n_logit_rows = 2;
    expect_bad_step(&f, &bad, "ascend");
    rows[0] = 1;
    expect_bad_step(&f, &good, "below 1");
    rows[0] = 0;
    token = f.n_vocab;
    expect_bad_step(&f, &good, "outside the vocabulary");
    token = 1;
    page = N_PAGES;
    expect_bad_step(&f, &good, "page 5 of a pool of 5");
    page = 0;
    place.position = 32;
    expect_bad_step(&f, &good, "no page for position 32");
    place = (struct card_batch_token){.position = 0, .first_page = 1};
    expect_bad_step(&f, &good, "no page for position 0");
    place = (struct card_batch_token){.position = CARD_MAX_POSITIONS, .first_page = 0};
    expect_bad_step(&f, &good, "position 4194304 is not below");
    place = (struct card_batch_token){.position = 0, .visible = 33};
    expect_bad_step(&f, &good, "no page for position 32");
    place = (struct card_batch_token){.position = 0, .visible = CARD_MAX_POSITIONS + 1};
    expect_bad_step(&f, &good, "4194305 visible positions");
    place = (struct card_batch_token){.visible = 1};
    bad = good;
    bad.encodes = true;
    expect_bad_step(&f, &bad, "0 layers to encode with");
    close_all(&f);
}

static void test_wrong_steps_of_a_decoder_are_refused(void **state)
{
    (void)state;
    struct fixture f = {0};
    open_all(&f, "t5/model-q4_0.gguf", "sim");
    const uint32_t token = 1, page = 0, row = 0;
    const struct card_batch_token place = {.visible = 1};
    struct card_batch_token source = {.visible = 1};
    struct step step = {1, &token, &place, 1, &page, 1, &row, .sources = NULL};
    expect_bad_step(&f, &step, "without what an encoder made");
    step.encodes = true;
    expect_bad_step(&f, &step, "1 rows of logits");
    step.encodes = false;
    step.sources = &source;
    source.visible = 33;
    expect_bad_step(&f, &step, "sees 33 positions of its encoder's pages");
    source = (struct card_batch_token){.first_page = 1, .visible = 1};
    expect_bad_step(&f, &step, "sees 1 positions");
    source.first_page = source.visible = 0;
    expect_bad_step(&f, &step, "sees 0 positions");
    close_all(&f);
}

static void test_wrong_limits_are_refused(void **state)
{
    (void)state;
    struct fixture f = {0};
    open_all(&f, files[0], "sim");
    const struct step_limits good = limits_of(f.card);
    struct step_limits bad[5] = {good, good, good, good, good};
    bad[0].max_tokens = 0;
    bad[1].max_tokens = CARD_MAX_TOKENS + 1;
    bad[2].max_logit_rows = good.max_tokens + 1;
    bad[3].n_pages = 0;
    bad[4].kv_format = CARD_FORMAT_MXFP4; /* not of pages */
    for (size_t i = 0; i < 5; i++) {
        struct step_memory *memory;
        struct error err = {0};
        assert_int_equal(step_memory_open(f.loaded, &bad[i], &memory, &err),
                         i == 4 ? ERROR_UNSUPPORTED : ERROR_BAD_ARGUMENT);
    }
    struct step_limits huge = good;
    huge.n_pages = 1u << 24;
    struct step_memory *memory;
    struct error err = {0};
    uint64_t before = free_bytes(f.card);
    assert_int_equal(step_memory_open(f.loaded, &huge, &memory, &err), ERROR_NO_MEMORY);
    assert_int_equal(free_bytes(f.card), before);
    close_all(&f);
}

static void test_exact_formats_refuse_what_is_rounded(void **state)
{
    (void)state;
    const struct model_load_options exact = {.exact_formats = true};
    const char *const kinds[] = {"sim", "ref", "sim:banks=4"};
    for (unsigned i = 0; i < 6; i++) {
        struct fixture f = {0};
        struct loaded_model *loaded = NULL;
        struct error err = {0};
        open_all(&f, i % 2 ? "qwen3_moe/model-q4_0.gguf" : "qwen3_moe/model-f32.gguf", kinds[i / 2]);
        int status = model_load(f.model, f.card, &exact, &loaded, &err);
        bool rounds = i % 2 == 0 && i / 2 != 1;
        assert_int_equal(status, rounds ? ERROR_UNSUPPORTED : 0);
        if (rounds) assert_non_null(strstr(err.text, "of type F32 (relative error"));
        if (status == 0) loaded_model_close(loaded);
        close_all(&f);
    }
}

static void test_rounding_to_int8_is_reported(void **state)
{
    (void)state;
    struct fixture f = {0};
    open_all(&f, "qwen3_moe/model-f32.gguf", "sim");
    const struct model_conversion *rounded = loaded_model_conversion(f.loaded);
    assert_int_equal(rounded->n_tensors,
                     1 + 2 * (4 + 3)); /* output; of 2 layers q, k, v, output and the experts' three */
    assert_true(rounded->relative_rms_error > 1e-4 && rounded->relative_rms_error < 1e-2);
    assert_true(rounded->worst_relative_rms_error >= rounded->relative_rms_error);
    assert_true(rounded->worst_name[0] != '\0');
    close_all(&f);
    open_all(&f, "qwen3_moe/model-f32.gguf", "ref");
    assert_int_equal(loaded_model_conversion(f.loaded)->n_tensors, 0);
    close_all(&f);
    open_all(&f, "qwen3_moe/model-q4_0.gguf", "sim");
    assert_int_equal(loaded_model_conversion(f.loaded)->n_tensors, 0);
    close_all(&f);
}

struct progress {
    uint64_t last, total;
    unsigned calls, stop_at;
};

static int on_progress(void *context, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    assert_true(done >= progress->last && done <= total);
    progress->last = done;
    progress->total = total;
    return ++progress->calls == progress->stop_at;
}

static void test_progress_and_cancelling(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct error err = {0};
    struct progress progress = {0};
    const struct model_load_options options = {.progress = on_progress, .progress_context = &progress, .threads = 3};
    open_model(&f, "qwen3_moe/model-q8_0.gguf", "sim");
    uint64_t at_start = free_bytes(f.card);
    assert_int_equal(model_load(f.model, f.card, &options, &f.loaded, &err), 0);
    assert_true(progress.total > 0 && progress.total <= model_weight_bytes(f.model));
    assert_int_equal(progress.last, progress.total);
    loaded_model_close(f.loaded);
    f.loaded = NULL;
    progress = (struct progress){.stop_at = 5};
    assert_int_equal(model_load(f.model, f.card, &options, &f.loaded, &err), ERROR_CANCELLED);
    assert_int_equal(progress.calls, 5);
    assert_int_equal(free_bytes(f.card), at_start);
    close_all(&f);
}

/* Loads the tiny model after a test has written into its bytes; the load must fail with these words. */
static void expect_bad_weights(struct tiny_model *tiny, const char *words)
{
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct error err = {0};
    const struct card_options options = {.threads = 1, .memory_bytes = 8u << 20};
    for (size_t c = 0; c < 2; c++) {
        assert_int_equal(model_open_memory(tiny->file.bytes, tiny->file.size, "tiny", &model, &err), 0);
        assert_int_equal(card_open(cards[c], &options, &card, &err), 0);
        uint64_t at_start = free_bytes(card);
        assert_int_equal(model_load(model, card, NULL, &loaded, &err), ERROR_BAD_FILE);
        if (strstr(err.text, words) == NULL) fail_msg("\"%s\" has no \"%s\"", err.text, words);
        assert_int_equal(free_bytes(card), at_start);
        card_close(card);
        model_close(model);
    }
}

static void test_weights_that_are_not_finite_are_named(void **state)
{
    (void)state;
    struct tiny_model tiny;
    tiny_init(&tiny, "llama");
    tiny_add(&tiny, "rope_freqs.weight", GGUF_F32, 8, 1, 1);
    tiny_write(&tiny);
    uint8_t *divisors = tiny.file.bytes + tiny_tensor(&tiny, "rope_freqs.weight")->at;
    expect_bad_weights(&tiny, "rope_freqs.weight: element 0 is 0 (must be above 0)");
    for (unsigned i = 0; i < 8; i++) store_u32(divisors + 4 * i, bits_of_float(1.0f));
    store_u16(tiny.file.bytes + tiny_tensor(&tiny, "blk.0.ffn_down.weight")->at + 18 * 31, 0x7c00);
    expect_bad_weights(&tiny, "blk.0.ffn_down.weight: has a weight or a scale that is infinite");
    store_u32(tiny.file.bytes + tiny_tensor(&tiny, "blk.0.ffn_norm.weight")->at + 8, 0x7fc00000);
    expect_bad_weights(&tiny, "blk.0.ffn_norm.weight: element 2 is infinite or not a number");
    for (unsigned tied = 0; tied < 2; tied++) {
        tiny_init(&tiny, "qwen2");
        if (!tied) tiny_add(&tiny, "output.weight", GGUF_F32, 32, 8, 1);
        tiny_write(&tiny);
        store_u16(tiny.file.bytes + tiny_tensor(&tiny, "token_embd.weight")->at + 18 * 7, 0x7e00);
        expect_bad_weights(&tiny, "token_embd.weight: has a weight or a scale");
    }
    tiny_init(&tiny, "qwen3moe");
    tiny_write(&tiny);
    store_u16(tiny.file.bytes + tiny_tensor(&tiny, "blk.0.ffn_up_exps.weight")->at + 18 * 40, 0xfe00);
    expect_bad_weights(&tiny, "blk.0.ffn_up_exps.weight: has a weight or a scale");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_what_was_promised_and_returns),
        cmocka_unit_test(test_logits_do_not_depend_on_the_batch),
        cmocka_unit_test(test_page_formats_lose_no_more_than_their_bits),
        cmocka_unit_test(test_a_step_without_logits_fills_the_pages),
        cmocka_unit_test(test_wrong_steps_are_refused),
        cmocka_unit_test(test_wrong_steps_of_a_decoder_are_refused),
        cmocka_unit_test(test_wrong_limits_are_refused),
        cmocka_unit_test(test_exact_formats_refuse_what_is_rounded),
        cmocka_unit_test(test_rounding_to_int8_is_reported),
        cmocka_unit_test(test_progress_and_cancelling),
        cmocka_unit_test(test_weights_that_are_not_finite_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
