/* SPDX-License-Identifier: Apache-2.0 */
/* Architectures from names, configs and model files: the numbers, and what is said of those that cannot be right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/plan/architecture_internal.h"

#include <stdio.h>
#include <string.h>

/* Parameters as the makers publish them, in units of 1e8; active ones without the embedding. */
static const struct {
    const char *name;
    uint64_t total, active;
} published[] = {
    {"Qwen3-30B-A3B", 305, 30},
    {"Qwen3.5-397B-A17B", 3963, 163},
    {"DeepSeek-V3.2", 6719, 375},
    {"DeepSeek-R1", 6710, 366},
    {"DeepSeek-V4-Pro", 15730, 489},
    {"DeepSeek-V4-Flash", 2843, 133},
    {"GLM-5", 7439, 408},
    {"Mistral-Large-3", 6734, 390},
    {"Mixtral-8x7B", 467, 127},
    {"Mixtral-8x22B", 1406, 390},
    {"Llama-3.1-8B", 80, 75},
    {"Llama-3.1-70B", 706, 695},
    {"Llama-3.1-405B", 4059, 4038},
    {"Llama-4-Scout", 1078, 161},
    {"Llama-4-Maverick", 4007, 162},
    {"Kimi-K2.5", 10264, 317},
    {"gpt-oss-20b", 209, 36},
    {"gpt-oss-120b", 1168, 51},
    {"Gemma-3-27B", 270, 270},
    {"Phi-4", 147, 141},
    {"Step-3.5-Flash", 1970, 115},
    {"Qwen3-0.6B", 6, 6},
    {"Llama-2-7B", 67, 66},
};

static struct architecture *named(const char *name)
{
    struct error err = {0};
    struct architecture *architecture;
    if (architecture_by_name(name, &architecture, &err) < 0) fail_msg("%s: %s", name, err.text);
    return architecture;
}

static void test_names_have_their_published_sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        struct architecture *architecture = named(published[i].name);
        struct architecture_parameters parameters;
        architecture_count(architecture, &parameters);
        uint64_t total = (parameters.total + 50000000) / 100000000, active = (parameters.active + 50000000) / 100000000;
        if (total != published[i].total || active != published[i].active)
            fail_msg("%s: %llu and %llu, not %llu and %llu", published[i].name, (unsigned long long)total,
                     (unsigned long long)active, (unsigned long long)published[i].total,
                     (unsigned long long)published[i].active);
        assert_string_equal(architecture->name, published[i].name);
        assert_true(strlen(architecture->source) > 40);
        architecture_close(architecture);
    }
}

static void test_every_name_has_a_source_or_a_reason(void **state)
{
    (void)state;
    struct architecture_name name;
    size_t there = 0, missing = 0;
    for (size_t i = 0; architecture_list(i, &name); i++) {
        struct architecture *architecture;
        struct error err = {0};
        int result = architecture_by_name(name.name, &architecture, &err);
        if (name.missing[0] != '\0') {
            assert_int_equal(result, ERROR_NOT_FOUND);
            assert_non_null(strstr(err.text, name.missing));
            missing++;
            continue;
        }
        assert_int_equal(result, 0);
        assert_string_equal(architecture->source, name.source);
        assert_true(strstr(name.source, "github.com") != NULL || strstr(name.source, "huggingface.co") != NULL);
        assert_true(strlen(name.source) + 1 < ARCHITECTURE_SOURCE_BYTES); /* not cut */
        architecture_close(architecture);
        there++;
    }
    assert_int_equal(there, sizeof published / sizeof published[0]);
    assert_int_equal(missing, 1);
}

static void test_names_by_case_and_alias(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"GPT-OSS-20B", "gpt-oss-20b"},     {"r1", "DeepSeek-R1"},
                                           {"deepseek v4", "DeepSeek-V4-Pro"}, {"scout", "Llama-4-Scout"},
                                           {"llama3.1-8b", "Llama-3.1-8B"},    {"glm_5", "GLM-5"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct architecture *architecture = named(pairs[i][0]);
        assert_string_equal(architecture->name, pairs[i][1]);
        architecture_close(architecture);
    }
    struct architecture *architecture;
    struct error err = {0};
    assert_int_equal(architecture_by_name("gpt-oss", &architecture, &err), ERROR_NOT_FOUND);
    assert_non_null(strstr(err.text, "gpt-oss-20b"));
    assert_null(strstr(err.text, "Command-R+")); /* it is not there */
}

static void test_layers_of_each_kind(void **state)
{
    (void)state;
    struct architecture *a = named("gpt-oss-20b");
    assert_int_equal(a->layers[0].attention.window, 128);
    assert_int_equal(a->layers[1].attention.window, 0);
    assert_true(a->layers[0].attention.sinks && a->layers[0].ffn.expert_bias);
    assert_int_equal(a->layers[0].formats[WEIGHT_EXPERT_UP], CARD_FORMAT_MXFP4);
    assert_int_equal(a->layers[0].formats[WEIGHT_QUERY], CARD_FORMAT_INT8);
    architecture_close(a);
    a = named("DeepSeek-V3.2");
    assert_string_equal(attention_kind_name(&a->layers[60].attention), "MLA, sparse");
    assert_int_equal(a->layers[2].ffn.experts, 0);
    assert_int_equal(a->layers[3].ffn.experts, 256);
    assert_int_equal(a->layers[3].ffn.shared_width, 2048);
    assert_int_equal(a->layers[3].attention.indexer.top_k, 2048);
    architecture_close(a);
    a = named("Llama-4-Maverick");
    assert_int_equal(a->layers[0].attention.chunk, 8192);
    assert_int_equal(a->layers[3].attention.chunk, 0);
    assert_int_equal(a->layers[3].attention.rope_dims, 0);
    assert_int_equal(a->layers[0].ffn.experts, 0);
    assert_int_equal(a->layers[1].ffn.experts, 128);
    architecture_close(a);
    a = named("Qwen3.5-397B-A17B");
    assert_int_equal(a->layers[2].attention.kind, ATTENTION_LINEAR);
    assert_int_equal(a->layers[3].attention.kind, ATTENTION_HEADS);
    assert_int_equal(a->layers[3].attention.gate, ATTENTION_GATE_ELEMENT);
    assert_int_equal(a->layers[3].attention.rope_dims, 64);
    architecture_close(a);
    a = named("Step-3.5-Flash");
    assert_int_equal(a->layers[0].attention.heads, 64);
    assert_int_equal(a->layers[1].attention.heads, 96);
    architecture_close(a);
}

#define CONFIG(changes)                                                                                                \
    "{\n\"model_type\": \"qwen3_moe\",\n\"hidden_size\": 64,\n\"num_hidden_layers\": 2,\n\"num_attention_heads\": "    \
    "4,\n"                                                                                                             \
    "\"num_key_value_heads\": 2,\n\"head_dim\": 32,\n\"vocab_size\": 512,\n\"max_position_embeddings\": 2048,\n"       \
    "\"num_experts\": 8,\n\"num_experts_per_tok\": 2,\n\"moe_intermediate_size\": 32,\n\"intermediate_size\": "        \
    "160" changes "}\n"

static int read_text(const char *text, struct architecture **out, struct error *err)
{
    return config_json_read(text, strlen(text), "config.json", out, err);
}

static void expect_refused(const char *text, const char *part)
{
    struct architecture *architecture;
    struct error err = {0};
    assert_true(read_text(text, &architecture, &err) < 0);
    if (strstr(err.text, part) == NULL) fail_msg("\"%s\" is not in \"%s\"", part, err.text);
}

static void test_bad_configs_are_named_by_line_and_key(void **state)
{
    (void)state;
    struct architecture *architecture;
    struct error err = {0};
    assert_int_equal(read_text(CONFIG(""), &architecture, &err), 0);
    architecture_close(architecture);
    expect_refused("{\"model_type\": ", "config.json:1: ");
    expect_refused("[]", "config.json:1: no JSON object");
    expect_refused("{\"model_type\": \"llama\",\n\"num_hidden_layers\": -3}", "config.json:2: num_hidden_layers is -3");
    expect_refused("{\"model_type\": \"llama\"}", "num_hidden_layers is missing (must be 1 to 1024)");
    expect_refused("{\"model_type\": \"llama\",\n\"num_hidden_layers\": 2}", "hidden_size is missing");
    expect_refused("{\"num_hidden_layers\": 2}", "model_type is missing");
    expect_refused("{\"model_type\": \"bert\", \"num_hidden_layers\": 2, \"hidden_size\": 8, \"vocab_size\": 8,\n"
                   "\"max_position_embeddings\": 8}",
                   "model_type is bert");
    expect_refused(CONFIG(",\n\"norm_topk_prob\": 1"), "config.json:14: norm_topk_prob is neither true nor false");
    expect_refused(CONFIG(",\n\"n_group\": 3"), "config.json:14: n_group (3) does not divide the 8 experts");
    expect_refused(CONFIG(",\n\"layer_types\": [\"full_attention\"]"), "layer_types has 1 entries");
    expect_refused(CONFIG(",\n\"layer_types\": [\"sliding_attention\", \"full_attention\"]"),
                   "sliding_window is missing");
    expect_refused(CONFIG(",\n\"rope_parameters\": {\"partial_rotary_factor\": 2}"),
                   "partial_rotary_factor is above 1");
    expect_refused(CONFIG(",\n\"hidden_size\": 64"), "config.json:14: "); /* twice */
}

static void test_contradictions(void **state)
{
    (void)state;
    expect_refused("{\"model_type\": \"llama\", \"num_hidden_layers\": 1, \"hidden_size\": 64, \"vocab_size\": 8,\n"
                   "\"max_position_embeddings\": 8, \"intermediate_size\": 8,\n\"num_attention_heads\": 4,\n"
                   "\"num_key_value_heads\": 3}",
                   "config.json:4: num_key_value_heads (3) does not divide the 4 heads");
    expect_refused("{\"model_type\": \"llama\", \"num_hidden_layers\": 1, \"hidden_size\": 65, \"vocab_size\": 8,\n"
                   "\"max_position_embeddings\": 8, \"intermediate_size\": 8, \"num_attention_heads\": 4}",
                   "config.json:1: hidden_size (65) over num_attention_heads (4)");
    expect_refused(
        "{\"model_type\": \"wrap\",\n\"num_attention_heads\": 7,\n\"text_config\": {\"model_type\": \"deepseek_v3\",\n"
        "\"num_hidden_layers\": 1, \"hidden_size\": 64, \"vocab_size\": 8, \"max_position_embeddings\": 8,\n"
        "\"n_routed_experts\": 2,\n\"num_experts_per_tok\": 3, \"moe_intermediate_size\": 8,\n"
        "\"num_attention_heads\": 4, \"kv_lora_rank\": 32, \"qk_rope_head_dim\": 16,\n"
        "\"qk_nope_head_dim\": 32, \"v_head_dim\": 32}}",
        "config.json:6: text_config.num_experts_per_tok is 3 of 2 experts");
}

/* Written by the same converter as the files of the fixtures, whose configs these are. */
static void test_a_file_is_its_config(void **state)
{
    (void)state;
    struct error err = {0};
    struct architecture *config, *file;
    if (architecture_from_file(FIXTURES "/models/qwen3_moe/model-q4_0.gguf", &file, &err) < 0) fail_msg("%s", err.text);
    if (read_text(CONFIG(""), &config, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(file->n_layers, config->n_layers);
    assert_int_equal(file->d_model, config->d_model);
    assert_int_equal(file->n_vocab, config->n_vocab);
    assert_int_equal(file->max_context, config->max_context);
    for (uint32_t i = 0; i < file->n_layers; i++) {
        assert_memory_equal(&file->layers[i].attention, &config->layers[i].attention, sizeof file->layers[i].attention);
        assert_int_equal(file->layers[i].ffn.experts, config->layers[i].ffn.experts);
        assert_int_equal(file->layers[i].ffn.expert_width, config->layers[i].ffn.expert_width);
        assert_int_equal(file->layers[i].formats[WEIGHT_EXPERT_DOWN], CARD_FORMAT_INT4);
    }
    struct architecture_parameters of_file, of_config;
    architecture_count(file, &of_file);
    architecture_count(config, &of_config);
    assert_int_equal(of_file.total, of_config.total);
    assert_int_equal(of_file.total, 214464); /* elements of the fixture's tensors */
    architecture_close(config);
    architecture_close(file);
}

/* Bytes of a config changed at random: an error with a text or an architecture whose sizes add up, never a crash. */
static void test_damaged_configs(void **state)
{
    (void)state;
    const char *start =
        CONFIG(",\n\"layer_types\": [\"sliding_attention\", \"full_attention\"],\n\"sliding_window\": 7");
    uint64_t seed = 20261121;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (unsigned round = 0; round < 3000; round++) {
        char text[1024];
        struct architecture *architecture;
        struct error err = {0};
        (void)snprintf(text, sizeof text, "%s", start);
        for (unsigned change = 0; change <= round % 4; change++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            static const char bytes[] = "0123456789-.,:\"[]{}tfnull eE";
            text[(seed >> 33) % strlen(start)] = bytes[(seed >> 13) % (sizeof bytes - 1)];
        }
        if (read_text(text, &architecture, &err) < 0) {
            assert_true(strncmp(err.text, "config.json", 11) == 0);
            continue;
        }
        struct architecture_parameters parameters;
        architecture_count(architecture, &parameters);
        assert_true(parameters.active <= parameters.total && parameters.total < 1ull << 51);
        architecture_close(architecture);
    }
}

static void test_files_that_are_none(void **state)
{
    (void)state;
    struct error err = {0};
    struct architecture *architecture;
    assert_int_equal(architecture_from_file(FIXTURES "/no-such-file", &architecture, &err), ERROR_NOT_FOUND);
    assert_true(architecture_from_file(FIXTURES "/models", &architecture, &err) < 0); /* a folder without config.json */
    assert_true(architecture_from_file(FIXTURES "/models/llama/logits-f32.bin", &architecture, &err) < 0);
    assert_int_equal(architecture_from_file(NULL, &architecture, &err), 0); /* the demo model */
    architecture_close(architecture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_have_their_published_sizes),
        cmocka_unit_test(test_every_name_has_a_source_or_a_reason),
        cmocka_unit_test(test_names_by_case_and_alias),
        cmocka_unit_test(test_layers_of_each_kind),
        cmocka_unit_test(test_bad_configs_are_named_by_line_and_key),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_a_file_is_its_config),
        cmocka_unit_test(test_damaged_configs),
        cmocka_unit_test(test_files_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
