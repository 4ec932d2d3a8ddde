/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensors of an architecture's layers: what is counted, what takes card memory, and what the descriptors of a shape
 * program name. Nobody outside host/plan includes this.
 */
#ifndef SLUICE_PLAN_SHAPE_TENSORS_H
#define SLUICE_PLAN_SHAPE_TENSORS_H

#include "host/plan/architecture_internal.h"

/* One layer's tensors. A: rank or channels first, B: what follows. */
enum shape_id {
    SHAPE_ATTN_NORM,
    SHAPE_QUERY_A, /* to the query's latent */
    SHAPE_QUERY_A_NORM,
    SHAPE_QUERY,
    SHAPE_QUERY_BIAS,
    SHAPE_QUERY_NORM,
    SHAPE_KEY,
    SHAPE_KEY_BIAS,
    SHAPE_KEY_NORM,
    SHAPE_VALUE,
    SHAPE_VALUE_BIAS,
    SHAPE_KV_A, /* to latent and rotated key; of COMPRESSED: key and value in one */
    SHAPE_KV_A_NORM,
    SHAPE_KEY_B,   /* a matrix a head: query to latent */
    SHAPE_VALUE_B, /* a matrix a head: latent to value */
    SHAPE_INDEX_QUERY,
    SHAPE_INDEX_KEY,
    SHAPE_INDEX_KEY_NORM,
    SHAPE_INDEX_KEY_NORM_BIAS,
    SHAPE_INDEX_WEIGHTS,
    SHAPE_COMPRESS_VALUE,
    SHAPE_COMPRESS_GATE,
    SHAPE_COMPRESS_PLACES,
    SHAPE_COMPRESS_NORM,
    SHAPE_INDEX_COMPRESS_VALUE,
    SHAPE_INDEX_COMPRESS_GATE,
    SHAPE_INDEX_COMPRESS_PLACES,
    SHAPE_INDEX_COMPRESS_NORM,
    SHAPE_GATE_A,
    SHAPE_GATE, /* of attention's result */
    SHAPE_DECAY_A,
    SHAPE_DECAY,
    SHAPE_DECAY_BIAS,
    SHAPE_DECAY_RATE,
    SHAPE_BETA,
    SHAPE_CONV,
    SHAPE_STATE_NORM,
    SHAPE_SINKS,
    SHAPE_OUTPUT_A, /* a matrix a group */
    SHAPE_ATTN_OUTPUT,
    SHAPE_ATTN_OUTPUT_BIAS,
    SHAPE_POST_ATTN_NORM,
    SHAPE_FFN_NORM,
    SHAPE_FFN_GATE,
    SHAPE_FFN_UP,
    SHAPE_FFN_DOWN,
    SHAPE_ROUTER,
    SHAPE_ROUTER_BIAS,
    SHAPE_EXPERT_GATE,
    SHAPE_EXPERT_UP,
    SHAPE_EXPERT_DOWN,
    SHAPE_EXPERT_GATE_BIAS,
    SHAPE_EXPERT_UP_BIAS,
    SHAPE_EXPERT_DOWN_BIAS,
    SHAPE_SHARED_GATE,
    SHAPE_SHARED_UP,
    SHAPE_SHARED_DOWN,
    SHAPE_SHARED_SCORE,
    SHAPE_POST_FFN_NORM,
    SHAPE_STREAMS_ATTN, /* coefficients of the residual streams, by the streams themselves */
    SHAPE_STREAMS_ATTN_BIAS,
    SHAPE_STREAMS_FFN,
    SHAPE_STREAMS_FFN_BIAS,
    SHAPE_IDS
};

enum shape_kind {
    SHAPE_VECTOR,  /* f32[matrices][rows][cols] in one piece */
    SHAPE_MATRIX,  /* matrix(rows, cols) */
    SHAPE_TABLED,  /* matrices that a table of addresses names: heads, groups */
    SHAPE_EXPERTS, /* the same, of which a token uses some */
};

/* What a tensor counts as in memory tables. */
enum shape_part { SHAPE_PART_ATTENTION, SHAPE_PART_FFN, SHAPE_PART_SHARED, SHAPE_PART_EXPERTS, SHAPE_PART_ROUTERS };

struct shape_tensor {
    uint32_t rows, cols; /* rows 0: the layer does not have it */
    uint32_t matrices;   /* experts, heads, groups; else 1 */
    uint8_t format;      /* enum card_format */
    uint8_t kind, part;
};

/* out[SHAPE_IDS]; layer is below architecture->n_layers. */
void shape_layer_tensors(const struct architecture *architecture, uint32_t layer, struct shape_tensor *out);

/* The last norm and the output matrix; with residual streams also how they become one. */
enum shape_model_id {
    SHAPE_OUTPUT_NORM,
    SHAPE_OUTPUT,
    SHAPE_STREAMS_OUTPUT,
    SHAPE_STREAMS_OUTPUT_BIAS,
    SHAPE_MODEL_IDS
};
void shape_model_tensors(const struct architecture *architecture, struct shape_tensor *out);

/* Values, and bytes on the card: tiles of F32 matrices are whole, vectors start at multiples of 64. */
uint64_t shape_tensor_values(const struct shape_tensor *tensor);
uint64_t shape_tensor_bytes(const struct shape_tensor *tensor);

/* Features of the convolution of a LINEAR layer: query, key and value of all heads. */
uint32_t shape_conv_features(const struct attention_shape *attention);

#endif
