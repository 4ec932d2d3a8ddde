/* SPDX-License-Identifier: Apache-2.0 */
/* DeepSeek V3.2: V3 with an indexer that chooses which keys a token attends to. */
#include "host/model/families/shared.h"

static const char *const computes[] = {"rope.scaling.yarn_log_multiplier", NULL};

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    return sparse_latent_configure(file, "deepseek32", false, config, err);
}

const struct family family_deepseek32 = {
    .architecture = "deepseek32",
    .computes_router = true,
    .computes = computes,
    .configure = configure,
    .declare = latent_experts_declare,
    .plan = planner_layers,
};
