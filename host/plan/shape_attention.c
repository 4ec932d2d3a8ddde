/* SPDX-License-Identifier: Apache-2.0 */
/* The attention block: norm, what its kind does, output matrix, residual stream. Heads are here, the other kinds beside. */
#include "host/plan/shape_planner.h"

bool shape_attends(const struct shape_planner *p, uint32_t layer)
{
    return layer + 1 < p->architecture->n_layers || p->n_logit_rows > 0;
}

struct shape_act shape_keep_wanted(struct shape_planner *p, struct shape_act *hidden, struct shape_act *attended,
                                   uint32_t layer)
{
    if (layer + 1 < p->architecture->n_layers) return *attended;
    struct shape_act rows = shape_buffer(p, p->n_logit_rows, attended->cols);
    if (!p->is_measuring && p->n_logit_rows == p->n_tokens) return *attended;
    if (p->n_logit_rows > 0) {
        shape_gather(p, &rows, attended);
        shape_gather(p, &p->wanted, hidden);
    }
    *hidden = p->wanted;
    return rows;
}

static bool normed_before_rope(const struct attention_shape *a)
{
    return a->query_key_norm == QUERY_KEY_NORM_HEAD || a->query_key_norm == QUERY_KEY_NORM_ALL;
}

static struct shape_act project(struct shape_planner *p, struct shape_act *src, uint32_t cols, uint32_t layer,
                                enum shape_id id, enum shape_id bias)
{
    struct shape_act result = shape_buffer(p, src->tokens, cols);
    shape_linear(p, &result, src, layer, id, bias, 0);
    return result;
}

/* One value a head, or one for each of its dimensions, from the layer's input. */
static void apply_gate(struct shape_planner *p, struct shape_act *attended, struct shape_act *src, uint32_t layer)
{
    struct shape_act gate = shape_buffer(p, src->tokens, shape_tensor_of(p, layer, SHAPE_GATE)->rows);
    shape_linear(p, &gate, src, layer, SHAPE_GATE, SHAPE_IDS, 0);
    shape_glu(p, attended, &gate, attended, CARD_ACTIVATION_SIGMOID);
}

static void turn(struct shape_planner *p, struct shape_act *x, uint32_t heads, uint32_t layer, enum shape_id norm)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    if (normed_before_rope(a))
        shape_norm(p, x, x, a->query_key_norm == QUERY_KEY_NORM_ALL ? 1 : heads, layer, norm,
                   a->each_head_norm ? CARD_FLAG_EACH : 0);
    shape_rope(p, x, heads, a->rope_dims, 0, p->tables[0].reads);
    if (a->query_key_norm == QUERY_KEY_NORM_UNWEIGHTED) shape_norm_at(p, x, x, heads, 0, 0, CARD_FLAG_UNWEIGHTED);
}

static struct shape_act heads_attention(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    /* The query, by far the largest, last: keys are turned and written while its words go by. */
    struct shape_act value = project(p, src, a->kv_heads * a->value_dim, layer, SHAPE_VALUE, SHAPE_VALUE_BIAS);
    struct shape_act key = project(p, src, a->kv_heads * a->key_dim, layer, SHAPE_KEY, SHAPE_KEY_BIAS);
    struct shape_act query = project(p, src, a->heads * a->key_dim, layer, SHAPE_QUERY, SHAPE_QUERY_BIAS);
    turn(p, &key, a->kv_heads, layer, SHAPE_KEY_NORM);
    shape_write_kv(p, layer, SHAPE_POOL_KV, key.tokens, key.address, value.address, p->tables[0].reads);
    turn(p, &query, a->heads, layer, SHAPE_QUERY_NORM);
    struct shape_act attended = shape_buffer(p, src->tokens, a->heads * a->value_dim);
    if (!shape_attends(p, layer)) return attended;
    shape_attend_to(p, &attended, &query, a->heads, layer,
                    &(struct shape_attend){.pool = SHAPE_POOL_KV,
                                           .table = &p->tables[0],
                                           .key_dim = a->key_dim,
                                           .value_dim = a->value_dim,
                                           .kv_heads = a->kv_heads,
                                           .window = a->window,
                                           .chunk = a->chunk,
                                           .sinks = a->sinks,
                                           .score_cap = a->score_cap});
    if (a->gate != ATTENTION_GATE_NONE) apply_gate(p, &attended, src, layer);
    return attended;
}

static struct shape_act attend(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    switch (p->architecture->layers[layer].attention.kind) {
    case ATTENTION_LATENT: return shape_latent_attention(p, src, layer);
    case ATTENTION_LINEAR: return shape_linear_attention(p, src, layer);
    case ATTENTION_COMPRESSED: return shape_compressed_attention(p, src, layer);
    case ATTENTION_HEADS: break;
    }
    return heads_attention(p, src, layer);
}

/* What kinds of attention that work on latents and groups do between attention and the output matrix. */
static struct shape_act before_output(struct shape_planner *p, struct shape_act *attended, uint32_t layer)
{
    if (shape_has(p, layer, SHAPE_VALUE_B)) return shape_each(p, attended, layer, SHAPE_VALUE_B);
    if (shape_has(p, layer, SHAPE_OUTPUT_A)) return shape_each(p, attended, layer, SHAPE_OUTPUT_A);
    return *attended;
}

/* Into the residual stream: at once, or by a norm of its own. */
static void output(struct shape_planner *p, struct shape_act *hidden, struct shape_act *attended, uint32_t layer)
{
    if (!shape_has(p, layer, SHAPE_POST_ATTN_NORM)) {
        shape_linear(p, hidden, attended, layer, SHAPE_ATTN_OUTPUT, SHAPE_ATTN_OUTPUT_BIAS, CARD_FLAG_ADD);
        return;
    }
    struct shape_act result = shape_buffer(p, attended->tokens, p->architecture->d_model);
    shape_linear(p, &result, attended, layer, SHAPE_ATTN_OUTPUT, SHAPE_ATTN_OUTPUT_BIAS, 0);
    shape_norm(p, &result, &result, 1, layer, SHAPE_POST_ATTN_NORM, 0);
    shape_add(p, hidden, &result);
}

static void attention_of_streams(struct shape_planner *p, struct shape_act *hidden, uint32_t layer)
{
    card_addr choices;
    struct shape_act x = shape_streams_read(p, hidden, layer, SHAPE_STREAMS_ATTN, &choices);
    shape_norm(p, &x, &x, 1, layer, SHAPE_ATTN_NORM, 0);
    struct shape_act attended = attend(p, &x, layer);
    if (shape_attends(p, layer)) {
        struct shape_act ready = before_output(p, &attended, layer);
        struct shape_act result = shape_buffer(p, ready.tokens, p->architecture->d_model);
        shape_linear(p, &result, &ready, layer, SHAPE_ATTN_OUTPUT, SHAPE_ATTN_OUTPUT_BIAS, 0);
        shape_streams_write(p, hidden, &result, choices);
    }
    if (layer + 1 < p->architecture->n_layers || (!p->is_measuring && p->n_logit_rows == p->n_tokens)) return;
    if (p->n_logit_rows > 0) shape_gather(p, &p->wanted, hidden);
    *hidden = p->wanted;
}

void shape_attention(struct shape_planner *p, struct shape_act *hidden, uint32_t layer)
{
    uint64_t mark = p->used;
    if (p->architecture->hyper_streams > 1) {
        attention_of_streams(p, hidden, layer);
        p->used = mark;
        return;
    }
    struct shape_act normed = *hidden;
    if (p->architecture->pre_norms) {
        normed = shape_buffer(p, hidden->tokens, p->architecture->d_model);
        shape_norm(p, &normed, hidden, 1, layer, SHAPE_ATTN_NORM, 0);
    }
    struct shape_act attended = attend(p, &normed, layer);
    struct shape_act kept = shape_keep_wanted(p, hidden, &attended, layer);
    if (hidden->tokens > 0) {
        struct shape_act ready = before_output(p, &kept, layer);
        output(p, hidden, &ready, layer);
    }
    p->used = mark;
}
