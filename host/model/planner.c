/* SPDX-License-Identifier: Apache-2.0 */
/* The arena and the single operations; the blocks made of them are in planner_blocks.c. */
#include "host/base/bytes.h"
#include "host/model/model_internal.h"
#include "host/model/planner_ops.h"

uint64_t planner_take(struct planner *planner, uint64_t bytes)
{
    uint64_t offset = planner->used;
    planner->used = card_round_up(planner->used + bytes, CARD_WORD_BYTES);
    if (planner->used > planner->peak) planner->peak = planner->used;
    return planner->arena + offset;
}

uint64_t planner_mark(const struct planner *planner) { return planner->used; }
void planner_release(struct planner *planner, uint64_t mark) { planner->used = mark; }

struct activations planner_buffer(struct planner *planner, uint32_t tokens, uint32_t cols)
{
    card_addr address = planner_take(planner, (uint64_t)tokens * cols * sizeof(float));
    return (struct activations){.address = address, .tokens = tokens, .cols = cols};
}

uint64_t planner_begin(struct planner *planner, uint32_t n_tokens, uint32_t n_table_pages, uint32_t n_logit_rows)
{
    planner->used = 0;
    planner->n_descriptors = 0;
    planner->n_tokens = n_tokens;
    planner->n_logit_rows = n_logit_rows;
    planner->embeddings = planner_buffer(planner, n_tokens, planner->config->d_model);
    planner->batch = planner_take(planner, n_tokens * sizeof(struct card_batch_token) + 4ull * n_table_pages);
    planner->logit_rows = planner_take(planner, 4ull * n_logit_rows);
    uint64_t inputs = planner->used;
    planner->wanted = planner_buffer(planner, n_logit_rows, planner->config->d_model);
    return inputs;
}

bool planner_has(const struct planner *planner, enum tensor_role role, uint32_t layer)
{
    return role != TENSOR_ROLE_END && tensor_table_get(&planner->model->table, role, layer)->tensor != NULL;
}

struct weight planner_weight(const struct planner *planner, enum tensor_role role, uint32_t layer)
{
    if (planner->loaded == NULL) return (struct weight){0};
    return planner->loaded->weights[tensor_table_index(role, layer)];
}

void planner_append(struct planner *planner, const struct card_descriptor *descriptor)
{
    if (planner->program != NULL && planner->n_descriptors < planner->capacity)
        planner->program[planner->n_descriptors] = *descriptor;
    planner->n_descriptors++;
}

void planner_norm(struct planner *planner, struct activations *dst, const struct activations *src, uint32_t n_vectors,
                  enum tensor_role role, uint32_t layer)
{
    dst->is_quantized = false;
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_NORM,
                                .tokens = src->tokens,
                                .rows = n_vectors,
                                .cols = src->cols / n_vectors,
                                .dst = dst->address,
                                .src = src->address,
                                .weight = planner_weight(planner, role, layer).address,
                                .param = {bits_of_float(planner->config->norm_epsilon)},
                            });
}

card_addr planner_operand(struct planner *planner, struct activations *src, unsigned format)
{
    if (format == CARD_FORMAT_F32) return src->address;
    if (src->is_quantized) return src->quantized;
    src->is_quantized = true;
    src->quantized = planner_take(planner, card_act_bytes(src->tokens, src->cols));
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_QUANTIZE,
                                .tokens = src->tokens,
                                .cols = src->cols,
                                .dst = src->quantized,
                                .src = src->address,
                            });
    return src->quantized;
}

static void linear(struct planner *planner, struct activations *dst, struct activations *src, enum tensor_role role,
                   enum tensor_role bias_role, uint32_t layer, uint16_t flags)
{
    struct weight weight = planner_weight(planner, role, layer);
    struct card_descriptor descriptor = {
        .opcode = CARD_OP_MATMUL,
        .format = (uint8_t)weight.format,
        .flags = flags,
        .tokens = src->tokens,
        .rows = dst->cols,
        .cols = src->cols,
        .dst = dst->address,
        .src = planner_operand(planner, src, weight.format),
        .weight = weight.address,
        .param = {weight.banks},
    };
    if (planner_has(planner, bias_role, layer)) {
        descriptor.flags |= CARD_FLAG_BIAS;
        descriptor.aux = planner_weight(planner, bias_role, layer).address;
    }
    dst->is_quantized = false;
    planner_append(planner, &descriptor);
}

void planner_linear(struct planner *planner, struct activations *dst, struct activations *src, enum tensor_role role,
                    enum tensor_role bias_role, uint32_t layer)
{
    linear(planner, dst, src, role, bias_role, layer, 0);
}

void planner_linear_add(struct planner *planner, struct activations *dst, struct activations *src,
                        enum tensor_role role, enum tensor_role bias_role, uint32_t layer)
{
    linear(planner, dst, src, role, bias_role, layer, CARD_FLAG_ADD);
}

void planner_rope(struct planner *planner, struct activations *x, uint32_t n_heads, uint16_t flags)
{
    x->is_quantized = false;
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_ROPE,
                                .flags = flags,
                                .tokens = x->tokens,
                                .rows = n_heads,
                                .cols = x->cols / n_heads,
                                .dst = x->address,
                                .weight = planner->loaded != NULL ? planner->loaded->rope_frequencies : 0,
                                .aux = planner->batch,
                                .param = {planner->config->rope_dims, bits_of_float(1.0f)},
                            });
}

void planner_glu(struct planner *planner, struct activations *gate, const struct activations *up)
{
    gate->is_quantized = false;
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_GLU,
                                .tokens = gate->tokens,
                                .cols = gate->cols,
                                .dst = gate->address,
                                .src = gate->address,
                                .weight = up->address,
                            });
}

void planner_gather(struct planner *planner, const struct activations *dst, const struct activations *src)
{
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_GATHER,
                                .tokens = dst->tokens,
                                .rows = src->tokens,
                                .cols = src->cols,
                                .dst = dst->address,
                                .src = src->address,
                                .aux = planner->logit_rows,
                            });
}
