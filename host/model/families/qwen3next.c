/* SPDX-License-Identifier: Apache-2.0 */
/* Qwen3-Next: gated delta nets, every fourth layer attention with a gate; experts and a gated shared one. */
#include "host/model/families/shared.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    return gated_delta_configure(file, "qwen3next", true, false, config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    gated_delta_declare(config, table, true);
}

const struct family family_qwen3next = {
    .architecture = "qwen3next",
    .computes_router = true,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
