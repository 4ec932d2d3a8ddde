/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Llama 4, text: three layers that turn and see their own chunk, then one that does neither and scales its query by the
 * position; query and key without a weight normed after the rotation; one expert by the sigmoid of its score, which multiplies the
 * expert's input, beside a shared one.
 */
#include "host/model/model_config.h"

/* Of the released models; GGUF headers do not carry them (llama.cpp has the same constants), safetensors folders do. */
#define CHUNK 8192u
#define FULL_PERIOD 4u
#define QUERY_SCALE 0.1f
#define QUERY_PERIOD 8192u
#define UNNORMED_EXPERTS 128u /* Maverick: use_qk_norm is false */

static const char *const computes[] = {"attention.temperature_scale", NULL};

static int read_attention(const struct gguf *file, uint32_t *chunk, bool *norms, struct query_scale *scale,
                          struct error *err)
{
    const char *arch = "llama4";
    int found = model_config_optional_u32(file, arch, "attention.chunk_size", 1, UINT32_MAX, chunk, err);
    if (found >= 0) found = model_config_optional_bool(file, arch, "attention.qk_norm", norms, err);
    if (found >= 0)
        found =
            model_config_optional_u32(file, arch, "attention.temperature_length", 0, UINT32_MAX, &scale->period, err);
    if (found >= 0) found = model_config_optional_f32(file, arch, "attention.temperature_scale", &scale->beta, err);
    return found < 0 ? found : 0;
}

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    uint32_t step = 1;
    config->rope_interleaved = true;
    config->router = (struct router_config){.scoring = CARD_SCORING_SIGMOID, .scales_input = true, .scale = 1.0f};
    int result = model_config_experts(file, "llama4", config, err);
    if (result < 0) return result;
    int found = model_config_optional_u32(file, "llama4", "interleave_moe_layer_step", 0, config->n_layers, &step, err);
    if (found < 0) return found;
    config->router.d_shared_ff = config->d_expert_ff;
    uint32_t chunk = CHUNK;
    bool norms = config->n_experts != UNNORMED_EXPERTS;
    config->query_scale = (struct query_scale){.beta = QUERY_SCALE, .period = QUERY_PERIOD, .shift = 1};
    result = read_attention(file, &chunk, &norms, &config->query_scale, err);
    if (result < 0) return result;
    for (uint32_t i = 0; i < config->n_layers; i++) {
        struct layer_config *l = &config->layers[i];
        bool turns = (i + 1) % FULL_PERIOD != 0;
        l->has_experts = step != 0 && (i + 1) % step == 0;
        l->chunk = turns ? chunk : 0;
        l->norms_after_rope = turns && norms;
        l->scales_query = !turns && config->query_scale.period != 0;
        if (!turns) l->rope_dims = 0;
    }
    return 0;
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    tensor_table_add_optional(table, TENSOR_ROPE_FREQS, 0, 1, config->rope_dims / 2);
}

const struct family family_llama4 = {
    .architecture = "llama4",
    .computes_router = true,
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
