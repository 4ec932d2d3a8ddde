/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Qwen3, dense: RMSNorm over each head of query and key before the rotation, a head size of its own, no biases, rotary
 * pairs half a head apart.
 */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    return model_config_refuse_window(file, "qwen3", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_model(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_attention(config, table, layer);
        planner_declare_ffn(config, table, layer);
        tensor_table_add(table, TENSOR_ATTN_Q_NORM, layer, 1, config->head_dim);
        tensor_table_add(table, TENSOR_ATTN_K_NORM, layer, 1, config->head_dim);
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

const struct family family_qwen3 = {
    .architecture = "qwen3",
    .configure = configure,
    .declare = declare,
    .plan = plan,
};
