/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/families/shared.h"

int sparse_latent_configure(const struct gguf *file, const char *architecture, bool interleaved_index,
                            struct model_config *config, struct error *err)
{
    config->rope_interleaved = true;
    config->index.interleaved = interleaved_index;
    int result = model_config_latent(file, architecture, config, err);
    if (result == 0) result = model_config_experts(file, architecture, config, err);
    return result < 0 ? result : model_config_indexer(file, architecture, config, err);
}

void latent_experts_declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    planner_declare_selection_biases(config, table, true);
}
