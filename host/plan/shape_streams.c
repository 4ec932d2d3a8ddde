/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hyper-connections: the residual is n streams, which coefficients of the token mix into what a block reads and back. The
 * card takes coefficients as weights of choices; making the n x n of them doubly stochastic is not among its operations
 * and not in the program.
 */
#include "host/plan/shape_planner.h"

struct shape_act shape_streams_read(struct shape_planner *p, struct shape_act *hidden, uint32_t layer, enum shape_id id,
                                    card_addr *choices)
{
    uint32_t n = p->architecture->hyper_streams, d = p->architecture->d_model, tokens = hidden->tokens;
    enum shape_id bias = id == SHAPE_STREAMS_ATTN ? SHAPE_STREAMS_ATTN_BIAS : SHAPE_STREAMS_FFN_BIAS;
    *choices = shape_take(p, (uint64_t)tokens * n * sizeof(struct card_choice));
    struct shape_act x = shape_buffer(p, tokens, d);
    struct shape_act normed = shape_buffer(p, tokens, n * d);
    struct shape_act coefficients = shape_buffer(p, tokens, n * (n + 2));
    shape_norm_at(p, &normed, hidden, 1, 0, 0, CARD_FLAG_UNWEIGHTED);
    shape_linear(p, &coefficients, &normed, layer, id, bias, 0);
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_TOP_K,
                        .tokens = tokens,
                        .rows = n,
                        .cols = coefficients.cols,
                        .dst = *choices,
                        .src = coefficients.address,
                    });
    const uint32_t whole[2] = {n * d, d}, own[2] = {d, d};
    shape_copy(p, tokens, 1, d, x.address, own, hidden->address, whole);
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_EXPERT_SUM,
                        .tokens = tokens,
                        .cols = d,
                        .dst = x.address,
                        .src = hidden->address,
                        .aux = *choices,
                        .param = {n},
                    });
    return x;
}

void shape_streams_write(struct shape_planner *p, struct shape_act *hidden, const struct shape_act *result,
                         card_addr choices)
{
    uint32_t n = p->architecture->hyper_streams, d = p->architecture->d_model, tokens = hidden->tokens;
    struct shape_act spread = shape_buffer(p, tokens, n * d), mixed = shape_buffer(p, n * tokens, d);
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_EXPERT_SPREAD,
                        .tokens = tokens,
                        .cols = d,
                        .dst = spread.address,
                        .src = result->address,
                        .aux = choices,
                        .param = {n},
                    });
    const uint32_t whole[2] = {n * d, d}, own[2] = {d, d};
    for (uint32_t i = 0; i < n; i++) {
        card_addr stream = mixed.address + (uint64_t)i * tokens * d * sizeof(float);
        shape_copy(p, tokens, 1, d, stream, own, spread.address + (uint64_t)i * d * sizeof(float), whole);
        shape_append(p, &(struct card_descriptor){
                            .opcode = CARD_OP_EXPERT_SUM,
                            .tokens = tokens,
                            .cols = d,
                            .dst = stream,
                            .src = hidden->address,
                            .aux = choices,
                            .param = {n},
                        });
    }
    for (uint32_t i = 0; i < n; i++)
        shape_copy(p, tokens, 1, d, hidden->address + (uint64_t)i * d * sizeof(float), whole,
                   mixed.address + (uint64_t)i * tokens * d * sizeof(float), own);
    hidden->is_quantized = false;
}
