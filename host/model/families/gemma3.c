/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemma 3, text: Gemma 2's norms, no caps, norms of heads; five layers that slide, with a rotation of their own, to one that
 * sees all. The 27B model scales scores by d_model / heads.
 */
#include "host/model/model_config.h"

#include <math.h>

#define LAYERS_27B 62u /* the header does not carry query_pre_attn_scalar; of the released models this one differs */

static const char *const computes[] = {"attn_logit_softcapping", "final_logit_softcapping", "logit_scale",
                                       "attention.scale", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->activation = CARD_ACTIVATION_GELU;
    config->embedding_scale = sqrtf((float)config->d_model);
    if (config->n_layers == LAYERS_27B)
        config->attention_scale = 1.0f / sqrtf((float)config->d_model / (float)config->n_heads);
    config->rope_local_dims = config->rope_dims;
    config->rope_local_theta = 10000.0f; /* of all released models; older files do not carry it */
    int found = model_config_optional_f32(file, "gemma3", "rope.freq_base_swa", &config->rope_local_theta, err);
    if (found < 0) return found;
    int result = model_config_caps(file, "gemma3", config, err);
    if (result == 0) result = model_config_windows(file, "gemma3", 6, config, err);
    for (uint32_t i = 0; i < config->n_layers; i++)
        if (config->layers[i].is_local) config->layers[i].rope = ROPE_TABLE_LOCAL;
    return result;
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_add(table, TENSOR_ATTN_POST_NORM, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_FFN_POST_NORM, layer, 1, config->d_model);
        planner_declare_head_norms(config, table, layer);
    }
}

const struct family family_gemma3 = {
    .architecture = "gemma3",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
