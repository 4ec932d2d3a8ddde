/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpt-oss: sinks in every head's softmax, biases everywhere, every other layer slides; experts with a clamped SwiGLU of its
 * own; YaRN whose range of frequencies is not rounded.
 */
#include "host/model/model_config.h"

static const char *const computes[] = {"expert_gating_func", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->activation = CARD_ACTIVATION_SWIGLU_OAI;
    config->activation_steepness = 1.702f; /* swiglu_alpha and swiglu_limit of the released models */
    bool truncate = false;                 /* as the released models, where the header does not say it */
    config->router.renormalize = true;     /* the softmax over the chosen logits */
    int found = model_config_optional_bool(file, "gpt-oss", "rope.scaling.yarn_truncate", &truncate, err);
    if (found < 0) return found;
    config->yarn_exact_range = !truncate;
    int result = model_config_experts(file, "gpt-oss", config, err);
    for (uint32_t i = 0; i < config->n_layers; i++) config->layers[i].ffn_limit = 7.0f;
    return result < 0 ? result : model_config_windows(file, "gpt-oss", 2, config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        uint32_t n = config->n_experts;
        tensor_table_rename(table, TENSOR_FFN_NORM, layer, "post_attention_norm.weight");
        planner_declare_qkv_biases(config, table, layer);
        tensor_table_add(table, TENSOR_ATTN_OUTPUT_BIAS, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_ATTN_SINKS, layer, 1, config->n_heads);
        tensor_table_add(table, TENSOR_FFN_ROUTER_BIAS, layer, 1, n);
        tensor_table_add(table, TENSOR_FFN_GATE_EXPERTS_BIAS, layer, n, config->d_expert_ff);
        tensor_table_add(table, TENSOR_FFN_UP_EXPERTS_BIAS, layer, n, config->d_expert_ff);
        tensor_table_add(table, TENSOR_FFN_DOWN_EXPERTS_BIAS, layer, n, config->d_model);
    }
}

const struct family family_gpt_oss = {
    .architecture = "gpt-oss",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
