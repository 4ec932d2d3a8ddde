/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Qwen1.5-MoE and Qwen2-MoE: qwen2's attention; weights of the chosen experts as the softmax over all gives them, and a
 * shared expert times the sigmoid of one value.
 */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    int result = model_config_experts(file, "qwen2moe", config, err);
    config->router.has_shared_gate = true;
    return result < 0 ? result : model_config_refuse_window(file, "qwen2moe", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_qkv_biases(config, table, layer);
    }
}

const struct family family_qwen2moe = {
    .architecture = "qwen2moe",
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
