/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Qwen3 with experts in every layer: attention as in qwen3; the router takes the softmax over all experts, keeps the best
 * and divides their weights by their sum (norm_topk_prob of the released models; the header does not carry it).
 */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->router.renormalize = true;
    int result = model_config_experts(file, "qwen3moe", config, err);
    return result < 0 ? result : model_config_refuse_window(file, "qwen3moe", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_head_norms(config, table, layer);
    }
}

const struct family family_qwen3moe = {
    .architecture = "qwen3moe",
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
