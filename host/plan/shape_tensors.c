/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/shape_tensors.h"

#include <string.h>

struct lister {
    const struct architecture_layer *layer;
    struct shape_tensor *out;
    uint32_t d_model;
    uint8_t part;
};

static void matrices(struct lister *list, enum shape_id id, enum shape_kind kind, unsigned format, uint32_t count,
                     uint32_t rows, uint32_t cols)
{
    list->out[id] = (struct shape_tensor){rows, cols, count, (uint8_t)format, (uint8_t)kind, list->part};
}

static void matrix(struct lister *list, enum shape_id id, enum weight_role role, uint32_t rows, uint32_t cols)
{
    matrices(list, id, SHAPE_MATRIX, list->layer->formats[role], 1, rows, cols);
}

static void vector(struct lister *list, enum shape_id id, uint32_t rows, uint32_t cols)
{
    matrices(list, id, SHAPE_VECTOR, CARD_FORMAT_F32, 1, rows, cols);
}

uint32_t shape_conv_features(const struct attention_shape *attention)
{
    return 2 * attention->kv_heads * attention->key_dim + attention->heads * attention->value_dim;
}

static void list_heads(struct lister *list, const struct attention_shape *a)
{
    uint32_t query = a->heads * a->key_dim, key = a->kv_heads * a->key_dim, value = a->kv_heads * a->value_dim;
    matrix(list, SHAPE_QUERY, WEIGHT_QUERY, query, list->d_model);
    matrix(list, SHAPE_KEY, WEIGHT_KEY, key, list->d_model);
    matrix(list, SHAPE_VALUE, WEIGHT_VALUE, value, list->d_model);
    if (a->query_key_value_bias) {
        vector(list, SHAPE_QUERY_BIAS, 1, query);
        vector(list, SHAPE_KEY_BIAS, 1, key);
        vector(list, SHAPE_VALUE_BIAS, 1, value);
    }
    if (a->query_key_norm == QUERY_KEY_NORM_HEAD) {
        vector(list, SHAPE_QUERY_NORM, a->each_head_norm ? a->heads : 1, a->key_dim);
        vector(list, SHAPE_KEY_NORM, a->each_head_norm ? a->kv_heads : 1, a->key_dim);
    }
    if (a->query_key_norm == QUERY_KEY_NORM_ALL) {
        vector(list, SHAPE_QUERY_NORM, 1, query);
        vector(list, SHAPE_KEY_NORM, 1, key);
    }
    if (a->gate != ATTENTION_GATE_NONE)
        matrix(list, SHAPE_GATE, WEIGHT_QUERY, a->gate == ATTENTION_GATE_HEAD ? a->heads : a->heads * a->value_dim,
               list->d_model);
    if (a->sinks) vector(list, SHAPE_SINKS, 1, a->heads);
    matrix(list, SHAPE_ATTN_OUTPUT, WEIGHT_ATTENTION_OUTPUT, list->d_model, a->heads * a->value_dim);
    if (a->output_bias) vector(list, SHAPE_ATTN_OUTPUT_BIAS, 1, list->d_model);
}

/* With an indexer of its own keys; queries come from the query's latent if there is one. */
static void list_indexer(struct lister *list, const struct attention_shape *a)
{
    const struct indexer *indexer = &a->indexer;
    if (indexer->top_k == 0 || indexer->shared) return;
    uint32_t from = a->query_rank != 0 ? a->query_rank : list->d_model;
    matrix(list, SHAPE_INDEX_QUERY, WEIGHT_QUERY, indexer->heads * indexer->head_dim, from);
    matrix(list, SHAPE_INDEX_WEIGHTS, WEIGHT_QUERY, indexer->heads, list->d_model);
    if (a->kind == ATTENTION_COMPRESSED) return;
    matrix(list, SHAPE_INDEX_KEY, WEIGHT_KEY, indexer->head_dim, list->d_model);
    vector(list, SHAPE_INDEX_KEY_NORM, 1, indexer->head_dim);
    vector(list, SHAPE_INDEX_KEY_NORM_BIAS, 1, indexer->head_dim);
}

/* From the layer's input, or from the latent of query_rank, which has a norm. */
static void list_query(struct lister *list, const struct attention_shape *a)
{
    if (a->query_rank != 0) {
        matrix(list, SHAPE_QUERY_A, WEIGHT_QUERY, a->query_rank, list->d_model);
        vector(list, SHAPE_QUERY_A_NORM, 1, a->query_rank);
    }
    matrix(list, SHAPE_QUERY, WEIGHT_QUERY, a->heads * a->key_dim, a->query_rank != 0 ? a->query_rank : list->d_model);
}

static void list_latent(struct lister *list, const struct attention_shape *a)
{
    list_query(list, a);
    matrix(list, SHAPE_KV_A, WEIGHT_KEY, a->kv_rank + a->rope_dims, list->d_model);
    vector(list, SHAPE_KV_A_NORM, 1, a->kv_rank);
    matrices(list, SHAPE_KEY_B, SHAPE_TABLED, list->layer->formats[WEIGHT_KEY], a->heads, a->kv_rank,
             a->key_dim - a->rope_dims);
    matrices(list, SHAPE_VALUE_B, SHAPE_TABLED, list->layer->formats[WEIGHT_VALUE], a->heads, a->value_dim, a->kv_rank);
    list_indexer(list, a);
    matrix(list, SHAPE_ATTN_OUTPUT, WEIGHT_ATTENTION_OUTPUT, list->d_model, a->heads * a->value_dim);
}

static void list_linear(struct lister *list, const struct attention_shape *a)
{
    uint32_t values = a->heads * a->value_dim, rank = a->decay_rank;
    uint32_t decays = rank != 0 ? a->heads * a->key_dim : a->heads;
    matrix(list, SHAPE_QUERY, WEIGHT_QUERY, shape_conv_features(a), list->d_model);
    if (rank != 0) {
        matrix(list, SHAPE_GATE_A, WEIGHT_QUERY, rank, list->d_model);
        matrix(list, SHAPE_DECAY_A, WEIGHT_QUERY, rank, list->d_model);
    }
    matrix(list, SHAPE_GATE, WEIGHT_QUERY, values, rank != 0 ? rank : list->d_model);
    matrix(list, SHAPE_DECAY, WEIGHT_QUERY, decays, rank != 0 ? rank : list->d_model);
    matrix(list, SHAPE_BETA, WEIGHT_QUERY, a->heads, list->d_model);
    vector(list, SHAPE_DECAY_BIAS, 1, decays);
    vector(list, SHAPE_DECAY_RATE, 1, decays);
    vector(list, SHAPE_CONV, shape_conv_features(a), a->conv_width);
    vector(list, SHAPE_STATE_NORM, 1, a->value_dim);
    matrix(list, SHAPE_ATTN_OUTPUT, WEIGHT_ATTENTION_OUTPUT, list->d_model, values);
}

/* Entries of neighbouring windows overlap where there is an indexer, so their projections are twice as wide. */
static void list_compressed(struct lister *list, const struct attention_shape *a)
{
    uint32_t dims = a->key_dim, index = a->indexer.head_dim;
    uint32_t wide = a->indexer.top_k != 0 ? 2 * dims : dims;
    list_query(list, a);
    matrix(list, SHAPE_KV_A, WEIGHT_KEY, dims, list->d_model);
    vector(list, SHAPE_KV_A_NORM, 1, dims);
    vector(list, SHAPE_SINKS, 1, a->heads);
    if (a->compress_rate != 0) {
        matrix(list, SHAPE_COMPRESS_VALUE, WEIGHT_KEY, wide, list->d_model);
        matrix(list, SHAPE_COMPRESS_GATE, WEIGHT_KEY, wide, list->d_model);
        vector(list, SHAPE_COMPRESS_PLACES, a->compress_rate, wide);
        vector(list, SHAPE_COMPRESS_NORM, 1, dims);
    }
    list_indexer(list, a);
    if (a->indexer.top_k != 0) {
        matrix(list, SHAPE_INDEX_COMPRESS_VALUE, WEIGHT_KEY, 2 * index, list->d_model);
        matrix(list, SHAPE_INDEX_COMPRESS_GATE, WEIGHT_KEY, 2 * index, list->d_model);
        vector(list, SHAPE_INDEX_COMPRESS_PLACES, a->compress_rate, 2 * index);
        vector(list, SHAPE_INDEX_COMPRESS_NORM, 1, index);
    }
    matrices(list, SHAPE_OUTPUT_A, SHAPE_TABLED, list->layer->formats[WEIGHT_ATTENTION_OUTPUT], a->output_groups,
             a->output_rank, a->heads / a->output_groups * a->value_dim);
    matrix(list, SHAPE_ATTN_OUTPUT, WEIGHT_ATTENTION_OUTPUT, list->d_model, a->output_groups * a->output_rank);
}

static void list_experts(struct lister *list, const struct ffn_shape *f)
{
    const uint8_t *formats = list->layer->formats;
    list->part = SHAPE_PART_ROUTERS;
    matrices(list, SHAPE_ROUTER, SHAPE_MATRIX, CARD_FORMAT_F32, 1, f->experts, list->d_model);
    if (f->router_bias || f->router_logit_bias) vector(list, SHAPE_ROUTER_BIAS, 1, f->experts);
    list->part = SHAPE_PART_EXPERTS;
    matrices(list, SHAPE_EXPERT_GATE, SHAPE_EXPERTS, formats[WEIGHT_EXPERT_GATE], f->experts, f->expert_width,
             list->d_model);
    matrices(list, SHAPE_EXPERT_UP, SHAPE_EXPERTS, formats[WEIGHT_EXPERT_UP], f->experts, f->expert_width,
             list->d_model);
    matrices(list, SHAPE_EXPERT_DOWN, SHAPE_EXPERTS, formats[WEIGHT_EXPERT_DOWN], f->experts, list->d_model,
             f->expert_width);
    if (f->expert_bias) {
        vector(list, SHAPE_EXPERT_GATE_BIAS, f->experts, f->expert_width);
        vector(list, SHAPE_EXPERT_UP_BIAS, f->experts, f->expert_width);
        vector(list, SHAPE_EXPERT_DOWN_BIAS, f->experts, list->d_model);
    }
    if (f->shared_width == 0) return;
    list->part = SHAPE_PART_SHARED;
    matrix(list, SHAPE_SHARED_GATE, WEIGHT_GATE, f->shared_width, list->d_model);
    matrix(list, SHAPE_SHARED_UP, WEIGHT_UP, f->shared_width, list->d_model);
    matrix(list, SHAPE_SHARED_DOWN, WEIGHT_DOWN, list->d_model, f->shared_width);
    if (f->shared_gate) matrices(list, SHAPE_SHARED_SCORE, SHAPE_MATRIX, CARD_FORMAT_F32, 1, 1, list->d_model);
}

static void list_ffn(struct lister *list, const struct ffn_shape *f)
{
    list->part = SHAPE_PART_FFN;
    if (f->experts != 0) {
        list_experts(list, f);
    } else {
        matrix(list, SHAPE_FFN_GATE, WEIGHT_GATE, f->width, list->d_model);
        matrix(list, SHAPE_FFN_UP, WEIGHT_UP, f->width, list->d_model);
        matrix(list, SHAPE_FFN_DOWN, WEIGHT_DOWN, list->d_model, f->width);
    }
}

/* Coefficients that mix n streams: n to read from them, n to write to them, n x n among themselves. */
static void list_streams(struct lister *list, uint32_t n)
{
    uint32_t coefficients = n * (n + 2);
    list->part = SHAPE_PART_ATTENTION;
    matrices(list, SHAPE_STREAMS_ATTN, SHAPE_MATRIX, CARD_FORMAT_F32, 1, coefficients, n * list->d_model);
    vector(list, SHAPE_STREAMS_ATTN_BIAS, 1, coefficients + 3);
    list->part = SHAPE_PART_FFN;
    matrices(list, SHAPE_STREAMS_FFN, SHAPE_MATRIX, CARD_FORMAT_F32, 1, coefficients, n * list->d_model);
    vector(list, SHAPE_STREAMS_FFN_BIAS, 1, coefficients + 3);
}

void shape_layer_tensors(const struct architecture *architecture, uint32_t layer, struct shape_tensor *out)
{
    struct lister list = {.layer = &architecture->layers[layer], .out = out, .d_model = architecture->d_model};
    const struct attention_shape *a = &list.layer->attention;
    memset(out, 0, SHAPE_IDS * sizeof *out);
    if (architecture->pre_norms) vector(&list, SHAPE_ATTN_NORM, 1, list.d_model);
    switch (a->kind) {
    case ATTENTION_HEADS: list_heads(&list, a); break;
    case ATTENTION_LATENT: list_latent(&list, a); break;
    case ATTENTION_LINEAR: list_linear(&list, a); break;
    case ATTENTION_COMPRESSED: list_compressed(&list, a); break;
    }
    if (architecture->post_norms) vector(&list, SHAPE_POST_ATTN_NORM, 1, list.d_model);
    list_ffn(&list, &list.layer->ffn);
    list.part = SHAPE_PART_FFN;
    if (architecture->pre_norms && !architecture->parallel) vector(&list, SHAPE_FFN_NORM, 1, list.d_model);
    if (architecture->post_norms) vector(&list, SHAPE_POST_FFN_NORM, 1, list.d_model);
    if (architecture->hyper_streams > 1) list_streams(&list, architecture->hyper_streams);
}

void shape_model_tensors(const struct architecture *architecture, struct shape_tensor *out)
{
    uint32_t d = architecture->d_model, n = architecture->hyper_streams;
    memset(out, 0, SHAPE_MODEL_IDS * sizeof *out);
    out[SHAPE_OUTPUT_NORM] = (struct shape_tensor){1, d, 1, CARD_FORMAT_F32, SHAPE_VECTOR, 0};
    out[SHAPE_OUTPUT] =
        (struct shape_tensor){architecture->n_vocab, d, 1, architecture->output_format, SHAPE_MATRIX, 0};
    if (n <= 1) return;
    out[SHAPE_STREAMS_OUTPUT] = (struct shape_tensor){n, n * d, 1, CARD_FORMAT_F32, SHAPE_MATRIX, 0};
    out[SHAPE_STREAMS_OUTPUT_BIAS] = (struct shape_tensor){1, n + 1, 1, CARD_FORMAT_F32, SHAPE_VECTOR, 0};
}

uint64_t shape_tensor_values(const struct shape_tensor *tensor)
{
    return (uint64_t)tensor->matrices * tensor->rows * tensor->cols;
}

uint64_t shape_tensor_bytes(const struct shape_tensor *tensor)
{
    if (tensor->rows == 0) return 0;
    if (tensor->kind == SHAPE_VECTOR)
        return card_round_up(shape_tensor_values(tensor) * sizeof(float), CARD_WORD_BYTES);
    uint64_t tiles = card_round_up(tensor->rows, CARD_TILE_ROWS) / CARD_TILE_ROWS;
    return tensor->matrices * tiles * card_tile_bytes(tensor->format, tensor->cols);
}
