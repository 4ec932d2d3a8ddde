/* SPDX-License-Identifier: Apache-2.0 */
/* OLMoE: experts in every layer, whose weights are the softmax's own; norms of query and key over all heads together. */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    int result = model_config_experts(file, "olmoe", config, err);
    return result < 0 ? result : model_config_refuse_window(file, "olmoe", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_add(table, TENSOR_ATTN_Q_NORM, layer, 1, config->n_heads * config->head_dim);
        tensor_table_add(table, TENSOR_ATTN_K_NORM, layer, 1, config->n_kv_heads * config->head_dim);
    }
}

const struct family family_olmoe = {
    .architecture = "olmoe",
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
