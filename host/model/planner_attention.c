/* SPDX-License-Identifier: Apache-2.0 */
/* Attention with keys and values of each KV head, and what the kinds of attention share: pages, scores, positions. */
#include "host/base/bytes.h"
#include "host/model/planner_ops.h"

bool planner_attends(const struct planner *p, uint32_t layer)
{
    return layer + 1 < p->config->n_layers || p->n_logit_rows > 0;
}

void planner_write_kv(struct planner *p, const struct activations *key, const struct activations *value, uint32_t layer,
                      card_addr pool, uint32_t n_kv_heads)
{
    (void)layer;
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_KV_WRITE,
                          .format = (uint8_t)p->kv_format,
                          .tokens = key->tokens,
                          .rows = n_kv_heads,
                          .cols = key->cols / n_kv_heads,
                          .dst = pool,
                          .src = key->address,
                          .weight = value != NULL ? value->address : 0,
                          .aux = p->batch,
                          .param = {p->n_pages, value != NULL ? value->cols / n_kv_heads : 0, p->pool_banks},
                      });
}

card_addr planner_pool(const struct planner *p, uint32_t layer)
{
    uint32_t first = p->config->n_encoder_layers;
    if (p->config->layers[layer].shares_kv) layer = p->config->layers[layer].kv_layer;
    return p->pools != NULL ? p->pools[layer < first ? first : layer] : 0;
}

/* What one descriptor has no room for. */
static struct card_descriptor extension_of(const struct planner *p, uint32_t layer, const struct attend *how)
{
    const struct layer_config *l = &p->config->layers[layer];
    struct card_descriptor extension = {.opcode = CARD_OP_EXTENSION};
    if (p->pool_banks > 1) extension.rows = p->pool_banks;
    if (how->value_dims != how->key_dims) extension.cols = how->value_dims;
    extension.param[0] = bits_of_float(p->config->score_cap);
    extension.param[1] = l->chunk;
    if (planner_has(p, TENSOR_ATTN_SINKS, layer)) {
        extension.flags |= CARD_FLAG_SINKS;
        extension.src = planner_weight(p, TENSOR_ATTN_SINKS, layer).address;
    }
    if (p->config->distance_buckets != 0 && !how->cross) {
        extension.flags |= CARD_FLAG_BIAS;
        extension.weight = p->loaded != NULL ? p->loaded->distances[layer >= p->config->n_encoder_layers] : 0;
        extension.param[2] = p->config->distance_most;
    }
    if (l->is_sparse) {
        extension.flags |= CARD_FLAG_SPARSE;
        extension.aux = p->positions;
        extension.param[3] = p->config->index.top_k;
    }
    return extension;
}

void planner_attend(struct planner *p, const struct activations *dst, const struct activations *query, uint32_t layer,
                    const struct attend *how)
{
    const struct layer_config *l = &p->config->layers[layer];
    struct card_descriptor extension = extension_of(p, layer, how);
    bool extended =
        extension.rows != 0 || extension.cols != 0 || extension.flags != 0 || p->config->score_cap > 0 || l->chunk != 0;
    planner_append(p,
                   &(struct card_descriptor){
                       .opcode = CARD_OP_ATTENTION,
                       .format = (uint8_t)p->kv_format,
                       .flags = (uint16_t)((extended ? CARD_FLAG_EXTENDED : 0) | (how->latent ? CARD_FLAG_LATENT : 0)),
                       .tokens = query->tokens,
                       .rows = l->n_heads,
                       .cols = how->key_dims,
                       .dst = dst->address,
                       .src = query->address,
                       .weight = planner_pool(p, layer),
                       .aux = how->cross ? p->sources : p->batch,
                       .param = {p->n_pages, bits_of_float(p->config->attention_scale), how->n_kv_heads, l->window},
                   });
    if (extended) planner_append(p, &extension);
}

/* The norm of query or key that the file has: over each head, or over all of them together. */
static void norm_heads(struct planner *p, struct activations *x, uint32_t n_heads, enum tensor_role role,
                       uint32_t layer)
{
    if (!planner_has(p, role, layer)) return;
    bool all = tensor_table_get(&p->model->table, role, layer)->cols == x->cols;
    planner_norm(p, x, x, all ? 1 : n_heads, role, layer);
}

struct projections {
    struct activations query, key, value, gate; /* gate: if the query's matrix makes one, too */
};

static struct activations project(struct planner *p, struct activations *src, uint32_t n_heads, enum tensor_role role,
                                  enum tensor_role bias, uint32_t layer)
{
    struct activations result = planner_buffer(p, src->tokens, n_heads * p->config->head_dim);
    planner_linear(p, &result, src, role, bias, layer);
    return result;
}

/* [query, gate] of each head, of one matrix. */
static void project_gated(struct planner *p, struct activations *src, uint32_t layer, struct projections *out)
{
    uint32_t n = p->config->layers[layer].n_heads, d = p->config->head_dim;
    struct activations both = planner_buffer(p, src->tokens, 2 * n * d);
    planner_linear(p, &both, src, TENSOR_ATTN_Q, TENSOR_ATTN_Q_BIAS, layer);
    struct activations *parts[2] = {&out->query, &out->gate};
    for (uint32_t i = 0; i < 2; i++) {
        *parts[i] = planner_buffer(p, src->tokens, n * d);
        planner_copy(p, src->tokens, n, d, (struct copy_side){parts[i]->address, n * d, d},
                     (struct copy_side){planner_further(both.address, i * d), 2 * n * d, 2 * d});
    }
}

/* Of one matrix: rows of query, key, value. */
static void project_fused(struct planner *p, struct activations *src, uint32_t layer, struct projections *out)
{
    const struct layer_config *l = &p->config->layers[layer];
    uint32_t query = l->n_heads * p->config->head_dim, kv = l->n_kv_heads * p->config->head_dim;
    struct activations all = planner_buffer(p, src->tokens, query + 2 * kv);
    planner_linear(p, &all, src, TENSOR_ATTN_QKV, TENSOR_ATTN_QKV_BIAS, layer);
    out->query = planner_columns(p, &all, 0, query);
    out->key = planner_columns(p, &all, query, kv);
    out->value = planner_columns(p, &all, query + kv, kv);
}

static void project_all(struct planner *p, struct activations *src, uint32_t layer, struct projections *out)
{
    const struct layer_config *l = &p->config->layers[layer];
    if (planner_has(p, TENSOR_ATTN_QKV, layer)) {
        project_fused(p, src, layer, out);
        return;
    }
    /* The query, by far the largest, last: keys are turned and written while its words go by. */
    out->value = project(p, src, l->n_kv_heads, TENSOR_ATTN_V, TENSOR_ATTN_V_BIAS, layer);
    out->key = project(p, src, l->n_kv_heads, TENSOR_ATTN_K, TENSOR_ATTN_K_BIAS, layer);
    if (p->config->gated_query)
        project_gated(p, src, layer, out);
    else
        out->query = project(p, src, l->n_heads, TENSOR_ATTN_Q, TENSOR_ATTN_Q_BIAS, layer);
}

/* Rotates query or key, between the norms that there are: one of the file before, one without a weight after. */
static void turn(struct planner *p, struct activations *x, uint32_t n_heads, enum tensor_role norm, uint32_t layer)
{
    const struct layer_config *l = &p->config->layers[layer];
    norm_heads(p, x, n_heads, norm, layer);
    planner_rope(
        p, x,
        &(struct rope_part){
            .n_heads = n_heads, .dims = l->rope_dims, .table = l->rope, .interleaved = p->config->rope_interleaved});
    if (l->norms_after_rope) planner_norm_at(p, x, x, n_heads, 0, 0, CARD_FLAG_UNWEIGHTED);
}

/* attended *= sigmoid of one value a head, or of one for each dimension. */
static void apply_gate(struct planner *p, struct activations *attended, struct activations *src, uint32_t layer,
                       const struct projections *projections)
{
    uint32_t n_heads = p->config->layers[layer].n_heads;
    if (p->config->gated_query) {
        planner_glu(p, attended, &projections->gate, attended, CARD_ACTIVATION_SIGMOID, 0);
        return;
    }
    if (!planner_has(p, TENSOR_ATTN_GATE, layer)) return;
    struct activations gate = planner_buffer(p, src->tokens, n_heads);
    planner_linear(p, &gate, src, TENSOR_ATTN_GATE, (enum tensor_role)TENSOR_ROLE_END, layer);
    struct activations heads = {
        .address = attended->address, .tokens = attended->tokens * n_heads, .cols = attended->cols / n_heads};
    gate.tokens *= n_heads;
    gate.cols = 1;
    planner_glu(p, &heads, &gate, &heads, CARD_ACTIVATION_SIGMOID, 0);
    attended->is_quantized = false;
}

struct activations planner_heads_attention(struct planner *p, struct activations *src, uint32_t layer)
{
    const struct layer_config *l = &p->config->layers[layer];
    struct projections x = {0};
    project_all(p, src, layer, &x);
    turn(p, &x.key, l->n_kv_heads, TENSOR_ATTN_K_NORM, layer);
    planner_write_kv(p, &x.key, &x.value, layer, planner_pool(p, layer), l->n_kv_heads);
    turn(p, &x.query, l->n_heads, TENSOR_ATTN_Q_NORM, layer);
    if (l->scales_query) planner_scale(p, &x.query, 1.0f, p->query_scales);
    struct activations attended = planner_buffer(p, src->tokens, x.query.cols);
    if (!planner_attends(p, layer)) return attended;
    planner_attend(p, &attended, &x.query, layer,
                   &(struct attend){.n_kv_heads = l->n_kv_heads,
                                    .key_dims = p->config->head_dim,
                                    .value_dims = p->config->head_dim});
    apply_gate(p, &attended, src, layer, &x);
    return attended;
}
