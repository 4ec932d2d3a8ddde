/* SPDX-License-Identifier: Apache-2.0 */
/* DeepSeek V2, V2-Lite, V3 and R1, Kimi K2: latent attention, experts in groups, shared experts, dense first layers. */
#include "host/model/families/shared.h"

static const char *const computes[] = {"rope.scaling.yarn_log_multiplier", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->rope_interleaved = true;
    int result = model_config_latent(file, "deepseek2", config, err);
    if (result == 0) result = model_config_experts(file, "deepseek2", config, err);
    return result;
}

const struct family family_deepseek2 = {
    .architecture = "deepseek2",
    .computes_router = true,
    .computes = computes,
    .configure = configure,
    .declare = latent_experts_declare,
    .plan = planner_layers,
};
