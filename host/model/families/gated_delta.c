/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/families/shared.h"

int gated_delta_configure(const struct gguf *file, const char *architecture, bool has_experts, bool tiled_keys,
                          struct model_config *config, struct error *err)
{
    config->gated_query = true;
    config->linear.tiled_keys = tiled_keys;
    if (has_experts) {
        config->router.renormalize = config->router.has_shared_gate = true;
        int result = model_config_experts(file, architecture, config, err);
        if (result < 0) return result;
    }
    return model_config_linear(file, architecture, config, err);
}

void gated_delta_declare(const struct model_config *config, struct tensor_table *table, bool one_beta_alpha)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_linear(config, table, layer, one_beta_alpha);
        if (config->layers[layer].attention == LAYER_HEADS) planner_declare_head_norms(config, table, layer);
        tensor_table_rename(table, TENSOR_FFN_NORM, layer, "post_attention_norm.weight");
    }
}
