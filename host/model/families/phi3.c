/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phi-3 and Phi-4: query, key and value of one matrix, gate and up of one; part of each head turns. Long rope: factors for
 * contexts up to the original one, and others for longer ones, with a factor on sine and cosine.
 */
#include "host/model/model_config.h"

static const char *const computes[] = {"rope.scaling.attn_factor", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->fused_up = true;
    config->rope_original = config->context_length;
    int found = model_config_optional_u32(file, "phi3", "rope.scaling.original_context_length", 1, UINT32_MAX,
                                          &config->rope_original, err);
    if (found >= 0)
        found = model_config_optional_f32(file, "phi3", "rope.scaling.attn_factor", &config->rope_factor, err);
    if (found < 0) return found;
    config->rope_has_long = gguf_find_tensor(file, "rope_factors_long.weight") != NULL;
    return model_config_windows(file, "phi3", 0, config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_model(config, table);
    uint32_t query = config->n_heads * config->head_dim, kv = config->n_kv_heads * config->head_dim;
    tensor_table_add_optional(table, TENSOR_ROPE_FREQS, 0, 1, config->rope_dims / 2);
    tensor_table_rename(table, TENSOR_ROPE_FREQS, 0, "rope_factors_short.weight");
    tensor_table_add_optional(table, TENSOR_ROPE_LONG, 0, 1, config->rope_dims / 2);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_add(table, TENSOR_ATTN_NORM, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_ATTN_QKV, layer, query + 2 * kv, config->d_model);
        tensor_table_add(table, TENSOR_ATTN_OUTPUT, layer, config->d_model, query);
        tensor_table_add(table, TENSOR_FFN_NORM, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_FFN_UP, layer, 2 * config->d_ff, config->d_model);
        tensor_table_add(table, TENSOR_FFN_DOWN, layer, config->d_model, config->d_ff);
    }
}

const struct family family_phi3 = {
    .architecture = "phi3",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
