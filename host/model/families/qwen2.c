/* SPDX-License-Identifier: Apache-2.0 */
/* Qwen2 and Qwen2.5, dense: Llama's layers with biases on query, key and value, and rotary pairs half a head apart. */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    return model_config_refuse_window(file, "qwen2", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_qkv_biases(config, table, layer);
    }
}

const struct family family_qwen2 = {
    .architecture = "qwen2",
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
