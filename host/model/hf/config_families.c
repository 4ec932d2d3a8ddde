/* SPDX-License-Identifier: Apache-2.0 */
/* What only one family's configuration has. Settings without a key in GGUF are checked against what the family computes. */
#include "host/model/hf/config.h"

#include <math.h>
#include <string.h>

#define MAX_HEADS 4096u
#define MAX_RANK (1u << 16)

static void put_number(struct hf_config *config, const char *key, const char *suffix)
{
    double value = 0;
    if (hf_get_f64(config, config->root, key, &value)) hf_put_f32(config, suffix, value);
}

static void need_number(struct hf_config *config, const char *key, double wanted)
{
    double value = wanted;
    hf_get_f64(config, config->root, key, &value);
    if (fabs(value - wanted) > 1e-6 * wanted) hf_refuse(config, key, "a constant other than the released models'");
}

static void special_cohere(struct hf_config *config)
{
    double scale = 0.0625; /* CohereConfig's default */
    hf_get_f64(config, config->root, "logit_scale", &scale);
    hf_put_f32(config, "logit_scale", scale);
}

static void special_gemma(struct hf_config *config)
{
    double scalar = 256; /* Gemma2Config's default, and Gemma3TextConfig's */
    bool both_ways = false;
    hf_get_f64(config, config->root, "query_pre_attn_scalar", &scalar);
    if (!(scalar > 0)) hf_refuse(config, "query_pre_attn_scalar", "must be above 0");
    if (config->status < 0) return;
    hf_put_f32(config, "attention.scale", 1.0 / sqrt(scalar));
    put_number(config, "attn_logit_softcapping", "attn_logit_softcapping");
    put_number(config, "final_logit_softcapping", "final_logit_softcapping");
    if (hf_get_bool(config, config->root, "use_bidirectional_attention", &both_ways) && both_ways)
        hf_refuse(config, "use_bidirectional_attention", "only causal attention is supported");
}

static void special_gpt_oss(struct hf_config *config)
{
    need_number(config, "swiglu_limit", 7.0);
    need_number(config, "swiglu_alpha", 1.702);
}

static void special_neox(struct hf_config *config)
{
    bool parallel = true;
    hf_get_bool(config, config->root, "use_parallel_residual", &parallel);
    hf_put_bool(config, "use_parallel_residual", parallel);
}

/* Layers of linear attention have no KV heads. linear_attn_config counts layers from 1. */
static void special_kimi(struct hf_config *config)
{
    const json_t *types = hf_get_list(config, config->root, "layer_types");
    const json_t *linear = json_object_get(config->root, "linear_attn_config");
    const json_t *full = hf_get_list(config, linear, "full_attn_layers");
    uint32_t kernel = 4, dims = 0, heads = config->shape.n_heads, n_layers = config->shape.n_layers;
    bool nope = true;
    hf_get_bool(config, config->root, "mla_use_nope", &nope);
    if (!nope) hf_refuse(config, "mla_use_nope", "only true is supported");
    hf_get_u32(config, config->root, "linear_conv_kernel_dim", 2, 8, &kernel);
    hf_get_u32(config, linear, "short_conv_kernel_size", 2, 8, &kernel);
    if (!hf_get_u32(config, config->root, "linear_head_dim", 1, MAX_RANK, &dims) &&
        !hf_get_u32(config, linear, "head_dim", 1, MAX_RANK, &dims))
        hf_refuse(config, "linear_head_dim", "is missing");
    hf_get_u32(config, config->root, "linear_num_heads", 1, MAX_HEADS, &heads);
    hf_get_u32(config, linear, "num_heads", 1, MAX_HEADS, &heads);
    if (heads != config->shape.n_heads) hf_refuse(config, "linear_num_heads", "must be num_attention_heads");
    if (types == NULL && full == NULL) hf_refuse(config, "layer_types", "is missing");
    if (config->status < 0) return;
    hf_put_u32(config, "ssm.conv_kernel", kernel);
    hf_put_u32(config, "kda.head_dim", dims);
    hf_put_list(config, "attention.head_count_kv", GGUF_TYPE_U32, n_layers);
    for (uint32_t i = 0; i < n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        bool attends = type != NULL && strcmp(type, "full_attention") == 0;
        for (size_t k = 0; types == NULL && k < json_array_size(full); k++)
            attends = attends || json_integer_value(json_array_get(full, k)) == (json_int_t)i + 1;
        header_element_u32(config->out, attends ? 1 : 0);
    }
}

/* Which layers turn, and which have experts, follow from two periods; lists that say something else are refused. */
static void check_llama4_lists(struct hf_config *config, uint32_t step)
{
    const json_t *turns = hf_get_list(config, config->root, "no_rope_layers");
    const json_t *experts = hf_get_list(config, config->root, "moe_layers");
    for (uint32_t i = 0; i < json_array_size(turns); i++)
        if ((json_integer_value(json_array_get(turns, i)) != 0) != ((i + 1) % 4 != 0))
            hf_refuse(config, "no_rope_layers", "layers without rotation other than every fourth");
    for (size_t i = 0; i < json_array_size(experts); i++)
        if (json_integer_value(json_array_get(experts, i)) != (json_int_t)(i + 1) * step - 1)
            hf_refuse(config, "moe_layers", "layers that interleave_moe_layer_step does not give");
    if (experts != NULL && json_array_size(experts) != config->shape.n_layers / step)
        hf_refuse(config, "moe_layers", "layers that interleave_moe_layer_step does not give");
}

static void special_llama4(struct hf_config *config)
{
    uint32_t step = 1, chunk = 8192, period = 8192;
    double scale = 0.1;
    bool norms = true, tuned = true;
    hf_get_u32(config, config->root, "interleave_moe_layer_step", 1, config->shape.n_layers, &step);
    hf_get_u32(config, config->root, "attention_chunk_size", 1, UINT32_MAX, &chunk);
    hf_get_f64(config, config->root, "attn_scale", &scale);
    hf_get_bool(config, config->root, "use_qk_norm", &norms);
    const json_t *tuning = json_object_get(config->root, "attn_temperature_tuning"); /* older files: a number */
    if (json_is_false(tuning) || (json_is_integer(tuning) && json_integer_value(tuning) == 0)) tuned = false;
    hf_get_u32(config, config->root, "floor_scale", 1, UINT32_MAX, &period);
    if (config->status == 0) check_llama4_lists(config, step);
    if (config->status < 0) return;
    hf_put_u32(config, "interleave_moe_layer_step", step);
    hf_put_u32(config, "attention.chunk_size", chunk);
    hf_put_bool(config, "attention.qk_norm", norms);
    hf_put_u32(config, "attention.temperature_length", tuned ? period : 0);
    hf_put_f32(config, "attention.temperature_scale", scale);
}

static void special_mistral(struct hf_config *config)
{
    const json_t *rope = json_object_get(config->root, "rope_parameters");
    double beta = 0;
    if (!json_is_object(rope)) rope = json_object_get(config->root, "rope_scaling");
    if (hf_get_f64(config, rope, "llama_4_scaling_beta", &beta) && beta > 0)
        hf_put_f32(config, "attention.temperature_scale", beta);
}

static void special_olmoe(struct hf_config *config)
{
    double clip = 0;
    if (hf_get_f64(config, config->root, "clip_qkv", &clip)) hf_put_f32(config, "attention.clamp_kqv", clip);
}

static void special_glm_dsa(struct hf_config *config)
{
    const json_t *types = hf_get_list(config, config->root, "indexer_types");
    if (types == NULL) return;
    hf_put_list(config, "attention.indexer.types", GGUF_TYPE_BOOL, config->shape.n_layers);
    for (uint32_t i = 0; i < config->shape.n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (type == NULL || (strcmp(type, "full") != 0 && strcmp(type, "shared") != 0))
            hf_refuse(config, "indexer_types", "not \"full\" or \"shared\" for each layer");
        header_element_bool(config->out, type != NULL && strcmp(type, "full") == 0);
    }
}

/* A number for each layer; what the list lacks is 0. */
static void put_limits(struct hf_config *config, const char *key, const char *suffix)
{
    const json_t *list = hf_get_list(config, config->root, key);
    if (list == NULL) return;
    hf_put_list(config, suffix, GGUF_TYPE_F32, config->shape.n_layers);
    for (uint32_t i = 0; i < config->shape.n_layers; i++)
        header_element_f32(config->out, (float)json_number_value(json_array_get(list, i)));
}

static void special_step(struct hf_config *config)
{
    struct hf_shape *s = &config->shape;
    const json_t *types = hf_get_list(config, config->root, "layer_types");
    uint32_t sliding = s->n_heads;
    hf_get_u32(config, config->root, "num_sliding_attention_heads", 1, MAX_HEADS, &sliding);
    if (types == NULL || json_array_size(types) < s->n_layers)
        hf_refuse(config, "layer_types", "not one for each layer");
    if (config->status < 0) return;
    hf_put_list(config, "attention.head_count", GGUF_TYPE_U32, s->n_layers);
    for (uint32_t i = 0; i < s->n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        header_element_u32(config->out, type != NULL && strcmp(type, "sliding_attention") == 0 ? sliding : s->n_heads);
    }
    hf_put_list(config, "attention.head_count_kv", GGUF_TYPE_U32, s->n_layers);
    for (uint32_t i = 0; i < s->n_layers; i++) header_element_u32(config->out, s->n_kv_heads);
    put_limits(config, "swiglu_limits", "swiglu_clamp_exp");
    put_limits(config, "swiglu_limits_shared", "swiglu_clamp_shexp");
}

/* DeepSeek's rotation is of neighbours; configurations that say otherwise are of other weights. */
static void special_deepseek(struct hf_config *config)
{
    bool pairs = true;
    hf_get_bool(config, config->root, "rope_interleave", &pairs);
    if (!pairs) hf_refuse(config, "rope_interleave", "only true is supported");
}

/* Which layers turn, which have the pages of another one, and Gemma's cap. */
static void special_large4(struct hf_config *config)
{
    const json_t *turns = hf_get_list(config, config->root, "no_rope_layers"); /* 1: turns */
    const json_t *sources = hf_get_list(config, config->root, "kv_source_layers");
    const uint32_t n = config->shape.n_layers;
    bool biased = false;
    hf_get_bool(config, config->root, "attention_bias", &biased);
    if (biased) hf_refuse(config, "attention_bias", "only false is supported");
    if (turns != NULL && json_array_size(turns) != n) hf_refuse(config, "no_rope_layers", "not one for each layer");
    if (sources != NULL && json_array_size(sources) != n)
        hf_refuse(config, "kv_source_layers", "not one for each layer");
    if (config->status < 0) return;
    hf_put_list(config, "rope.layers", GGUF_TYPE_U32, n);
    for (uint32_t i = 0; i < n; i++)
        header_element_u32(config->out, turns != NULL ? json_integer_value(json_array_get(turns, i)) != 0
                                                      : (i + 1) % 4 != 0); /* MistralLarge4TextConfig's default */
    if (sources != NULL) {
        hf_put_list(config, "attention.kv_source_layers", GGUF_TYPE_U32, n);
        for (uint32_t i = 0; i < n; i++) {
            json_int_t source = json_integer_value(json_array_get(sources, i));
            if (source < 0 || source > (json_int_t)i)
                hf_refuse(config, "kv_source_layers", "a layer that does not come before");
            header_element_u32(config->out, (uint32_t)source);
        }
    }
    put_number(config, "final_logit_softcapping", "final_logit_softcapping");
    special_glm_dsa(config);
}

void hf_config_special(struct hf_config *config)
{
    static const struct {
        const char *architecture;
        void (*put)(struct hf_config *config);
    } specials[] = {
        {"command-r", special_cohere},      {"cohere2", special_cohere},     {"gemma2", special_gemma},
        {"gemma3", special_gemma},          {"gpt-oss", special_gpt_oss},    {"gptneox", special_neox},
        {"llama4", special_llama4},         {"mistral3", special_mistral},   {"mistral4", special_mistral},
        {"mistral-large4", special_large4}, {"olmoe", special_olmoe},        {"glm-dsa", special_glm_dsa},
        {"step35", special_step},           {"deepseek2", special_deepseek}, {"kimi-linear", special_kimi},
    };
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        if (strcmp(specials[i].architecture, config->family->architecture) == 0) specials[i].put(config);
}
