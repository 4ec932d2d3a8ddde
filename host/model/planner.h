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
    const card_addr *index_pools;      /* the same of indexers' keys */
    const card_addr *states;           /* [n_layers]: of convolutions, then of scans */
    uint32_t n_states;                 /* in each layer's pools of states */
    uint32_t expert_slots;             /* through which experts stream; 0: each has its own */
    unsigned pool_banks;               /* over which each is dealt; 0 or 1: it is not */
    bool encodes;                      /* the step is the encoder's */
    bool is_long;                      /* positions beyond the original context: long rope's other factors */

    /* The step. */
    uint32_t n_tokens, n_logit_rows;
    struct activations embeddings; /* [n_tokens][d_model], written by the host; the hidden state starts here */
    card_addr batch, logit_rows;   /* batch table; u32[n_logit_rows] */
    card_addr sources;             /* batch table of what the decoder sees of the encoder */
    card_addr query_scales;        /* f32[n_tokens], if config->query_scale has a period */
    card_addr positions;           /* u32[n_tokens][top_k]: what the last indexer chose */
    struct activations wanted;     /* [n_logit_rows][d_model], for the rows whose logits are wanted */
    struct activations logits;     /* [n_logit_rows][n_vocab], set by planner_head */
    struct activations residual;   /* the hidden state at the layer's FFN or experts */

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

/*
 * All layers, by config and by which tensors the file has; *hidden is the residual stream and changes in place. Biases,
 * norms of heads, norms after a block, sinks and gates are applied where the file has them. In the last layer attention
 * goes on with the rows whose logits are wanted. Most families need nothing else: it is their plan. Of a model with an
 * encoder: its layers, and then what the decoder's will need of their result; or the decoder's.
 */
void planner_layers(struct planner *planner);

/* A head's dimensions in a layer of latent attention: width is a page's. (planner_latent.c) */
struct latent_dims {
    uint32_t nope, rope, width;
};
struct latent_dims planner_latent_of(const struct model_config *config, uint32_t layer);

/* Last norm and output matrix: planner->logits. */
void planner_head(struct planner *planner, struct activations *hidden);

/* What the blocks need, for a family's declare; *_layers: every layer, by its config. */
void planner_declare_model(const struct model_config *config, struct tensor_table *table);
void planner_declare_attention(const struct model_config *config, struct tensor_table *table, uint32_t layer);
void planner_declare_ffn(const struct model_config *config, struct tensor_table *table, uint32_t layer);
void planner_declare_moe(const struct model_config *config, struct tensor_table *table, uint32_t layer);
void planner_declare_shared(const struct model_config *config, struct tensor_table *table, uint32_t layer);
void planner_declare_latent(const struct model_config *config, struct tensor_table *table, uint32_t layer);
void planner_declare_index(const struct model_config *config, struct tensor_table *table, uint32_t layer);

/* Gated delta nets of layers that have them; one_beta_alpha: beta and alpha of one matrix. Kimi's delta attention. */
void planner_declare_linear(const struct model_config *config, struct tensor_table *table, uint32_t layer,
                            bool one_beta_alpha);
void planner_declare_delta(const struct model_config *config, struct tensor_table *table, uint32_t layer);

/* A bias for the choice of experts in every layer that has them; optional: files may lack it. */
void planner_declare_selection_biases(const struct model_config *config, struct tensor_table *table, bool optional);

/* Attention and FFN or experts of every layer; *_head_norms: a weight over each head's dimensions of query and key. */
void planner_declare_layers(const struct model_config *config, struct tensor_table *table);
void planner_declare_head_norms(const struct model_config *config, struct tensor_table *table, uint32_t layer);
void planner_declare_qkv_biases(const struct model_config *config, struct tensor_table *table, uint32_t layer);

#endif
