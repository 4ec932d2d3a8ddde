/* SPDX-License-Identifier: Apache-2.0 */
/* Linear attention by the gated delta rule: projections, short convolution, scan, gated norm. */
#include "host/base/bytes.h"
#include "host/plan/shape_planner.h"

static card_addr further(card_addr address, uint64_t floats) { return address + floats * sizeof(float); }

/* A projection of the input, by two matrices where the layer has a narrow first one. */
static struct shape_act project(struct shape_planner *p, struct shape_act *src, uint32_t layer, enum shape_id narrow,
                                enum shape_id id)
{
    struct shape_act result = shape_buffer(p, src->tokens, shape_tensor_of(p, layer, id)->rows);
    if (!shape_has(p, layer, narrow)) {
        shape_linear(p, &result, src, layer, id, SHAPE_IDS, 0);
        return result;
    }
    struct shape_act low = shape_buffer(p, src->tokens, shape_tensor_of(p, layer, narrow)->rows);
    shape_linear(p, &low, src, layer, narrow, SHAPE_IDS, 0);
    shape_linear(p, &result, &low, layer, id, SHAPE_IDS, 0);
    return result;
}

/* Query, key and value of all heads, through the convolution. */
static struct shape_act convolved(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    struct shape_act mixed = project(p, src, layer, SHAPE_IDS, SHAPE_QUERY);
    struct shape_act result = shape_buffer(p, src->tokens, mixed.cols);
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_CONV,
                        .flags = CARD_FLAG_EXTENDED,
                        .tokens = mixed.tokens,
                        .cols = mixed.cols,
                        .dst = result.address,
                        .src = mixed.address,
                        .weight = shape_address(p, layer, SHAPE_CONV),
                        .aux = p->tables[0].reads,
                        .param = {p->place->options.max_sequences, a->conv_width},
                    });
    shape_append(p, &(struct card_descriptor){.opcode = CARD_OP_EXTENSION,
                                              .dst = shape_place_layer(p->place, layer)->conv_states});
    shape_glu(p, &result, &result, NULL, CARD_ACTIVATION_SILU);
    return result;
}

/* One of the three, as f32[T][heads][dims] of its own. */
static struct shape_act part_of(struct shape_planner *p, const struct shape_act *mixed, uint32_t from, uint32_t width)
{
    const uint32_t whole[2] = {mixed->cols, mixed->cols}, own[2] = {width, width};
    struct shape_act part = shape_buffer(p, mixed->tokens, width);
    shape_copy(p, mixed->tokens, 1, width, part.address, own, further(mixed->address, from), whole);
    return part;
}

static struct shape_act decays(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    struct shape_act result = project(p, src, layer, SHAPE_DECAY_A, SHAPE_DECAY);
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_DECAY,
                        .tokens = result.tokens,
                        .cols = result.cols,
                        .dst = result.address,
                        .src = result.address,
                        .weight = shape_address(p, layer, SHAPE_DECAY_RATE),
                        .aux = shape_address(p, layer, SHAPE_DECAY_BIAS),
                    });
    return result;
}

static struct shape_act scan(struct shape_planner *p, const struct shape_act *parts, const struct shape_act *decay,
                             const struct shape_act *beta, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    struct shape_act result = shape_buffer(p, parts[0].tokens, a->heads * a->value_dim);
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_SCAN,
                        .flags = (uint16_t)(CARD_FLAG_EXTENDED | (a->decay_rank != 0 ? CARD_FLAG_EACH : 0)),
                        .tokens = result.tokens,
                        .rows = a->heads,
                        .cols = a->key_dim,
                        .dst = result.address,
                        .src = parts[0].address,
                        .weight = parts[1].address,
                        .aux = p->tables[0].reads,
                        .param = {p->place->options.max_sequences, a->value_dim, a->kv_heads},
                    });
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_EXTENSION,
                        .dst = shape_place_layer(p->place, layer)->scan_states,
                        .src = parts[2].address,
                        .weight = decay->address,
                        .aux = beta->address,
                    });
    return result;
}

struct shape_act shape_linear_attention(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    const struct attention_shape *a = &p->architecture->layers[layer].attention;
    uint32_t keys = a->kv_heads * a->key_dim, values = a->heads * a->value_dim;
    struct shape_act mixed = convolved(p, src, layer);
    struct shape_act parts[3] = {part_of(p, &mixed, 0, keys), part_of(p, &mixed, keys, keys),
                                 part_of(p, &mixed, 2 * keys, values)};
    for (unsigned i = 0; i < 2; i++)
        shape_norm_at(p, &parts[i], &parts[i], a->kv_heads, 0, 0, CARD_FLAG_SUM | CARD_FLAG_UNWEIGHTED);
    struct shape_act beta = project(p, src, layer, SHAPE_IDS, SHAPE_BETA);
    shape_glu(p, &beta, &beta, NULL, CARD_ACTIVATION_SIGMOID);
    struct shape_act decay = decays(p, src, layer);
    struct shape_act result = scan(p, parts, &decay, &beta, layer);
    struct shape_act gate = project(p, src, layer, SHAPE_GATE_A, SHAPE_GATE);
    shape_norm(p, &result, &result, a->heads, layer, SHAPE_STATE_NORM, 0);
    shape_glu(p, &result, &gate, &result, a->decay_rank != 0 ? CARD_ACTIVATION_SIGMOID : CARD_ACTIVATION_SILU);
    return result;
}
