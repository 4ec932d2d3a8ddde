/* SPDX-License-Identifier: Apache-2.0 */
/* Qwen2 and Qwen2.5, dense: Llama's layers with biases on query, key and value, and rotary pairs half a head apart. */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    return model_config_refuse_window(file, "qwen2", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_model(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_attention(config, table, layer);
        planner_declare_ffn(config, table, layer);
        tensor_table_add(table, TENSOR_ATTN_Q_BIAS, layer, 1, config->n_heads * config->head_dim);
        tensor_table_add(table, TENSOR_ATTN_K_BIAS, layer, 1, config->n_kv_heads * config->head_dim);
        tensor_table_add(table, TENSOR_ATTN_V_BIAS, layer, 1, config->n_kv_heads * config->head_dim);
    }
}

static void plan(struct planner *planner)
{
    struct activations hidden = planner->embeddings;
    for (uint32_t layer = 0; layer < planner->config->n_layers; layer++) {
        planner_attention(planner, &hidden, layer, 0);
        planner_ffn(planner, &hidden, layer);
    }
    planner_head(planner, &hidden);
}

const struct family family_qwen2 = {
    .architecture = "qwen2",
    .configure = configure,
    .declare = declare,
    .plan = plan,
};
