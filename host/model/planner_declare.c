/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors that the planner's blocks need, with their shapes. */
#include "host/model/planner.h"

void planner_declare_model(const struct model_config *config, struct tensor_table *table)
{
    tensor_table_add(table, TENSOR_TOKEN_EMBD, 0, config->n_vocab, config->d_model);
    tensor_table_add_optional(table, TENSOR_OUTPUT, 0, config->n_vocab, config->d_model);
    tensor_table_add(table, TENSOR_OUTPUT_NORM, 0, 1, config->d_model);
}

void planner_declare_attention(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    const struct layer_config *l = &config->layers[layer];
    uint32_t query = l->n_heads * config->head_dim, kv = l->n_kv_heads * config->head_dim;
    tensor_table_add(table, TENSOR_ATTN_NORM, layer, 1, config->d_model);
    tensor_table_add(table, TENSOR_ATTN_Q, layer, config->gated_query ? 2 * query : query, config->d_model);
    tensor_table_add(table, TENSOR_ATTN_K, layer, kv, config->d_model);
    tensor_table_add(table, TENSOR_ATTN_V, layer, kv, config->d_model);
    tensor_table_add(table, TENSOR_ATTN_OUTPUT, layer, config->d_model, query);
}

void planner_declare_head_norms(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    tensor_table_add(table, TENSOR_ATTN_Q_NORM, layer, 1, config->head_dim);
    tensor_table_add(table, TENSOR_ATTN_K_NORM, layer, 1, config->head_dim);
}

void planner_declare_qkv_biases(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    const struct layer_config *l = &config->layers[layer];
    tensor_table_add(table, TENSOR_ATTN_Q_BIAS, layer, 1, l->n_heads * config->head_dim);
    tensor_table_add(table, TENSOR_ATTN_K_BIAS, layer, 1, l->n_kv_heads * config->head_dim);
    tensor_table_add(table, TENSOR_ATTN_V_BIAS, layer, 1, l->n_kv_heads * config->head_dim);
}

void planner_declare_ffn(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    tensor_table_add(table, TENSOR_FFN_NORM, layer, 1, config->d_model);
    tensor_table_add(table, TENSOR_FFN_GATE, layer, config->d_ff, config->d_model);
    tensor_table_add(table, TENSOR_FFN_UP, layer, config->d_ff, config->d_model);
    tensor_table_add(table, TENSOR_FFN_DOWN, layer, config->d_model, config->d_ff);
}

void planner_declare_moe(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    uint32_t n = config->n_experts;
    tensor_table_add(table, TENSOR_FFN_NORM, layer, 1, config->d_model);
    tensor_table_add(table, TENSOR_FFN_ROUTER, layer, n, config->d_model);
    tensor_table_add_experts(table, TENSOR_FFN_GATE_EXPERTS, layer, n, config->d_expert_ff, config->d_model);
    tensor_table_add_experts(table, TENSOR_FFN_UP_EXPERTS, layer, n, config->d_expert_ff, config->d_model);
    tensor_table_add_experts(table, TENSOR_FFN_DOWN_EXPERTS, layer, n, config->d_model, config->d_expert_ff);
}

void planner_declare_selection_biases(const struct model_config *config, struct tensor_table *table, bool optional)
{
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        if (!config->layers[layer].has_experts) continue;
        (optional ? tensor_table_add_optional : tensor_table_add)(table, TENSOR_FFN_SELECTION_BIAS, layer, 1,
                                                                  config->n_experts);
    }
}

void planner_declare_shared(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    uint32_t width = config->router.d_shared_ff;
    if (width == 0) return;
    tensor_table_add(table, TENSOR_FFN_SHARED_GATE, layer, width, config->d_model);
    tensor_table_add(table, TENSOR_FFN_SHARED_UP, layer, width, config->d_model);
    tensor_table_add(table, TENSOR_FFN_SHARED_DOWN, layer, config->d_model, width);
    if (config->router.has_shared_gate) tensor_table_add(table, TENSOR_FFN_SHARED_SCORE, layer, 1, config->d_model);
}

void planner_declare_latent(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    const struct latent_config *c = &config->latent;
    const struct latent_dims dims = planner_latent_of(config, layer);
    uint32_t n = config->layers[layer].n_heads, query = n * (dims.nope + dims.rope);
    tensor_table_add(table, TENSOR_ATTN_NORM, layer, 1, config->d_model);
    if (c->query_rank != 0) {
        tensor_table_add(table, TENSOR_ATTN_Q_A, layer, c->query_rank, config->d_model);
        tensor_table_add(table, TENSOR_ATTN_Q_A_NORM, layer, 1, c->query_rank);
        tensor_table_add(table, TENSOR_ATTN_Q_B, layer, query, c->query_rank);
    } else {
        tensor_table_add(table, TENSOR_ATTN_Q, layer, query, config->d_model);
    }
    if (!config->layers[layer].shares_kv) {
        tensor_table_add(table, TENSOR_ATTN_KV_A, layer, dims.width, config->d_model);
        tensor_table_add(table, TENSOR_ATTN_KV_A_NORM, layer, 1, c->kv_rank);
    }
    tensor_table_add_heads(table, TENSOR_ATTN_K_B, layer, n, c->kv_rank, dims.nope);
    tensor_table_add_heads(table, TENSOR_ATTN_V_B, layer, n, c->value_dims, c->kv_rank);
    tensor_table_add(table, TENSOR_ATTN_OUTPUT, layer, config->d_model, n * c->value_dims);
}

void planner_declare_index(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    const struct index_config *c = &config->index;
    uint32_t from = config->latent.query_rank != 0 ? config->latent.query_rank : config->d_model;
    if (!config->layers[layer].indexes) return;
    tensor_table_add(table, TENSOR_INDEX_K, layer, c->head_dim, config->d_model);
    tensor_table_add(table, TENSOR_INDEX_K_NORM, layer, 1, c->head_dim);
    tensor_table_add(table, TENSOR_INDEX_K_NORM_BIAS, layer, 1, c->head_dim);
    tensor_table_add(table, TENSOR_INDEX_Q, layer, c->n_heads * c->head_dim, from);
    tensor_table_add(table, TENSOR_INDEX_WEIGHTS, layer, c->n_heads, config->d_model);
}

static void declare_linear_common(const struct model_config *config, struct tensor_table *table, uint32_t layer,
                                  uint32_t decays)
{
    uint32_t n = config->layers[layer].n_heads;
    tensor_table_add(table, TENSOR_ATTN_NORM, layer, 1, config->d_model);
    tensor_table_add(table, TENSOR_LINEAR_DECAY_BIAS, layer, 1, decays);
    tensor_table_add(table, TENSOR_LINEAR_DECAY_RATE, layer, 1, n);
    tensor_table_add(table, TENSOR_LINEAR_NORM, layer, 1, config->linear.value_dims);
}

void planner_declare_linear(const struct model_config *config, struct tensor_table *table, uint32_t layer,
                            bool one_beta_alpha)
{
    const struct linear_config *c = &config->linear;
    const struct layer_config *l = &config->layers[layer];
    if (l->attention != LAYER_LINEAR) return;
    uint32_t keys = l->n_kv_heads * c->key_dims, values = l->n_heads * c->value_dims;
    declare_linear_common(config, table, layer, l->n_heads);
    tensor_table_add(table, TENSOR_ATTN_QKV, layer, 2 * keys + values, config->d_model);
    tensor_table_add(table, TENSOR_ATTN_GATE, layer, values, config->d_model);
    tensor_table_add(table, TENSOR_LINEAR_CONV, layer, 2 * keys + values, c->conv_width);
    tensor_table_add(table, TENSOR_LINEAR_OUTPUT, layer, config->d_model, values);
    if (one_beta_alpha) {
        tensor_table_add(table, TENSOR_LINEAR_BETA_ALPHA, layer, 2 * l->n_heads, config->d_model);
        return;
    }
    tensor_table_add(table, TENSOR_LINEAR_ALPHA, layer, l->n_heads, config->d_model);
    tensor_table_add(table, TENSOR_LINEAR_BETA, layer, l->n_heads, config->d_model);
}

void planner_declare_delta(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    const struct linear_config *c = &config->linear;
    const struct layer_config *l = &config->layers[layer];
    const enum tensor_role projections[] = {TENSOR_ATTN_Q, TENSOR_ATTN_K, TENSOR_ATTN_V};
    const enum tensor_role convolutions[] = {TENSOR_LINEAR_CONV_Q, TENSOR_LINEAR_CONV_K, TENSOR_LINEAR_CONV_V};
    if (l->attention != LAYER_LINEAR) return;
    uint32_t width = l->n_heads * c->key_dims;
    declare_linear_common(config, table, layer, width);
    tensor_table_repeat(table, TENSOR_LINEAR_DECAY_RATE, layer, c->key_dims);
    for (unsigned i = 0; i < 3; i++) {
        tensor_table_add(table, projections[i], layer, width, config->d_model);
        tensor_table_add(table, convolutions[i], layer, width, c->conv_width);
    }
    tensor_table_add(table, TENSOR_LINEAR_BETA, layer, l->n_heads, config->d_model);
    tensor_table_add(table, TENSOR_LINEAR_DECAY_A, layer, c->key_dims, config->d_model);
    tensor_table_add(table, TENSOR_LINEAR_DECAY_B, layer, width, c->key_dims);
    tensor_table_add(table, TENSOR_LINEAR_GATE_A, layer, c->key_dims, config->d_model);
    tensor_table_add(table, TENSOR_LINEAR_GATE_B, layer, width, c->key_dims);
    tensor_table_add(table, TENSOR_ATTN_OUTPUT, layer, config->d_model, width);
}

void planner_declare_layers(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_model(config, table);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        if (config->layers[layer].attention == LAYER_LATENT)
            planner_declare_latent(config, table, layer);
        else if (config->layers[layer].attention == LAYER_HEADS)
            planner_declare_attention(config, table, layer);
        planner_declare_index(config, table, layer);
        if (!config->layers[layer].has_experts) {
            planner_declare_ffn(config, table, layer);
            continue;
        }
        planner_declare_moe(config, table, layer);
        planner_declare_shared(config, table, layer);
    }
}
