/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Step 3.5: layers that slide have other heads and turn all of each head; the others turn half of it, with Llama-3's scaling.
 * A gate for each head, sigmoid routing with a bias for the choice, limits on the FFN of some layers.
 */
#include "host/model/model_config.h"

/* SiLU is above this, so a limit that is not below it does not touch negative values. */
#define LEAST_LIMIT 0.28f

static int read_limit(const struct gguf *file, const char *suffix, uint32_t layer, float *limit, struct error *err)
{
    int found = model_config_layer_f32(file, "step35", suffix, layer, limit, err);
    if (found < 0) return found;
    if (*limit == 0 || *limit >= LEAST_LIMIT) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "step35.%s of layer %u is %g (supported: 0 or from %g on)", suffix, layer,
                     (double)*limit, (double)LEAST_LIMIT);
}

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    const char *arch = "step35";
    config->rope_local_dims = config->rope_dims;
    config->rope_dims = config->rope_dims / 2 & ~1u;
    config->rope_local_theta = config->rope_theta;
    config->router = (struct router_config){.scoring = CARD_SCORING_SIGMOID, .renormalize = true, .scale = 1.0f};
    int found = model_config_optional_f32(file, arch, "rope.freq_base_swa", &config->rope_local_theta, err);
    if (found < 0) return found;
    int result = model_config_heads(file, arch, config, err);
    if (result == 0) result = model_config_experts(file, arch, config, err);
    if (result == 0) result = model_config_windows(file, arch, 4, config, err);
    for (uint32_t i = 0; i < config->n_layers && result == 0; i++) {
        struct layer_config *l = &config->layers[i];
        l->rope = l->is_local ? ROPE_TABLE_LOCAL : ROPE_TABLE_MAIN;
        l->rope_dims = l->is_local ? config->rope_local_dims : config->rope_dims;
        result = read_limit(file, "swiglu_clamp_exp", i, &l->ffn_limit, err);
        if (result == 0) result = read_limit(file, "swiglu_clamp_shexp", i, &l->shared_limit, err);
    }
    return result;
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    planner_declare_selection_biases(config, table, false);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_head_norms(config, table, layer);
        tensor_table_add(table, TENSOR_ATTN_GATE, layer, config->layers[layer].n_heads, config->d_model);
    }
    tensor_table_add_optional(table, TENSOR_ROPE_FREQS, 0, 1, config->head_dim / 2);
}

const struct family family_step35 = {
    .architecture = "step35",
    .computes_router = true,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
