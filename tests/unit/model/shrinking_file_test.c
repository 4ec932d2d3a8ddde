/* SPDX-License-Identifier: Apache-2.0 */
/* A model's file that becomes shorter while it is read, or in use: an error that names it, and the process goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL FIXTURES "/models/qwen3/model-q4_0.gguf"

static void copy_of(char path[64])
{
    char bytes[65536];
    size_t n;
    snprintf(path, 64, "/tmp/sluice-shrinking-XXXXXX");
    FILE *to = fdopen(mkstemp(path), "wb"), *from = fopen(MODEL, "rb");
    assert_non_null(to);
    assert_non_null(from);
    while ((n = fread(bytes, 1, sizeof bytes, from)) > 0) assert_int_equal(fwrite(bytes, 1, n, to), n);
    fclose(from);
    assert_int_equal(fclose(to), 0);
}

static void check_named(int status, const char *path, const struct error *err)
{
    assert_int_equal(status, ERROR_IO);
    if (!strstr(err->text, path) || !strstr(err->text, "has become shorter")) fail_msg("%s", err->text);
}

static int step(struct loaded_model *loaded, uint32_t token, float *logits, struct error *err)
{
    struct step_memory *memory;
    const struct step_limits limits = {
        .max_tokens = 1, .max_logit_rows = 1, .n_pages = 1, .max_pages_in_tables = 1, .kv_format = CARD_FORMAT_F16};
    const struct card_batch_token batch = {.visible = 1};
    const uint32_t zero = 0;
    const struct step step = {1, &token, &batch, 1, &zero, 1, &zero, .sources = NULL};
    if (step_memory_open(loaded, &limits, &memory, err) < 0) fail_msg("%s", err->text);
    int status = model_step(loaded, memory, &step, logits, err);
    step_memory_close(memory);
    return status;
}

static void it_is_named(void **state)
{
    (void)state;
    for (int when = 0; when < 3; when++) { /* while it is in use, loaded, neither */
        char path[64];
        struct model *model, *other;
        struct card *card;
        struct loaded_model *loaded = NULL, *spared = NULL;
        struct error err = {0};
        const struct card_options options = {.threads = 1, .memory_bytes = 32u << 20};
        copy_of(path);
        if (model_open(path, &model, &err) < 0) fail_msg("%s", err.text);
        if (model_open(MODEL, &other, &err) < 0) fail_msg("%s", err.text);
        if (card_open("sim", &options, &card, &err) < 0) fail_msg("%s", err.text);
        assert_int_equal(model_load(other, card, NULL, &spared, &err), 0);
        float *logits = calloc(model_get_config(model)->n_vocab, sizeof *logits);
        assert_non_null(logits);
        if (when != 1) assert_int_equal(model_load(model, card, NULL, &loaded, &err), 0);
        if (when != 2) assert_int_equal(truncate(path, 0), 0);
        if (when == 0) check_named(step(loaded, 3, logits, &err), path, &err);
        if (when == 0) check_named(step(loaded, 4, logits, &err), path, &err);
        if (when == 1) check_named(model_load(model, card, NULL, &loaded, &err), path, &err);
        if (when == 2) assert_int_equal(step(loaded, 3, logits, &err), 0);
        assert_int_equal(step(spared, 3, logits, &err), 0); /* others go on */
        free(logits);
        if (when != 1) loaded_model_close(loaded);
        loaded_model_close(spared);
        card_close(card);
        model_close(model);
        model_close(other);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
