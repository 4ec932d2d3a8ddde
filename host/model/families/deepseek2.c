/* SPDX-License-Identifier: Apache-2.0 */
/* DeepSeek V2, V2-Lite, V3 and R1, Kimi K2: latent attention, experts in groups, shared experts, dense first layers. */
#include "host/model/model_config.h"

static const char *const computes[] = {"leading_dense_block_count",
                                       "expert_shared_count",
                                       "expert_group_count",
                                       "expert_gating_func",
                                       "expert_weights_norm",
                                       "expert_weights_scale",
                                       "rope.scaling.yarn_log_multiplier",
                                       NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->rope_interleaved = true;
    int result = model_config_latent(file, "deepseek2", config, err);
    if (result == 0) result = model_config_experts(file, "deepseek2", config, err);
    return result;
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        if (config->layers[layer].has_experts)
            tensor_table_add_optional(table, TENSOR_FFN_SELECTION_BIAS, layer, 1, config->n_experts);
    }
}

const struct family family_deepseek2 = {
    .architecture = "deepseek2",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
