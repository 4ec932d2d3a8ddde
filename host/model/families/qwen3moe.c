/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Qwen3 with experts in every layer: attention as in qwen3; the router takes the softmax over all experts, keeps the best
 * and divides their weights by their sum (norm_topk_prob of the released models; the header does not carry it).
 */
#include "host/model/model_config.h"

#define MAX_EXPERTS 4096u
#define MAX_EXPERTS_USED 256u /* choices of a token that a card takes */

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    const char *arch = family_qwen3moe.architecture;
    int result = model_config_u32(file, arch, "expert_count", 1, MAX_EXPERTS, &config->n_experts, err);
    if (result == 0)
        result = model_config_u32(file, arch, "expert_used_count", 1, MAX_EXPERTS_USED, &config->n_experts_used, err);
    if (result == 0)
        result = model_config_u32(file, arch, "expert_feed_forward_length", 1, 1u << 24, &config->d_expert_ff, err);
    return result < 0 ? result : model_config_refuse_window(file, arch, config, err);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_model(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        planner_declare_attention(config, table, layer);
        planner_declare_moe(config, table, layer);
        tensor_table_add(table, TENSOR_ATTN_Q_NORM, layer, 1, config->head_dim);
        tensor_table_add(table, TENSOR_ATTN_K_NORM, layer, 1, config->head_dim);
    }
}

static void plan(struct planner *planner)
{
    struct activations hidden = planner->embeddings;
    for (uint32_t layer = 0; layer < planner->config->n_layers; layer++) {
        planner_attention(planner, &hidden, layer, 0);
        planner_moe(planner, &hidden, layer, CARD_FLAG_RENORMALIZE);
    }
    planner_head(planner, &hidden);
}

const struct family family_qwen3moe = {
    .architecture = "qwen3moe",
    .configure = configure,
    .declare = declare,
    .plan = plan,
};
