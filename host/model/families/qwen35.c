/* SPDX-License-Identifier: Apache-2.0 */
/* Qwen3.5, dense: gated delta nets whose value heads follow the key heads in turn, every fourth layer attention with a gate. */
#include "host/model/families/shared.h"

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    return gated_delta_configure(file, "qwen35", false, true, config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    gated_delta_declare(config, table, false);
}

const struct family family_qwen35 = {
    .architecture = "qwen35",
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
