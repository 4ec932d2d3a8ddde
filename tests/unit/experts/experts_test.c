/* SPDX-License-Identifier: Apache-2.0 */
/* The rule of residency where experts do not stream: all on the card, or an error that says what has room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/experts/experts.h"

#include <stdio.h>
#include <string.h>

static void open_model(const char *file, struct model **model)
{
    char path[512];
    struct error err = {0};
    (void)snprintf(path, sizeof path, "%s/models/%s", FIXTURES, file);
    if (model_open(path, model, &err) < 0) fail_msg("%s", err.text);
}

/* A simulated card of which only `bytes` are free, rounded down to what it allocates in. */
static void open_card(uint64_t bytes, struct card **card)
{
    struct error err = {0};
    struct card_info info;
    card_addr rest;
    const struct card_options options = {.threads = 1, .memory_bytes = 16u << 20};
    if (card_open("sim", &options, card, &err) < 0) fail_msg("%s", err.text);
    card_describe(*card, &info);
    uint64_t taken = info.bank[0].bytes_free - bytes / CARD_ALIGNMENT * CARD_ALIGNMENT;
    if (taken > 0 && card_alloc(*card, 0, taken, &rest, &err) < 0) fail_msg("%s", err.text);
}

static void test_experts_that_fit_are_loaded(void **state)
{
    (void)state;
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct experts_residency residency;
    struct error err = {0};
    open_model("qwen3_moe/model-q4_0.gguf", &model);
    open_card(8u << 20, &card);
    assert_int_equal(experts_measure(model, card, &residency, &err), 0);
    assert_true(residency.fits);
    assert_int_equal(residency.n_layers, 2);
    assert_int_equal(residency.n_experts, 8);
    assert_int_equal(residency.n_resident, 8);
    assert_int_equal(experts_load(model, card, NULL, &loaded, &err), 0);
    assert_int_equal(loaded_model_card_bytes(loaded), residency.expert_bytes + residency.other_bytes);
    loaded_model_close(loaded);
    card_close(card);
    model_close(model);
}

/* A card with room for everything and then for less and less: what is said to fit fits, and the rest is refused. */
static void test_experts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct experts_residency whole;
    struct error err = {0};
    open_model("qwen3_moe/model-q4_0.gguf", &model);
    open_card(8u << 20, &card);
    assert_int_equal(experts_measure(model, card, &whole, &err), 0);
    card_close(card);
    for (uint32_t eighths = 0; eighths <= 8; eighths++) {
        struct experts_residency residency;
        open_card(whole.other_bytes + whole.expert_bytes * eighths / 8, &card);
        assert_int_equal(experts_measure(model, card, &residency, &err), 0);
        assert_int_equal(residency.fits, eighths == 8);
        assert_true(residency.n_resident <= eighths && residency.n_resident + 1 >= eighths);
        const struct model_load_options options = {.experts_resident = true};
        int result = experts_load(model, card, &options, &loaded, &err);
        assert_int_equal(result, eighths == 8 ? 0 : ERROR_NO_MEMORY);
        if (result == 0)
            loaded_model_close(loaded);
        else
            assert_non_null(strstr(err.text, "8 experts in each of 2 layers take"));
        card_close(card);
    }
    model_close(model);
}

static void test_dense_models_are_measured_too(void **state)
{
    (void)state;
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct experts_residency residency;
    struct error err = {0};
    open_model("llama/model-q4_0.gguf", &model);
    open_card(128u << 10, &card);
    assert_int_equal(experts_measure(model, card, &residency, &err), 0);
    assert_false(residency.fits);
    assert_int_equal(residency.n_layers, 0);
    assert_int_equal(residency.n_experts, 0);
    assert_int_equal(residency.expert_bytes, 0);
    assert_int_equal(experts_load(model, card, NULL, &loaded, &err), ERROR_NO_MEMORY);
    assert_non_null(strstr(err.text, "does not fit: its weights take"));
    assert_null(strstr(err.text, "experts"));
    card_close(card);
    open_card(8u << 20, &card);
    assert_int_equal(experts_load(model, card, NULL, &loaded, &err), 0);
    loaded_model_close(loaded);
    card_close(card);
    model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_experts_that_fit_are_loaded),
        cmocka_unit_test(test_experts_that_do_not_fit_are_refused),
        cmocka_unit_test(test_dense_models_are_measured_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
