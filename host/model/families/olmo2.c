/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OLMo 2: norms of each block's result instead of its input, norms of query and key over all heads together.
 */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    return model_config_refuse_window(file, "olmo2", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_remove(table, TENSOR_ATTN_NORM, layer);
        tensor_table_remove(table, TENSOR_FFN_NORM, layer);
        tensor_table_add(table, TENSOR_ATTN_POST_NORM, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_FFN_POST_NORM, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_ATTN_Q_NORM, layer, 1, config->n_heads * config->head_dim);
        tensor_table_add(table, TENSOR_ATTN_K_NORM, layer, 1, config->n_kv_heads * config->head_dim);
    }
}

const struct family family_olmo2 = {
    .architecture = "olmo2",
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
