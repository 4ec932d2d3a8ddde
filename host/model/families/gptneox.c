/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPT-NeoX and Pythia: LayerNorm, biases everywhere, query, key and value of one matrix, an FFN without a gate and with the
 * exact GELU; attention and FFN side by side, each with a norm of its own, or one after the other.
 */
#include "host/model/model_config.h"

static const char *const computes[] = {"use_parallel_residual", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->layer_norm = config->is_parallel = true;
    config->activation = CARD_ACTIVATION_GELU_ERF;
    int found = model_config_optional_bool(file, "gptneox", "use_parallel_residual", &config->is_parallel, err);
    return found < 0 ? found : model_config_refuse_window(file, "gptneox", config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    uint32_t query = config->n_heads * config->head_dim, kv = config->n_kv_heads * config->head_dim;
    planner_declare_model(config, table);
    tensor_table_add(table, TENSOR_OUTPUT_NORM_BIAS, 0, 1, config->d_model);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_add(table, TENSOR_ATTN_NORM, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_ATTN_NORM_BIAS, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_ATTN_QKV, layer, query + 2 * kv, config->d_model);
        tensor_table_add(table, TENSOR_ATTN_QKV_BIAS, layer, 1, query + 2 * kv);
        tensor_table_add(table, TENSOR_ATTN_OUTPUT, layer, config->d_model, query);
        tensor_table_add(table, TENSOR_ATTN_OUTPUT_BIAS, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_FFN_NORM, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_FFN_NORM_BIAS, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_FFN_UP, layer, config->d_ff, config->d_model);
        tensor_table_add(table, TENSOR_FFN_UP_BIAS, layer, 1, config->d_ff);
        tensor_table_add(table, TENSOR_FFN_DOWN, layer, config->d_model, config->d_ff);
        tensor_table_add(table, TENSOR_FFN_DOWN_BIAS, layer, 1, config->d_model);
    }
}

const struct family family_gptneox = {
    .architecture = "gptneox",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
