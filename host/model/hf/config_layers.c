/* SPDX-License-Identifier: Apache-2.0 */
/* What several families share beyond the common part: experts, latent attention, gated delta nets, windows. */
#include "host/model/hf/config.h"

#include <string.h>

#define MAX_EXPERTS 4096u
#define MAX_WIDTH (1u << 24)
#define MAX_HEADS 4096u
#define MAX_RANK (1u << 16)

/* The first of these keys that is there. */
static bool first_u32(struct hf_config *config, const char *const *keys, uint32_t high, uint32_t *value)
{
    for (; *keys != NULL; keys++)
        if (hf_get_u32(config, config->root, *keys, 0, high, value)) return true;
    return false;
}

/* Dense layers before the first with experts; any other mix is refused. */
static void put_dense(struct hf_config *config)
{
    uint32_t dense = 0;
    const json_t *types = hf_get_list(config, config->root, "mlp_layer_types");
    hf_get_u32(config, config->root, "first_k_dense_replace", 0, config->shape.n_layers, &dense);
    if (types != NULL) {
        dense = 0;
        while (dense < json_array_size(types) &&
               strcmp(json_string_value(json_array_get(types, dense)) ? json_string_value(json_array_get(types, dense))
                                                                      : "",
                      "dense") == 0)
            dense++;
        for (size_t i = dense; i < json_array_size(types); i++) {
            const char *type = json_string_value(json_array_get(types, i));
            if (type == NULL || strcmp(type, "sparse") != 0)
                hf_refuse(config, "mlp_layer_types", "layers other than \"dense\" ones before \"sparse\" ones");
        }
        if (json_array_size(types) != config->shape.n_layers)
            hf_refuse(config, "mlp_layer_types", "not one for each layer");
    }
    uint32_t step = 1;
    if (hf_get_u32(config, config->root, "decoder_sparse_step", 1, 1u << 20, &step) && step != 1)
        hf_refuse(config, "decoder_sparse_step", "only 1 is supported");
    if (hf_get_u32(config, config->root, "moe_layer_freq", 1, 1u << 20, &step) && step != 1)
        hf_refuse(config, "moe_layer_freq", "only 1 is supported");
    if (json_array_size(hf_get_list(config, config->root, "mlp_only_layers")) != 0)
        hf_refuse(config, "mlp_only_layers", "layers without experts between those that have them");
    if (dense > 0) hf_put_u32(config, "leading_dense_block_count", dense);
}

static bool is_architecture(const struct hf_config *config, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(config->family->architecture, *names) == 0) return true;
    return false;
}

/* Weights of the chosen experts divided by their sum, or not; and a factor on them. */
static void put_weights(struct hf_config *config)
{
    static const char *const always[] = {"llama", "gpt-oss", "qwen3moe", "qwen3next", "qwen35moe", NULL};
    static const char *const never_said[] = {"llama4", NULL};
    bool normalizes = is_architecture(config, always);
    double scale = 1.0;
    hf_get_bool(config, config->root, "norm_topk_prob", &normalizes);
    hf_get_bool(config, config->root, "moe_renormalize", &normalizes);
    hf_get_f64(config, config->root, "routed_scaling_factor", &scale);
    hf_get_f64(config, config->root, "moe_router_scaling_factor", &scale);
    if (strcmp(config->family->architecture, "step35") == 0) normalizes = true;
    if (config->status < 0 || is_architecture(config, never_said)) return;
    if (normalizes || is_architecture(config, always) || strcmp(config->family->architecture, "kimi-linear") == 0)
        hf_put_bool(config, "expert_weights_norm", normalizes);
    if (scale != 1.0) hf_put_f32(config, "expert_weights_scale", scale);
}

static void put_scoring(struct hf_config *config)
{
    static const char *const sigmoid[] = {"glm4moe", "glm-dsa", "deepseek32", "kimi-linear", "step35", NULL};
    const char *function = hf_get_string(config, config->root, "scoring_func");
    if (function == NULL) function = hf_get_string(config, config->root, "moe_router_activation_func");
    bool is_sigmoid = is_architecture(config, sigmoid) || strcmp(config->family->model_type, "deepseek_v3") == 0 ||
                      strcmp(config->family->model_type, "kimi_k2") == 0;
    if (function != NULL && strcmp(function, "sigmoid") != 0 && strcmp(function, "softmax") != 0)
        hf_refuse(config, "scoring_func", "only sigmoid and softmax are supported");
    if (function != NULL) is_sigmoid = strcmp(function, "sigmoid") == 0;
    if (is_sigmoid || config->family->traits & HF_TRAIT_MLA)
        hf_put_u32(config, "expert_gating_func", is_sigmoid ? 2 : 1);
}

static void put_groups(struct hf_config *config)
{
    uint32_t groups = 1, used = 1;
    const char *method = hf_get_string(config, config->root, "topk_method");
    static const char *const keys[] = {"n_group", "num_expert_group", NULL};
    first_u32(config, keys, MAX_EXPERTS, &groups);
    hf_get_u32(config, config->root, "topk_group", 0, MAX_EXPERTS, &used);
    if (method != NULL && strcmp(method, "greedy") == 0) groups = 1;
    if (method != NULL && strcmp(method, "group_limited_greedy") == 0 && groups > 1)
        hf_refuse(config, "topk_method", "group_limited_greedy (a group by its best expert) is not supported");
    if (config->status < 0 || groups <= 1) return;
    hf_put_u32(config, "expert_group_count", groups);
    hf_put_u32(config, "expert_group_used_count", used);
}

static void put_shared(struct hf_config *config)
{
    static const char *const counts[] = {"n_shared_experts", "num_shared_experts", NULL};
    static const char *const widths[] = {"shared_expert_intermediate_size", "share_expert_dim", NULL};
    uint32_t n = 0, width = 0;
    if (first_u32(config, counts, MAX_EXPERTS, &n) && n > 0) hf_put_u32(config, "expert_shared_count", n);
    if (first_u32(config, widths, MAX_WIDTH, &width) && width > 0)
        hf_put_u32(config, "expert_shared_feed_forward_length", width);
}

void hf_config_experts(struct hf_config *config)
{
    static const char *const counts[] = {"n_routed_experts", "num_local_experts", "num_experts", NULL};
    static const char *const uses[] = {"num_experts_per_tok", "num_experts_per_token", "moe_top_k", NULL};
    uint32_t n = 0, used = 0, width = 0;
    if (!first_u32(config, counts, MAX_EXPERTS, &n)) hf_refuse(config, "num_experts", "is missing");
    if (!first_u32(config, uses, MAX_EXPERTS, &used)) hf_refuse(config, "num_experts_per_tok", "is missing");
    bool has_width = hf_get_u32(config, config->root, "moe_intermediate_size", 1, MAX_WIDTH, &width);
    const char *arch = config->family->architecture;
    if (!has_width && (strcmp(arch, "gpt-oss") == 0 || strcmp(arch, "llama4") == 0 || strcmp(arch, "olmoe") == 0))
        hf_need_u32(config, "intermediate_size", 1, MAX_WIDTH, &width);
    if (config->status < 0) return;
    hf_put_u32(config, "expert_count", n);
    hf_put_u32(config, "expert_used_count", used);
    if (width > 0) hf_put_u32(config, "expert_feed_forward_length", width);
    put_dense(config);
    put_weights(config);
    put_scoring(config);
    put_groups(config);
    put_shared(config);
}

void hf_config_latent(struct hf_config *config)
{
    struct hf_shape *s = &config->shape;
    uint32_t query_rank = 0;
    hf_need_u32(config, "kv_lora_rank", 1, MAX_RANK, &s->kv_rank);
    hf_need_u32(config, "qk_nope_head_dim", 1, MAX_RANK, &s->nope_dims);
    hf_need_u32(config, "qk_rope_head_dim", 1, MAX_RANK, &s->rope_dims);
    hf_need_u32(config, "v_head_dim", 1, MAX_RANK, &s->value_dims);
    hf_get_u32(config, config->root, "q_lora_rank", 0, MAX_RANK, &query_rank);
    if (config->status < 0) return;
    bool kimi = strcmp(config->family->architecture, "kimi-linear") == 0; /* its converter writes other lengths */
    hf_put_u32(config, "attention.key_length", s->kv_rank + s->rope_dims);
    hf_put_u32(config, "attention.value_length", kimi ? s->value_dims : s->kv_rank);
    hf_put_u32(config, "attention.key_length_mla", s->nope_dims + s->rope_dims);
    hf_put_u32(config, "attention.value_length_mla", s->value_dims);
    hf_put_u32(config, "attention.kv_lora_rank", s->kv_rank);
    if (query_rank > 0) hf_put_u32(config, "attention.q_lora_rank", query_rank);
    if (!(config->family->traits & HF_TRAIT_INDEXER)) return;
    uint32_t heads = 0, dims = 0, top_k = 0;
    hf_need_u32(config, "index_n_heads", 1, MAX_HEADS, &heads);
    hf_need_u32(config, "index_head_dim", 1, MAX_RANK, &dims);
    hf_need_u32(config, "index_topk", 1, MAX_RANK, &top_k);
    hf_put_u32(config, "attention.indexer.head_count", heads);
    hf_put_u32(config, "attention.indexer.key_length", dims);
    hf_put_u32(config, "attention.indexer.top_k", top_k);
}

/* Whether list says name of this layer. */
static bool layer_is(struct hf_config *config, const json_t *list, size_t layer, const char *name)
{
    const char *type = json_string_value(json_array_get(list, layer));
    if (type == NULL) hf_refuse(config, "layer_types", "not one text for each layer");
    return type != NULL && strcmp(type, name) == 0;
}

void hf_config_linear(struct hf_config *config)
{
    struct hf_shape *s = &config->shape;
    uint32_t kernel = 0, period = 4;
    hf_need_u32(config, "linear_conv_kernel_dim", 2, 8, &kernel);
    hf_need_u32(config, "linear_key_head_dim", 1, MAX_RANK, &s->linear_key_dims);
    hf_need_u32(config, "linear_value_head_dim", 1, MAX_RANK, &s->linear_value_dims);
    hf_need_u32(config, "linear_num_key_heads", 1, MAX_HEADS, &s->linear_keys);
    hf_need_u32(config, "linear_num_value_heads", 1, MAX_HEADS, &s->linear_values);
    hf_get_u32(config, config->root, "full_attention_interval", 1, HF_MAX_LAYERS, &period);
    if (config->status == 0 && s->linear_values % s->linear_keys != 0)
        hf_refuse(config, "linear_num_value_heads", "no multiple of linear_num_key_heads");
    if (config->status < 0) return;
    hf_put_u32(config, "ssm.conv_kernel", kernel);
    hf_put_u32(config, "ssm.state_size", s->linear_key_dims);
    hf_put_u32(config, "ssm.group_count", s->linear_keys);
    hf_put_u32(config, "ssm.time_step_rank", s->linear_values);
    hf_put_u32(config, "ssm.inner_size", s->linear_values * s->linear_value_dims);
    const json_t *types = hf_get_list(config, config->root, "layer_types");
    hf_put_list(config, "attention.recurrent_layers", GGUF_TYPE_BOOL, s->n_layers);
    for (uint32_t i = 0; i < s->n_layers; i++)
        header_element_bool(config->out,
                            types != NULL ? layer_is(config, types, i, "linear_attention") : (i + 1) % period != 0);
}

/* Which layers slide: layer_types, else a period, else the family's own rule (model_config_windows). */
static void put_pattern(struct hf_config *config)
{
    const json_t *types = hf_get_list(config, config->root, "layer_types");
    uint32_t period = 0;
    if (types == NULL) {
        if (!hf_get_u32(config, config->root, "sliding_window_pattern", 1, HF_MAX_LAYERS, &period))
            hf_get_u32(config, config->root, "_sliding_window_pattern", 1, HF_MAX_LAYERS, &period);
        if (period > 0) hf_put_u32(config, "attention.sliding_window_pattern", period);
        return;
    }
    hf_put_list(config, "attention.sliding_window_pattern", GGUF_TYPE_BOOL, config->shape.n_layers);
    for (uint32_t i = 0; i < config->shape.n_layers; i++)
        header_element_bool(config->out, layer_is(config, types, i, "sliding_attention"));
}

void hf_config_windows(struct hf_config *config)
{
    uint32_t window = 0;
    bool used = true;
    hf_get_bool(config, config->root, "use_sliding_window", &used);
    hf_get_u32(config, config->root, "sliding_window", 0, UINT32_MAX, &window);
    if (config->status < 0 || !used || window == 0) return;
    hf_put_u32(config, "attention.sliding_window", window);
    if (config->family->traits & HF_TRAIT_WINDOW) put_pattern(config);
}
