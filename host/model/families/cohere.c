/* SPDX-License-Identifier: Apache-2.0 */
/* Command R and R+: LayerNorm without bias, attention and FFN side by side from one norm, logits scaled; R+ has norms of heads. */
#include "host/model/model_config.h"

static const char *const computes[] = {"attn_logit_softcapping", "final_logit_softcapping", "logit_scale",
                                       "attention.scale", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->layer_norm = config->is_parallel = config->one_norm = config->rope_interleaved = true;
    int result = model_config_caps(file, "command-r", config, err);
    return result < 0 ? result : model_config_refuse_window(file, "command-r", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_remove(table, TENSOR_FFN_NORM, layer);
        tensor_table_add_optional(table, TENSOR_ATTN_Q_NORM, layer, config->n_heads, config->head_dim);
        tensor_table_add_optional(table, TENSOR_ATTN_K_NORM, layer, config->n_kv_heads, config->head_dim);
    }
}

const struct family family_cohere = {
    .architecture = "command-r",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
