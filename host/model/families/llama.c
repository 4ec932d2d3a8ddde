/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Llama 1 to 3, Mistral, Mixtral and what shares their layers: RMSNorm, grouped-query attention, SwiGLU or experts with it.
 * Rotary pairs are neighbours, as the converter permutes the rows of query and key so. Files may have biases, a sliding
 * window on every layer (Mistral 7B v0.1), and Llama-3's frequency divisors.
 */
#include "host/model/model_config.h"

static void declare_biases(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    uint32_t query = config->n_heads * config->head_dim, kv = config->n_kv_heads * config->head_dim;
    tensor_table_add_optional(table, TENSOR_ATTN_Q_BIAS, layer, 1, query);
    tensor_table_add_optional(table, TENSOR_ATTN_K_BIAS, layer, 1, kv);
    tensor_table_add_optional(table, TENSOR_ATTN_V_BIAS, layer, 1, kv);
    tensor_table_add_optional(table, TENSOR_ATTN_OUTPUT_BIAS, layer, 1, config->d_model);
    if (config->layers[layer].has_experts) return;
    tensor_table_add_optional(table, TENSOR_FFN_GATE_BIAS, layer, 1, config->d_ff);
    tensor_table_add_optional(table, TENSOR_FFN_UP_BIAS, layer, 1, config->d_ff);
    tensor_table_add_optional(table, TENSOR_FFN_DOWN_BIAS, layer, 1, config->d_model);
}

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    uint32_t n_experts = 0;
    config->rope_interleaved = true;
    config->router.renormalize = true; /* the softmax over the chosen logits */
    int found = model_config_optional_u32(file, "llama", "expert_count", 0, UINT32_MAX, &n_experts, err);
    if (found < 0) return found;
    int result = n_experts > 0 ? model_config_experts(file, "llama", config, err) : 0;
    return result < 0 ? result : model_config_windows(file, "llama", 0, config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    tensor_table_add_optional(table, TENSOR_ROPE_FREQS, 0, 1, config->rope_dims / 2);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) declare_biases(config, table, layer);
}

const struct family family_llama = {
    .architecture = "llama",
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
