/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latent attention (MLA) as a card runs it: pages hold one latent and one rotated key a token; each head's part of the
 * query goes through its matrix into the latent's space, and its result through another one out of it.
 */
#include "host/base/bytes.h"
#include "host/plan/shape_planner.h"

#include <math.h>

/* Floats further. */
static card_addr further(card_addr address, uint64_t floats) { return address + floats * sizeof(float); }

/* The query's latent, or the input itself. */
static struct shape_act query_latent(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    if (!shape_has(p, layer, SHAPE_QUERY_A)) return *src;
    struct shape_act latent = shape_buffer(p, src->tokens, p->architecture->layers[layer].attention.query_rank);
    shape_linear(p, &latent, src, layer, SHAPE_QUERY_A, SHAPE_IDS, 0);
    shape_norm(p, &latent, &latent, 1, layer, SHAPE_QUERY_A_NORM, 0);
    return latent;
}

void shape_index(struct shape_planner *p, struct shape_act *src, struct shape_act *queries, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    const struct indexer *indexer = &a->indexer;
    if (indexer->top_k == 0 || indexer->shared) return;
    bool compressed = a->kind == ATTENTION_COMPRESSED;
    enum shape_pool pool_id = compressed ? SHAPE_POOL_INDEX_COMPRESSED : SHAPE_POOL_INDEX;
    const struct shape_pool_place *pool = &shape_place_layer(p->place, layer)->pools[pool_id];
    uint32_t dims = a->rope_dims < indexer->head_dim ? a->rope_dims : indexer->head_dim & ~1u;
    if (!compressed) {
        struct shape_act key = shape_buffer(p, src->tokens, indexer->head_dim);
        shape_linear(p, &key, src, layer, SHAPE_INDEX_KEY, SHAPE_IDS, 0);
        shape_norm_at(p, &key, &key, 1, shape_address(p, layer, SHAPE_INDEX_KEY_NORM),
                      shape_address(p, layer, SHAPE_INDEX_KEY_NORM_BIAS), CARD_FLAG_LAYER | CARD_FLAG_BIAS);
        shape_rope(p, &key, 1, dims, 0, p->tables[0].reads);
        shape_write_kv(p, layer, pool_id, key.tokens, key.address, 0, p->tables[0].reads);
    }
    if (!shape_attends(p, layer)) return;
    struct shape_act query = shape_buffer(p, src->tokens, indexer->heads * indexer->head_dim);
    struct shape_act weights = shape_buffer(p, src->tokens, indexer->heads);
    shape_linear(p, &query, queries, layer, SHAPE_INDEX_QUERY, SHAPE_IDS, 0);
    shape_linear(p, &weights, src, layer, SHAPE_INDEX_WEIGHTS, SHAPE_IDS, 0);
    shape_rope(p, &query, indexer->heads, dims, 0, p->tables[0].reads);
    shape_append(p,
                 &(struct card_descriptor){
                     .opcode = CARD_OP_INDEX,
                     .format = (uint8_t)p->kv_format,
                     .flags = CARD_FLAG_EXTENDED,
                     .tokens = query.tokens,
                     .rows = indexer->heads,
                     .cols = indexer->head_dim,
                     .dst = p->positions,
                     .src = query.address,
                     .weight = pool->address,
                     .aux = p->tables[pool->table].reads,
                     .param = {pool->n_pages, bits_of_float(1.0f / sqrtf((float)indexer->head_dim)), 0, indexer->top_k},
                 });
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_EXTENSION,
                        .rows = p->place->pool_banks > 1 ? p->place->pool_banks : 0,
                        .src = weights.address,
                    });
}

/* f32[T][heads][kv_rank + rope_dims]: the query against latents, then its rotated part. */
static struct shape_act absorbed_query(struct shape_planner *p, struct shape_act *latent, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    uint32_t tokens = latent->tokens, plain = a->key_dim - a->rope_dims, width = a->kv_rank + a->rope_dims;
    struct shape_act query = shape_buffer(p, tokens, a->heads * a->key_dim);
    shape_linear(p, &query, latent, layer, SHAPE_QUERY, SHAPE_IDS, 0);
    struct shape_act parts = shape_buffer(p, tokens, a->heads * plain);
    const uint32_t whole[2] = {a->heads * a->key_dim, a->key_dim}, part[2] = {a->heads * plain, plain};
    const uint32_t full[2] = {a->heads * width, width}, ranks[2] = {a->heads * a->kv_rank, a->kv_rank};
    shape_copy(p, tokens, a->heads, plain, parts.address, part, query.address, whole);
    struct shape_act absorbed = shape_each(p, &parts, layer, SHAPE_KEY_B);
    struct shape_act result = shape_buffer(p, tokens, a->heads * width);
    shape_copy(p, tokens, a->heads, a->kv_rank, result.address, full, absorbed.address, ranks);
    shape_copy(p, tokens, a->heads, a->rope_dims, further(result.address, a->kv_rank), full,
               further(query.address, plain), whole);
    if (!a->no_rotation) shape_rope(p, &result, a->heads, a->rope_dims, a->kv_rank, p->tables[0].reads);
    return result;
}

/* The latent, normed, and the rotated key into their page. */
static void write_latent(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    uint32_t width = a->kv_rank + a->rope_dims;
    const uint32_t whole[2] = {width, width}, ranks[2] = {a->kv_rank, a->kv_rank};
    struct shape_act key = shape_buffer(p, src->tokens, width), latent = shape_buffer(p, src->tokens, a->kv_rank);
    shape_linear(p, &key, src, layer, SHAPE_KV_A, SHAPE_IDS, 0);
    shape_copy(p, src->tokens, 1, a->kv_rank, latent.address, ranks, key.address, whole);
    shape_norm(p, &latent, &latent, 1, layer, SHAPE_KV_A_NORM, 0);
    shape_copy(p, src->tokens, 1, a->kv_rank, key.address, whole, latent.address, ranks);
    if (!a->no_rotation) shape_rope(p, &key, 1, a->rope_dims, a->kv_rank, p->tables[0].reads);
    shape_write_kv(p, layer, SHAPE_POOL_KV, key.tokens, key.address, 0, p->tables[0].reads);
}

struct shape_act shape_latent_attention(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    struct shape_act latent = query_latent(p, src, layer);
    struct shape_act query = absorbed_query(p, &latent, layer);
    write_latent(p, src, layer);
    shape_index(p, src, &latent, layer);
    struct shape_act attended = shape_buffer(p, src->tokens, a->heads * a->kv_rank);
    if (!shape_attends(p, layer)) return attended;
    shape_attend_to(p, &attended, &query, a->heads, layer,
                    &(struct shape_attend){.pool = SHAPE_POOL_KV,
                                           .table = &p->tables[0],
                                           .key_dim = a->kv_rank + a->rope_dims,
                                           .value_dim = a->kv_rank,
                                           .kv_heads = 1,
                                           .top_k = a->indexer.top_k,
                                           .latent = true});
    return attended;
}
