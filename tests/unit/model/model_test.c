/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a model: what the header gives, and one named refusal for each way a header and its tensors can disagree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/family.h"
#include "tests/unit/model/tiny_model.h"

#include <math.h>

static const char *const architectures[] = {"llama", "qwen2", "qwen3", "qwen3moe"};

/* Opening must fail with this code and all of these words in the message. */
static void expect_refusal(struct tiny_model *tiny, int code, const char *first, const char *second)
{
    struct model *model = NULL;
    struct error err = {0};
    int result = tiny_open(tiny, &model, &err);
    if (result == 0) fail_msg("opened, but \"%s\" was expected", first);
    if (result != code || err.code != code) fail_msg("code %d, not %d: %s", result, code, err.text);
    if (strstr(err.text, first) == NULL || (second != NULL && strstr(err.text, second) == NULL))
        fail_msg("\"%s\" has no \"%s\" or no \"%s\"", err.text, first, second != NULL ? second : "");
    assert_ptr_equal(strstr(err.text, "tiny: "), err.text);
}

static void test_every_family_opens(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct tiny_model tiny;
        struct model *model;
        struct error err;
        tiny_init(&tiny, architectures[i]);
        assert_int_equal(tiny_open(&tiny, &model, &err), 0);
        const struct model_config *config = model_get_config(model);
        assert_string_equal(model_family(model)->architecture, architectures[i]);
        assert_string_equal(model_name(model), "tiny");
        assert_int_equal(config->n_layers, 1);
        assert_int_equal(config->d_model, 32);
        assert_int_equal(config->n_heads, 2);
        assert_int_equal(config->n_kv_heads, 1);
        assert_int_equal(config->head_dim, 16);
        assert_int_equal(config->rope_dims, 16);
        assert_int_equal(config->n_vocab, 8);
        assert_int_equal(config->n_experts, i == 3 ? 2 : 0);
        assert_int_equal(config->layers[0].window, 0);
        assert_int_equal(config->layers[0].has_experts, i == 3);
        assert_true(config->rope_theta == 10000.0f);
        uint64_t bytes = 0;
        for (unsigned t = 0; t < tiny.n_tensors; t++) bytes += tiny_bytes(&tiny.tensors[t]);
        assert_int_equal(model_weight_bytes(model), bytes);
        model_close(model);
    }
}

static void test_the_family_table_is_complete(void **state)
{
    (void)state;
    const char *const *names = family_names();
    size_t n = 0;
    for (; names[n] != NULL; n++) {
        const struct family *family = family_find((struct gguf_string){names[n], strlen(names[n])});
        assert_non_null(family);
        assert_string_equal(family->architecture, names[n]);
        for (size_t i = 0; i < n; i++) assert_string_not_equal(names[i], names[n]);
    }
    assert_int_equal(n, 28);
    for (size_t i = 0; i < 4; i++)
        assert_non_null(family_find((struct gguf_string){architectures[i], strlen(architectures[i])}));
    assert_null(family_find((struct gguf_string){"llam", 4}));
    assert_null(family_find((struct gguf_string){"llamas", 6}));
}

static void test_the_demo_model_opens(void **state)
{
    (void)state;
    struct model *model;
    struct error err;
    assert_int_equal(model_open(NULL, &model, &err), 0);
    assert_string_equal(model_name(model), "sluice-demo");
    assert_string_equal(model_family(model)->architecture, "qwen3moe");
    model_close(model);
}

static void test_names_are_base_names(void **state)
{
    (void)state;
    const char *const names[][2] = {
        {"dir/some.model-q4_0.gguf", "some.model-q4_0"},
        {"/a/b/big-00001-of-00012.gguf", "big"},
        {"plain", "plain"},
        {"x-00001-of-0002.gguf", "x-00001-of-0002"},
        {"dir/.gguf", "model"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct tiny_model tiny;
        struct model *model;
        struct error err;
        tiny_init(&tiny, "llama");
        tiny_write(&tiny);
        assert_int_equal(model_open_memory(tiny.file.bytes, tiny.file.size, names[i][0], &model, &err), 0);
        assert_string_equal(model_name(model), names[i][1]);
        model_close(model);
    }
}

static void test_embeddings_are_decoded_rows(void **state)
{
    (void)state;
    struct tiny_model tiny;
    struct model *model;
    struct error err;
    float got[32], want[32];
    tiny_init(&tiny, "qwen3");
    tiny_write(&tiny);
    size_t row = tiny_tensor(&tiny, "token_embd.weight")->at + 5 * 18;
    store_u16(tiny.file.bytes + row, 0x3800); /* scale 0.5 */
    for (unsigned i = 0; i < 16; i++) tiny.file.bytes[row + 2 + i] = (uint8_t)(i * 37);
    assert_int_equal(model_open_memory(tiny.file.bytes, tiny.file.size, "tiny", &model, &err), 0);
    model_embed(model, 5, got);
    gguf_decode(GGUF_Q4_0, tiny.file.bytes + row, 32, want);
    assert_memory_equal(got, want, sizeof got);
    assert_true(want[3] != 0.0f);
    model_embed(model, 4, got);
    for (unsigned i = 0; i < 32; i++) assert_true(got[i] == 0.0f);
    model_close(model);
}

static void test_other_architectures_are_named(void **state)
{
    (void)state;
    struct tiny_model tiny;
    tiny_init(&tiny, "llama");
    tiny_text(&tiny, "general.architecture", "falcon");
    expect_refusal(&tiny, ERROR_UNSUPPORTED,
                   "architecture \"falcon\" is not supported (supported: command-r, cohere2, deepseek2, ", NULL);
    tiny_drop_key(&tiny, "general.architecture");
    expect_refusal(&tiny, ERROR_BAD_FILE, "no general.architecture", NULL);
}

static void test_missing_tensors_are_all_listed(void **state)
{
    (void)state;
    struct tiny_model tiny;
    tiny_init(&tiny, "qwen2");
    tiny_drop_tensor(&tiny, "blk.0.attn_k.weight");
    expect_refusal(&tiny, ERROR_BAD_FILE, "1 tensor of architecture qwen2 is missing: blk.0.attn_k.weight", NULL);
    tiny_drop_tensor(&tiny, "blk.0.ffn_up.weight");
    tiny_drop_tensor(&tiny, "blk.0.attn_v.bias");
    expect_refusal(&tiny, ERROR_BAD_FILE,
                   "3 tensors of architecture qwen2 are missing: blk.0.attn_k.weight, blk.0.attn_v.bias, "
                   "blk.0.ffn_up.weight",
                   NULL);
    tiny_init(&tiny, "llama");
    tiny_u32(&tiny, "block_count", 3);
    expect_refusal(&tiny, ERROR_BAD_FILE, "18 tensors", "blk.1.attn_output.weight, blk.1.ffn_norm.weight and 12 more");
    tiny_init(&tiny, "llama");
    tiny_drop_tensor(&tiny, "token_embd.weight");
    expect_refusal(&tiny, ERROR_BAD_FILE, "missing: token_embd.weight", NULL);
}

static void test_wrong_shapes_say_both(void **state)
{
    (void)state;
    struct tiny_model tiny;
    tiny_init(&tiny, "llama");
    tiny_tensor(&tiny, "blk.0.attn_q.weight")->dimension[1] = 31;
    expect_refusal(&tiny, ERROR_BAD_FILE, "blk.0.attn_q.weight: shape [32, 31, 1]", "needs [32, 32]");
    tiny_init(&tiny, "llama");
    tiny_tensor(&tiny, "output_norm.weight")->dimension[0] = 16;
    expect_refusal(&tiny, ERROR_BAD_FILE, "output_norm.weight: shape [16, 1, 1]", "needs [32]");
    tiny_init(&tiny, "qwen3moe");
    tiny_tensor(&tiny, "blk.0.ffn_down_exps.weight")->dimension[2] = 1;
    expect_refusal(&tiny, ERROR_BAD_FILE, "blk.0.ffn_down_exps.weight: shape [32, 32, 1]", "needs [32, 32, 2]");
}

static void test_unsupported_types_are_named(void **state)
{
    (void)state;
    struct tiny_model tiny;
    tiny_init(&tiny, "llama");
    tiny_tensor(&tiny, "blk.0.ffn_up.weight")->type = GGUF_I8;
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "blk.0.ffn_up.weight: type I8 is not supported", "Q4_0, Q4_1, Q5_0");
}

/* They are among block_count's, and whatever they have is not looked at; other layers beyond the last one are an error. */
static void test_layers_that_predict_are_left_out(void **state)
{
    (void)state;
    struct tiny_model tiny;
    struct model *model;
    struct error err = {0};
    tiny_init(&tiny, "llama");
    tiny_u32(&tiny, "block_count", 2);
    tiny_u32(&tiny, "nextn_predict_layers", 1);
    tiny_add(&tiny, "blk.1.nextn.eh_proj.weight", GGUF_Q4_0, 64, 32, 1);
    tiny_add(&tiny, "blk.1.attn_norm.weight", GGUF_F32, 32, 1, 1);
    if (tiny_open(&tiny, &model, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(model_get_config(model)->n_layers, 1);
    assert_int_equal(model_left_out(model), 2);
    model_close(model);
    tiny_add(&tiny, "blk.2.attn_norm.weight", GGUF_F32, 32, 1, 1);
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "blk.2.attn_norm.weight: architecture llama has no such tensor", NULL);
    tiny_init(&tiny, "llama");
    tiny_u32(&tiny, "nextn_predict_layers", 1);
    expect_refusal(&tiny, ERROR_BAD_FILE, "llama.nextn_predict_layers is 1 (must be 0 to 0)", NULL);
}

static void test_tensors_without_a_role_are_named(void **state)
{
    (void)state;
    struct tiny_model tiny;
    tiny_init(&tiny, "qwen3");
    tiny_add(&tiny, "blk.0.attn_sinks.weight", GGUF_F32, 2, 1, 1);
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "blk.0.attn_sinks.weight: architecture qwen3 has no such tensor", NULL);
}

static void test_optional_tensors_of_llama(void **state)
{
    (void)state;
    struct tiny_model tiny;
    struct model *model;
    struct error err;
    tiny_init(&tiny, "llama");
    tiny_add(&tiny, "output.weight", GGUF_Q4_0, 32, 8, 1);
    tiny_add(&tiny, "rope_freqs.weight", GGUF_F32, 8, 1, 1);
    tiny_add(&tiny, "blk.0.attn_q.bias", GGUF_F32, 32, 1, 1);
    tiny_add(&tiny, "blk.0.ffn_down.bias", GGUF_F32, 32, 1, 1);
    assert_int_equal(tiny_open(&tiny, &model, &err), 0);
    model_close(model);
    tiny_tensor(&tiny, "rope_freqs.weight")->dimension[0] = 16;
    expect_refusal(&tiny, ERROR_BAD_FILE, "rope_freqs.weight: shape [16, 1, 1]", "needs [8]");
}

static void test_vocabularies_must_match_the_tensors(void **state)
{
    (void)state;
    struct tiny_model tiny;
    struct model *model;
    struct error err;
    tiny_init(&tiny, "qwen2");
    tiny_tokens(&tiny, 9);
    expect_refusal(&tiny, ERROR_BAD_FILE, "vocabulary does not match the tensors: 9 tokens", "has 8 rows");
    tiny_tokens(&tiny, 5); /* padded rows */
    assert_int_equal(tiny_open(&tiny, &model, &err), 0);
    assert_int_equal(model_get_config(model)->n_vocab, 8);
    model_close(model);
    tiny_u32(&tiny, "vocab_size", 9);
    expect_refusal(&tiny, ERROR_BAD_FILE, "qwen2.vocab_size is 9", "has 8 rows");
    tiny_u32(&tiny, "vocab_size", 8);
    tiny_add(&tiny, "output.weight", GGUF_Q4_0, 32, 7, 1);
    expect_refusal(&tiny, ERROR_BAD_FILE, "output.weight: shape [32, 7, 1]", "needs [32, 8]");
}

static void test_numbers_out_of_range_are_named(void **state)
{
    (void)state;
    const struct {
        const char *architecture, *key;
        uint32_t value;
        const char *first, *second;
    } cases[] = {
        {"llama", "block_count", 0, "llama.block_count is 0", "1 to 1024"},
        {"llama", "block_count", 1025, "llama.block_count is 1025", NULL},
        {"llama", "block_count", UINT32_MAX, "llama.block_count is 4294967295", NULL},
        {"llama", "embedding_length", 0, "llama.embedding_length is 0", NULL},
        {"llama", "embedding_length", UINT32_MAX, "llama.embedding_length is 4294967295", NULL},
        {"llama", "embedding_length", 33, "embedding_length (33) over attention.head_count (2)", NULL},
        {"llama", "feed_forward_length", 0, "llama.feed_forward_length is 0", NULL},
        {"llama", "context_length", 0, "llama.context_length is 0", NULL},
        {"llama", "attention.head_count", 0, "llama.attention.head_count is 0", NULL},
        {"llama", "attention.head_count", 4097, "llama.attention.head_count is 4097", NULL},
        {"llama", "attention.head_count_kv", 0, "llama.attention.head_count_kv is 0", NULL},
        {"qwen2", "attention.head_count_kv", 3, "head_count (2) is no multiple of head_count_kv (3)", NULL},
        {"qwen3", "attention.key_length", 1026, "qwen3.attention.key_length is 1026", "2 to 1024"},
        {"qwen3", "attention.key_length", 15, "head size 15 is odd", NULL},
        {"llama", "rope.dimension_count", 18, "llama.rope.dimension_count is 18", "2 to 16"},
        {"llama", "rope.dimension_count", 7, "llama.rope.dimension_count is 7", "even"},
        {"qwen3moe", "expert_count", 0, "qwen3moe.expert_count is 0", NULL},
        {"qwen3moe", "expert_count", 4097, "qwen3moe.expert_count is 4097", NULL},
        {"qwen3moe", "expert_used_count", 0, "qwen3moe.expert_used_count is 0", NULL},
        {"qwen3moe", "expert_used_count", 3, "expert_used_count (3) is more than expert_count (2)", NULL},
        {"qwen3moe", "expert_feed_forward_length", 0, "qwen3moe.expert_feed_forward_length is 0", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tiny_model tiny;
        tiny_init(&tiny, cases[i].architecture);
        tiny_u32(&tiny, cases[i].key, cases[i].value);
        expect_refusal(&tiny, ERROR_BAD_FILE, cases[i].first, cases[i].second);
    }
}

static void test_floats_out_of_range_are_named(void **state)
{
    (void)state;
    const struct {
        const char *key;
        float value;
    } cases[] = {
        {"attention.layer_norm_rms_epsilon", 0.0f},
        {"attention.layer_norm_rms_epsilon", -1e-5f},
        {"attention.layer_norm_rms_epsilon", NAN},
        {"rope.freq_base", 0.0f},
        {"rope.freq_base", INFINITY},
        {"rope.freq_base", -1.0f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tiny_model tiny;
        tiny_init(&tiny, "llama");
        tiny_f32(&tiny, cases[i].key, cases[i].value);
        expect_refusal(&tiny, ERROR_BAD_FILE, cases[i].key, "must be above 0");
    }
}

static void test_missing_keys_are_named(void **state)
{
    (void)state;
    const char *const keys[] = {"block_count",
                                "context_length",
                                "embedding_length",
                                "attention.head_count",
                                "attention.layer_norm_rms_epsilon",
                                "expert_count",
                                "expert_used_count"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct tiny_model tiny;
        tiny_init(&tiny, "qwen3moe");
        tiny_drop_key(&tiny, keys[i]);
        expect_refusal(&tiny, ERROR_BAD_FILE, "the header has no qwen3moe.", keys[i]);
    }
    struct tiny_model tiny; /* one of the two widths is enough where every layer has experts */
    tiny_init(&tiny, "llama");
    tiny_drop_key(&tiny, "feed_forward_length");
    expect_refusal(&tiny, ERROR_BAD_FILE, "the header has no llama.feed_forward_length", NULL);
    tiny_init(&tiny, "qwen3moe");
    tiny_drop_key(&tiny, "feed_forward_length");
    tiny_drop_key(&tiny, "expert_feed_forward_length");
    expect_refusal(&tiny, ERROR_BAD_FILE, "the header has no qwen3moe.feed_forward_length", NULL);
}

static void test_keys_of_the_wrong_kind_are_refused(void **state)
{
    (void)state;
    struct tiny_model tiny;
    tiny_init(&tiny, "llama");
    tiny_text(&tiny, "block_count", "one");
    expect_refusal(&tiny, ERROR_BAD_FILE, "llama.block_count", NULL);
    tiny_init(&tiny, "llama");
    tiny_u32(&tiny, "general.architecture", 3);
    expect_refusal(&tiny, ERROR_BAD_FILE, "general.architecture", NULL);
}

static void test_what_is_not_computed_is_refused(void **state)
{
    (void)state;
    struct tiny_model tiny;
    tiny_init(&tiny, "llama");
    tiny_u32(&tiny, "expert_count", 4);
    expect_refusal(&tiny, ERROR_BAD_FILE, "the header has no llama.expert_used_count", NULL);
    tiny_init(&tiny, "qwen2");
    tiny_u32(&tiny, "expert_count", 4);
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "architecture qwen2 with experts", "qwen2.expert_count is 4");
    tiny_init(&tiny, "qwen2");
    tiny_text(&tiny, "rope.scaling.type", "yarn");
    expect_refusal(&tiny, ERROR_BAD_FILE, "rope.scaling.type is yarn", "rope.scaling.factor is missing");
    tiny_init(&tiny, "qwen2");
    tiny_text(&tiny, "rope.scaling.type", "dynamic");
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "rope.scaling.type \"dynamic\" is not supported", "none, linear, yarn");
    tiny_init(&tiny, "qwen2");
    tiny_u32(&tiny, "attention.sliding_window", 16);
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "qwen2.attention.sliding_window (16)", NULL);
    tiny_init(&tiny, "qwen3");
    tiny_u32(&tiny, "attention.value_length", 8);
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "value_length (8)", "key length (16)");
    tiny_init(&tiny, "llama");
    tiny_text(&tiny, "rope.scaling.type", "linear");
    expect_refusal(&tiny, ERROR_BAD_FILE, "llama.rope.scaling.type is linear", "llama.rope.scaling.factor is missing");
}

/* A value that changes nothing is as good as none; any other would be left out of the arithmetic. */
static void test_settings_nobody_computes_must_be_neutral(void **state)
{
    (void)state;
    static const struct {
        const char *architecture, *suffix;
        float neutral, other;
    } settings[] = {
        {"llama", "logit_scale", 1.0f, 0.5f},
        {"llama", "attention.scale", 0.25f, 0.5f}, /* a head of 16 */
        {"qwen2", "final_logit_softcapping", 0.0f, 30.0f},
        {"qwen3moe", "expert_weights_scale", 1.0f, 2.5f},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct tiny_model tiny;
        struct model *model;
        struct error err;
        tiny_init(&tiny, settings[i].architecture);
        tiny_f32(&tiny, settings[i].suffix, settings[i].neutral);
        assert_int_equal(tiny_open(&tiny, &model, &err), 0);
        model_close(model);
        tiny_f32(&tiny, settings[i].suffix, settings[i].other);
        expect_refusal(&tiny, ERROR_UNSUPPORTED, settings[i].suffix, "not supported");
    }
    struct tiny_model tiny;
    struct model *model;
    struct error err;
    tiny_init(&tiny, "qwen3moe");
    tiny_u32(&tiny, "expert_gating_func", 1);
    assert_int_equal(tiny_open(&tiny, &model, &err), 0);
    model_close(model);
    tiny_u32(&tiny, "expert_gating_func", 2);
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "qwen3moe.expert_gating_func is 2", NULL);
    tiny_init(&tiny, "qwen3moe");
    tiny_bool(&tiny, "expert_weights_norm", true);
    tiny_u32(&tiny, "expert_shared_count", 0);
    assert_int_equal(tiny_open(&tiny, &model, &err), 0);
    model_close(model);
    tiny_u32(&tiny, "expert_shared_count", 1);
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "qwen3moe.expert_shared_count is 1", "not supported");
    tiny_u32(&tiny, "expert_shared_count", 0);
    tiny_bool(&tiny, "expert_weights_norm", false);
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "qwen3moe.expert_weights_norm is 0", "not supported");
    tiny_init(&tiny, "llama");
    tiny_text(&tiny, "residual_scale", "half");
    expect_refusal(&tiny, ERROR_UNSUPPORTED, "llama.residual_scale is not one number", NULL);
}

static void test_scaling_and_window_are_read(void **state)
{
    (void)state;
    struct tiny_model tiny;
    struct model *model;
    struct error err;
    tiny_init(&tiny, "llama");
    tiny_text(&tiny, "rope.scaling.type", "linear");
    tiny_f32(&tiny, "rope.scaling.factor", 4.0f);
    tiny_u32(&tiny, "attention.sliding_window", 16);
    assert_int_equal(tiny_open(&tiny, &model, &err), 0);
    assert_int_equal(model_get_config(model)->rope_scaling, ROPE_SCALING_LINEAR);
    assert_true(model_get_config(model)->rope_scaling_factor == 4.0f);
    assert_int_equal(model_get_config(model)->layers[0].window, 16);
    model_close(model);
    tiny_init(&tiny, "qwen2");
    tiny_u32(&tiny, "attention.sliding_window", 64); /* as long as the context: no window */
    tiny_f32(&tiny, "rope.scale_linear", 2.0f);
    assert_int_equal(tiny_open(&tiny, &model, &err), 0);
    assert_int_equal(model_get_config(model)->layers[0].window, 0);
    assert_true(model_get_config(model)->rope_scaling_factor == 2.0f);
    model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_family_opens),
        cmocka_unit_test(test_the_family_table_is_complete),
        cmocka_unit_test(test_the_demo_model_opens),
        cmocka_unit_test(test_names_are_base_names),
        cmocka_unit_test(test_embeddings_are_decoded_rows),
        cmocka_unit_test(test_other_architectures_are_named),
        cmocka_unit_test(test_missing_tensors_are_all_listed),
        cmocka_unit_test(test_wrong_shapes_say_both),
        cmocka_unit_test(test_unsupported_types_are_named),
        cmocka_unit_test(test_layers_that_predict_are_left_out),
        cmocka_unit_test(test_tensors_without_a_role_are_named),
        cmocka_unit_test(test_optional_tensors_of_llama),
        cmocka_unit_test(test_vocabularies_must_match_the_tensors),
        cmocka_unit_test(test_numbers_out_of_range_are_named),
        cmocka_unit_test(test_floats_out_of_range_are_named),
        cmocka_unit_test(test_missing_keys_are_named),
        cmocka_unit_test(test_keys_of_the_wrong_kind_are_refused),
        cmocka_unit_test(test_what_is_not_computed_is_refused),
        cmocka_unit_test(test_settings_nobody_computes_must_be_neutral),
        cmocka_unit_test(test_scaling_and_window_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
