/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed files: the same logits bit for bit as from the source, metadata unchanged, and a damaged tensor is found before
 * anything is computed with it. What is refused at opening is in slc_lies_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/model_internal.h"
#include "host/model/slc_write.h"
#include "tests/unit/model/source_step.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_TOKENS 37u
#define MEMORY (64ull << 20)
#define DENSE FIXTURES "/models/llama/model-q8_0.gguf"

static void source_hash(void *context, uint8_t hash[SLC_SOURCE_HASH_BYTES]) { memset(hash, *(int *)context, 32); }

/* Packs the model at path into a new file; packed is its name. */
static void pack_as(const char *path, unsigned float_format, char packed[64])
{
    struct error err = {0};
    struct model *model;
    struct model_conversion conversion;
    int byte = 0x5a;
    const struct slc_write_options options = {.load.threads = 2,
                                              .source_name = "dir/source.gguf",
                                              .source_hash = source_hash,
                                              .context = &byte,
                                              .float_format = float_format};
    snprintf(packed, 64, "/tmp/sluice-slc-XXXXXX");
    FILE *stream = fdopen(mkstemp(packed), "w+b");
    assert_non_null(stream);
    if (model_open(path, &model, &err) < 0) fail_msg("%s", err.text);
    if (slc_write(model, &options, stream, &conversion, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(fclose(stream), 0);
    model_close(model);
}

static void pack(const char *path, char packed[64]) { pack_as(path, 0, packed); }

struct all {
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
};

static int open_all(struct all *all, const char *path, const char *spec, struct error *err)
{
    const struct card_options options = {.threads = 2, .memory_bytes = MEMORY};
    *all = (struct all){0};
    int status = model_open(path, &all->model, err);
    if (status == 0) status = card_open(spec, &options, &all->card, err);
    if (status == 0) status = model_load(all->model, all->card, NULL, &all->loaded, err);
    return status;
}

static void close_all(struct all *all)
{
    loaded_model_close(all->loaded);
    card_close(all->card);
    model_close(all->model);
}

/* One step of all tokens; float32[N_TOKENS][n_vocab] into *logits, the caller's to free. */
static int run(struct all *all, float **logits, size_t *n_bytes, struct error *err)
{
    uint32_t n_vocab = model_get_config(all->model)->n_vocab, pages[3] = {1, 0, 2}, tokens[N_TOKENS], rows[N_TOKENS];
    struct card_batch_token batch[N_TOKENS], sources[N_TOKENS];
    struct card_info info;
    struct step_memory *memory;
    card_describe(all->card, &info);
    const struct step_limits limits = {.max_tokens = N_TOKENS,
                                       .max_logit_rows = N_TOKENS,
                                       .n_pages = 3,
                                       .max_pages_in_tables = 3,
                                       .kv_format = info.kv_default,
                                       .n_states = 1};
    *n_bytes = (size_t)N_TOKENS * n_vocab * sizeof **logits;
    *logits = calloc(*n_bytes, 1);
    assert_non_null(*logits);
    if (step_memory_open(all->loaded, &limits, &memory, err) < 0) fail_msg("%s", err->text);
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        tokens[i] = (i * 29 + 5) % n_vocab;
        rows[i] = i;
        batch[i] = (struct card_batch_token){.position = i, .visible = i + 1};
    }
    const struct step step = {N_TOKENS, tokens, batch, 3, pages, N_TOKENS, rows, .sources = sources};
    int status = source_step(all->loaded, memory, pages, 3, 2, sources, N_TOKENS, err);
    if (status == 0) status = model_step(all->loaded, memory, &step, *logits, err);
    step_memory_close(memory);
    return status;
}

static float *logits_of(const char *path, const char *spec, size_t *n_bytes, unsigned *n_rounded)
{
    struct all all;
    struct error err = {0};
    float *logits;
    if (open_all(&all, path, spec, &err) < 0) fail_msg("%s", err.text);
    if (run(&all, &logits, n_bytes, &err) < 0) fail_msg("%s", err.text);
    *n_rounded = loaded_model_conversion(all.loaded)->n_tensors;
    close_all(&all);
    return logits;
}

/* On ref, where the packed file has rounded what the source has in floats, other values are expected. */
static void check_same(const char *path)
{
    static const char *const specs[] = {"sim", "sim:banks=3", "ref"};
    char packed[64];
    unsigned rounded = 0;
    pack(path, packed);
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++) {
        if (s == 2 && rounded > 0) continue;
        size_t n_want, n_got;
        unsigned none;
        float *want = logits_of(path, specs[s], &n_want, &rounded), *got = logits_of(packed, specs[s], &n_got, &none);
        assert_int_equal(n_want, n_got);
        if (memcmp(want, got, n_want) != 0) fail_msg("%s: other logits from the packed file on %s", path, specs[s]);
        free(want);
        free(got);
    }
    unlink(packed);
}

static void test_logits_are_the_same_bits(void **state)
{
    (void)state;
    glob_t found;
    check_same(NULL); /* the demo model */
    assert_int_equal(glob(FIXTURES "/models/*/model-*.gguf", 0, NULL, &found), 0);
    assert_in_range(found.gl_pathc, 6, 200);
    for (size_t i = 0; i < found.gl_pathc; i++) check_same(found.gl_pathv[i]);
    printf("%zu files and the demo model, the same bits packed\n", found.gl_pathc);
    globfree(&found);
}

static double squared_error(const float *got, const float *want, size_t n_bytes)
{
    double errors = 0, squares = 0;
    for (size_t i = 0; i < n_bytes / sizeof *got; i++) {
        errors += (double)(got[i] - want[i]) * (double)(got[i] - want[i]);
        squares += (double)want[i] * (double)want[i];
    }
    return errors / squares;
}

/* A float file in four bits: about as far from the floats as llama.cpp's Q4_0 of it, and the same on every card. */
static void test_floats_can_be_packed_in_four_bits(void **state)
{
    (void)state;
    static const unsigned formats[] = {CARD_FORMAT_INT4, CARD_FORMAT_INT4_MIN};
    const char *floats = FIXTURES "/models/llama/model-f32.gguf";
    size_t n, n_peer;
    unsigned rounded;
    float *want = logits_of(floats, "ref", &n, &rounded);
    float *peer = logits_of(FIXTURES "/models/llama/model-q4_0.gguf", "ref", &n_peer, &rounded);
    assert_int_equal(n, n_peer);
    double allowed = 1.5 * squared_error(peer, want, n);
    for (size_t i = 0; i < 2; i++) {
        char packed[64];
        pack_as(floats, formats[i], packed);
        float *ref = logits_of(packed, "ref", &n, &rounded), *sim = logits_of(packed, "sim", &n, &rounded);
        float *dealt = logits_of(packed, "sim:banks=3", &n, &rounded);
        double error = squared_error(ref, want, n);
        if (!(error > 0 && error <= allowed)) fail_msg("error %g, more than %g", error, allowed);
        assert_true(squared_error(sim, ref, n) < 0.02); /* 8-bit activations */
        assert_memory_equal(sim, dealt, n);
        free(ref);
        free(sim);
        free(dealt);
        unlink(packed);
    }
    free(peer);
    free(want);
}

static void test_metadata_are_the_sources(void **state)
{
    (void)state;
    char packed[64];
    struct error err = {0};
    struct gguf *source;
    struct model *model;
    pack(DENSE, packed);
    assert_int_equal(gguf_open(DENSE, &source, &err), 0);
    if (model_open(packed, &model, &err) < 0) fail_msg("%s", err.text);
    const struct gguf *file = model_file(model);
    assert_string_equal(model_name(model), "source");
    assert_int_equal(gguf_n_keys(file), gguf_n_keys(source));
    for (size_t i = 0; i < gguf_n_keys(file); i++) {
        const struct gguf_key *want = gguf_key_at(source, i), *got = gguf_key_at(file, i);
        assert_int_equal(want->name.length, got->name.length);
        assert_memory_equal(want->name.bytes, got->name.bytes, want->name.length);
        assert_int_equal(want->value.type, got->value.type);
        assert_int_equal(want->value.n_bytes, got->value.n_bytes);
        assert_memory_equal(want->value.bytes, got->value.bytes, want->value.n_bytes);
    }
    assert_int_equal(gguf_n_tensors(file), gguf_n_tensors(source));
    assert_int_equal(gguf_file_bytes(file), gguf_file_bytes(source));
    assert_int_equal(slc_source_hash(model_packed(model))[31], 0x5a);
    model_close(model);
    gguf_close(source);
    unlink(packed);
}

static void flip(const char *path, uint64_t at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseeko(file, (off_t)at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseeko(file, (off_t)at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 0x10, file), byte ^ 0x10);
    assert_int_equal(fclose(file), 0);
}

/* The one that is damaged is named, with the remedy; at loading or, where the card shows the file, by the first step. */
static void expect_refused(const char *path, const char *spec, const char *name)
{
    struct all all;
    struct error err = {0};
    float *logits = NULL;
    size_t n_bytes;
    int status = open_all(&all, path, spec, &err);
    if (status == 0) {
        status = run(&all, &logits, &n_bytes, &err);
        for (size_t i = 0; i < n_bytes / sizeof *logits; i++) assert_true(logits[i] == 0.0f);
    }
    assert_int_equal(status, ERROR_BAD_FILE);
    assert_int_equal(slc_error_of(&err), SLC_DAMAGED_TENSOR);
    char remedy[128];
    snprintf(remedy, sizeof remedy, "(pack it again: sluice pack dir/source.gguf %s)", path);
    assert_non_null(strstr(err.text, name));
    assert_non_null(strstr(err.text, remedy));
    free(logits);
    close_all(&all);
}

static void test_damaged_tensors_are_found_before_they_are_used(void **state)
{
    (void)state;
    char packed[64];
    struct error err = {0};
    struct slc *slc;
    pack(DENSE, packed);
    if (slc_open(packed, &slc, &err) < 0) fail_msg("%s", err.text);
    for (size_t i = 0; i < slc_n_tensors(slc); i++) {
        const struct slc_tensor *tensor = slc_tensor_at(slc, i);
        uint64_t at = tensor->offset + (i % 3 == 0 ? 0 : i % 3 == 1 ? tensor->n_bytes - 1 : tensor->n_bytes / 2);
        flip(packed, at);
        for (size_t j = 0; j < slc_n_tensors(slc); j++)
            assert_int_equal(slc_verify(slc, slc_tensor_at(slc, j), NULL), i == j ? ERROR_BAD_FILE : 0);
        expect_refused(packed, i % 2 ? "sim" : "sim:banks=2", tensor->name);
        flip(packed, at);
    }
    for (size_t j = 0; j < slc_n_tensors(slc); j++) assert_int_equal(slc_verify(slc, slc_tensor_at(slc, j), NULL), 0);
    slc_close(slc);
    unlink(packed);
}

/* Closing at once, with the verification still running. */
static void test_a_model_may_be_closed_before_it_is_verified(void **state)
{
    (void)state;
    char packed[64];
    pack(NULL, packed);
    for (int i = 0; i < 20; i++) {
        struct all all;
        struct error err = {0};
        if (open_all(&all, packed, "sim", &err) < 0) fail_msg("%s", err.text);
        close_all(&all);
    }
    unlink(packed);
}

/* Memory that showed a file is memory again when it is freed. */
static void test_card_memory_is_free_again(void **state)
{
    (void)state;
    char packed[64];
    struct error err = {0};
    struct all all;
    struct card_info before, after;
    card_addr address;
    static uint8_t bytes[8192], back[8192];
    memset(bytes, 7, sizeof bytes);
    pack(DENSE, packed);
    if (open_all(&all, packed, "sim", &err) < 0) fail_msg("%s", err.text);
    card_describe(all.card, &after);
    loaded_model_close(all.loaded);
    all.loaded = NULL;
    card_describe(all.card, &before);
    assert_true(before.bank[0].bytes_free > after.bank[0].bytes_free);
    assert_int_equal(card_alloc(all.card, 0, sizeof bytes, &address, &err), 0);
    assert_int_equal(card_write(all.card, address, bytes, sizeof bytes, NULL, 0, NULL, &err), 0);
    assert_int_equal(card_read(all.card, back, address, sizeof back, NULL, 0, NULL, &err), 0);
    assert_memory_equal(bytes, back, sizeof back);
    close_all(&all);
    struct slc *slc; /* and the file is as it was */
    assert_int_equal(slc_open(packed, &slc, &err), 0);
    for (size_t j = 0; j < slc_n_tensors(slc); j++) assert_int_equal(slc_verify(slc, slc_tensor_at(slc, j), NULL), 0);
    slc_close(slc);
    unlink(packed);
}

static void test_a_packed_file_is_not_packed_again(void **state)
{
    (void)state;
    char packed[64];
    struct error err = {0};
    struct model *model;
    struct model_conversion conversion;
    const struct slc_write_options options = {.source_name = "x"};
    pack(DENSE, packed);
    assert_int_equal(model_open(packed, &model, &err), 0);
    assert_int_equal(slc_write(model, &options, stdout, &conversion, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "packed file already"));
    model_close(model);
    unlink(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_are_the_same_bits),
        cmocka_unit_test(test_floats_can_be_packed_in_four_bits),
        cmocka_unit_test(test_metadata_are_the_sources),
        cmocka_unit_test(test_damaged_tensors_are_found_before_they_are_used),
        cmocka_unit_test(test_a_model_may_be_closed_before_it_is_verified),
        cmocka_unit_test(test_card_memory_is_free_again),
        cmocka_unit_test(test_a_packed_file_is_not_packed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
