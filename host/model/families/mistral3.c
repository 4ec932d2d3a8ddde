/* SPDX-License-Identifier: Apache-2.0 */
/* Ministral 3: Llama's layers, YaRN, and a factor on the query that grows with the position. */
#include "host/model/model_config.h"

static const char *const computes[] = {"attention.temperature_scale", "rope.scaling.yarn_log_multiplier", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    char key[] = "mistral3.attention.temperature_scale";
    float beta = 0;
    int found = gguf_get_f32(file, key, &beta, err);
    if (found < 0) return found;
    if (!(beta >= 0.0f && beta < 1e6f)) return error_set(err, ERROR_BAD_FILE, "%s is %g", key, (double)beta);
    config->rope_interleaved = true; /* the converter permutes the rows of query and key so */
    if (beta > 0 && config->rope_original != 0)
        config->query_scale = (struct query_scale){.beta = beta, .period = config->rope_original};
    for (uint32_t i = 0; i < config->n_layers; i++) config->layers[i].scales_query = config->query_scale.period != 0;
    return model_config_refuse_window(file, "mistral3", config, err);
}

const struct family family_mistral3 = {
    .architecture = "mistral3",
    .computes = computes,
    .configure = configure,
    .declare = planner_declare_layers,
    .plan = planner_layers,
};
