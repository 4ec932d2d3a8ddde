/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The matrices of a folder, whichever tensors they are made of:
 *
 *   layout      tensors (X is the name less ".weight")                                        value of row r, column c
 *   PLAIN       X.weight F32, F16, BF16 [rows, cols]                                          as stored
 *   FP8         X.weight F8_E4M3, X.weight_scale_inv or .weight_scale [row blocks, col blocks] e4m3 * scale
 *   GPTQ        X.qweight i32 [cols*bits/32, rows], X.qzeros [groups, rows*bits/32],
 *               X.scales [groups, rows], X.g_idx i32 [cols]: the group of each column          (q - (zero + 1)) * scale
 *   AWQ         X.qweight i32 [cols, rows/8], X.qzeros [groups, rows/8], X.scales [groups, rows];
 *               eight rows in a word in the order 0 2 4 6 1 3 5 7                              (q - zero) * scale
 *   PACKED      X.weight_packed i32 [rows, cols*bits/32], X.weight_scale [rows, groups],
 *               X.weight_zero_point i32 [rows*bits/32, groups], X.weight_g_idx                 (q - zero or half the range) * scale
 *   INT8        X.weight i8, X.weight_scale [rows, groups], X.weight_zero_point i8             (q - zero) * scale
 *   MXFP4       X_blocks u8 [matrices, rows, cols/32, 16], X_scales u8                         2^(scale - 127) * code's value
 *
 * Sources: the modules that read them: transformers' integrations (finegrained_fp8, mxfp4), AutoGPTQ's and AutoAWQ's linear layers,
 * compressed-tensors' pack_to_int32. Tensors of activations' scales (input_scale, k_scale, v_scale) are not weights and are left out.
 */
#ifndef SLUICE_MODEL_HF_WEIGHTS_H
#define SLUICE_MODEL_HF_WEIGHTS_H

#include "host/model/hf/config.h"
#include "host/model/hf/safetensors.h"

enum hf_layout { HF_PLAIN, HF_FP8, HF_GPTQ, HF_AWQ, HF_PACKED, HF_INT8, HF_MXFP4 };

struct hf_weight {
    struct gguf_string name; /* with ".weight", whatever the tensor's own ending; owned by the list */
    enum hf_layout layout;
    const struct safetensors_tensor *data, *scales, *zeros, *order; /* NULL: none */
    uint32_t n_matrices, rows, cols;                                /* a vector: 1, n, 1 */
    bool is_vector;
    uint32_t group, row_block; /* columns and rows that share a scale */
    uint32_t bits;
    int zero_shift; /* added to what zeros says; where there are no zeros, the zero itself */
    enum gguf_tensor_type
        type; /* of the rows that hf_weight_row gives: blocks of 32 columns where the groups allow it, else F32 */
};

struct hf_weights {
    struct hf_weight *items; /* owned */
    size_t count, capacity;
};

/* Every tensor of a folder by name. find returns NULL if there is none. */
struct hf_tensors {
    const void *context;
    const struct safetensors_tensor *(*find)(const void *context, const char *name);
};

/*
 * Adds the matrix that this tensor is the main part of; nothing if it is a part of another's (scales, zeros, ...).
 * ERROR_BAD_FILE and ERROR_UNSUPPORTED name the tensor.
 */
int hf_weights_add(struct hf_weights *weights, const struct hf_config *config, const struct hf_tensors *all,
                   const struct safetensors_tensor *tensor, struct error *err);
void hf_weights_release(struct hf_weights *weights);

size_t hf_weight_row_bytes(const struct hf_weight *weight);

/* Row of a matrix as weight->type; one element where weight is a vector. Bounds are the caller's business. */
void hf_weight_row(const struct hf_weight *weight, uint32_t matrix, uint32_t row, uint8_t *out);

/* The value itself. */
float hf_weight_at(const struct hf_weight *weight, uint32_t matrix, uint32_t row, uint32_t col);

#endif
