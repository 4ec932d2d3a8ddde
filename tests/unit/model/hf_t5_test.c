/* SPDX-License-Identifier: Apache-2.0 */
/* T5's folders of safetensors: a GGUF file taken apart into the folder that it was made of gives the same values and settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/hf_folder.h"
#include "host/model/model.h"
#include "tests/unit/model/safetensors_bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static struct st_bytes st;

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/hf_t5_test.XXXXXX");
    assert_non_null(mkdtemp(folder));
    st_init(&st);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const files[] = {"config.json", "model.safetensors"};
    char path[128];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
    free(st.data);
    return rmdir(folder);
}

static void write_text(const char *name, const char *text) { write_bytes(folder, name, text, strlen(text)); }

/* After "enc.blk.N." or "dec.blk.N."; the FFN stands behind the attentions, so it is layer 1 of an encoder's and 2 of a decoder's. */
static const char *const names[][3] = {
    {"attn_norm.weight", "layer.0.layer_norm.weight", "layer.0.layer_norm.weight"},
    {"attn_q.weight", "layer.0.SelfAttention.q.weight", "layer.0.SelfAttention.q.weight"},
    {"attn_k.weight", "layer.0.SelfAttention.k.weight", "layer.0.SelfAttention.k.weight"},
    {"attn_v.weight", "layer.0.SelfAttention.v.weight", "layer.0.SelfAttention.v.weight"},
    {"attn_o.weight", "layer.0.SelfAttention.o.weight", "layer.0.SelfAttention.o.weight"},
    {"attn_rel_b.weight", "layer.0.SelfAttention.relative_attention_bias.weight",
     "layer.0.SelfAttention.relative_attention_bias.weight"},
    {"cross_attn_norm.weight", NULL, "layer.1.layer_norm.weight"},
    {"cross_attn_q.weight", NULL, "layer.1.EncDecAttention.q.weight"},
    {"cross_attn_k.weight", NULL, "layer.1.EncDecAttention.k.weight"},
    {"cross_attn_v.weight", NULL, "layer.1.EncDecAttention.v.weight"},
    {"cross_attn_o.weight", NULL, "layer.1.EncDecAttention.o.weight"},
    {"ffn_norm.weight", "layer.1.layer_norm.weight", "layer.2.layer_norm.weight"},
    {"ffn_gate.weight", "layer.1.DenseReluDense.wi_0.weight", "layer.2.DenseReluDense.wi_0.weight"},
    {"ffn_up.weight", "layer.1.DenseReluDense.wi_1.weight", "layer.2.DenseReluDense.wi_1.weight"},
    {"ffn_down.weight", "layer.1.DenseReluDense.wo.weight", "layer.2.DenseReluDense.wo.weight"},
};

/* gated: the FFN has two matrices on its way up. */
static void other_name(const char *name, bool gated, char *out, size_t size)
{
    unsigned layer;
    int n = 0;
    bool decoder = name[0] == 'd';
    if (strcmp(name, "token_embd.weight") == 0) (void)snprintf(out, size, "shared.weight");
    if (strcmp(name, "enc.output_norm.weight") == 0) (void)snprintf(out, size, "encoder.final_layer_norm.weight");
    if (strcmp(name, "dec.output_norm.weight") == 0) (void)snprintf(out, size, "decoder.final_layer_norm.weight");
    if (sscanf(name, "%*3s.blk.%u.%n", &layer, &n) != 1 || n == 0) return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i][0], name + n) != 0) continue;
        (void)snprintf(out, size, "%s.block.%u.%s", decoder ? "decoder" : "encoder", layer, names[i][decoder ? 2 : 1]);
        char *up = strstr(out, "wi_1");
        if (up != NULL && !gated) memcpy(up, "wi.weight", sizeof "wi.weight");
    }
}

static float *decoded(const struct gguf_tensor *tensor)
{
    uint8_t *bytes = malloc((size_t)tensor->n_bytes);
    float *values = malloc((size_t)tensor->n_elements * sizeof *values);
    assert_true(bytes != NULL && values != NULL);
    gguf_read_rows(tensor, 0, tensor->n_elements / tensor->dimension[0], bytes);
    gguf_decode(tensor->type, bytes, (size_t)tensor->n_elements, values);
    free(bytes);
    return values;
}

static void take_apart(const struct gguf *file, bool gated)
{
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        char name[128], other[128] = "";
        (void)snprintf(name, sizeof name, "%.*s", (int)tensor->name.length, tensor->name.bytes);
        other_name(name, gated, other, sizeof other);
        if (other[0] == '\0') fail_msg("%s has no other name", name);
        const uint32_t vector[1] = {(uint32_t)tensor->dimension[0]};
        const uint32_t matrix[2] = {(uint32_t)tensor->dimension[1], (uint32_t)tensor->dimension[0]};
        bool is_vector = tensor->n_dimensions == 1;
        float *values = decoded(tensor);
        uint8_t *data =
            st_add(&st, other, "F32", is_vector ? 1 : 2, is_vector ? vector : matrix, 4 * tensor->n_elements);
        memcpy(data, values, 4 * (size_t)tensor->n_elements);
        free(values);
    }
}

static void expect_same(const struct model *a, const struct model *b)
{
    const struct gguf *x = model_file(a), *y = model_file(b);
    assert_int_equal(gguf_n_tensors(x), gguf_n_tensors(y));
    for (size_t i = 0; i < gguf_n_tensors(x); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(x, i);
        char name[128];
        (void)snprintf(name, sizeof name, "%.*s", (int)tensor->name.length, tensor->name.bytes);
        const struct gguf_tensor *other = gguf_find_tensor(y, name);
        if (other == NULL) fail_msg("%s is missing", name);
        assert_memory_equal(tensor->dimension, other->dimension, sizeof tensor->dimension);
        float *want = decoded(tensor), *got = decoded(other);
        if (memcmp(want, got, 4 * (size_t)tensor->n_elements) != 0) fail_msg("%s differs", name);
        free(want);
        free(got);
    }
    struct model_config c = *model_get_config(a), d = *model_get_config(b);
    assert_memory_equal(c.layers, d.layers, c.n_layers * sizeof *c.layers);
    c.layers = d.layers = NULL;
    assert_true(c.n_layers == d.n_layers && c.n_encoder_layers == d.n_encoder_layers && c.d_model == d.d_model &&
                c.head_dim == d.head_dim && c.d_ff == d.d_ff && c.start_token == d.start_token &&
                c.distance_buckets == d.distance_buckets && c.distance_most == d.distance_most &&
                c.activation == d.activation && c.norm_epsilon == d.norm_epsilon && c.logit_scale == d.logit_scale &&
                c.attention_scale == d.attention_scale && c.context_length == d.context_length);
}

#define CONFIG(more)                                                                                                   \
    "{\"model_type\":\"t5\",\"num_layers\":2,\"num_decoder_layers\":2,\"d_model\":64,\"d_kv\":16,\"d_ff\":128,"        \
    "\"num_heads\":4,\"vocab_size\":512,\"layer_norm_epsilon\":1e-06,\"decoder_start_token_id\":0," more "}"

static void same_as(const char *path, bool gated, const char *config)
{
    struct error err = {0};
    struct model *a, *b;
    if (model_open(path, &a, &err) < 0) fail_msg("%s", err.text);
    take_apart(model_file(a), gated);
    st_write(&st, folder, "model.safetensors");
    write_text("config.json", config);
    if (model_open(folder, &b, &err) < 0) fail_msg("%s", err.text);
    expect_same(a, b);
    model_close(a);
    model_close(b);
}

/* Version 1.1: gated, and its result is not scaled; said as transformers 5 says it. */
static void test_gated(void **state)
{
    (void)state;
    same_as(
        FIXTURES "/models/t5/model-q4_0.gguf", true,
        CONFIG("\"feed_forward_proj\":\"gated-gelu\",\"tie_word_embeddings\":true,\"scale_decoder_outputs\":false"));
}

/* Version 1.0, as published: copies of the embedding, a matrix that nothing reads, and defaults for the rest. */
static void test_dense(void **state)
{
    (void)state;
    static const uint32_t embedding[2] = {512, 64}, distances[2] = {32, 4};
    memset(st_add(&st, "encoder.embed_tokens.weight", "F32", 2, embedding, 4 * 512 * 64), 0, 4 * 512 * 64);
    memset(st_add(&st, "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", "F32", 2, distances,
                  4 * 32 * 4),
           0, 4 * 32 * 4);
    same_as(FIXTURES "/models/t5_v1_tied/model-q4_0.gguf", false, CONFIG("\"n_positions\":512"));
}

static void expect_refusal(const char *config, int code, const char *words)
{
    struct error err = {0};
    struct model *model;
    write_text("config.json", config);
    assert_int_equal(model_open(folder, &model, &err), code);
    if (strstr(err.text, words) == NULL) fail_msg("not about %s: %s", words, err.text);
}

static void test_refusals(void **state)
{
    (void)state;
    test_gated(NULL);
    expect_refusal(CONFIG("\"feed_forward_proj\":\"gated-silu\""), ERROR_UNSUPPORTED, "feed_forward_proj");
    expect_refusal(CONFIG("\"dense_act_fn\":\"gelu_new\""), ERROR_UNSUPPORTED, "dense_act_fn");
    expect_refusal(CONFIG("\"feed_forward_proj\":\"relu\""), ERROR_BAD_FILE, "contradict each other");
    expect_refusal(CONFIG("\"feed_forward_proj\":\"gated-gelu\",\"relative_attention_num_buckets\":30"),
                   ERROR_UNSUPPORTED, "relative_buckets_count is 30");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dense, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
