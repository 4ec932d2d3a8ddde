/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner writes the card program of one step. Families call the blocks below (attention, feed-forward, head) or the
 * single operations they are made of; each appends descriptors and takes its buffers from an arena on the card.
 *
 * The same code runs twice: once to measure, when step memory is opened, without addresses and with the largest step;
 * then for every step, with fewer rows or as many. So the arena and the program have their sizes fixed before the first
 * token, and planning cannot fail. For that, the buffers that a family takes and the descriptors that it writes may
 * depend on the model and on how many rows there are, each growing with the rows, and on nothing else.
 */
#ifndef SLUICE_MODEL_PLANNER_H
#define SLUICE_MODEL_PLANNER_H

#include "host/model/model.h"
#include "host/model/tensor_table.h"

/* f32[tokens][cols] on the card, and its quantized copy once a matrix asked for it. */
struct activations {
    card_addr address;
    uint32_t tokens, cols;
    bool is_quantized;
    card_addr quantized; /* act[tokens][cols], if is_quantized */
};

struct planner {
    const struct model *model;
    const struct model_config *config;
    const struct loaded_model *loaded; /* NULL: measuring */
    unsigned kv_format;                /* enum card_format */
    uint32_t n_pages;                  /* in each layer's pool */
    const card_addr *pools;            /* [n_layers]; NULL: measuring */
    uint32_t expert_slots;             /* through which experts stream; 0: each has its own */
    unsigned pool_banks;               /* over which each is dealt; 0 or 1: it is not */

    /* The step. */
    uint32_t n_tokens, n_logit_rows;
    struct activations embeddings; /* [n_tokens][d_model], written by the host; the hidden state starts here */
    card_addr batch, logit_rows;   /* batch table; u32[n_logit_rows] */
    struct activations wanted;     /* [n_logit_rows][d_model], for the rows whose logits are wanted */
    struct activations logits;     /* [n_logit_rows][n_vocab], set by planner_head */

    /* The arena: a stack. */
    card_addr arena;
    uint64_t used, peak;

    struct card_descriptor *program; /* NULL: measuring */
    unsigned n_descriptors, capacity;
};

/* Takes the step's inputs from the start of the arena, so that the host writes them at once; returns their bytes. */
uint64_t planner_begin(struct planner *planner, uint32_t n_tokens, uint32_t n_table_pages, uint32_t n_logit_rows);

/* A buffer of f32[tokens][cols]; planner_release(planner, mark) gives back all that were taken since planner_mark. */
struct activations planner_buffer(struct planner *planner, uint32_t tokens, uint32_t cols);
uint64_t planner_mark(const struct planner *planner);
void planner_release(struct planner *planner, uint64_t mark);

/* Whether the file has this tensor. */
bool planner_has(const struct planner *planner, enum tensor_role role, uint32_t layer);

/* dst = RMSNorm(src) with the weight of `role`, over each of n_vectors equal parts of a row; dst may be src. */
void planner_norm(struct planner *planner, struct activations *dst, const struct activations *src, uint32_t n_vectors,
                  enum tensor_role role, uint32_t layer);

/*
 * dst = matrix x src, with the bias of bias_role if the file has it (pass TENSOR_ROLE_END for none); planner_linear_add
 * does dst += instead. src is quantized once, however many matrices follow.
 */
void planner_linear(struct planner *planner, struct activations *dst, struct activations *src, enum tensor_role role,
                    enum tensor_role bias_role, uint32_t layer);
void planner_linear_add(struct planner *planner, struct activations *dst, struct activations *src,
                        enum tensor_role role, enum tensor_role bias_role, uint32_t layer);

/* Rotates n_heads heads of x by the tokens' positions; flags: CARD_FLAG_INTERLEAVED or 0. */
void planner_rope(struct planner *planner, struct activations *x, uint32_t n_heads, uint16_t flags);

/* gate = silu(gate) * up */
void planner_glu(struct planner *planner, struct activations *gate, const struct activations *up);

/*
 * The blocks of a pre-norm transformer; *hidden is the residual stream and changes in place. Biases and the norms of
 * heads are applied where the file has them. In the last layer attention goes on with the rows whose logits are wanted,
 * and *hidden becomes planner->wanted.
 */
void planner_attention(struct planner *planner, struct activations *hidden, uint32_t layer, uint16_t rope_flags);
void planner_ffn(struct planner *planner, struct activations *hidden, uint32_t layer);
void planner_moe(struct planner *planner, struct activations *hidden, uint32_t layer, uint16_t router_flags);

/* Last norm and output matrix: planner->logits. */
void planner_head(struct planner *planner, struct activations *hidden);

/* What these blocks need, for a family's declare. */
void planner_declare_model(const struct model_config *config, struct tensor_table *table);
void planner_declare_attention(const struct model_config *config, struct tensor_table *table, uint32_t layer);
void planner_declare_ffn(const struct model_config *config, struct tensor_table *table, uint32_t layer);
void planner_declare_moe(const struct model_config *config, struct tensor_table *table, uint32_t layer);

#endif
