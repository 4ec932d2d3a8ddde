/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latent attention (MLA, DeepSeek-V2): pages hold one latent and one rotated key a token; each head's part of the query
 * goes through its matrix into the latent's space, and its result through another one out of it. With an indexer
 * (DeepSeek-V3.2) a token attends to the best-scored positions only.
 */
#include "host/base/bytes.h"
#include "host/model/planner_ops.h"

#include <math.h>

#define NO_BIAS ((enum tensor_role)TENSOR_ROLE_END)

struct latent_dims planner_latent_of(const struct model_config *config, uint32_t layer)
{
    const struct latent_config *c = &config->latent;
    const bool folds = c->folds && config->layers[layer].rope_dims == 0;
    struct latent_dims dims = {folds ? c->nope_dims + c->rope_dims : c->nope_dims, folds ? 0 : c->rope_dims, 0};
    dims.width = c->kv_rank + dims.rope;
    return dims;
}

/*
 * Heads of x times slope * ln(1 + position) + offset, where the file has these. A factor may be below 0, which no operation multiplies
 * rows by: so by what is above 0 of it, less what is of its opposite.
 */
static void scale_heads(struct planner *p, struct activations *x, uint32_t n_heads, enum tensor_role slope,
                        enum tensor_role offset, uint32_t layer)
{
    if (!planner_has(p, slope, layer)) return;
    struct activations positions = {.address = p->query_scales, .tokens = x->tokens, .cols = 1};
    struct activations factors = planner_buffer(p, x->tokens, n_heads), above = planner_buffer(p, x->tokens, x->cols);
    struct activations rows = {.address = x->address, .tokens = x->tokens * n_heads, .cols = x->cols / n_heads};
    planner_linear(p, &factors, &positions, slope, offset, layer);
    struct activations each = {.address = factors.address, .tokens = rows.tokens, .cols = 1};
    above.tokens = rows.tokens;
    above.cols = rows.cols;
    planner_glu(p, &above, &each, &rows, CARD_ACTIVATION_RELU, 0);
    planner_scale(p, &factors, -1.0f, 0);
    planner_glu(p, &rows, &each, &rows, CARD_ACTIVATION_RELU, 0);
    above.tokens = x->tokens;
    above.cols = x->cols;
    planner_scale(p, x, -1.0f, 0);
    planner_add(p, x, &above, 1.0f);
}

/* The query's latent, or the input itself. */
static struct activations query_latent(struct planner *p, struct activations *src, uint32_t layer)
{
    if (p->config->latent.query_rank == 0) return *src;
    struct activations latent = planner_buffer(p, src->tokens, p->config->latent.query_rank);
    planner_linear(p, &latent, src, TENSOR_ATTN_Q_A, NO_BIAS, layer);
    planner_norm(p, &latent, &latent, 1, TENSOR_ATTN_Q_A_NORM, layer);
    return latent;
}

static void turn(struct planner *p, struct activations *x, uint32_t n_heads, uint32_t from, uint32_t layer)
{
    if (p->config->layers[layer].rope_dims == 0) return;
    planner_rope(p, x,
                 &(struct rope_part){.n_heads = n_heads,
                                     .from = from,
                                     .dims = planner_latent_of(p->config, layer).rope,
                                     .table = p->config->layers[layer].rope,
                                     .interleaved = p->config->rope_interleaved});
}

/* f32[T][heads][kv_rank + rope_dims]: the query against latents, then its rotated part. */
static struct activations absorbed_query(struct planner *p, struct activations *latent, uint32_t layer)
{
    const struct latent_config *c = &p->config->latent;
    const struct latent_dims dims = planner_latent_of(p->config, layer);
    uint32_t n = p->config->layers[layer].n_heads, tokens = latent->tokens;
    uint32_t plain = dims.nope, head = plain + dims.rope, width = dims.width;
    struct activations query = planner_buffer(p, tokens, n * head), parts = planner_buffer(p, tokens, n * plain);
    planner_linear(p, &query, latent, c->query_rank ? TENSOR_ATTN_Q_B : TENSOR_ATTN_Q, NO_BIAS, layer);
    planner_copy(p, tokens, n, plain, (struct copy_side){parts.address, n * plain, plain},
                 (struct copy_side){query.address, n * head, head});
    struct activations absorbed = planner_each_head(p, &parts, n, TENSOR_ATTN_K_B, layer);
    struct activations result = planner_buffer(p, tokens, n * width);
    planner_copy(p, tokens, n, c->kv_rank, (struct copy_side){result.address, n * width, width},
                 (struct copy_side){absorbed.address, n * c->kv_rank, c->kv_rank});
    if (dims.rope > 0)
        planner_copy(p, tokens, n, dims.rope,
                     (struct copy_side){planner_further(result.address, c->kv_rank), n * width, width},
                     (struct copy_side){planner_further(query.address, plain), n * head, head});
    turn(p, &result, n, c->kv_rank, layer);
    if (p->config->layers[layer].scales_query) planner_scale(p, &result, 1.0f, p->query_scales);
    scale_heads(p, &result, n, TENSOR_ATTN_SLOPE, TENSOR_ATTN_OFFSET, layer);
    return result;
}

/* The latent, normed, and the rotated key into their page. */
static void write_latent(struct planner *p, struct activations *src, uint32_t layer)
{
    const struct latent_config *c = &p->config->latent;
    uint32_t width = planner_latent_of(p->config, layer).width;
    if (p->config->layers[layer].shares_kv) return;
    struct activations key = planner_buffer(p, src->tokens, width);
    planner_linear(p, &key, src, TENSOR_ATTN_KV_A, NO_BIAS, layer);
    struct activations latent = planner_columns(p, &key, 0, c->kv_rank);
    planner_norm(p, &latent, &latent, 1, TENSOR_ATTN_KV_A_NORM, layer);
    planner_copy(p, src->tokens, 1, c->kv_rank, (struct copy_side){key.address, width, width},
                 (struct copy_side){latent.address, c->kv_rank, c->kv_rank});
    turn(p, &key, 1, c->kv_rank, layer);
    planner_write_kv(p, &key, NULL, layer, planner_pool(p, layer), 1);
}

/* Rotates the first dimensions of the indexer's heads. */
static void turn_index(struct planner *p, struct activations *x, uint32_t n_heads, uint32_t layer)
{
    if (p->config->latent.folds && p->config->layers[layer].rope_dims == 0) return;
    planner_rope(p, x,
                 &(struct rope_part){.n_heads = n_heads,
                                     .dims = p->config->latent.rope_dims,
                                     .interleaved = p->config->index.interleaved});
}

/* Writes the indexer's key of src, and into p->positions what the queries see. */
static void choose_positions(struct planner *p, struct activations *src, struct activations *queries, uint32_t layer)
{
    const struct index_config *c = &p->config->index;
    card_addr pool = p->index_pools != NULL ? p->index_pools[layer] : 0;
    struct activations key = planner_buffer(p, src->tokens, c->head_dim);
    planner_linear(p, &key, src, TENSOR_INDEX_K, NO_BIAS, layer);
    planner_norm(p, &key, &key, 1, TENSOR_INDEX_K_NORM, layer);
    turn_index(p, &key, 1, layer);
    planner_write_kv(p, &key, NULL, layer, pool, 1);
    if (!planner_attends(p, layer)) return;
    struct activations query = planner_buffer(p, src->tokens, c->n_heads * c->head_dim);
    struct activations weights = planner_buffer(p, src->tokens, c->n_heads);
    struct activations normed = planner_normed(p, queries, TENSOR_INDEX_Q_NORM, layer);
    planner_linear(p, &query, &normed, TENSOR_INDEX_Q, NO_BIAS, layer);
    planner_linear(p, &weights, src, TENSOR_INDEX_WEIGHTS, NO_BIAS, layer);
    scale_heads(p, &query, c->n_heads, TENSOR_INDEX_SLOPE, TENSOR_INDEX_OFFSET, layer);
    turn_index(p, &query, c->n_heads, layer);
    float scale = 1.0f / sqrtf((float)c->head_dim);
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_INDEX,
                          .format = (uint8_t)p->kv_format,
                          .flags = CARD_FLAG_EXTENDED,
                          .tokens = query.tokens,
                          .rows = c->n_heads,
                          .cols = c->head_dim,
                          .dst = p->positions,
                          .src = query.address,
                          .weight = pool,
                          .aux = p->batch,
                          .param = {p->n_pages, bits_of_float(scale), 0, c->top_k},
                      });
    planner_append(p, &(struct card_descriptor){.opcode = CARD_OP_EXTENSION,
                                                .rows = p->pool_banks > 1 ? p->pool_banks : 0,
                                                .src = weights.address});
}

struct activations planner_latent_attention(struct planner *p, struct activations *src, uint32_t layer)
{
    const struct latent_config *c = &p->config->latent;
    uint32_t n_heads = p->config->layers[layer].n_heads;
    struct activations latent = query_latent(p, src, layer);
    struct activations query = absorbed_query(p, &latent, layer);
    write_latent(p, src, layer);
    if (p->config->layers[layer].indexes) choose_positions(p, src, &latent, layer);
    struct activations attended = planner_buffer(p, src->tokens, n_heads * c->kv_rank);
    if (planner_attends(p, layer))
        planner_attend(p, &attended, &query, layer,
                       &(struct attend){.n_kv_heads = 1,
                                        .key_dims = planner_latent_of(p->config, layer).width,
                                        .value_dims = c->kv_rank,
                                        .latent = true});
    return attended;
}
