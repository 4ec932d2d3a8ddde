/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a model: together they have everything once, and each needs its own memory only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/model_internal.h"

#include <string.h>

#define LLAMA FIXTURES "/models/llama/model-q4_0.gguf"
#define TIED FIXTURES "/models/qwen2/model-q8_0.gguf"
#define MOE FIXTURES "/models/qwen3_moe/model-q8_0.gguf"

static struct model *open_model(const char *path)
{
    struct model *model;
    struct error err = {0};
    if (model_open(path, &model, &err) < 0) fail_msg("%s", err.text);
    return model;
}

static struct model *open_part(const struct model *model, uint32_t first, uint32_t end)
{
    struct model *part;
    struct error err = {0};
    if (model_part_open(model, first, end, &part, &err) < 0) fail_msg("%s", err.text);
    return part;
}

/* Every tensor of the whole is in one part of those that are cut at each layer; what all layers turn by is in all. */
static void check_parts(const char *path)
{
    struct model *model = open_model(path);
    const uint32_t n = model->config.n_layers;
    struct model *parts[16];
    assert_in_range(n, 2, 16);
    for (uint32_t i = 0; i < n; i++) parts[i] = open_part(model, i, i + 1);
    for (size_t t = 0; t < model->table.n_entries; t++) {
        unsigned in = 0;
        for (uint32_t i = 0; i < n; i++) {
            const struct gguf_tensor *tensor = parts[i]->table.entries[t].tensor;
            assert_true(tensor == NULL || tensor == model->table.entries[t].tensor);
            in += tensor != NULL;
        }
        const bool everywhere = t == TENSOR_ROPE_FREQS || t == TENSOR_ROPE_LONG;
        const bool there = model->table.entries[t].tensor != NULL;
        assert_int_equal(in, !there ? 0 : everywhere ? n : 1);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t first, end;
        model_part_layers(parts[i], &first, &end);
        assert_int_equal(first, i);
        assert_int_equal(end, i + 1);
        assert_int_equal(parts[i]->table.entries[TENSOR_TOKEN_EMBD].tensor != NULL, i == 0);
        assert_int_equal(parts[i]->table.entries[TENSOR_OUTPUT].tensor != NULL, i + 1 == n);
        assert_string_equal(model_name(parts[i]), model_name(model));
        assert_true(model_may_cut(model, i));
        model_close(parts[i]);
    }
    uint32_t first, end;
    model_part_layers(model, &first, &end);
    assert_int_equal(first, 0);
    assert_int_equal(end, n);
    model_close(model); /* still has its file: parts close nothing of it */
}

static void test_parts_have_every_tensor_once(void **state)
{
    (void)state;
    check_parts(LLAMA);
    check_parts(TIED);
    check_parts(MOE);
    check_parts(NULL);
}

static void test_a_part_needs_its_own_memory(void **state)
{
    (void)state;
    struct model *model = open_model(NULL);
    const uint32_t n = model->config.n_layers;
    struct card *card;
    struct card_info info;
    struct model_card_needs whole, sum = {0}, needs;
    struct error err = {0};
    uint64_t page_bytes = 0;
    assert_int_equal(card_open("sim", &(struct card_options){.threads = 1, .memory_bytes = 64 << 20}, &card, &err), 0);
    card_describe(card, &info);
    assert_int_equal(model_card_needs(model, &info, &whole, &err), 0);
    for (uint32_t i = 0; i < n; i++) {
        struct model *part = open_part(model, i, i + 1);
        assert_int_equal(model_card_needs(part, &info, &needs, &err), 0);
        sum.expert_bytes += needs.expert_bytes;
        sum.other_bytes += needs.other_bytes;
        page_bytes += model_page_bytes(part, CARD_FORMAT_F16);
        model_close(part);
    }
    assert_int_equal(sum.expert_bytes, whole.expert_bytes);
    assert_int_equal(page_bytes, model_page_bytes(model, CARD_FORMAT_F16));
    /* Rotations and slot tables are in every part, and each part's small things are rounded up. */
    assert_in_range(sum.other_bytes, whole.other_bytes, whole.other_bytes + n * 4 * CARD_ALIGNMENT);
    card_close(card);
    model_close(model);
}

static void test_layers_that_there_are_not(void **state)
{
    (void)state;
    struct model *model = open_model(LLAMA), *part;
    const uint32_t n = model->config.n_layers;
    const uint32_t bad[][2] = {{0, 0}, {2, 1}, {0, n + 1}, {n, n + 1}, {UINT32_MAX, 0}, {0, UINT32_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = {0};
        assert_int_equal(model_part_open(model, bad[i][0], bad[i][1], &part, &err), ERROR_BAD_ARGUMENT);
        assert_null(part);
        assert_non_null(strstr(err.text, model_name(model)));
    }
    model_close(model);
}

/* What an indexer chose is on the card where it chose: its followers stay with it. */
static void test_cuts_spare_those_that_use_an_indexer(void **state)
{
    (void)state;
    static const struct {
        bool indexes, is_sparse, may_cut;
    } layers[] = {{true, true, true}, {false, true, false}, {false, false, false}, {false, true, false},
                  {true, true, true}, {true, true, true},   {false, false, true},  {false, false, true}};
    enum { N = sizeof layers / sizeof *layers };
    struct layer_config config[N] = {0};
    const struct model model = {.config = {.n_layers = N, .layers = config}};
    for (unsigned i = 0; i < N; i++) {
        config[i].indexes = layers[i].indexes;
        config[i].is_sparse = layers[i].is_sparse;
    }
    for (uint32_t i = 0; i < N; i++) assert_int_equal(model_may_cut(&model, i), layers[i].may_cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_have_every_tensor_once),
        cmocka_unit_test(test_a_part_needs_its_own_memory),
        cmocka_unit_test(test_layers_that_there_are_not),
        cmocka_unit_test(test_cuts_spare_those_that_use_an_indexer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
