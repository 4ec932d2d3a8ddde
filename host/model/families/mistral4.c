/* SPDX-License-Identifier: Apache-2.0 */
/* Mistral 4: latent attention, softmax routing over experts whose gate and up are one matrix, a factor on the query. */
#include "host/model/model_config.h"

static const char *const computes[] = {"rope.scaling.yarn_log_multiplier", "attention.temperature_scale", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    float beta = 0.1f; /* llama_4_scaling_beta of the released models, where the header does not say it */
    config->rope_interleaved = config->router.renormalize = true;
    int found = model_config_optional_f32(file, "mistral4", "attention.temperature_scale", &beta, err);
    if (found < 0) return found;
    int result = model_config_latent(file, "mistral4", config, err);
    if (result == 0) result = model_config_experts(file, "mistral4", config, err);
    if (config->rope_original != 0)
        config->query_scale = (struct query_scale){.beta = beta, .period = config->rope_original};
    for (uint32_t i = 0; i < config->n_layers; i++) config->layers[i].scales_query = config->query_scale.period != 0;
    return result;
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        if (!config->layers[layer].has_experts) continue;
        tensor_table_add_experts(table, TENSOR_FFN_GATE_EXPERTS, layer, config->n_experts, 2 * config->d_expert_ff,
                                 config->d_model);
        tensor_table_rename(table, TENSOR_FFN_GATE_EXPERTS, layer, "ffn_gate_up_exps.weight");
        tensor_table_remove(table, TENSOR_FFN_UP_EXPERTS, layer);
    }
}

const struct family family_mistral4 = {
    .architecture = "mistral4",
    .computes_router = true,
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
