/* SPDX-License-Identifier: Apache-2.0 */
/* Qwen3.5 with experts: qwen35's attention, experts and a gated shared one. */
#include "host/model/families/shared.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    return gated_delta_configure(file, "qwen35moe", true, true, config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    gated_delta_declare(config, table, false);
}

const struct family family_qwen35moe = {
    .architecture = "qwen35moe",
    .computes_router = true,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
