/* SPDX-License-Identifier: Apache-2.0 */
/* Command R7B and A: as Command R; three layers that slide and turn, then one that sees all and does not turn. */
#include "host/model/model_config.h"

static const char *const computes[] = {"attn_logit_softcapping", "final_logit_softcapping", "logit_scale",
                                       "attention.scale", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->layer_norm = config->is_parallel = config->one_norm = config->rope_interleaved = true;
    int result = model_config_caps(file, "cohere2", config, err);
    if (result == 0) result = model_config_windows(file, "cohere2", 4, config, err);
    for (uint32_t i = 0; i < config->n_layers; i++)
        if (!config->layers[i].is_local) config->layers[i].rope_dims = 0;
    return result;
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_remove(table, TENSOR_FFN_NORM, layer);
    }
}

const struct family family_cohere2 = {
    .architecture = "cohere2",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
