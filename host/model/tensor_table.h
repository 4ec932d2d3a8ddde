/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensors of a model, by role and layer. A family declares what it needs and in which shape; resolving finds each in
 * the file and refuses the file if one is missing, has another shape, or is there without a role.
 */
#ifndef SLUICE_MODEL_TENSOR_TABLE_H
#define SLUICE_MODEL_TENSOR_TABLE_H

#include "host/model/gguf.h"

#include <stdbool.h>
#include <stdint.h>

struct slc_tensor; /* host/model/slc.h */

/* What a tensor is for. The file's names are in tensor_table.c. */
enum tensor_role {
    /* one per model */
    TENSOR_TOKEN_EMBD,
    TENSOR_OUTPUT, /* if the file has none, token_embd is used: tied embeddings */
    TENSOR_OUTPUT_NORM,
    TENSOR_ROPE_FREQS, /* what the inverse frequencies are divided by (Llama-3 rope scaling) */
    TENSOR_ROPE_LOG,   /* logarithms of what the inverse frequencies are multiplied by */
    TENSOR_ROPE_LONG,  /* the same of long rope, for contexts beyond the original one */
    TENSOR_OUTPUT_NORM_BIAS,
    TENSOR_ENCODER_NORM,      /* after the encoder's last layer */
    TENSOR_ENCODER_DISTANCES, /* what is added to its scores, by buckets of distances and heads */
    TENSOR_DECODER_DISTANCES,
    /* one per layer */
    TENSOR_ATTN_NORM,
    TENSOR_ATTN_Q,
    TENSOR_ATTN_K,
    TENSOR_ATTN_V,
    TENSOR_ATTN_OUTPUT,
    TENSOR_ATTN_Q_BIAS,
    TENSOR_ATTN_K_BIAS,
    TENSOR_ATTN_V_BIAS,
    TENSOR_ATTN_OUTPUT_BIAS,
    TENSOR_ATTN_Q_NORM,
    TENSOR_ATTN_K_NORM,
    TENSOR_FFN_NORM,
    TENSOR_FFN_GATE,
    TENSOR_FFN_UP,
    TENSOR_FFN_DOWN,
    TENSOR_FFN_GATE_BIAS,
    TENSOR_FFN_UP_BIAS,
    TENSOR_FFN_DOWN_BIAS,
    TENSOR_FFN_ROUTER,
    TENSOR_FFN_GATE_EXPERTS,
    TENSOR_FFN_UP_EXPERTS,
    TENSOR_FFN_DOWN_EXPERTS,
    TENSOR_ATTN_QKV, /* query, key and value in one */
    TENSOR_ATTN_QKV_BIAS,
    TENSOR_ATTN_NORM_BIAS,
    TENSOR_ATTN_POST_NORM,
    TENSOR_ATTN_SINKS,
    TENSOR_ATTN_GATE,
    TENSOR_FFN_NORM_BIAS,
    TENSOR_FFN_POST_NORM,
    TENSOR_FFN_ROUTER_BIAS,    /* of its logits */
    TENSOR_FFN_SELECTION_BIAS, /* for the choice only */
    TENSOR_FFN_GATE_EXPERTS_BIAS,
    TENSOR_FFN_UP_EXPERTS_BIAS,
    TENSOR_FFN_DOWN_EXPERTS_BIAS,
    TENSOR_FFN_SHARED_GATE,
    TENSOR_FFN_SHARED_UP,
    TENSOR_FFN_SHARED_DOWN,
    TENSOR_FFN_SHARED_SCORE,
    TENSOR_ATTN_Q_A, /* MLA: to the query's latent */
    TENSOR_ATTN_Q_A_NORM,
    TENSOR_ATTN_Q_B,
    TENSOR_ATTN_KV_A,
    TENSOR_ATTN_KV_A_NORM,
    TENSOR_ATTN_K_B,   /* of each head: from its query to the latent's space */
    TENSOR_ATTN_V_B,   /* of each head: from the latent's space to its value */
    TENSOR_ATTN_SLOPE, /* of each head: its query's factor is slope * ln(1 + position) + offset */
    TENSOR_ATTN_OFFSET,
    TENSOR_INDEX_SLOPE,
    TENSOR_INDEX_OFFSET,
    TENSOR_INDEX_Q_NORM,
    TENSOR_INDEX_Q_NORM_BIAS,
    TENSOR_INDEX_K,
    TENSOR_INDEX_K_NORM,
    TENSOR_INDEX_K_NORM_BIAS,
    TENSOR_INDEX_Q,
    TENSOR_INDEX_WEIGHTS,
    TENSOR_LINEAR_CONV,
    TENSOR_LINEAR_CONV_Q,
    TENSOR_LINEAR_CONV_K,
    TENSOR_LINEAR_CONV_V,
    TENSOR_LINEAR_DECAY_RATE,
    TENSOR_LINEAR_DECAY_BIAS,
    TENSOR_LINEAR_BETA_ALPHA, /* both in one, by groups of heads */
    TENSOR_LINEAR_ALPHA,
    TENSOR_LINEAR_BETA,
    TENSOR_LINEAR_DECAY_A,
    TENSOR_LINEAR_DECAY_B,
    TENSOR_LINEAR_GATE_A,
    TENSOR_LINEAR_GATE_B,
    TENSOR_LINEAR_NORM,
    TENSOR_LINEAR_OUTPUT,
    TENSOR_CROSS_NORM, /* attention of a decoder's layer to what the encoder made */
    TENSOR_CROSS_Q,
    TENSOR_CROSS_K,
    TENSOR_CROSS_V,
    TENSOR_CROSS_OUTPUT,
};
#define TENSOR_FIRST_LAYER_ROLE TENSOR_ATTN_NORM
#define TENSOR_ROLE_END (TENSOR_CROSS_OUTPUT + 1)
#define TENSOR_ROLES_PER_LAYER (TENSOR_ROLE_END - TENSOR_FIRST_LAYER_ROLE)

/* How a role's tensor is kept. */
enum tensor_kind {
    TENSOR_KIND_HOST,    /* read on the host, not copied to the card */
    TENSOR_KIND_VECTOR,  /* f32[rows][cols] on the card */
    TENSOR_KIND_MATRIX,  /* matrix(rows, cols) in a card format */
    TENSOR_KIND_FLOAT,   /* matrix(rows, cols) that stays F32: routers */
    TENSOR_KIND_EXPERTS, /* experts x matrix(rows, cols), in the experts' slots */
    TENSOR_KIND_HEADS,   /* the same of a layer's heads, always there, with a table of their addresses */
};

struct tensor_entry {
    const struct gguf_tensor *tensor; /* borrowed from the file; NULL: not there (optional) or not declared */
    const struct slc_tensor *packed;  /* of a packed file: its bytes, packed unless the kind stays as in the source */
    uint32_t rows, cols, experts;     /* rows 1: a vector; experts 1: one matrix */
    bool declared, optional;
    uint32_t repeat;    /* of a vector: each element lies this often on the card; 0: once */
    const char *suffix; /* the file's name for it, if it is not the usual one; static storage */
};

struct tensor_table {
    uint32_t n_layers;
    uint32_t n_encoder_layers;  /* the first ones, which the file counts apart: enc.blk.N and dec.blk.N; 0: blk.N */
    uint32_t n_left_out_layers; /* after the last one: what the file has of them is not looked at */
    size_t n_left_out;          /* tensors of them that were found */
    size_t n_entries;
    struct tensor_entry *entries; /* owned */
};

#define TENSOR_NAME_BYTES 64

/* An empty table for n_layers layers. Released by tensor_table_release, which takes a zeroed table too. */
int tensor_table_init(struct tensor_table *table, uint32_t n_layers, struct error *err);
void tensor_table_release(struct tensor_table *table);

/* layer is ignored for roles that a model has once. */
size_t tensor_table_index(enum tensor_role role, uint32_t layer);
const struct tensor_entry *tensor_table_get(const struct tensor_table *table, enum tensor_role role, uint32_t layer);

/* The reverse of tensor_table_index: the role, its kind, and the name in the file. */
enum tensor_role tensor_table_role(size_t index);
enum tensor_kind tensor_role_kind(enum tensor_role role);
void tensor_table_name(size_t index, char name[TENSOR_NAME_BYTES]);

/* Declares matrix(rows, cols); rows 1 is a vector. */
void tensor_table_add(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t rows, uint32_t cols);
void tensor_table_add_optional(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t rows,
                               uint32_t cols);
void tensor_table_add_experts(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t experts,
                              uint32_t rows, uint32_t cols);

/* Declares n stacked matrices of a layer's heads. */
void tensor_table_add_heads(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t heads,
                            uint32_t rows, uint32_t cols);

/* Each element of this vector lies `times` times on the card. */
void tensor_table_repeat(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t times);

/* As if it had not been declared. */
void tensor_table_remove(struct tensor_table *table, enum tensor_role role, uint32_t layer);

/* The file has what was declared last for this role under another name; suffix is static, as in "ffn_norm.weight". */
void tensor_table_rename(struct tensor_table *table, enum tensor_role role, uint32_t layer, const char *suffix);

/*
 * Finds every declared tensor in file, which must outlive the table. ERROR_BAD_FILE lists what is missing or says which
 * shape is wrong; ERROR_UNSUPPORTED names a tensor that the architecture does not have.
 */
int tensor_table_resolve(struct tensor_table *table, const struct gguf *file, const char *architecture,
                         struct error *err);

#endif
