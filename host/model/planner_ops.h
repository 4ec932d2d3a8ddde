/* SPDX-License-Identifier: Apache-2.0 */
/* What planner_blocks.c needs of planner.c beyond planner.h. Families do not include this. */
#ifndef SLUICE_MODEL_PLANNER_OPS_H
#define SLUICE_MODEL_PLANNER_OPS_H

#include "host/model/model_internal.h"
#include "host/model/planner.h"

/* bytes of the arena, 64-byte aligned. */
uint64_t planner_take(struct planner *planner, uint64_t bytes);

/* Adds a descriptor to the program; only counts it while measuring. */
void planner_append(struct planner *planner, const struct card_descriptor *descriptor);

/* The AWAIT at this place passes over all descriptors that were appended behind it so far. */
void planner_pass_over(struct planner *planner, unsigned await);

/* Zero while measuring. */
struct weight planner_weight(const struct planner *planner, enum tensor_role role, uint32_t layer);

/* src as a matrix of this format takes it: f32, or quantized (once). While measuring: quantized. */
card_addr planner_operand(struct planner *planner, struct activations *src, unsigned format);

/* The norm of planner_norm with flags of its own; weight or bias 0: none. */
void planner_norm_at(struct planner *planner, struct activations *dst, const struct activations *src,
                     uint32_t n_vectors, card_addr weight, card_addr bias, uint16_t flags);

/* Rotates dims dimensions from the dimension `from` on, of n_heads heads of x, by the tokens' positions. */
struct rope_part {
    uint32_t n_heads, from, dims;
    enum rope_table table;
    bool interleaved;
};
void planner_rope(struct planner *planner, struct activations *x, const struct rope_part *part);

/* dst = activation(src) * weight; weight NULL: none; limit 0: none. dst may be src or weight. */
void planner_glu(struct planner *planner, struct activations *dst, const struct activations *src,
                 const struct activations *weight, unsigned activation, float limit);

/* Strided copy of n vectors of cols floats a token; strides of token and vector. */
struct copy_side {
    card_addr address;
    uint32_t token_stride, vector_stride;
};
void planner_copy(struct planner *planner, uint32_t tokens, uint32_t n, uint32_t cols, struct copy_side dst,
                  struct copy_side src);

/* Columns [from, from + cols) of src as a matrix of their own. */
struct activations planner_columns(struct planner *planner, const struct activations *src, uint32_t from,
                                   uint32_t cols);

/* dst += factor * src */
void planner_add(struct planner *planner, struct activations *dst, const struct activations *src, float factor);

/* x *= factor, and by f32[tokens] at per_token if that is not 0. */
void planner_scale(struct planner *planner, struct activations *x, float factor, card_addr per_token);

/* The heads' matrices at role: f32[T][heads][rows] of src f32[T][heads][cols]. */
struct activations planner_each_head(struct planner *planner, struct activations *src, uint32_t n_heads,
                                     enum tensor_role role, uint32_t layer);

/* Rows of the matrix that a role has in this layer. */
uint32_t planner_rows(const struct planner *planner, enum tensor_role role, uint32_t layer);

static inline card_addr planner_further(card_addr address, uint64_t floats) { return address + floats * sizeof(float); }

/* Whether anything after the attention of this layer is computed. */
bool planner_attends(const struct planner *planner, uint32_t layer);

/* planner_attention.c, planner_latent.c, planner_linear.c: the block, from its input to what the output matrix takes. */
struct attend {
    uint32_t n_kv_heads, key_dims, value_dims;
    bool latent;
    bool cross; /* to what the encoder made */
};
void planner_attend(struct planner *planner, const struct activations *dst, const struct activations *query,
                    uint32_t layer, const struct attend *how);
void planner_write_kv(struct planner *planner, const struct activations *key, const struct activations *value,
                      uint32_t layer, card_addr pool, uint32_t n_kv_heads);
struct activations planner_heads_attention(struct planner *planner, struct activations *src, uint32_t layer);
struct activations planner_latent_attention(struct planner *planner, struct activations *src, uint32_t layer);
struct activations planner_linear_attention(struct planner *planner, struct activations *src, uint32_t layer);
struct activations planner_cross_attention(struct planner *planner, struct activations *src, uint32_t layer);

/* planner_cross.c: keys and values of all the decoder's layers, of the encoder's result. */
void planner_write_sources(struct planner *planner, struct activations *hidden);

/* The layer's pages; an encoder's layers take turns in those of the decoder's first one, whose own content comes last. */
card_addr planner_pool(const struct planner *planner, uint32_t layer);

/* The norm's result in a buffer of its own, or src itself where the layer has no such norm. */
struct activations planner_normed(struct planner *planner, struct activations *src, enum tensor_role role,
                                  uint32_t layer);

/* planner_experts.c: dst += the experts' sum over src. planner_blocks.c: dst += the gated FFN with these matrices. */
void planner_experts(struct planner *planner, struct activations *dst, struct activations *src, uint32_t layer);
struct gated_ffn {
    enum tensor_role gate, up, down, gate_bias, up_bias, down_bias;
    float limit;
    bool add; /* dst += */
};
void planner_gated(struct planner *planner, struct activations *dst, struct activations *src, uint32_t layer,
                   const struct gated_ffn *ffn);

/* gate = activation(gate) * up, with the layer's limit. */
void planner_activate(struct planner *planner, struct activations *gate, struct activations *up, float limit);

/* dst = the rows of src whose logits are wanted. */
void planner_gather(struct planner *planner, const struct activations *dst, const struct activations *src);

#endif
