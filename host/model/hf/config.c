/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/hf/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_WIDTH (1u << 24)
#define MAX_HEADS 4096u
#define MAX_VOCAB (1u << 26)
#define KEY_BYTES 96

static const struct hf_family families[] = {
    {"cohere", "command-r", "silu", HF_TRAIT_LAYER_NORM},
    {"cohere2", "cohere2", "silu", HF_TRAIT_LAYER_NORM | HF_TRAIT_WINDOW},
    {"deepseek_v2", "deepseek2", "silu", HF_TRAIT_MLA | HF_TRAIT_EXPERTS},
    {"deepseek_v3", "deepseek2", "silu", HF_TRAIT_MLA | HF_TRAIT_EXPERTS},
    {"kimi_k2", "deepseek2", "silu", HF_TRAIT_MLA | HF_TRAIT_EXPERTS},
    {"deepseek_v32", "deepseek32", "silu", HF_TRAIT_MLA | HF_TRAIT_EXPERTS | HF_TRAIT_INDEXER},
    {"gemma2", "gemma2", "gelu_pytorch_tanh", HF_TRAIT_NORM_PLUS_ONE | HF_TRAIT_POST_NORM | HF_TRAIT_WINDOW},
    {"gemma3_text", "gemma3", "gelu_pytorch_tanh", HF_TRAIT_NORM_PLUS_ONE | HF_TRAIT_POST_NORM | HF_TRAIT_WINDOW},
    {"glm4_moe", "glm4moe", "silu", HF_TRAIT_POST_NORM | HF_TRAIT_EXPERTS},
    {"glm_moe_dsa", "glm-dsa", "silu", HF_TRAIT_MLA | HF_TRAIT_EXPERTS | HF_TRAIT_INDEXER},
    {"gpt_neox", "gptneox", "gelu", HF_TRAIT_LAYER_NORM},
    {"gpt_oss", "gpt-oss", "silu", HF_TRAIT_POST_NORM | HF_TRAIT_EXPERTS | HF_TRAIT_WINDOW},
    {"kimi_linear", "kimi-linear", "silu", HF_TRAIT_MLA | HF_TRAIT_EXPERTS},
    {"llama", "llama", "silu", HF_TRAIT_ROPE_PAIRS},
    {"llama4_text", "llama4", "silu", HF_TRAIT_EXPERTS},
    {"ministral3", "mistral3", "silu", HF_TRAIT_ROPE_PAIRS | HF_TRAIT_WINDOW},
    {"mistral", "llama", "silu", HF_TRAIT_ROPE_PAIRS | HF_TRAIT_WINDOW},
    {"mistral4", "mistral4", "silu", HF_TRAIT_MLA | HF_TRAIT_EXPERTS | HF_TRAIT_FUSED_EXPERTS},
    {"mistral_large4_text", "mistral-large4", "silu", HF_TRAIT_MLA | HF_TRAIT_EXPERTS | HF_TRAIT_INDEXER},
    {"mixtral", "llama", "silu", HF_TRAIT_ROPE_PAIRS | HF_TRAIT_EXPERTS | HF_TRAIT_WINDOW},
    {"olmo2", "olmo2", "silu", HF_TRAIT_POST_NORM},
    {"olmoe", "olmoe", "silu", HF_TRAIT_EXPERTS},
    {"phi3", "phi3", "silu", HF_TRAIT_WINDOW},
    {"qwen2", "qwen2", "silu", 0},
    {"qwen2_moe", "qwen2moe", "silu", HF_TRAIT_EXPERTS},
    {"qwen3", "qwen3", "silu", 0},
    {"qwen3_moe", "qwen3moe", "silu", HF_TRAIT_EXPERTS},
    {"qwen3_next", "qwen3next", "silu",
     HF_TRAIT_NORM_PLUS_ONE | HF_TRAIT_POST_NORM | HF_TRAIT_EXPERTS | HF_TRAIT_LINEAR},
    {"qwen3_5_text", "qwen35", "silu",
     HF_TRAIT_NORM_PLUS_ONE | HF_TRAIT_POST_NORM | HF_TRAIT_LINEAR | HF_TRAIT_TILED_VALUES},
    {"qwen3_5_moe_text", "qwen35moe", "silu",
     HF_TRAIT_NORM_PLUS_ONE | HF_TRAIT_POST_NORM | HF_TRAIT_EXPERTS | HF_TRAIT_LINEAR | HF_TRAIT_TILED_VALUES},
    {"step3p5", "step35", "silu", HF_TRAIT_NORM_PLUS_ONE | HF_TRAIT_EXPERTS | HF_TRAIT_WINDOW},
    {"t5", "t5", "relu", HF_TRAIT_ENCODER},
};

/* ---- reading ---- */

/* The value under key; NULL if there is none, or after an error. */
static json_t *value_of(struct hf_config *config, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    return config->status < 0 || json_is_null(value) ? NULL : value;
}

static bool wrong(struct hf_config *config, const char *key, const char *wanted)
{
    config->status = error_set(config->err, ERROR_BAD_FILE, "%s: \"%s\" is no %s", config->file, key, wanted);
    return false;
}

bool hf_get_u32(struct hf_config *config, const json_t *from, const char *key, uint32_t low, uint32_t high,
                uint32_t *value)
{
    const json_t *found = value_of(config, from, key);
    if (found == NULL) return false;
    if (!json_is_integer(found)) return wrong(config, key, "whole number");
    json_int_t number = json_integer_value(found);
    if (number < low || number > high) {
        config->status = error_set(config->err, ERROR_BAD_FILE, "%s: \"%s\" is %lld (must be %u to %u)", config->file,
                                   key, (long long)number, low, high);
        return false;
    }
    *value = (uint32_t)number;
    return true;
}

bool hf_get_f64(struct hf_config *config, const json_t *from, const char *key, double *value)
{
    const json_t *found = value_of(config, from, key);
    if (found == NULL) return false;
    if (!json_is_number(found) || !isfinite(json_number_value(found))) return wrong(config, key, "number");
    *value = json_number_value(found);
    return true;
}

bool hf_get_bool(struct hf_config *config, const json_t *from, const char *key, bool *value)
{
    const json_t *found = value_of(config, from, key);
    if (found == NULL) return false;
    if (!json_is_boolean(found)) return wrong(config, key, "true or false");
    *value = json_is_true(found);
    return true;
}

const char *hf_get_string(struct hf_config *config, const json_t *from, const char *key)
{
    const json_t *found = value_of(config, from, key);
    if (found == NULL) return NULL;
    if (!json_is_string(found)) wrong(config, key, "text");
    return json_string_value(found);
}

json_t *hf_get_list(struct hf_config *config, const json_t *from, const char *key)
{
    json_t *found = value_of(config, from, key);
    if (found == NULL) return NULL;
    if (json_is_array(found)) return found;
    wrong(config, key, "list");
    return NULL;
}

void hf_need_u32(struct hf_config *config, const char *key, uint32_t low, uint32_t high, uint32_t *value)
{
    if (config->status == 0 && !hf_get_u32(config, config->root, key, low, high, value) && config->status == 0)
        config->status = error_set(config->err, ERROR_BAD_FILE, "%s: no \"%s\"", config->file, key);
}

void hf_refuse(struct hf_config *config, const char *key, const char *why)
{
    if (config->status < 0) return;
    config->status = error_set(config->err, ERROR_UNSUPPORTED, "%s: \"%s\": %s", config->file, key, why);
}

/* ---- writing ---- */

struct key {
    char text[KEY_BYTES];
};

static struct key key_of(const struct hf_config *config, const char *suffix)
{
    struct key key;
    (void)snprintf(key.text, sizeof key.text, "%s.%s", config->family->architecture, suffix);
    return key;
}

void hf_put_u32(struct hf_config *config, const char *suffix, uint32_t value)
{
    header_put_u32(config->out, key_of(config, suffix).text, value);
}

void hf_put_f32(struct hf_config *config, const char *suffix, double value)
{
    header_put_f32(config->out, key_of(config, suffix).text, (float)value);
}

void hf_put_bool(struct hf_config *config, const char *suffix, bool value)
{
    header_put_bool(config->out, key_of(config, suffix).text, value);
}

void hf_put_string(struct hf_config *config, const char *suffix, const char *text)
{
    header_put_string(config->out, key_of(config, suffix).text, text, strlen(text));
}

void hf_put_list(struct hf_config *config, const char *suffix, enum gguf_type type, uint32_t count)
{
    header_put_array(config->out, key_of(config, suffix).text, type, count);
}

/* ---- what all families have ---- */

static void unknown_type(struct hf_config *config, const char *type)
{
    char list[400] = "";
    size_t length = 0;
    for (size_t i = 0; i < sizeof families / sizeof families[0] && length < sizeof list; i++)
        length +=
            (size_t)snprintf(list + length, sizeof list - length, "%s%s", i > 0 ? ", " : "", families[i].model_type);
    config->status = error_set(config->err, ERROR_UNSUPPORTED,
                               "%s: \"model_type\" %.40s is not supported (supported: %s)", config->file, type, list);
}

/* What published configurations leave to their class's defaults (transformers' Gemma3TextConfig). */
static const struct {
    const char *model_type, *key;
    json_int_t value;
} defaults[] = {
    {"gemma3_text", "num_attention_heads", 8},
    {"gemma3_text", "num_key_value_heads", 4},
    {"gemma3_text", "head_dim", 256},
    {"gemma3_text", "vocab_size", 262208},
    {"gemma3_text", "max_position_embeddings", 131072},
    {"gemma3_text", "rope_theta", 1000000},
};

static void set_defaults(struct hf_config *config)
{
    const char *type = config->family->model_type;
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (strcmp(defaults[i].model_type, type) == 0 && json_object_get(config->root, defaults[i].key) == NULL)
            (void)json_object_set_new(config->root, defaults[i].key, json_integer(defaults[i].value));
    if (strcmp(type, "gemma3_text") == 0 && json_object_get(config->root, "rms_norm_eps") == NULL)
        (void)json_object_set_new(config->root, "rms_norm_eps", json_real(1e-6));
}

/* Models that see have their text model's settings in text_config. */
static void find_family(struct hf_config *config, json_t *root)
{
    config->root = root;
    config->quantization = json_object_get(root, "quantization_config");
    json_t *text = json_object_get(root, "text_config");
    if (json_is_object(text)) {
        config->root = text;
        if (json_object_get(text, "quantization_config") != NULL)
            config->quantization = json_object_get(text, "quantization_config");
    }
    if (config->quantization == NULL) config->quantization = json_object_get(root, "compression_config");
    if (!json_is_object(config->quantization)) config->quantization = NULL;
    const char *type = hf_get_string(config, config->root, "model_type");
    if (config->status == 0 && type == NULL)
        config->status = error_set(config->err, ERROR_BAD_FILE, "%s: no \"model_type\"", config->file);
    for (size_t i = 0; type != NULL && i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].model_type, type) == 0) config->family = &families[i];
    if (config->status == 0 && config->family == NULL) unknown_type(config, type);
    if (config->status == 0) set_defaults(config);
}

static void read_sizes(struct hf_config *config)
{
    struct hf_shape *s = &config->shape;
    uint32_t context = 0, width = 0;
    hf_need_u32(config, "num_hidden_layers", 1, HF_MAX_LAYERS, &s->n_layers);
    hf_need_u32(config, "hidden_size", 1, MAX_WIDTH, &s->d_model);
    hf_need_u32(config, "num_attention_heads", 1, MAX_HEADS, &s->n_heads);
    hf_need_u32(config, "vocab_size", 1, MAX_VOCAB, &s->n_vocab);
    /* Command R says in model_max_length what it was trained for; elsewhere that is a tokenizer's setting. */
    bool is_cohere = strcmp(config->family->architecture, "command-r") == 0;
    bool has_context = is_cohere && hf_get_u32(config, config->root, "model_max_length", 1, UINT32_MAX, &context);
    if (!has_context && !hf_get_u32(config, config->root, "max_position_embeddings", 1, UINT32_MAX, &context))
        hf_need_u32(config, "model_max_length", 1, UINT32_MAX, &context);
    s->n_kv_heads = s->n_heads;
    hf_get_u32(config, config->root, "num_key_value_heads", 1, MAX_HEADS, &s->n_kv_heads);
    s->head_dim = s->n_heads > 0 ? s->d_model / s->n_heads : 0;
    bool has_head = hf_get_u32(config, config->root, "head_dim", 1, MAX_WIDTH, &s->head_dim);
    s->tied = strcmp(config->family->architecture, "command-r") == 0;
    hf_get_bool(config, config->root, "tie_word_embeddings", &s->tied);
    hf_get_u32(config, config->root, "intermediate_size", 0, MAX_WIDTH, &width);
    hf_get_u32(config, config->root, "intermediate_size_mlp", 0, MAX_WIDTH, &width); /* llama4: of its dense layers */
    if (config->status < 0) return;
    hf_put_u32(config, "block_count", s->n_layers);
    hf_put_u32(config, "context_length", context);
    hf_put_u32(config, "embedding_length", s->d_model);
    hf_put_u32(config, "vocab_size", s->n_vocab);
    if (width > 0) hf_put_u32(config, "feed_forward_length", width);
    if (config->family->traits & HF_TRAIT_MLA || !has_head) return;
    hf_put_u32(config, "attention.key_length", s->head_dim);
    hf_put_u32(config, "attention.value_length", s->head_dim);
}

/* Where layers differ in their heads, the family writes them (config_families.c, config_layers.c). */
static void put_heads(struct hf_config *config)
{
    const struct hf_shape *s = &config->shape;
    const char *arch = config->family->architecture;
    if (config->status < 0 || strcmp(arch, "step35") == 0) return;
    hf_put_u32(config, "attention.head_count", s->n_heads);
    if (strcmp(arch, "kimi-linear") != 0)
        hf_put_u32(config, "attention.head_count_kv", config->family->traits & HF_TRAIT_MLA ? 1 : s->n_kv_heads);
}

static void read_epsilon(struct hf_config *config)
{
    bool layer_norm = (config->family->traits & HF_TRAIT_LAYER_NORM) != 0;
    double epsilon = layer_norm ? 1e-5 : 1e-6;
    if (!hf_get_f64(config, config->root, layer_norm ? "layer_norm_eps" : "rms_norm_eps", &epsilon))
        hf_refuse(config, layer_norm ? "layer_norm_eps" : "rms_norm_eps", "is missing");
    if (config->status == 0)
        hf_put_f32(config, layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", epsilon);
}

/* An activation that is not the family's would be computed as if it were. */
static void check_activation(struct hf_config *config)
{
    const char *name = hf_get_string(config, config->root, "hidden_activation");
    const char *key = name != NULL ? "hidden_activation" : "hidden_act";
    if (name == NULL) name = hf_get_string(config, config->root, key);
    if (name == NULL || strcmp(name, config->family->activation) == 0) return;
    if (strcmp(name, "swish") == 0 && strcmp(config->family->activation, "silu") == 0) return;
    hf_refuse(config, key, "an activation that this model_type is not computed with");
}

int hf_config_read(json_t *root, const char *file, struct header_writer *out, struct hf_config *config,
                   struct error *err)
{
    *config = (struct hf_config){.file = file, .out = out, .err = err};
    find_family(config, root);
    if (config->status < 0) return config->status;
    header_put_string(out, "general.architecture", config->family->architecture, strlen(config->family->architecture));
    if (config->family->traits & HF_TRAIT_ENCODER) {
        hf_config_t5(config);
        return config->status;
    }
    read_sizes(config);
    put_heads(config);
    read_epsilon(config);
    check_activation(config);
    if (config->family->traits & HF_TRAIT_MLA) hf_config_latent(config);
    if (config->status == 0) hf_config_rope(config);
    if (config->family->traits & HF_TRAIT_EXPERTS) hf_config_experts(config);
    if (config->family->traits & HF_TRAIT_LINEAR) hf_config_linear(config);
    hf_config_windows(config);
    if (config->status == 0) hf_config_special(config);
    return config->status;
}
