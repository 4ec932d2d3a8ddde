/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemma 2: norms before and after each block (the converter adds the 1 of 1 + w), every other layer slides, scores and
 * logits are capped, embeddings are scaled by sqrt(d_model). The 27B model scales scores by d_model / heads.
 */
#include "host/model/model_config.h"

#include <math.h>

#define LAYERS_27B 46u /* the header does not carry query_pre_attn_scalar; of the released models this one differs */

static const char *const computes[] = {"attn_logit_softcapping", "final_logit_softcapping", "logit_scale",
                                       "attention.scale", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->activation = CARD_ACTIVATION_GELU;
    config->embedding_scale = sqrtf((float)config->d_model);
    if (config->n_layers == LAYERS_27B)
        config->attention_scale = 1.0f / sqrtf((float)config->d_model / (float)config->n_heads);
    int result = model_config_caps(file, "gemma2", config, err);
    return result < 0 ? result : model_config_windows(file, "gemma2", 2, config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_add(table, TENSOR_ATTN_POST_NORM, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_FFN_POST_NORM, layer, 1, config->d_model);
    }
}

const struct family family_gemma2 = {
    .architecture = "gemma2",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
