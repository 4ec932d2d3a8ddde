/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed attention (DeepSeek-V4): one vector a token is key and value; a query sees those of its window and, of what
 * lies before, one entry for each `rate` tokens, of which an indexer may choose. The card has no operation that joins two
 * softmaxes or pools entries by one, so the program says what moves and multiplies: an attention over the window and
 * one over the entries, added, and entries made by a product.
 */
#include "host/base/bytes.h"
#include "host/plan/shape_planner.h"

static card_addr further(card_addr address, uint64_t floats) { return address + floats * sizeof(float); }

static const struct shape_table *table_of(const struct shape_planner *p, uint32_t layer, enum shape_pool pool)
{
    return &p->tables[shape_place_layer(p->place, layer)->pools[pool].table];
}

/* Entries that the step's tokens end, into their pool. */
static void compress(struct shape_planner *p, struct shape_act *src, uint32_t layer, enum shape_id value,
                     enum shape_id gate, enum shape_id norm, enum shape_pool pool_id)
{
    const struct shape_pool_place *pool = &shape_place_layer(p->place, layer)->pools[pool_id];
    const struct shape_table *table = &p->tables[pool->table];
    uint32_t wide = shape_tensor_of(p, layer, value)->rows, dims = pool->key_dim, n = table->n_writes;
    struct shape_act values = shape_buffer(p, src->tokens, wide), gates = shape_buffer(p, src->tokens, wide);
    shape_linear(p, &values, src, layer, value, SHAPE_IDS, 0);
    shape_linear(p, &gates, src, layer, gate, SHAPE_IDS, 0);
    shape_glu(p, &values, &gates, &values, CARD_ACTIVATION_SIGMOID);
    struct shape_act entries = shape_buffer(p, n, dims);
    if (n == 0) return;
    const uint32_t from[2] = {wide, wide}, own[2] = {dims, dims};
    shape_copy(p, n, 1, dims, entries.address, own, further(values.address, (uint64_t)(src->tokens - n) * wide), from);
    shape_norm(p, &entries, &entries, 1, layer, norm, 0);
    uint32_t rope = p->architecture->layers[layer].attention.rope_dims;
    shape_rope(p, &entries, 1, rope < dims ? rope : dims & ~1u, 0, table->writes);
    shape_write_kv(p, layer, pool_id, n, entries.address, 0, table->writes);
}

static struct shape_act query_of(struct shape_planner *p, struct shape_act *latent, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    struct shape_act query = shape_buffer(p, latent->tokens, a->heads * a->key_dim);
    shape_linear(p, &query, latent, layer, SHAPE_QUERY, SHAPE_IDS, 0);
    shape_norm_at(p, &query, &query, a->heads, 0, 0, CARD_FLAG_UNWEIGHTED);
    shape_rope(p, &query, a->heads, a->rope_dims, a->key_dim - a->rope_dims, p->tables[0].reads);
    return query;
}

static void write_window(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    struct shape_act key = shape_buffer(p, src->tokens, a->key_dim);
    shape_linear(p, &key, src, layer, SHAPE_KV_A, SHAPE_IDS, 0);
    shape_norm(p, &key, &key, 1, layer, SHAPE_KV_A_NORM, 0);
    shape_rope(p, &key, 1, a->rope_dims, a->key_dim - a->rope_dims, p->tables[0].reads);
    shape_write_kv(p, layer, SHAPE_POOL_KV, key.tokens, key.address, 0, table_of(p, layer, SHAPE_POOL_KV)->reads);
}

static struct shape_act see(struct shape_planner *p, const struct shape_act *query, uint32_t layer,
                            enum shape_pool pool, uint32_t window, uint32_t top_k)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    struct shape_act attended = shape_buffer(p, query->tokens, a->heads * a->value_dim);
    shape_attend_to(p, &attended, query, a->heads, layer,
                    &(struct shape_attend){.pool = pool,
                                           .table = table_of(p, layer, pool),
                                           .key_dim = a->key_dim,
                                           .value_dim = a->value_dim,
                                           .kv_heads = 1,
                                           .window = window,
                                           .top_k = top_k,
                                           .latent = true,
                                           .sinks = a->sinks && pool == SHAPE_POOL_KV});
    return attended;
}

struct shape_act shape_compressed_attention(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    struct shape_act latent = shape_buffer(p, src->tokens, a->query_rank);
    shape_linear(p, &latent, src, layer, SHAPE_QUERY_A, SHAPE_IDS, 0);
    shape_norm(p, &latent, &latent, 1, layer, SHAPE_QUERY_A_NORM, 0);
    struct shape_act query = query_of(p, &latent, layer);
    write_window(p, src, layer);
    if (a->compress_rate != 0)
        compress(p, src, layer, SHAPE_COMPRESS_VALUE, SHAPE_COMPRESS_GATE, SHAPE_COMPRESS_NORM, SHAPE_POOL_COMPRESSED);
    if (a->indexer.top_k != 0)
        compress(p, src, layer, SHAPE_INDEX_COMPRESS_VALUE, SHAPE_INDEX_COMPRESS_GATE, SHAPE_INDEX_COMPRESS_NORM,
                 SHAPE_POOL_INDEX_COMPRESSED);
    shape_index(p, src, &latent, layer);
    if (!shape_attends(p, layer)) return query;
    struct shape_act attended = see(p, &query, layer, SHAPE_POOL_KV, a->window, 0);
    if (a->compress_rate == 0) return attended;
    struct shape_act entries = see(p, &query, layer, SHAPE_POOL_COMPRESSED, 0, a->indexer.top_k);
    shape_add(p, &attended, &entries);
    return attended;
}
