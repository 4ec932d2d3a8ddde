/* SPDX-License-Identifier: Apache-2.0 */
/* GLM-4.5 and 4.6: half of each head turns, sigmoid routing with a bias for the choice, a shared expert. */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->router = (struct router_config){.scoring = CARD_SCORING_SIGMOID, .renormalize = true, .scale = 1.0f};
    int result = model_config_experts(file, "glm4moe", config, err);
    return result < 0 ? result : model_config_refuse_window(file, "glm4moe", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    planner_declare_selection_biases(config, table, false);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_rename(table, TENSOR_FFN_NORM, layer, "post_attention_norm.weight");
        planner_declare_qkv_biases(config, table, layer);
        tensor_table_add_optional(table, TENSOR_ATTN_Q_NORM, layer, 1, config->head_dim);
        tensor_table_add_optional(table, TENSOR_ATTN_K_NORM, layer, 1, config->head_dim);
    }
}

const struct family family_glm4moe = {
    .architecture = "glm4moe",
    .computes_router = true,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
