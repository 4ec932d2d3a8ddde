/* SPDX-License-Identifier: Apache-2.0 */
/* Layers: the blocks around attention and FFN, by config and by which tensors the file has; the two ends of the model. */
#include "host/base/bytes.h"
#include "host/model/planner_ops.h"

#define NO_BIAS ((enum tensor_role)TENSOR_ROLE_END)

/*
 * Nothing after the last layer's attention looks at other tokens, so from there on only the wanted rows are computed.
 * While measuring both rows and gathers are counted, as a smaller step may need them.
 */
static struct activations keep_wanted(struct planner *p, struct activations *hidden, struct activations *attended)
{
    struct activations rows = planner_buffer(p, p->n_logit_rows, attended->cols);
    if (p->loaded != NULL && p->n_logit_rows == p->n_tokens) return *attended;
    if (p->n_logit_rows > 0) {
        planner_gather(p, &rows, attended);
        planner_gather(p, &p->wanted, hidden);
    }
    *hidden = p->wanted;
    return rows;
}

static struct activations attend(struct planner *p, struct activations *src, uint32_t layer)
{
    switch (p->config->layers[layer].attention) {
    case LAYER_LATENT: return planner_latent_attention(p, src, layer);
    case LAYER_LINEAR: return planner_linear_attention(p, src, layer);
    case LAYER_HEADS: break;
    }
    return planner_heads_attention(p, src, layer);
}

/* Into the residual stream: at once, or by a norm of its own. */
static void output(struct planner *p, struct activations *hidden, struct activations *attended, uint32_t layer)
{
    bool linear = p->config->layers[layer].attention == LAYER_LINEAR;
    enum tensor_role role =
        linear && planner_has(p, TENSOR_LINEAR_OUTPUT, layer) ? TENSOR_LINEAR_OUTPUT : TENSOR_ATTN_OUTPUT;
    if (!planner_has(p, TENSOR_ATTN_POST_NORM, layer)) {
        planner_linear_add(p, hidden, attended, role, TENSOR_ATTN_OUTPUT_BIAS, layer);
        return;
    }
    struct activations result = planner_buffer(p, attended->tokens, p->config->d_model);
    planner_linear(p, &result, attended, role, TENSOR_ATTN_OUTPUT_BIAS, layer);
    planner_norm(p, &result, &result, 1, TENSOR_ATTN_POST_NORM, layer);
    planner_add(p, hidden, &result, 1.0f);
}

struct activations planner_normed(struct planner *p, struct activations *src, enum tensor_role role, uint32_t layer)
{
    if (!planner_has(p, role, layer)) return *src;
    struct activations normed = planner_buffer(p, src->tokens, p->config->d_model);
    planner_norm(p, &normed, src, 1, role, layer);
    return normed;
}

/* ffn_input: of a parallel block, set to the FFN's input, f32[T][d_model], whose buffer the caller took. */
static void attention_block(struct planner *p, struct activations *hidden, uint32_t layer,
                            struct activations *ffn_input)
{
    uint64_t mark = planner_mark(p);
    struct activations normed = planner_normed(p, hidden, TENSOR_ATTN_NORM, layer);
    struct activations attended = attend(p, &normed, layer);
    bool is_last = layer + 1 == p->config->n_layers;
    if (is_last && (p->n_logit_rows == 0 || !planner_has(p, TENSOR_CROSS_Q, layer)))
        attended = keep_wanted(p, hidden, &attended);
    if (hidden->tokens > 0) {
        if (ffn_input != NULL) {
            ffn_input->tokens = hidden->tokens;
            planner_norm(p, ffn_input, hidden, 1, p->config->one_norm ? TENSOR_ATTN_NORM : TENSOR_FFN_NORM, layer);
        }
        if (planner_has(p, TENSOR_ATTN_V_B, layer))
            attended = planner_each_head(p, &attended, p->config->layers[layer].n_heads, TENSOR_ATTN_V_B, layer);
        output(p, hidden, &attended, layer);
    }
    planner_release(p, mark);
}

/* To what the encoder made; in the last layer on to the wanted rows. */
static void cross_block(struct planner *p, struct activations *hidden, uint32_t layer)
{
    if (hidden->tokens == 0) return;
    uint64_t mark = planner_mark(p);
    struct activations normed = planner_normed(p, hidden, TENSOR_CROSS_NORM, layer);
    struct activations attended = planner_cross_attention(p, &normed, layer);
    if (layer + 1 == p->config->n_layers) attended = keep_wanted(p, hidden, &attended);
    planner_linear_add(p, hidden, &attended, TENSOR_CROSS_OUTPUT, NO_BIAS, layer);
    planner_release(p, mark);
}

/*
 * gate = activation(gate) * up. With a limit (Step 3.5): activation(gate) and up are both kept within +-limit, which is
 * written as relu(min(up, limit)) * g - relu(min(-up, limit)) * g with g = activation(gate) kept within +-limit; for gpt-oss the
 * operation itself has the limit.
 */
void planner_activate(struct planner *p, struct activations *gate, struct activations *up, float limit)
{
    if (limit == 0 || p->config->activation == CARD_ACTIVATION_SWIGLU_OAI) {
        planner_glu(p, gate, gate, up, p->config->activation, limit);
        return;
    }
    struct activations below = planner_buffer(p, up->tokens, up->cols);
    planner_glu(p, gate, gate, NULL, p->config->activation, 0);
    planner_glu(p, &below, up, gate, CARD_ACTIVATION_RELU, limit);
    planner_scale(p, up, -1.0f, 0);
    planner_glu(p, gate, up, gate, CARD_ACTIVATION_RELU, limit);
    planner_scale(p, gate, -1.0f, 0);
    planner_add(p, gate, &below, 1.0f);
}

/* Gate and up of one matrix with gate's rows first. */
static void split_up(struct planner *p, struct activations *src, uint32_t layer, const struct gated_ffn *ffn,
                     struct activations *gate, struct activations *up)
{
    uint32_t width = planner_rows(p, ffn->up, layer) / 2;
    struct activations both = planner_buffer(p, src->tokens, 2 * width);
    planner_linear(p, &both, src, ffn->up, ffn->up_bias, layer);
    *gate = planner_columns(p, &both, 0, width);
    *up = planner_columns(p, &both, width, width);
}

void planner_gated(struct planner *p, struct activations *dst, struct activations *src, uint32_t layer,
                   const struct gated_ffn *ffn)
{
    struct activations gate, up;
    if (planner_has(p, ffn->gate, layer)) {
        uint32_t width = planner_rows(p, ffn->gate, layer);
        gate = planner_buffer(p, src->tokens, width);
        up = planner_buffer(p, src->tokens, width);
        planner_linear(p, &gate, src, ffn->gate, ffn->gate_bias, layer);
        planner_linear(p, &up, src, ffn->up, ffn->up_bias, layer);
        planner_activate(p, &gate, &up, ffn->limit);
    } else if (p->config->fused_up) {
        split_up(p, src, layer, ffn, &gate, &up);
        planner_activate(p, &gate, &up, ffn->limit);
    } else {
        gate = planner_buffer(p, src->tokens, planner_rows(p, ffn->up, layer));
        planner_linear(p, &gate, src, ffn->up, ffn->up_bias, layer);
        planner_glu(p, &gate, &gate, NULL, p->config->activation, ffn->limit);
    }
    if (ffn->add)
        planner_linear_add(p, dst, &gate, ffn->down, ffn->down_bias, layer);
    else
        planner_linear(p, dst, &gate, ffn->down, ffn->down_bias, layer);
}

static void feed_forward(struct planner *p, struct activations *dst, struct activations *src, uint32_t layer, bool add)
{
    if (p->config->layers[layer].has_experts) {
        planner_experts(p, dst, src, layer);
        return;
    }
    planner_gated(p, dst, src, layer,
                  &(struct gated_ffn){.gate = TENSOR_FFN_GATE,
                                      .up = TENSOR_FFN_UP,
                                      .down = TENSOR_FFN_DOWN,
                                      .gate_bias = TENSOR_FFN_GATE_BIAS,
                                      .up_bias = TENSOR_FFN_UP_BIAS,
                                      .down_bias = TENSOR_FFN_DOWN_BIAS,
                                      .add = add});
}

static void ffn_block(struct planner *p, struct activations *hidden, uint32_t layer, struct activations *ffn_input)
{
    if (hidden->tokens == 0) return;
    uint64_t mark = planner_mark(p);
    p->residual = *hidden;
    struct activations normed = ffn_input != NULL ? *ffn_input : planner_normed(p, hidden, TENSOR_FFN_NORM, layer);
    if (planner_has(p, TENSOR_FFN_POST_NORM, layer)) {
        struct activations result = planner_buffer(p, hidden->tokens, hidden->cols);
        feed_forward(p, &result, &normed, layer, false);
        planner_norm(p, &result, &result, 1, TENSOR_FFN_POST_NORM, layer);
        planner_add(p, hidden, &result, 1.0f);
    } else {
        feed_forward(p, hidden, &normed, layer, true);
    }
    planner_release(p, mark);
}

void planner_layers(struct planner *p)
{
    struct activations hidden = p->embeddings;
    const uint32_t n_layers = p->config->n_layers;
    const uint32_t n_encoder = p->config->n_encoder_layers, end = p->encodes ? n_encoder : n_layers;
    if (p->config->embedding_scale != 1.0f && !p->config->layers[0].is_elsewhere)
        planner_scale(p, &hidden, p->config->embedding_scale, 0);
    for (uint32_t layer = p->encodes ? 0 : n_encoder; layer < end; layer++) {
        if (p->config->layers[layer].is_elsewhere) continue;
        uint64_t mark = planner_mark(p);
        struct activations ffn_input, *parallel = NULL;
        if (p->config->is_parallel) {
            ffn_input = planner_buffer(p, hidden.tokens, p->config->d_model);
            parallel = &ffn_input;
        }
        attention_block(p, &hidden, layer, parallel);
        if (planner_has(p, TENSOR_CROSS_Q, layer)) cross_block(p, &hidden, layer);
        ffn_block(p, &hidden, layer, parallel);
        planner_release(p, mark);
    }
    if (p->encodes)
        planner_write_sources(p, &hidden);
    else if (!p->config->layers[n_layers - 1].is_elsewhere)
        planner_head(p, &hidden);
}

void planner_head(struct planner *p, struct activations *hidden)
{
    if (hidden->tokens == 0) return;
    struct activations normed = planner_buffer(p, hidden->tokens, p->config->d_model);
    planner_norm(p, &normed, hidden, 1, TENSOR_OUTPUT_NORM, 0);
    p->logits = planner_buffer(p, hidden->tokens, p->config->n_vocab);
    planner_linear(p, &p->logits, &normed, TENSOR_OUTPUT, NO_BIAS, 0);
    if (p->config->logit_scale != 1.0f) planner_scale(p, &p->logits, p->config->logit_scale, 0);
    if (p->config->logit_cap > 0)
        planner_append(p, &(struct card_descriptor){.opcode = CARD_OP_SOFT_CAP,
                                                    .tokens = p->logits.tokens,
                                                    .cols = p->logits.cols,
                                                    .dst = p->logits.address,
                                                    .src = p->logits.address,
                                                    .param = {bits_of_float(p->config->logit_cap)}});
}
