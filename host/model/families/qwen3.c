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
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_head_norms(config, table, layer);
    }
}

const struct family family_qwen3 = {
    .architecture = "qwen3",
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
