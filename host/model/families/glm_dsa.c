/* SPDX-License-Identifier: Apache-2.0 */
/* GLM-5: DeepSeek V3.2's layers; some use the choice of the indexer before them. */
#include "host/model/families/shared.h"

static const char *const computes[] = {"rope.scaling.yarn_log_multiplier", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    return sparse_latent_configure(file, "glm-dsa", true, config, err);
}

const struct family family_glm_dsa = {
    .architecture = "glm-dsa",
    .computes_router = true,
    .computes = computes,
    .configure = configure,
    .declare = latent_experts_declare,
    .plan = planner_layers,
};
