/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear attention by the gated delta rule (Yang et al., 2024; Qwen3-Next's gated delta net, Kimi's KDA): projections,
 * a short convolution, the scan, a norm with a gate. Layers keep a state for each sequence instead of pages.
 */
#include "host/base/bytes.h"
#include "host/model/planner_ops.h"

#include <math.h>

#define NO_BIAS ((enum tensor_role)TENSOR_ROLE_END)

static struct activations project(struct planner *p, struct activations *src, enum tensor_role role, uint32_t layer)
{
    struct activations result = planner_buffer(p, src->tokens, planner_rows(p, role, layer));
    planner_linear(p, &result, src, role, NO_BIAS, layer);
    return result;
}

/* By two matrices, the first one narrow. */
static struct activations project_twice(struct planner *p, struct activations *src, enum tensor_role narrow,
                                        enum tensor_role role, uint32_t layer)
{
    struct activations low = project(p, src, narrow, layer);
    return project(p, &low, role, layer);
}

/* x through the convolution, whose states begin `channels` channels into the layer's, and SiLU. */
static struct activations convolve(struct planner *p, const struct activations *x, enum tensor_role role,
                                   uint64_t channels, uint32_t layer)
{
    uint32_t width = p->config->linear.conv_width;
    uint64_t before = channels * (width - 1) * p->n_states;
    struct activations result = planner_buffer(p, x->tokens, x->cols);
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_CONV,
                          .flags = CARD_FLAG_EXTENDED,
                          .tokens = x->tokens,
                          .cols = x->cols,
                          .dst = result.address,
                          .src = x->address,
                          .weight = planner_weight(p, role, layer).address,
                          .aux = p->batch,
                          .param = {p->n_states, width},
                      });
    planner_append(p,
                   &(struct card_descriptor){.opcode = CARD_OP_EXTENSION,
                                             .dst = planner_further(p->states != NULL ? p->states[layer] : 0, before)});
    planner_glu(p, &result, &result, NULL, CARD_ACTIVATION_SILU, 0);
    return result;
}

struct operands {
    struct activations query, key, value;
};

/* Query, key and value: of one matrix and one convolution, or of three each. */
static void make_operands(struct planner *p, struct activations *src, uint32_t layer, struct operands *x)
{
    const struct layer_config *l = &p->config->layers[layer];
    uint32_t keys = l->n_kv_heads * p->config->linear.key_dims, values = l->n_heads * p->config->linear.value_dims;
    if (planner_has(p, TENSOR_ATTN_QKV, layer)) {
        struct activations mixed = project(p, src, TENSOR_ATTN_QKV, layer);
        mixed = convolve(p, &mixed, TENSOR_LINEAR_CONV, 0, layer);
        x->query = planner_columns(p, &mixed, 0, keys);
        x->key = planner_columns(p, &mixed, keys, keys);
        x->value = planner_columns(p, &mixed, 2 * keys, values);
        return;
    }
    struct activations query = project(p, src, TENSOR_ATTN_Q, layer), key = project(p, src, TENSOR_ATTN_K, layer),
                       value = project(p, src, TENSOR_ATTN_V, layer);
    x->query = convolve(p, &query, TENSOR_LINEAR_CONV_Q, 0, layer);
    x->key = convolve(p, &key, TENSOR_LINEAR_CONV_K, keys, layer);
    x->value = convolve(p, &value, TENSOR_LINEAR_CONV_V, 2ull * keys, layer);
}

/* Of a matrix that holds, for each key head, beta then alpha of its value heads. */
static void split_beta_alpha(struct planner *p, struct activations *src, uint32_t layer, struct activations *beta,
                             struct activations *alpha)
{
    uint32_t n = p->config->layers[layer].n_heads, groups = p->config->layers[layer].n_kv_heads, each = n / groups;
    struct activations both = project(p, src, TENSOR_LINEAR_BETA_ALPHA, layer), *parts[2] = {beta, alpha};
    for (uint32_t i = 0; i < 2; i++) {
        *parts[i] = planner_buffer(p, src->tokens, n);
        planner_copy(p, src->tokens, groups, each, (struct copy_side){parts[i]->address, n, each},
                     (struct copy_side){planner_further(both.address, i * each), 2 * n, 2 * each});
    }
}

static void make_beta_decay(struct planner *p, struct activations *src, uint32_t layer, struct activations *beta,
                            struct activations *decay)
{
    if (planner_has(p, TENSOR_LINEAR_BETA_ALPHA, layer)) {
        split_beta_alpha(p, src, layer, beta, decay);
    } else {
        *beta = project(p, src, TENSOR_LINEAR_BETA, layer);
        *decay = p->config->linear.channel_decay
                     ? project_twice(p, src, TENSOR_LINEAR_DECAY_A, TENSOR_LINEAR_DECAY_B, layer)
                     : project(p, src, TENSOR_LINEAR_ALPHA, layer);
    }
    planner_glu(p, beta, beta, NULL, CARD_ACTIVATION_SIGMOID, 0);
    decay->is_quantized = false;
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_DECAY,
                          .tokens = decay->tokens,
                          .cols = decay->cols,
                          .dst = decay->address,
                          .src = decay->address,
                          .weight = planner_weight(p, TENSOR_LINEAR_DECAY_RATE, layer).address,
                          .aux = planner_weight(p, TENSOR_LINEAR_DECAY_BIAS, layer).address,
                      });
}

static uint64_t conv_floats(const struct planner *p, uint32_t layer)
{
    const struct linear_config *c = &p->config->linear;
    const struct layer_config *l = &p->config->layers[layer];
    uint64_t channels = 2ull * l->n_kv_heads * c->key_dims + (uint64_t)l->n_heads * c->value_dims;
    return channels * (c->conv_width - 1) * p->n_states;
}

static void scan(struct planner *p, const struct activations *dst, const struct operands *x,
                 const struct activations *decay, const struct activations *beta, uint32_t layer)
{
    const struct linear_config *c = &p->config->linear;
    const struct layer_config *l = &p->config->layers[layer];
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_SCAN,
                          .flags = (uint16_t)(CARD_FLAG_EXTENDED | (c->channel_decay ? CARD_FLAG_EACH : 0) |
                                              (c->tiled_keys ? CARD_FLAG_INTERLEAVED : 0)),
                          .tokens = dst->tokens,
                          .rows = l->n_heads,
                          .cols = c->key_dims,
                          .dst = dst->address,
                          .src = x->query.address,
                          .weight = x->key.address,
                          .aux = p->batch,
                          .param = {p->n_states, c->value_dims, l->n_kv_heads},
                      });
    card_addr states = p->states != NULL ? p->states[layer] : 0;
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_EXTENSION,
                          .dst = planner_further(states, conv_floats(p, layer)),
                          .src = x->value.address,
                          .weight = decay->address,
                          .aux = beta->address,
                      });
}

struct activations planner_linear_attention(struct planner *p, struct activations *src, uint32_t layer)
{
    const struct linear_config *c = &p->config->linear;
    const struct layer_config *l = &p->config->layers[layer];
    struct operands x;
    struct activations beta, decay;
    make_operands(p, src, layer, &x);
    planner_norm_at(p, &x.query, &x.query, l->n_kv_heads, 0, 0, CARD_FLAG_SUM | CARD_FLAG_UNWEIGHTED);
    planner_norm_at(p, &x.key, &x.key, l->n_kv_heads, 0, 0, CARD_FLAG_SUM | CARD_FLAG_UNWEIGHTED);
    planner_scale(p, &x.query, 1.0f / sqrtf((float)c->key_dims), 0);
    make_beta_decay(p, src, layer, &beta, &decay);
    struct activations result = planner_buffer(p, src->tokens, l->n_heads * c->value_dims);
    scan(p, &result, &x, &decay, &beta, layer);
    struct activations gate = c->channel_decay
                                  ? project_twice(p, src, TENSOR_LINEAR_GATE_A, TENSOR_LINEAR_GATE_B, layer)
                                  : project(p, src, TENSOR_ATTN_GATE, layer);
    planner_norm(p, &result, &result, l->n_heads, TENSOR_LINEAR_NORM, layer);
    planner_glu(p, &result, &gate, &result, c->activation, 0);
    return result;
}
