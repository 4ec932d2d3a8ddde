/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mistral Large 4: latent attention that sees what an indexer chose, every query's head times a factor of its own that grows with the
 * logarithm of the position; frequencies with learned factors (LeRoPE); layers that do not turn, and layers with the pages of another one.
 * transformers' MistralLarge4; there is no GGUF architecture of it, so the keys that only it has are ours.
 */
#include "host/model/families/shared.h"

#define ARCHITECTURE "mistral-large4"

static const char *const computes[] = {"final_logit_softcapping", NULL};

static int read_layers(const struct gguf *file, struct model_config *config, struct error *err)
{
    for (uint32_t i = 0; i < config->n_layers; i++) {
        struct layer_config *l = &config->layers[i];
        uint32_t turns = 1, source = i;
        int found = model_config_layer_u32(file, ARCHITECTURE, "rope.layers", i, 0, 1, &turns, err);
        if (found >= 0)
            found = model_config_layer_u32(file, ARCHITECTURE, "attention.kv_source_layers", i, 0, i, &source, err);
        if (found < 0) return found;
        if (!turns) l->rope_dims = 0;
        l->shares_kv = source != i;
        l->kv_layer = source;
        const struct layer_config *from = &config->layers[source];
        if (!l->shares_kv || (!from->shares_kv && from->rope_dims == l->rope_dims)) continue;
        return error_set(err, ERROR_UNSUPPORTED,
                         ARCHITECTURE
                         ".attention.kv_source_layers: layer %u has the pages of layer %u, which are another "
                         "layer's or of another kind",
                         i, source);
    }
    return 0;
}

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->router.renormalize = true;
    config->rope_factor = 1.0f; /* sine and cosine are not scaled */
    config->latent.folds = true;
    config->query_scale = (struct query_scale){.is_logarithm = true, .period = 1};
    int result = sparse_latent_configure(file, ARCHITECTURE, true, config, err);
    if (result == 0) result = model_config_caps(file, ARCHITECTURE, config, err);
    return result < 0 ? result : read_layers(file, config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    latent_experts_declare(config, table);
    tensor_table_add(table, TENSOR_ROPE_LOG, 0, 1, config->rope_dims / 2);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_add(table, TENSOR_ATTN_SLOPE, layer, config->layers[layer].n_heads, 1);
        tensor_table_add(table, TENSOR_ATTN_OFFSET, layer, 1, config->layers[layer].n_heads);
        if (!config->layers[layer].indexes) continue;
        tensor_table_add(table, TENSOR_INDEX_SLOPE, layer, config->index.n_heads, 1);
        tensor_table_add(table, TENSOR_INDEX_OFFSET, layer, 1, config->index.n_heads);
        tensor_table_add(table, TENSOR_INDEX_Q_NORM, layer, 1, config->d_model);
        tensor_table_add(table, TENSOR_INDEX_Q_NORM_BIAS, layer, 1, config->d_model);
    }
}

const struct family family_mistral_large4 = {
    .architecture = ARCHITECTURE,
    .computes_router = true,
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
