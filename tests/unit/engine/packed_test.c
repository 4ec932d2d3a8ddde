/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine over packed files, whose tensors are read and verified by threads of their own while the first sequences are
 * submitted: the same bits as from the source, and nothing is computed with a damaged tensor. Runs under the thread sanitizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/slc_write.h"
#include "tests/unit/engine/model_engine.h"
#include "tests/unit/engine/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define N_PROMPT 20u
#define N_NEW 8u
#define MOE FIXTURES "/models/qwen3_moe/model-q8_0.gguf"

/* Packs the model at path into a new file; packed is its name. */
static void pack(const char *path, char packed[64])
{
    struct error err = {0};
    struct model *model;
    struct model_conversion conversion;
    const struct slc_write_options options = {.load.threads = 2, .source_name = "source.gguf"};
    snprintf(packed, 64, "/tmp/sluice-packed-XXXXXX");
    FILE *stream = fdopen(mkstemp(packed), "w+b");
    assert_non_null(stream);
    if (model_open(path, &model, &err) < 0) fail_msg("%s", err.text);
    if (slc_write(model, &options, stream, &conversion, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(fclose(stream), 0);
    model_close(model);
}

/* Two sequences, submitted at once after loading, until both have ended. */
static void run(const char *path, struct recorder recorders[2])
{
    struct model_engine all;
    struct error err = {0};
    const struct engine_options options = {.max_sequences = 2, .context = 64};
    model_engine_open(&all, path, 2, &options);
    uint32_t n_vocab = model_get_config(all.model)->n_vocab, prompt[N_PROMPT];
    for (uint32_t s = 0; s < 2; s++) {
        for (uint32_t i = 0; i < N_PROMPT; i++) prompt[i] = random_bits(s, 0, i, 0) % n_vocab;
        recorders[s] = (struct recorder){.n_vocab = n_vocab};
        struct engine_request request = recorder_request(&recorders[s], prompt, N_PROMPT, N_NEW);
        if (engine_submit(all.engine, &request, &recorders[s].id, &err) < 0) fail_msg("%s", err.text);
    }
    while (recorders[0].n_ends == 0 || recorders[1].n_ends == 0)
        if (engine_step(all.engine, &err) < 0) fail_msg("%s", err.text);
    model_engine_close(&all);
}

static void test_the_same_bits_as_the_source(void **state)
{
    (void)state;
    char packed[64];
    struct recorder want[2], got[2];
    pack(MOE, packed);
    run(MOE, want);
    run(packed, got);
    for (unsigned s = 0; s < 2; s++) {
        assert_int_equal(got[s].reason, FINISH_LENGTH);
        assert_int_equal(got[s].n_rows, want[s].n_rows);
        assert_memory_equal(got[s].rows, want[s].rows, (size_t)want[s].n_rows * want[s].n_vocab * sizeof(float));
        recorder_free(&want[s]);
        recorder_free(&got[s]);
    }
    unlink(packed);
}

static void test_a_damaged_tensor_ends_every_sequence(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.ffn_down_exps.weight", "blk.1.attn_q.weight", "token_embd.weight"};
    char packed[64];
    pack(MOE, packed);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct error err = {0};
        struct recorder recorders[2];
        struct slc *slc;
        if (slc_open(packed, &slc, &err) < 0) fail_msg("%s", err.text);
        const struct slc_tensor *tensor = NULL;
        for (size_t t = 0; t < slc_n_tensors(slc); t++)
            if (strcmp(slc_tensor_at(slc, t)->name, names[i]) == 0) tensor = slc_tensor_at(slc, t);
        assert_non_null(tensor);
        FILE *file = fopen(packed, "r+b");
        assert_non_null(file);
        long at = (long)(tensor->offset + tensor->n_bytes / 2);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        assert_int_equal(fputc(byte ^ 4, file), byte ^ 4);
        assert_int_equal(fflush(file), 0);
        run(packed, recorders);
        for (unsigned s = 0; s < 2; s++) {
            assert_int_equal(recorders[s].reason, FINISH_ERROR);
            assert_int_equal(recorders[s].error.code, ERROR_BAD_FILE);
            assert_non_null(strstr(recorders[s].error.text, names[i]));
            assert_int_equal(recorders[s].n_tokens, 0);
            assert_int_equal(recorders[s].n_rows, 0);
            recorder_free(&recorders[s]);
        }
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        assert_int_equal(fputc(byte, file), byte);
        assert_int_equal(fclose(file), 0);
        slc_close(slc);
    }
    unlink(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_bits_as_the_source),
        cmocka_unit_test(test_a_damaged_tensor_ends_every_sequence),
    };
    return cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
