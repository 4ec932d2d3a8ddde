/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the program of one step of an architecture, as host/model/planner.h does for the families that the engine runs:
 * buffers come from a stack on the card, and the same code measures it without addresses. Nobody outside host/plan
 * includes this.
 */
#ifndef SLUICE_PLAN_SHAPE_PLANNER_H
#define SLUICE_PLAN_SHAPE_PLANNER_H

#include "host/plan/shape_place.h"

#define SHAPE_MAX_TABLES 4

/* f32[tokens][cols] on the card, and its quantized copy once a matrix asked for it. */
struct shape_act {
    card_addr address;
    uint32_t tokens, cols;
    bool is_quantized;
    card_addr quantized;
};

/* A batch table (card_program.h) in the step's inputs; n_writes of its tokens, the last ones, end an entry. */
struct shape_table {
    card_addr reads, writes;
    uint32_t n_writes;
};

struct shape_planner {
    const struct architecture *architecture;
    const struct shape_place *place;
    bool is_measuring; /* no addresses, and whatever may be needed is */
    unsigned kv_format;

    uint32_t n_tokens, n_logit_rows;
    struct shape_act hidden; /* [n_tokens][d_model x streams], written by the host but for the first layer's streams */
    struct shape_act embeddings; /* [n_tokens][d_model], where the first layer's streams are copies of it */
    struct shape_act wanted, output;
    struct shape_table tables[SHAPE_MAX_TABLES]; /* as place->tables */
    card_addr logit_rows;
    card_addr positions; /* u32[n_tokens][top_k]: the last indexer's choice */

    card_addr arena;
    uint64_t used, peak;

    struct card_descriptor *program; /* owned by who plans; grows */
    unsigned n_descriptors, capacity;
    bool is_out_of_memory;
    unsigned first_expert; /* index of the last layer's first descriptor that needs chosen experts; 0: it has none */
};

/* The operations. (shape_ops.c) */
card_addr shape_take(struct shape_planner *p, uint64_t bytes);
struct shape_act shape_buffer(struct shape_planner *p, uint32_t tokens, uint32_t cols);
void shape_append(struct shape_planner *p, const struct card_descriptor *descriptor);
const struct shape_tensor *shape_tensor_of(const struct shape_planner *p, uint32_t layer, enum shape_id id);
bool shape_has(const struct shape_planner *p, uint32_t layer, enum shape_id id);
card_addr shape_address(const struct shape_planner *p, uint32_t layer, enum shape_id id);

/* dst = norm of each of n_vectors parts of a row; flags: of NORM, beyond those that the architecture asks for. */
void shape_norm(struct shape_planner *p, struct shape_act *dst, const struct shape_act *src, uint32_t n_vectors,
                uint32_t layer, enum shape_id id, uint16_t flags);
void shape_norm_at(struct shape_planner *p, struct shape_act *dst, const struct shape_act *src, uint32_t n_vectors,
                   card_addr weight, card_addr bias, uint16_t flags);
/* dst = matrix x src, + bias if the layer has it (SHAPE_IDS: none); flags: CARD_FLAG_ADD or 0. */
void shape_linear(struct shape_planner *p, struct shape_act *dst, struct shape_act *src, uint32_t layer,
                  enum shape_id id, enum shape_id bias, uint16_t flags);
void shape_linear_at(struct shape_planner *p, struct shape_act *dst, struct shape_act *src, unsigned format,
                     card_addr weight, card_addr bias, uint16_t flags);
/* src quantized, unless format is F32; rows of `cols` values, however src divides them. */
card_addr shape_operand(struct shape_planner *p, struct shape_act *src, unsigned format, uint32_t cols);
/* A matrix for each of the n_matrices parts of a row: heads, groups. */
struct shape_act shape_each(struct shape_planner *p, struct shape_act *src, uint32_t layer, enum shape_id id);
void shape_rope(struct shape_planner *p, struct shape_act *x, uint32_t n_heads, uint32_t dims, uint32_t from,
                card_addr batch);
/* dst = activation(dst) * weight; weight 0: nothing to multiply with. vectors: rows of a token, each with its own src. */
void shape_glu(struct shape_planner *p, struct shape_act *dst, const struct shape_act *src,
               const struct shape_act *weight, unsigned activation);
void shape_gather(struct shape_planner *p, const struct shape_act *dst, const struct shape_act *src);
/* rows vectors of cols floats a token, from (token, vector) strides to others. */
void shape_copy(struct shape_planner *p, uint32_t tokens, uint32_t rows, uint32_t cols, card_addr dst,
                const uint32_t dst_steps[2], card_addr src, const uint32_t src_steps[2]);
void shape_add(struct shape_planner *p, struct shape_act *dst, const struct shape_act *src);

/* Attention over one of the layer's pools. */
struct shape_attend {
    enum shape_pool pool;
    const struct shape_table *table;
    uint32_t key_dim, value_dim, kv_heads, window, chunk, top_k; /* top_k 0: all positions */
    bool latent, sinks;
    float score_cap;
};
void shape_write_kv(struct shape_planner *p, uint32_t layer, enum shape_pool pool, uint32_t n_tokens, card_addr key,
                    card_addr value, card_addr batch);
void shape_attend_to(struct shape_planner *p, const struct shape_act *dst, const struct shape_act *query,
                     uint32_t heads, uint32_t layer, const struct shape_attend *attend);

/* The blocks. hidden is the residual stream and changes in place. */
void shape_attention(struct shape_planner *p, struct shape_act *hidden, uint32_t layer);
void shape_ffn(struct shape_planner *p, struct shape_act *hidden, uint32_t layer);
void shape_head(struct shape_planner *p, struct shape_act *hidden);

/* What attention of the other kinds gives before the output matrix; src is the normed input. */
struct shape_act shape_latent_attention(struct shape_planner *p, struct shape_act *src, uint32_t layer);
struct shape_act shape_linear_attention(struct shape_planner *p, struct shape_act *src, uint32_t layer);
struct shape_act shape_compressed_attention(struct shape_planner *p, struct shape_act *src, uint32_t layer);
/* Writes the indexer's keys and, if attention follows, p->positions. queries: what its query matrix takes. */
void shape_index(struct shape_planner *p, struct shape_act *src, struct shape_act *queries, uint32_t layer);
bool shape_attends(const struct shape_planner *p, uint32_t layer);
/* In the last layer only the wanted rows go on. */
struct shape_act shape_keep_wanted(struct shape_planner *p, struct shape_act *hidden, struct shape_act *attended,
                                   uint32_t layer);

/* Residual streams (shape_streams.c): one vector a token from them, and its result back into them. */
struct shape_act shape_streams_read(struct shape_planner *p, struct shape_act *hidden, uint32_t layer, enum shape_id id,
                                    card_addr *choices);
void shape_streams_write(struct shape_planner *p, struct shape_act *hidden, const struct shape_act *result,
                         card_addr choices);

/* Bytes of the arena of the largest step. (shape_program.c) */
int shape_measure_step(const struct shape_place *place, uint64_t *bytes, struct error *err);

#endif
