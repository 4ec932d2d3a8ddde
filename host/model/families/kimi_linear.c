/* SPDX-License-Identifier: Apache-2.0 */
/* Kimi Linear: delta nets with a decay for each channel, every fourth layer latent attention that does not turn; experts. */
#include "host/model/model_config.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    const char *arch = "kimi-linear";
    config->router = (struct router_config){.scoring = CARD_SCORING_SIGMOID, .renormalize = true, .scale = 1.0f};
    int result = model_config_latent(file, arch, config, err);
    if (result == 0) result = model_config_heads(file, arch, config, err);
    if (result == 0) result = model_config_experts(file, arch, config, err);
    if (result == 0)
        result = model_config_u32(file, arch, "kda.head_dim", 2, CARD_MAX_HEAD_DIM, &config->linear.key_dims, err);
    if (result == 0) result = model_config_u32(file, arch, "ssm.conv_kernel", 2, 8, &config->linear.conv_width, err);
    if (result < 0) return result;
    config->linear.value_dims = config->linear.key_dims;
    config->linear.channel_decay = config->recurrent = true;
    config->linear.activation = CARD_ACTIVATION_SIGMOID;
    bool attends = false;
    for (uint32_t i = 0; i < config->n_layers; i++) {
        struct layer_config *l = &config->layers[i];
        l->rope_dims = 0;
        attends = attends || l->n_kv_heads != 0;
        if (l->n_kv_heads == 0)
            *l = (struct layer_config){.attention = LAYER_LINEAR,
                                       .n_heads = l->n_heads,
                                       .n_kv_heads = l->n_heads,
                                       .has_experts = l->has_experts};
    }
    if (attends) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "%s.attention.head_count_kv names no layer with attention", arch);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    planner_declare_selection_biases(config, table, false);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_delta(config, table, layer);
    }
}

const struct family family_kimi_linear = {
    .architecture = "kimi-linear",
    .computes_router = true,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
