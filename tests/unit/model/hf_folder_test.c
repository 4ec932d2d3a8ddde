/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders of safetensors. A GGUF file is taken apart into the folder that it was made of; opened, the folder must give the same
 * hyperparameters, vocabulary and weights, bit for bit. Then folders that contradict themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/model/family.h"
#include "host/model/hf_folder.h"
#include "tests/unit/model/safetensors_bytes.h"

#include <jansson.h>

static const char *const files[] = {
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
};

static char folder[64];
static struct st_bytes st;

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/hf_folder_test.XXXXXX");
    assert_non_null(mkdtemp(folder));
    st_init(&st);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) remove_file(folder, files[i]);
    assert_int_equal(rmdir(folder), 0);
    free(st.data);
    return 0;
}

static void write_text(const char *name, const char *text) { write_bytes(folder, name, text, strlen(text)); }

/* ---- from GGUF ---- */

static const char *const names[][2] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output.weight", "lm_head.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"attn_norm.weight", "input_layernorm.weight"},
    {"ffn_norm.weight", "post_attention_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_k.weight", "self_attn.k_proj.weight"},
    {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_output.weight", "self_attn.o_proj.weight"},
    {"attn_q_norm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight"},
    {"ffn_gate.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "mlp.up_proj.weight"},
    {"ffn_down.weight", "mlp.down_proj.weight"},
    {"ffn_gate_inp.weight", "mlp.gate.weight"},
    {"ffn_gate_exps.weight", "mlp.experts.%u.gate_proj.weight"},
    {"ffn_up_exps.weight", "mlp.experts.%u.up_proj.weight"},
    {"ffn_down_exps.weight", "mlp.experts.%u.down_proj.weight"},
};

static const char *other_name(const char *suffix)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i][0], suffix) == 0) return names[i][1];
    return NULL;
}

/* Rows of a head: neighbours in the GGUF file are half a head apart in the folder. */
static void put_apart(const struct gguf_tensor *tensor, uint32_t head_dim, uint8_t *out)
{
    size_t row = (size_t)tensor->dimension[0] * 4;
    for (uint64_t r = 0; r < tensor->dimension[1]; r++) {
        uint64_t in_head = r % head_dim, to = r - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
        memcpy(out + to * row, tensor->data + r * row, row);
    }
}

/* Everything but the divisors of the rotation, which the configuration says. head_dim 0: rows stay. */
static void put_tensor(const struct gguf_tensor *tensor, uint32_t head_dim)
{
    char name[128], local[128], whole[160], format[128];
    unsigned layer;
    int n = 0;
    (void)snprintf(name, sizeof name, "%.*s", (int)tensor->name.length, tensor->name.bytes);
    if (strcmp(name, "rope_freqs.weight") == 0) return;
    assert_int_equal(tensor->type, GGUF_F32);
    bool in_layer = sscanf(name, "blk.%u.%n", &layer, &n) == 1 && n > 0;
    const char *other = other_name(name + n);
    assert_non_null(other);
    bool experts = tensor->n_dimensions == 3;
    uint64_t matrices = tensor->dimension[2], bytes = tensor->n_bytes / matrices;
    for (unsigned e = 0; e < matrices; e++) {
        (void)snprintf(format, sizeof format, "%s", other);
        char *number = strstr(format, "%u");
        if (number != NULL)
            (void)snprintf(local, sizeof local, "%.*s%u%s", (int)(number - format), format, e, number + 2);
        else
            (void)snprintf(local, sizeof local, "%s", format);
        if (in_layer)
            (void)snprintf(whole, sizeof whole, "model.layers.%u.%s", layer, local);
        else
            (void)snprintf(whole, sizeof whole, "%s", local);
        const uint32_t vector[1] = {(uint32_t)tensor->dimension[0]};
        const uint32_t matrix[2] = {(uint32_t)tensor->dimension[1], (uint32_t)tensor->dimension[0]};
        bool is_vector = tensor->n_dimensions == 1;
        uint8_t *data = st_add(&st, whole, "F32", is_vector ? 1 : 2, is_vector ? vector : matrix, bytes);
        bool turns = head_dim != 0 && (strstr(name, "attn_q.weight") != NULL || strstr(name, "attn_k.weight") != NULL);
        if (turns)
            put_apart(tensor, head_dim, data);
        else
            memcpy(data, tensor->data + (experts ? e * bytes : 0), bytes);
    }
}

static json_t *text(struct gguf_string s) { return json_stringn(s.bytes, s.length); }

/* The vocabulary as tokenizer.json has it: special tokens apart. */
static void write_tokenizer(const struct gguf *file, const char *pattern)
{
    json_t *vocab = json_object(), *merges = json_array(), *added = json_array();
    struct gguf_cursor at = {0};
    struct gguf_string s;
    const struct gguf_value *tokens = gguf_find(file, "tokenizer.ggml.tokens");
    const struct gguf_value *types = gguf_find(file, "tokenizer.ggml.token_type");
    for (json_int_t id = 0; gguf_next_string(tokens, &at, &s) == 1; id++) {
        int64_t type = 0;
        assert_true(gguf_array_i64(types, (uint64_t)id, &type));
        if (type == 1) json_object_setn_new(vocab, s.bytes, s.length, json_integer(id));
        if (type == 3 || type == 4)
            json_array_append_new(added,
                                  json_pack("{s:o, s:I, s:b}", "content", text(s), "id", id, "special", type == 3));
    }
    at = (struct gguf_cursor){0};
    while (gguf_next_string(gguf_find(file, "tokenizer.ggml.merges"), &at, &s) == 1)
        json_array_append_new(merges, text(s));
    json_t *root =
        json_pack("{s:o, s:{s:s, s:[{s:s, s:{s:s}}, {s:s}]}, s:{s:s, s:b, s:o, s:o}}", "added_tokens", added,
                  "pre_tokenizer", "type", "Sequence", "pretokenizers", "type", "Split", "pattern", "Regex", pattern,
                  "type", "ByteLevel", "model", "type", "BPE", "ignore_merges", 1, "vocab", vocab, "merges", merges);
    char *dumped = json_dumps(root, 0);
    assert_non_null(dumped);
    write_text("tokenizer.json", dumped);
    free(dumped);
    json_decref(root);
}

static void expect_same_value(const struct gguf *a, const struct gguf *b, const char *key)
{
    const struct gguf_value *x = gguf_find(a, key), *y = gguf_find(b, key);
    if (x == NULL || y == NULL || x->type != y->type || x->count != y->count || x->n_bytes != y->n_bytes ||
        memcmp(x->bytes, y->bytes, x->n_bytes) != 0)
        fail_msg("%s differs", key);
}

static void expect_same_tensors(const struct gguf *a, const struct gguf *b)
{
    assert_int_equal(gguf_n_tensors(a), gguf_n_tensors(b));
    for (size_t i = 0; i < gguf_n_tensors(a); i++) {
        const struct gguf_tensor *x = gguf_tensor_at(a, i);
        char name[128];
        (void)snprintf(name, sizeof name, "%.*s", (int)x->name.length, x->name.bytes);
        const struct gguf_tensor *y = gguf_find_tensor(b, name);
        if (y == NULL) fail_msg("%s is missing", name);
        assert_int_equal(y->type, GGUF_F32);
        assert_memory_equal(x->dimension, y->dimension, sizeof x->dimension);
        uint8_t *made = malloc((size_t)x->n_bytes);
        assert_non_null(made);
        uint64_t n_rows = y->n_elements / y->dimension[0];
        gguf_read_rows(y, 0, n_rows / 2, made);
        gguf_read_rows(y, n_rows / 2, n_rows - n_rows / 2, made + n_rows / 2 * y->dimension[0] * 4);
        if (memcmp(made, x->data, (size_t)x->n_bytes) != 0) fail_msg("%s differs", name);
        free(made);
    }
}

static const char llama_config[] =
    "{\"model_type\":\"llama\",\"num_hidden_layers\":3,\"hidden_size\":64,\"num_attention_heads\":4,\"num_key_value_"
    "heads\":2,"
    "\"head_dim\":16,\"intermediate_size\":160,\"max_position_embeddings\":2048,\"rms_norm_eps\":1e-05,\"vocab_size\":"
    "512,"
    "\"hidden_act\":\"silu\",\"tie_word_embeddings\":false,\"rope_parameters\":{\"factor\":8.0,\"high_freq_factor\":4."
    "0,"
    "\"low_freq_factor\":1.0,\"original_max_position_embeddings\":64,\"rope_theta\":10000.0,\"rope_type\":\"llama3\"}}";

static const char llama_pattern[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
                                    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|"
                                    "\\s+";

static const char qwen3_moe_config[] =
    "{\"model_type\":\"qwen3_moe\",\"num_hidden_layers\":2,\"hidden_size\":64,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"head_dim\":32,\"intermediate_size\":160,\"moe_intermediate_size\":32,\"num_experts\":"
    "8,"
    "\"num_experts_per_tok\":2,\"norm_topk_prob\":true,\"max_position_embeddings\":2048,\"rms_norm_eps\":1e-06,"
    "\"vocab_size\":512,\"hidden_act\":\"silu\",\"rope_theta\":1000000.0,\"rope_scaling\":null,\"sliding_window\":"
    "null}";

static void put_all(const struct gguf *file, uint32_t head_dim)
{
    for (size_t i = 0; i < gguf_n_tensors(file); i++) put_tensor(gguf_tensor_at(file, i), head_dim);
}

static struct gguf *open_fixture(const char *path)
{
    struct gguf *file;
    struct error err = {0};
    if (gguf_open(path, &file, &err) < 0) fail_msg("%s", err.text);
    return file;
}

static void test_llama_is_the_same(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "general.architecture",
        "llama.block_count",
        "llama.context_length",
        "llama.embedding_length",
        "llama.vocab_size",
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.rope.freq_base",
        "llama.feed_forward_length",
        "llama.attention.layer_norm_rms_epsilon",
        "llama.attention.key_length",
        "llama.rope.dimension_count",
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.add_bos_token",
        "tokenizer.chat_template",
    };
    struct gguf *source = open_fixture(FIXTURES "/models/llama/model-f32.gguf"), *made;
    struct error err = {0};
    struct gguf_string template;
    put_all(source, 16);
    st_write(&st, folder, "model.safetensors");
    write_text("config.json", llama_config);
    write_tokenizer(source, llama_pattern);
    assert_int_equal(gguf_get_string(source, "tokenizer.chat_template", &template, &err), 1);
    json_t *settings = json_pack("{s:s, s:b, s:o}", "bos_token", "<|begin_of_text|>", "add_bos_token", 1,
                                 "chat_template", text(template));
    char *dumped = json_dumps(settings, 0);
    write_text("tokenizer_config.json", dumped);
    write_text("generation_config.json", "{\"eos_token_id\":[509,508]}");
    if (hf_open(folder, &made, &err) < 0) fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) expect_same_value(source, made, keys[i]);
    expect_same_tensors(source, made);
    const struct gguf_value *ends = gguf_find(made, "tokenizer.ggml.eos_token_ids");
    assert_true(ends != NULL && ends->count == 2);
    gguf_close(made);
    gguf_close(source);
    free(dumped);
    json_decref(settings);
}

static void test_experts_are_the_same(void **state)
{
    (void)state;
    struct gguf *source = open_fixture(FIXTURES "/models/qwen3_moe/model-f32.gguf");
    struct error err = {0};
    struct model *a, *b;
    put_all(source, 0);
    memset(st_add(&st, "mtp.fc.weight", "F32", 1, (const uint32_t[1]){8}, 32), 0, 32); /* predict further tokens */
    memset(st_add(&st, "model.layers.2.eh_proj.weight", "F32", 1, (const uint32_t[1]){8}, 32), 0, 32);
    st_write(&st, folder, "model.safetensors");
    write_text("config.json", qwen3_moe_config);
    gguf_close(source);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder); /* the file stands for its folder */
    if (model_open(path, &b, &err) < 0) fail_msg("%s", err.text);
    if (model_open(FIXTURES "/models/qwen3_moe/model-f32.gguf", &a, &err) < 0) fail_msg("%s", err.text);
    expect_same_tensors(model_file(a), model_file(b));
    assert_int_equal(model_left_out(a), 0);
    assert_int_equal(model_left_out(b), 2);
    struct model_config x = *model_get_config(a), y = *model_get_config(b);
    assert_memory_equal(x.layers, y.layers, x.n_layers * sizeof *x.layers);
    x.layers = y.layers = NULL;
    assert_true(x.router.renormalize && x.n_experts == y.n_experts && x.d_expert_ff == y.d_expert_ff &&
                x.rope_theta == y.rope_theta && x.rope_dims == y.rope_dims && x.norm_epsilon == y.norm_epsilon);
    float row[2][64];
    model_embed(a, 17, row[0]);
    model_embed(b, 17, row[1]);
    assert_memory_equal(row[0], row[1], sizeof row[0]);
    model_close(a);
    model_close(b);
}

/* ---- folders that contradict themselves ---- */

static void expect_refusal(int code, const char *first, const char *second)
{
    struct model *model = NULL;
    struct error err = {0};
    int status = model_open(folder, &model, &err);
    if (status == 0) fail_msg("opened, but \"%s\" was expected", first);
    if (status != code || strstr(err.text, first) == NULL || strstr(err.text, second) == NULL)
        fail_msg("%d: \"%s\" has no \"%s\" or no \"%s\"", status, err.text, first, second);
    assert_null(model);
}

/* config.json of a llama with one text in place of another. */
static void expect_config_refusal(const char *from, const char *to, int code, const char *word)
{
    char config[sizeof llama_config + 256];
    const char *at = strstr(llama_config, from);
    assert_non_null(at);
    (void)snprintf(config, sizeof config, "%.*s%s%s", (int)(at - llama_config), llama_config, to, at + strlen(from));
    write_text("config.json", config);
    expect_refusal(code, word, folder);
}

/* Dynamic NTK is no scaling within the context that the model was trained for, and there is no longer one. */
static void test_dynamic_rotation(void **state)
{
    (void)state;
    char config[sizeof llama_config + 64];
    const char *at = strstr(llama_config, "llama3");
    struct error err = {0};
    struct model *model;
    struct gguf *source = open_fixture(FIXTURES "/models/llama/model-f32.gguf");
    put_all(source, 16);
    gguf_close(source);
    st_write(&st, folder, "model.safetensors");
    (void)snprintf(config, sizeof config, "%.*sdynamic%s", (int)(at - llama_config), llama_config,
                   at + strlen("llama3"));
    write_text("config.json", config);
    if (model_open(folder, &model, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(model_get_config(model)->rope_scaling, ROPE_SCALING_NONE);
    assert_int_equal(model_get_config(model)->context_length, 2048);
    assert_null(gguf_find_tensor(model_file(model), "rope_freqs.weight"));
    model_close(model);
}

static void test_configurations(void **state)
{
    (void)state;
    struct gguf *source = open_fixture(FIXTURES "/models/llama/model-f32.gguf");
    put_all(source, 16);
    gguf_close(source);
    st_write(&st, folder, "model.safetensors");
    expect_refusal(ERROR_BAD_FILE, "config.json", folder);
    write_text("config.json", "{\"a\":1,\"a\":2}");
    expect_refusal(ERROR_BAD_FILE, "duplicate", folder);
    write_text("config.json", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
    expect_refusal(ERROR_BAD_FILE, "deep", folder);
    expect_config_refusal("\"llama\"", "\"mamba\"", ERROR_UNSUPPORTED, "mamba");
    expect_config_refusal("\"hidden_size\":64,", "", ERROR_BAD_FILE, "hidden_size");
    expect_config_refusal("\"hidden_size\":64,", "\"hidden_size\":-64,", ERROR_BAD_FILE, "hidden_size");
    expect_config_refusal("\"hidden_size\":64,", "\"hidden_size\":\"64\",", ERROR_BAD_FILE, "hidden_size");
    expect_config_refusal("\"num_hidden_layers\":3", "\"num_hidden_layers\":99999999", ERROR_BAD_FILE,
                          "num_hidden_layers");
    expect_config_refusal("\"silu\"", "\"relu2\"", ERROR_UNSUPPORTED, "hidden_act");
    expect_config_refusal("\"llama3\"", "\"elastic\"", ERROR_UNSUPPORTED, "rope_type");
    expect_config_refusal("\"num_hidden_layers\":3", "\"num_hidden_layers\":4", ERROR_BAD_FILE,
                          "blk.3.attn_norm.weight");
    expect_config_refusal("\"head_dim\":16", "\"head_dim\":24", ERROR_BAD_FILE, "heads");
    expect_config_refusal("\"intermediate_size\":160", "\"intermediate_size\":96", ERROR_BAD_FILE, "ffn_gate.weight");
}

static void test_tensors(void **state)
{
    (void)state;
    write_text("config.json", llama_config);
    expect_refusal(ERROR_BAD_FILE, "no safetensors files", folder);
    (void)st_add(&st, "model.layers.0.mlp.middle_proj.weight", "F32", 2, (const uint32_t[2]){2, 2}, 16);
    st_write(&st, folder, "model.safetensors");
    expect_refusal(ERROR_UNSUPPORTED, "middle_proj", "llama");
    free(st.data);
    st_init(&st);
    (void)st_add(&st, "model.norm.weight", "F64", 1, (const uint32_t[1]){2}, 16);
    st_write(&st, folder, "model.safetensors");
    expect_refusal(ERROR_UNSUPPORTED, "model.norm.weight", "F64");
    free(st.data);
    st_init(&st);
    (void)st_add(&st, "vision_tower.conv.weight", "F64", 1, (const uint32_t[1]){2}, 16);
    (void)st_add(&st, "model.norm.weight", "F32", 1, (const uint32_t[1]){64}, 256);
    st_write(&st, folder, "model.safetensors");
    expect_refusal(ERROR_BAD_FILE, "token_embd.weight", "more"); /* all that are missing, not the first */
}

/* Two shards and their index. */
static void write_shards(const char *second_name, const char *index)
{
    struct st_bytes other;
    st_init(&other);
    (void)st_add(&other, second_name, "F32", 1, (const uint32_t[1]){4}, 16);
    st_write(&other, folder, "model-00002-of-00002.safetensors");
    free(other.data);
    write_text("model.safetensors.index.json", index);
}

static void test_shards(void **state)
{
    (void)state;
    write_text("config.json", llama_config);
    (void)st_add(&st, "model.norm.weight", "F32", 1, (const uint32_t[1]){64}, 256);
    st_write(&st, folder, "model-00001-of-00002.safetensors");
    expect_refusal(ERROR_BAD_FILE, "1 of 2 shards", folder);
    static const char index[] = "{\"weight_map\":{\"model.norm.weight\":\"model-00001-of-00002.safetensors\","
                                "\"lm_head.weight\":\"model-00002-of-00002.safetensors\"}}";
    write_text("model.safetensors.index.json", index);
    expect_refusal(ERROR_NOT_FOUND, "model-00002-of-00002.safetensors", folder);
    write_shards("lm_tail.weight", index);
    expect_refusal(ERROR_BAD_FILE, "lm_tail.weight", "mixed models");
    write_shards("model.norm.weight", index);
    expect_refusal(ERROR_BAD_FILE, "model.norm.weight", "mixed models");
    write_shards("lm_head.weight", "{\"weight_map\":{\"model.norm.weight\":\"../x.safetensors\"}}");
    expect_refusal(ERROR_BAD_FILE, "model.norm.weight", "folder");
    write_shards("lm_head.weight", "{\"weight_map\":{\"model.norm.weight\":\"model-00001-of-00002.safetensors\","
                                   "\"gone\":\"model-00002-of-00002.safetensors\","
                                   "\"lm_head.weight\":\"model-00002-of-00002.safetensors\"}}");
    expect_refusal(ERROR_BAD_FILE, "gone", "mixed models");
    write_shards("lm_head.weight", index);
    expect_refusal(ERROR_BAD_FILE, "token_embd.weight", "missing"); /* the shards are as they should be */
}

static void test_vocabularies(void **state)
{
    (void)state;
    write_text("config.json", llama_config);
    (void)st_add(&st, "model.norm.weight", "F32", 1, (const uint32_t[1]){64}, 256);
    st_write(&st, folder, "model.safetensors");
    write_text("tokenizer.json",
               "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":512},\"merges\":[]}}");
    expect_refusal(ERROR_BAD_FILE, "vocabulary does not match", "513");
    write_text("tokenizer.json",
               "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":-1},\"merges\":[]}}");
    expect_refusal(ERROR_BAD_FILE, "tokenizer.json", "id");
    write_text("tokenizer.json",
               "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}");
    expect_refusal(ERROR_BAD_FILE, "tokenizer.json", "two tokens");
    write_text("tokenizer.json",
               "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":1},\"merges\":[\"ab\"]}}");
    expect_refusal(ERROR_BAD_FILE, "tokenizer.json", "merge");
    write_text("tokenizer.json",
               "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":1},\"merges\":[\"a b\"]}}");
    expect_refusal(ERROR_BAD_FILE, "tokenizer.json", "no token");
    write_text("tokenizer.json", "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.0]]}}");
    expect_refusal(ERROR_BAD_FILE, "token_embd.weight", "missing"); /* who wants to tokenize is told */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_llama_is_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_experts_are_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dynamic_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_configurations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vocabularies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
