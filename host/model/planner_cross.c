/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoder's attention to what the encoder made (Vaswani et al., 2017, 3.2.3). Keys and values are written once, by the step that
 * encodes, into the pages of the encoder's tokens; the decoder's tokens see them by a batch table of their own.
 */
#include "host/model/planner_ops.h"

#define NO_BIAS ((enum tensor_role)TENSOR_ROLE_END)

static struct activations project(struct planner *p, struct activations *src, uint32_t n_heads, enum tensor_role role,
                                  uint32_t layer)
{
    struct activations result = planner_buffer(p, src->tokens, n_heads * p->config->head_dim);
    planner_linear(p, &result, src, role, NO_BIAS, layer);
    return result;
}

struct activations planner_cross_attention(struct planner *p, struct activations *src, uint32_t layer)
{
    const struct layer_config *l = &p->config->layers[layer];
    struct activations query = project(p, src, l->n_heads, TENSOR_CROSS_Q, layer);
    struct activations attended = planner_buffer(p, src->tokens, query.cols);
    planner_attend(p, &attended, &query, layer,
                   &(struct attend){.n_kv_heads = l->n_kv_heads,
                                    .key_dims = p->config->head_dim,
                                    .value_dims = p->config->head_dim,
                                    .cross = true});
    return attended;
}

void planner_write_sources(struct planner *p, struct activations *hidden)
{
    struct activations normed = planner_normed(p, hidden, TENSOR_ENCODER_NORM, 0);
    /* Once, outside of the marks below. */
    (void)planner_operand(p, &normed, planner_weight(p, TENSOR_CROSS_K, p->config->n_encoder_layers).format);
    for (uint32_t layer = p->config->n_encoder_layers; layer < p->config->n_layers; layer++) {
        const struct layer_config *l = &p->config->layers[layer];
        uint64_t mark = planner_mark(p);
        struct activations key = project(p, &normed, l->n_kv_heads, TENSOR_CROSS_K, layer);
        struct activations value = project(p, &normed, l->n_kv_heads, TENSOR_CROSS_V, layer);
        planner_write_kv(p, &key, &value, layer, planner_pool(p, layer), l->n_kv_heads);
        planner_release(p, mark);
    }
}
