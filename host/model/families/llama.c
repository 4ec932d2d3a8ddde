/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Llama 1 to 3, Mistral and what shares their layers: RMSNorm, grouped-query attention, SwiGLU. Rotary pairs are
 * neighbours, as the converter permutes the rows of query and key so. Files may have biases, a sliding window on every
 * layer (Mistral 7B v0.1), and Llama-3's frequency divisors.
 */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    uint32_t window = 0;
    int found = gguf_get_u32(file, "llama.attention.sliding_window", &window, err);
    if (found < 0) return found;
    config->attention_window = window < config->context_length ? window : 0;
    return 0;
}

static void declare_biases(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    uint32_t query = config->n_heads * config->head_dim, kv = config->n_kv_heads * config->head_dim;
    tensor_table_add_optional(table, TENSOR_ATTN_Q_BIAS, layer, 1, query);
    tensor_table_add_optional(table, TENSOR_ATTN_K_BIAS, layer, 1, kv);
    tensor_table_add_optional(table, TENSOR_ATTN_V_BIAS, layer, 1, kv);
    tensor_table_add_optional(table, TENSOR_ATTN_OUTPUT_BIAS, layer, 1, config->d_model);
    tensor_table_add_optional(table, TENSOR_FFN_GATE_BIAS, layer, 1, config->d_ff);
    tensor_table_add_optional(table, TENSOR_FFN_UP_BIAS, layer, 1, config->d_ff);
    tensor_table_add_optional(table, TENSOR_FFN_DOWN_BIAS, layer, 1, config->d_model);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_model(config, table);
    tensor_table_add_optional(table, TENSOR_ROPE_FREQS, 0, 1, config->rope_dims / 2);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_attention(config, table, layer);
        planner_declare_ffn(config, table, layer);
        declare_biases(config, table, layer);
    }
}

static void plan(struct planner *planner)
{
    struct activations hidden = planner->embeddings;
    for (uint32_t layer = 0; layer < planner->config->n_layers; layer++) {
        planner_attention(planner, &hidden, layer, CARD_FLAG_INTERLEAVED);
        planner_ffn(planner, &hidden, layer);
    }
    planner_head(planner, &hidden);
}

const struct family family_llama = {
    .architecture = "llama",
    .configure = configure,
    .declare = declare,
    .plan = plan,
};
