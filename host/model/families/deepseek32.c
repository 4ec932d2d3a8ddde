/* SPDX-License-Identifier: Apache-2.0 */
/* DeepSeek V3.2: V3 with an indexer that chooses which keys a token attends to. */
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
    config->index.interleaved = false;
    int result = model_config_latent(file, "deepseek32", config, err);
    if (result == 0) result = model_config_experts(file, "deepseek32", config, err);
    return result < 0 ? result : model_config_indexer(file, "deepseek32", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        if (config->layers[layer].has_experts)
            tensor_table_add_optional(table, TENSOR_FFN_SELECTION_BIAS, layer, 1, config->n_experts);
    }
}

const struct family family_deepseek32 = {
    .architecture = "deepseek32",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
