/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers from a config.json, by family. What a family's config leaves out is what its published configuration class
 * gives: the rules below are those of the classes in Hugging Face's transformers, by model_type.
 */
#include "host/plan/config_families.h"

#include <stdlib.h>
#include <string.h>

static const struct config_family families[] = {
    {.model_type = "llama", .read = config_read_heads},
    {.model_type = "mistral", .read = config_read_heads, .windows = CONFIG_WINDOWS_ALL},
    {.model_type = "ministral3", .read = config_read_heads, .windows = CONFIG_WINDOWS_ALL},
    {.model_type = "mixtral", .read = config_read_heads, .windows = CONFIG_WINDOWS_ALL, .experts = true},
    {.model_type = "qwen2", .read = config_read_heads, .windows = CONFIG_WINDOWS_ON_REQUEST, .query_bias = true},
    {.model_type = "qwen2_moe",
     .read = config_read_heads,
     .windows = CONFIG_WINDOWS_ON_REQUEST,
     .query_bias = true,
     .experts = true,
     .shared_gate = true},
    {.model_type = "qwen3",
     .read = config_read_heads,
     .windows = CONFIG_WINDOWS_ON_REQUEST,
     .query_key_norm = QUERY_KEY_NORM_HEAD},
    {.model_type = "qwen3_moe",
     .read = config_read_heads,
     .windows = CONFIG_WINDOWS_ON_REQUEST,
     .query_key_norm = QUERY_KEY_NORM_HEAD,
     .experts = true,
     .renormalize = true},
    {.model_type = "qwen3_next",
     .read = config_read_delta,
     .period = 4,
     .query_key_norm = QUERY_KEY_NORM_HEAD,
     .experts = true,
     .shared_gate = true,
     .renormalize = true},
    {.model_type = "qwen3_5_text", .read = config_read_delta, .period = 4, .query_key_norm = QUERY_KEY_NORM_HEAD},
    {.model_type = "qwen3_5_moe_text",
     .read = config_read_delta,
     .period = 4,
     .query_key_norm = QUERY_KEY_NORM_HEAD,
     .experts = true,
     .shared_gate = true,
     .renormalize = true},
    {.model_type = "olmo2", .read = config_read_heads, .query_key_norm = QUERY_KEY_NORM_ALL},
    {.model_type = "olmoe", .read = config_read_heads, .query_key_norm = QUERY_KEY_NORM_ALL, .experts = true},
    {.model_type = "phi3", .read = config_read_heads, .windows = CONFIG_WINDOWS_ALL},
    {.model_type = "gemma2", .read = config_read_heads, .period = 2, .windows = CONFIG_WINDOWS_PERIOD, .tied = true},
    {.model_type = "gemma3_text",
     .read = config_read_heads,
     .period = 6,
     .windows = CONFIG_WINDOWS_PERIOD,
     .query_key_norm = QUERY_KEY_NORM_HEAD,
     .tied = true},
    {.model_type = "cohere", .read = config_read_heads, .tied = true},
    {.model_type = "cohere2", .read = config_read_heads, .period = 4, .windows = CONFIG_WINDOWS_PERIOD, .tied = true},
    {.model_type = "glm4_moe", .read = config_read_heads, .experts = true, .sigmoid = true, .renormalize = true},
    {.model_type = "gpt_oss",
     .read = config_read_heads,
     .period = 2,
     .windows = CONFIG_WINDOWS_PERIOD,
     .query_bias = true,
     .experts = true,
     .renormalize = true},
    {.model_type = "llama4_text",
     .read = config_read_heads,
     .period = 4,
     .windows = CONFIG_WINDOWS_CHUNKS,
     .experts = true,
     .sigmoid = true},
    {.model_type = "step3p5",
     .read = config_read_step,
     .query_key_norm = QUERY_KEY_NORM_HEAD,
     .experts = true,
     .sigmoid = true,
     .renormalize = true},
    {.model_type = "deepseek_v2", .read = config_read_latent, .experts = true},
    {.model_type = "deepseek_v3", .read = config_read_latent, .experts = true, .sigmoid = true, .renormalize = true},
    {.model_type = "kimi_k2", .read = config_read_latent, .experts = true, .sigmoid = true, .renormalize = true},
    {.model_type = "mistral4", .read = config_read_latent, .experts = true, .renormalize = true},
    {.model_type = "deepseek_v32", .read = config_read_latent, .experts = true, .sigmoid = true, .renormalize = true},
    {.model_type = "glm_moe_dsa", .read = config_read_latent, .experts = true, .sigmoid = true, .renormalize = true},
    {.model_type = "deepseek_v4",
     .read = config_read_compressed,
     .experts = true,
     .sigmoid = true,
     .renormalize = true},
    {.model_type = "kimi_linear",
     .read = config_read_channel_delta,
     .experts = true,
     .sigmoid = true,
     .renormalize = true},
};

static const struct config_family *find_family(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].model_type, model_type) == 0) return &families[i];
    return NULL;
}

bool config_family_tied(const char *model_type)
{
    const struct config_family *family = find_family(model_type);
    return family != NULL && family->tied;
}

static uint32_t product(struct config_reader *reader, const char *key, uint32_t a, uint32_t b)
{
    if ((uint64_t)a * b <= ARCHITECTURE_MAX_FFN_WIDTH) return a * b;
    config_bad(reader, ERROR_BAD_FILE, key, "times %u is more than %u", b, ARCHITECTURE_MAX_FFN_WIDTH);
    return a;
}

/* Width of all shared experts together. */
static uint32_t shared_width(struct config_reader *reader, uint32_t expert_width, bool always)
{
    static const char *const widths[] = {"shared_expert_intermediate_size", "share_expert_dim", NULL};
    const char *width = config_key_of(reader, widths);
    if (config_get(reader, width) != NULL) return config_u32(reader, width, 0, ARCHITECTURE_MAX_FFN_WIDTH);
    static const char *const counts[] = {"n_shared_experts", "num_shared_experts", NULL};
    const char *count = config_key_of(reader, counts);
    return product(reader, count, config_u32_or(reader, count, 0, ARCHITECTURE_MAX_EXPERTS, always), expert_width);
}

static bool is_sigmoid(struct config_reader *reader, bool fallback)
{
    static const char *const keys[] = {"scoring_func", "moe_router_activation", "moe_router_activation_func", NULL};
    const char *scoring = config_text_or(reader, config_key_of(reader, keys), fallback ? "sigmoid" : "softmax");
    return strcmp(scoring, "softmax") != 0; /* sqrtsoftplus, too, is a function of each score alone */
}

/* The experts of a layer that has them. */
static struct ffn_shape read_experts(struct config_reader *reader, const struct config_family *family)
{
    static const char *const counts[] = {"num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts",
                                         NULL};
    static const char *const used[] = {"num_experts_per_tok", "num_experts_per_token", "moe_top_k", NULL};
    static const char *const widths[] = {"moe_intermediate_size", "intermediate_size", NULL};
    static const char *const groups[] = {"n_group", "num_expert_group", NULL};
    static const char *const renormalize[] = {"norm_topk_prob", "moe_renormalize", "norm_expert_weight", NULL};
    struct ffn_shape ffn = {0};
    bool llama4 = strcmp(family->model_type, "llama4_text") == 0, gpt_oss = strcmp(family->model_type, "gpt_oss") == 0;
    ffn.experts = config_u32(reader, config_key_of(reader, counts), 1, ARCHITECTURE_MAX_EXPERTS);
    const char *key = config_key_of(reader, used);
    ffn.experts_used = config_u32(reader, key, 1, ARCHITECTURE_MAX_CHOICES);
    if (ffn.experts_used > ffn.experts)
        config_bad(reader, ERROR_BAD_FILE, key, "is %u of %u experts", ffn.experts_used, ffn.experts);
    ffn.expert_width = config_u32(reader, config_key_of(reader, widths), 1, ARCHITECTURE_MAX_FFN_WIDTH);
    ffn.shared_width = shared_width(reader, ffn.expert_width, llama4);
    ffn.shared_gate = family->shared_gate && ffn.shared_width != 0;
    ffn.scoring = is_sigmoid(reader, family->sigmoid) ? ROUTER_SIGMOID : ROUTER_SOFTMAX;
    ffn.router_bias = ffn.scoring == ROUTER_SIGMOID && !llama4;
    ffn.router_logit_bias = ffn.expert_bias = gpt_oss;
    ffn.scaled_input = llama4;
    ffn.renormalize = config_bool_or(reader, config_key_of(reader, renormalize), family->renormalize);
    key = config_key_of(reader, groups);
    ffn.router_groups = config_u32_or(reader, key, 1, ffn.experts, 1);
    ffn.router_groups_used = config_u32_or(reader, "topk_group", 1, ffn.router_groups, ffn.router_groups);
    if (ffn.experts % ffn.router_groups != 0)
        config_bad(reader, ERROR_BAD_FILE, key, "(%u) does not divide the %u experts", ffn.router_groups, ffn.experts);
    return ffn;
}

/* Whether a list of layer numbers, of integers or of text "3,4,5", has this one. */
static bool list_has(struct config_reader *reader, const char *key, uint32_t layer)
{
    json_t *list = config_get(reader, key), *entry;
    size_t index;
    if (json_is_string(list)) {
        for (const char *text = json_string_value(list); *text != '\0';) {
            char *end;
            unsigned long number = strtoul(text, &end, 10);
            if (end == text) break;
            if (number == layer) return true;
            text = *end == '\0' ? end : end + 1;
        }
        return false;
    }
    json_array_foreach(list, index,
                       entry) if (json_is_integer(entry) && json_integer_value(entry) == (json_int_t)layer) return true;
    return false;
}

static bool has_experts(struct config_reader *reader, const struct architecture *architecture, uint32_t layer)
{
    json_t *types = config_array(reader, "mlp_layer_types", architecture->n_layers);
    if (types != NULL) return strcmp(config_element_text(reader, "mlp_layer_types", types, layer), "dense") != 0;
    if (config_get(reader, "moe_layers") != NULL) return list_has(reader, "moe_layers", layer);
    if (config_get(reader, "moe_layers_enum") != NULL) return list_has(reader, "moe_layers_enum", layer);
    if (list_has(reader, "mlp_only_layers", layer)) return false;
    if (layer < config_u32_or(reader, "first_k_dense_replace", 0, ARCHITECTURE_MAX_LAYERS, 0)) return false;
    static const char *const steps[] = {"interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq", NULL};
    const char *key = config_key_of(reader, steps);
    return (layer + 1) % config_u32_or(reader, key, 1, ARCHITECTURE_MAX_LAYERS, 1) == 0;
}

static enum ffn_activation read_activation(struct config_reader *reader, const struct config_family *family)
{
    static const char *const keys[] = {"hidden_activation", "hidden_act", NULL};
    if (strcmp(family->model_type, "gpt_oss") == 0) return FFN_SWIGLU_OAI;
    const char *key = config_key_of(reader, keys), *name = config_text_or(reader, key, "silu");
    if (strcmp(name, "silu") == 0 || strcmp(name, "swish") == 0) return FFN_SILU;
    if (strncmp(name, "gelu", 4) == 0) return FFN_GELU;
    if (strcmp(name, "relu") == 0) return FFN_RELU;
    config_bad(reader, ERROR_UNSUPPORTED, key, "is %s (supported: silu, gelu, relu)", name);
    return FFN_SILU;
}

static struct ffn_shape read_ffn(struct config_reader *reader, const struct architecture *architecture,
                                 const struct config_family *family, uint32_t layer)
{
    struct ffn_shape ffn = {0};
    if (family->experts && has_experts(reader, architecture, layer)) {
        ffn = read_experts(reader, family);
        if (layer < config_u32_or(reader, "num_hash_layers", 0, ARCHITECTURE_MAX_LAYERS, 0)) ffn.router_bias = false;
    } else {
        static const char *const widths[] = {"intermediate_size_mlp", "intermediate_size", NULL};
        ffn.width = config_u32(reader, config_key_of(reader, widths), 1, ARCHITECTURE_MAX_FFN_WIDTH);
    }
    ffn.activation = read_activation(reader, family);
    return ffn;
}

/* Two model types that are wrappers of text models without a text_config of their own. */
static const char *text_type(const char *model_type)
{
    static const char *const pairs[][2] = {{"gemma3", "gemma3_text"},   {"llama4", "llama4_text"},
                                           {"qwen3_5", "qwen3_5_text"}, {"qwen3_5_moe", "qwen3_5_moe_text"},
                                           {"step3p7", "step3p5"},      {"kimi_k25", "kimi_k2"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (strcmp(pairs[i][0], model_type) == 0) return pairs[i][1];
    return model_type;
}

/* As the engine has the weights: GGUF files keep llama's queries and keys in the order of interleaved pairs. */
static bool rope_is_interleaved(const char *type)
{
    static const char *const types[] = {"llama",       "mistral",     "ministral3",  "mixtral",     "cohere",
                                        "cohere2",     "llama4_text", "deepseek_v2", "deepseek_v3", "deepseek_v32",
                                        "deepseek_v4", "kimi_k2",     "mistral4",    "glm_moe_dsa"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i], type) == 0) return true;
    return false;
}

static void read_norms(struct config_reader *reader, const char *type, struct architecture *architecture)
{
    bool cohere = strncmp(type, "cohere", 6) == 0;
    architecture->parallel = architecture->layer_norm = cohere;
    architecture->post_norms = strncmp(type, "gemma", 5) == 0 || strcmp(type, "olmo2") == 0;
    architecture->pre_norms = strcmp(type, "olmo2") != 0;
    architecture->interleaved_rope = rope_is_interleaved(type);
    architecture->logit_scale = cohere ? config_f32_or(reader, "logit_scale", 0.0625f) : 0;
    architecture->logit_cap = config_f32_or(reader, "final_logit_softcapping", 0);
    architecture->hyper_streams = config_u32_or(reader, "hc_mult", 1, 64, 1);
}

void config_read_layers(struct config_reader *reader, const char *model_type, struct architecture *architecture)
{
    const char *type = text_type(model_type);
    const struct config_family *family = find_family(type);
    if (family == NULL) {
        config_bad(reader, ERROR_UNSUPPORTED, "model_type", "is %s, which sluice plan does not know", model_type);
        return;
    }
    read_norms(reader, type, architecture);
    for (uint32_t i = 0; i < architecture->n_layers && reader->status == 0; i++) {
        struct architecture_layer *layer = &architecture->layers[i];
        layer->ffn = read_ffn(reader, architecture, family, i);
        family->read(reader, architecture, family, i, &layer->attention);
    }
}
