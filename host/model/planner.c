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
    if (planner->config->query_scale.period != 0) planner->query_scales = planner_take(planner, 4ull * n_tokens);
    if (planner->config->n_encoder_layers != 0)
        planner->sources = planner_take(planner, n_tokens * sizeof(struct card_batch_token) + 4ull * n_table_pages);
    uint64_t inputs = planner->used;
    planner->wanted = planner_buffer(planner, n_logit_rows, planner->config->d_model);
    if (planner->config->index.top_k != 0)
        planner->positions = planner_take(planner, 4ull * n_tokens * planner->config->index.top_k);
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

void planner_pass_over(struct planner *planner, unsigned await)
{
    if (planner->program != NULL && await < planner->capacity)
        planner->program[await].param[3] = planner->n_descriptors - await - 1;
}

void planner_norm_at(struct planner *planner, struct activations *dst, const struct activations *src,
                     uint32_t n_vectors, card_addr weight, card_addr bias, uint16_t flags)
{
    dst->is_quantized = false;
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_NORM,
                                .flags = flags,
                                .tokens = src->tokens,
                                .rows = n_vectors,
                                .cols = src->cols / n_vectors,
                                .dst = dst->address,
                                .src = src->address,
                                .weight = weight,
                                .aux = bias,
                                .param = {bits_of_float(planner->config->norm_epsilon)},
                            });
}

static enum tensor_role norm_bias_of(enum tensor_role role)
{
    switch ((unsigned)role) {
    case TENSOR_ATTN_NORM: return TENSOR_ATTN_NORM_BIAS;
    case TENSOR_FFN_NORM: return TENSOR_FFN_NORM_BIAS;
    case TENSOR_OUTPUT_NORM: return TENSOR_OUTPUT_NORM_BIAS;
    case TENSOR_INDEX_K_NORM: return TENSOR_INDEX_K_NORM_BIAS;
    case TENSOR_INDEX_Q_NORM: return TENSOR_INDEX_Q_NORM_BIAS;
    default: return (enum tensor_role)TENSOR_ROLE_END;
    }
}

void planner_norm(struct planner *planner, struct activations *dst, const struct activations *src, uint32_t n_vectors,
                  enum tensor_role role, uint32_t layer)
{
    enum tensor_role bias_role = norm_bias_of(role);
    bool has_bias = planner_has(planner, bias_role, layer);
    bool is_layer_norm = planner->config->layer_norm || role == TENSOR_INDEX_K_NORM || role == TENSOR_INDEX_Q_NORM;
    bool each = n_vectors > 1 && tensor_table_get(&planner->model->table, role, layer)->rows > 1;
    uint16_t flags = (uint16_t)((is_layer_norm ? CARD_FLAG_LAYER : 0) | (has_bias ? CARD_FLAG_BIAS : 0) |
                                (each ? CARD_FLAG_EACH : 0));
    planner_norm_at(planner, dst, src, n_vectors, planner_weight(planner, role, layer).address,
                    has_bias ? planner_weight(planner, bias_role, layer).address : 0, flags);
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

void planner_rope(struct planner *planner, struct activations *x, const struct rope_part *part)
{
    enum rope_frequencies which = (enum rope_frequencies)part->table;
    if (planner->is_long && which == ROPE_FREQUENCIES_MAIN) which = ROPE_FREQUENCIES_LONG;
    if (part->dims == 0) return;
    x->is_quantized = false;
    planner_append(
        planner,
        &(struct card_descriptor){
            .opcode = CARD_OP_ROPE,
            .flags = part->interleaved ? CARD_FLAG_INTERLEAVED : 0,
            .tokens = x->tokens,
            .rows = part->n_heads,
            .cols = x->cols / part->n_heads,
            .dst = x->address,
            .weight = planner->loaded != NULL ? planner->loaded->rope[which] : 0,
            .aux = planner->batch,
            .param = {part->dims, bits_of_float(part->table == ROPE_TABLE_MAIN ? planner->config->rope_factor : 1.0f),
                      part->from},
        });
}

void planner_glu(struct planner *planner, struct activations *dst, const struct activations *src,
                 const struct activations *weight, unsigned activation, float limit)
{
    bool broadcast = src->cols == 1 && dst->cols > 1;
    dst->is_quantized = false;
    planner_append(
        planner,
        &(struct card_descriptor){
            .opcode = CARD_OP_GLU,
            .format = (uint8_t)activation,
            .flags = (uint16_t)((weight == NULL ? CARD_FLAG_UNWEIGHTED : 0) | (broadcast ? CARD_FLAG_BROADCAST : 0)),
            .tokens = dst->tokens,
            .cols = dst->cols,
            .dst = dst->address,
            .src = src->address,
            .weight = weight != NULL ? weight->address : 0,
            .param = {bits_of_float(limit), activation == CARD_ACTIVATION_SWIGLU_OAI
                                                ? bits_of_float(planner->config->activation_steepness)
                                                : 0},
        });
}

void planner_copy(struct planner *planner, uint32_t tokens, uint32_t n, uint32_t cols, struct copy_side dst,
                  struct copy_side src)
{
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_COPY,
                                .tokens = tokens,
                                .rows = n,
                                .cols = cols,
                                .dst = dst.address,
                                .src = src.address,
                                .param = {src.token_stride, src.vector_stride, dst.token_stride, dst.vector_stride},
                            });
}

struct activations planner_columns(struct planner *planner, const struct activations *src, uint32_t from, uint32_t cols)
{
    struct activations part = planner_buffer(planner, src->tokens, cols);
    planner_copy(planner, src->tokens, 1, cols, (struct copy_side){part.address, cols, cols},
                 (struct copy_side){planner_further(src->address, from), src->cols, src->cols});
    return part;
}

void planner_add(struct planner *planner, struct activations *dst, const struct activations *src, float factor)
{
    dst->is_quantized = false;
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_ADD,
                                .tokens = dst->tokens,
                                .cols = dst->cols,
                                .dst = dst->address,
                                .src = dst->address,
                                .weight = src->address,
                                .param = {bits_of_float(factor)},
                            });
}

void planner_scale(struct planner *planner, struct activations *x, float factor, card_addr per_token)
{
    x->is_quantized = false;
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_SCALE,
                                .flags = per_token != 0 ? CARD_FLAG_PER_TOKEN : 0,
                                .tokens = x->tokens,
                                .cols = x->cols,
                                .dst = x->address,
                                .src = x->address,
                                .weight = per_token,
                                .param = {bits_of_float(factor)},
                            });
}

uint32_t planner_rows(const struct planner *planner, enum tensor_role role, uint32_t layer)
{
    return tensor_table_get(&planner->model->table, role, layer)->rows;
}

struct activations planner_each_head(struct planner *planner, struct activations *src, uint32_t n_heads,
                                     enum tensor_role role, uint32_t layer)
{
    struct weight weight = planner_weight(planner, role, layer);
    struct activations result = planner_buffer(planner, src->tokens, n_heads * planner_rows(planner, role, layer));
    struct activations rows = {.address = src->address, .tokens = src->tokens * n_heads, .cols = src->cols / n_heads};
    planner_append(planner, &(struct card_descriptor){
                                .opcode = CARD_OP_EXPERT_MATMUL,
                                .format = (uint8_t)weight.format,
                                .flags = CARD_FLAG_EACH | CARD_FLAG_PER_CHOICE,
                                .tokens = src->tokens,
                                .rows = result.cols / n_heads,
                                .cols = rows.cols,
                                .dst = result.address,
                                .src = planner_operand(planner, &rows, weight.format),
                                .weight = weight.table,
                                .param = {n_heads, n_heads, weight.banks},
                            });
    return result;
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
