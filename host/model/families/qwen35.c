/* SPDX-License-Identifier: Apache-2.0 */
/* Qwen3.5, dense: gated delta nets whose value heads follow the key heads in turn, every fourth layer attention with a gate. */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->gated_query = true;
    config->linear.tiled_keys = true;
    int result = 0;
    if (result == 0) result = model_config_linear(file, "qwen35", config, err);
    return result;
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_linear(config, table, layer, false);
        if (config->layers[layer].attention == LAYER_HEADS) planner_declare_head_norms(config, table, layer);
        tensor_table_rename(table, TENSOR_FFN_NORM, layer, "post_attention_norm.weight");
    }
}

const struct family family_qwen35 = {
    .architecture = "qwen35",
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
