/* SPDX-License-Identifier: Apache-2.0 */
/* Qwen3.5 with experts: qwen35's attention, experts and a gated shared one. */
#include "host/model/model_config.h"

static const char *const computes[] = {"leading_dense_block_count",
                                       "expert_shared_count",
                                       "expert_group_count",
                                       "expert_gating_func",
                                       "expert_weights_norm",
                                       "expert_weights_scale",
                                       NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->gated_query = true;
    config->linear.tiled_keys = true;
    config->router.renormalize = config->router.has_shared_gate = true;
    int result = model_config_experts(file, "qwen35moe", config, err);
    if (result == 0) result = model_config_linear(file, "qwen35moe", config, err);
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

const struct family family_qwen35moe = {
    .architecture = "qwen35moe",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
