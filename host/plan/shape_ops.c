/* SPDX-License-Identifier: Apache-2.0 */
/* The arena and the single operations of shape programs. */
#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/plan/shape_planner.h"

#include <math.h>

card_addr shape_take(struct shape_planner *p, uint64_t bytes)
{
    uint64_t offset = p->used;
    p->used = card_round_up(p->used + bytes, CARD_WORD_BYTES);
    if (p->used > p->peak) p->peak = p->used;
    return p->arena + offset;
}

struct shape_act shape_buffer(struct shape_planner *p, uint32_t tokens, uint32_t cols)
{
    card_addr address = shape_take(p, (uint64_t)tokens * cols * sizeof(float));
    return (struct shape_act){.address = address, .tokens = tokens, .cols = cols};
}

void shape_append(struct shape_planner *p, const struct card_descriptor *descriptor)
{
    if (p->n_descriptors == p->capacity) {
        unsigned capacity = p->capacity != 0 ? p->capacity * 2 : 1024;
        struct card_descriptor *program = memory_grow(p->program, capacity, sizeof *program);
        if (program == NULL) {
            p->is_out_of_memory = true;
            return;
        }
        p->program = program;
        p->capacity = capacity;
    }
    p->program[p->n_descriptors++] = *descriptor;
}

const struct shape_tensor *shape_tensor_of(const struct shape_planner *p, uint32_t layer, enum shape_id id)
{
    return &shape_place_layer(p->place, layer)->tensors[id];
}

bool shape_has(const struct shape_planner *p, uint32_t layer, enum shape_id id)
{
    return id != SHAPE_IDS && shape_tensor_of(p, layer, id)->rows != 0;
}

card_addr shape_address(const struct shape_planner *p, uint32_t layer, enum shape_id id)
{
    return id != SHAPE_IDS ? shape_place_layer(p->place, layer)->address[id] : 0;
}

void shape_norm_at(struct shape_planner *p, struct shape_act *dst, const struct shape_act *src, uint32_t n_vectors,
                   card_addr weight, card_addr bias, uint16_t flags)
{
    dst->is_quantized = false;
    if (p->architecture->layer_norm && (flags & CARD_FLAG_UNWEIGHTED) == 0) flags |= CARD_FLAG_LAYER;
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_NORM,
                        .flags = flags,
                        .tokens = src->tokens,
                        .rows = n_vectors,
                        .cols = src->cols / n_vectors,
                        .dst = dst->address,
                        .src = src->address,
                        .weight = weight,
                        .aux = bias,
                        .param = {bits_of_float(p->architecture->norm_epsilon)},
                    });
}

void shape_norm(struct shape_planner *p, struct shape_act *dst, const struct shape_act *src, uint32_t n_vectors,
                uint32_t layer, enum shape_id id, uint16_t flags)
{
    shape_norm_at(p, dst, src, n_vectors, shape_address(p, layer, id), 0, flags);
}

card_addr shape_operand(struct shape_planner *p, struct shape_act *src, unsigned format, uint32_t cols)
{
    if (format == CARD_FORMAT_F32) return src->address;
    if (src->is_quantized) return src->quantized;
    uint32_t rows = src->tokens * (src->cols / cols);
    src->is_quantized = true;
    src->quantized = shape_take(p, card_act_bytes(rows, cols));
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_QUANTIZE,
                        .tokens = rows,
                        .cols = cols,
                        .dst = src->quantized,
                        .src = src->address,
                    });
    return src->quantized;
}

void shape_linear_at(struct shape_planner *p, struct shape_act *dst, struct shape_act *src, unsigned format,
                     card_addr weight, card_addr bias, uint16_t flags)
{
    struct card_descriptor descriptor = {
        .opcode = CARD_OP_MATMUL,
        .format = (uint8_t)format,
        .flags = flags,
        .tokens = src->tokens,
        .rows = dst->cols,
        .cols = src->cols,
        .dst = dst->address,
        .src = shape_operand(p, src, format, src->cols),
        .weight = weight,
        .aux = bias,
        .param = {p->place->banks},
    };
    dst->is_quantized = false;
    shape_append(p, &descriptor);
}

void shape_linear(struct shape_planner *p, struct shape_act *dst, struct shape_act *src, uint32_t layer,
                  enum shape_id id, enum shape_id bias, uint16_t flags)
{
    bool has_bias = shape_has(p, layer, bias);
    if (has_bias) flags |= CARD_FLAG_BIAS;
    shape_linear_at(p, dst, src, shape_tensor_of(p, layer, id)->format, shape_address(p, layer, id),
                    has_bias ? shape_address(p, layer, bias) : 0, flags);
}

struct shape_act shape_each(struct shape_planner *p, struct shape_act *src, uint32_t layer, enum shape_id id)
{
    const struct shape_tensor *tensor = shape_tensor_of(p, layer, id);
    struct shape_act dst = shape_buffer(p, src->tokens, tensor->matrices * tensor->rows);
    struct card_descriptor descriptor = {
        .opcode = CARD_OP_EXPERT_MATMUL,
        .format = tensor->format,
        .flags = CARD_FLAG_PER_CHOICE | CARD_FLAG_EACH,
        .tokens = src->tokens,
        .rows = tensor->rows,
        .cols = tensor->cols,
        .dst = dst.address,
        .src = shape_operand(p, src, tensor->format, tensor->cols),
        .weight = shape_address(p, layer, id),
        .param = {tensor->matrices, tensor->matrices, p->place->banks},
    };
    shape_append(p, &descriptor);
    return dst;
}

void shape_rope(struct shape_planner *p, struct shape_act *x, uint32_t n_heads, uint32_t dims, uint32_t from,
                card_addr batch)
{
    if (dims == 0) return;
    x->is_quantized = false;
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_ROPE,
                        .flags = p->architecture->interleaved_rope ? CARD_FLAG_INTERLEAVED : 0,
                        .tokens = x->tokens,
                        .rows = n_heads,
                        .cols = x->cols / n_heads,
                        .dst = x->address,
                        .weight = p->place->rope,
                        .aux = batch,
                        .param = {dims, bits_of_float(1.0f), from},
                    });
}

void shape_glu(struct shape_planner *p, struct shape_act *dst, const struct shape_act *src,
               const struct shape_act *weight, unsigned activation)
{
    struct card_descriptor descriptor = {
        .opcode = CARD_OP_GLU,
        .format = (uint8_t)activation,
        .tokens = dst->tokens,
        .cols = dst->cols,
        .dst = dst->address,
        .src = src->address,
    };
    if (weight == NULL)
        descriptor.flags |= CARD_FLAG_UNWEIGHTED;
    else
        descriptor.weight = weight->address;
    if (weight != NULL && src->cols < dst->cols) { /* one value for each head, or for the token */
        descriptor.flags |= CARD_FLAG_BROADCAST;
        descriptor.tokens *= src->cols;
        descriptor.cols /= src->cols;
    }
    if (activation == CARD_ACTIVATION_SWIGLU_OAI) { /* the constants of gpt-oss */
        descriptor.param[0] = bits_of_float(7.0f);
        descriptor.param[1] = bits_of_float(1.702f);
    }
    dst->is_quantized = false;
    shape_append(p, &descriptor);
}

void shape_gather(struct shape_planner *p, const struct shape_act *dst, const struct shape_act *src)
{
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_GATHER,
                        .tokens = dst->tokens,
                        .rows = src->tokens,
                        .cols = src->cols,
                        .dst = dst->address,
                        .src = src->address,
                        .aux = p->logit_rows,
                    });
}

void shape_copy(struct shape_planner *p, uint32_t tokens, uint32_t rows, uint32_t cols, card_addr dst,
                const uint32_t dst_steps[2], card_addr src, const uint32_t src_steps[2])
{
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_COPY,
                        .tokens = tokens,
                        .rows = rows,
                        .cols = cols,
                        .dst = dst,
                        .src = src,
                        .param = {src_steps[0], src_steps[1], dst_steps[0], dst_steps[1]},
                    });
}

void shape_add(struct shape_planner *p, struct shape_act *dst, const struct shape_act *src)
{
    dst->is_quantized = false;
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_ADD,
                        .tokens = dst->tokens,
                        .cols = dst->cols,
                        .dst = dst->address,
                        .src = dst->address,
                        .weight = src->address,
                        .param = {bits_of_float(1.0f)},
                    });
}

void shape_write_kv(struct shape_planner *p, uint32_t layer, enum shape_pool pool, uint32_t n_tokens, card_addr key,
                    card_addr value, card_addr batch)
{
    const struct shape_pool_place *place = &shape_place_layer(p->place, layer)->pools[pool];
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_KV_WRITE,
                        .format = (uint8_t)p->kv_format,
                        .tokens = n_tokens,
                        .rows = place->kv_heads,
                        .cols = place->key_dim,
                        .dst = place->address,
                        .src = key,
                        .weight = value,
                        .aux = batch,
                        .param = {place->n_pages, place->value_dim, p->place->pool_banks},
                    });
}

void shape_attend_to(struct shape_planner *p, const struct shape_act *dst, const struct shape_act *query,
                     uint32_t heads, uint32_t layer, const struct shape_attend *attend)
{
    const struct shape_pool_place *pool = &shape_place_layer(p->place, layer)->pools[attend->pool];
    struct card_descriptor extension = {
        .opcode = CARD_OP_EXTENSION,
        .rows = p->place->pool_banks > 1 ? p->place->pool_banks : 0,
        .cols = attend->value_dim != attend->key_dim ? attend->value_dim : 0,
        .param = {bits_of_float(attend->score_cap), attend->chunk, 0, attend->top_k},
    };
    if (attend->sinks) {
        extension.flags |= CARD_FLAG_SINKS;
        extension.src = shape_address(p, layer, SHAPE_SINKS);
    }
    if (attend->top_k != 0) {
        extension.flags |= CARD_FLAG_SPARSE;
        extension.aux = p->positions;
    }
    bool extended = extension.rows != 0 || extension.cols != 0 || extension.flags != 0 || attend->score_cap != 0 ||
                    attend->chunk != 0;
    float scale = 1.0f / sqrtf((float)attend->key_dim);
    shape_append(p,
                 &(struct card_descriptor){
                     .opcode = CARD_OP_ATTENTION,
                     .format = (uint8_t)p->kv_format,
                     .flags = (uint16_t)((extended ? CARD_FLAG_EXTENDED : 0) | (attend->latent ? CARD_FLAG_LATENT : 0)),
                     .tokens = query->tokens,
                     .rows = heads,
                     .cols = attend->key_dim,
                     .dst = dst->address,
                     .src = query->address,
                     .weight = pool->address,
                     .aux = attend->table->reads,
                     .param = {pool->n_pages, bits_of_float(scale), attend->kv_heads, attend->window},
                 });
    if (extended) shape_append(p, &extension);
}
