/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tensor as the families want it, made of a folder's matrices: rows in another order, experts stacked, matrices turned, a
 * constant added. What needs none of it is the file's own bytes (hf_rows_data).
 */
#ifndef SLUICE_MODEL_HF_ROWS_H
#define SLUICE_MODEL_HF_ROWS_H

#include "host/model/hf/weights.h"

#define HF_MAX_RUNS 3

/* Of every `stride` rows of the source, the `length` from `start` on; `rows` of them in all. */
struct hf_run {
    uint32_t rows, stride, start, length;
};

enum hf_order {
    HF_ORDER_RUNS,  /* runs, one after the other */
    HF_ORDER_PAIRS, /* heads of head_dim rows: row i and row i + head_dim/2 become neighbours (llama.cpp's converter) */
    HF_ORDER_TILED, /* from tiled.first on: heads of `dims` rows from groups of `ratio` for each key head to turns of all key heads */
};

enum hf_value { HF_VALUE_KEPT, HF_VALUE_PLUS_ONE, HF_VALUE_NEGATIVE_EXP };

struct hf_tiling {
    uint32_t first, keys, ratio, dims;
};

struct hf_rows {
    struct gguf_rows base;          /* first */
    const struct hf_weight **parts; /* owned; one for each stacked matrix, or one with all of them */
    uint32_t n_parts;
    enum hf_order order;
    struct hf_run run[HF_MAX_RUNS];
    unsigned n_runs;
    uint32_t head_dim;
    struct hf_tiling tiled, tiled_columns; /* columns: dims 0: they stay */
    bool turned;                           /* rows are the source's columns */
    uint32_t turn_stride; /* turned: of each matrix's, the first row in the source; 0: matrices lie beside each other */
    enum hf_value value;
    bool is_vector; /* elements instead of rows */
    /* What comes out. */
    enum gguf_tensor_type type;
    uint32_t rows, cols, matrices;
    uint32_t split; /* rows in this many matrices by name only: where each has no source of its own; 0: not */
    bool made_of_floats;
};

/*
 * Sets type, rows, cols and matrices from the rest, after checking that no row lies outside its source. rows, if it is not 0, is how many
 * rows a matrix has (turned ones with runs); cols how many columns. name is for messages.
 */
int hf_rows_finish(struct hf_rows *rows, const char *name, struct error *err);

/* The bytes in the file, if they are just what is wanted; NULL: the rows must be made. */
const uint8_t *hf_rows_data(const struct hf_rows *rows);

#endif
