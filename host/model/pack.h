/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a GGUF matrix to the card layout (kernels/abi/card_layout.h), in pieces that are independent of each other, so
 * that threads can share a matrix and a small buffer is enough. Types that a card format has keep their values exactly; F32,
 * F16, BF16 and Q2_K become INT8 by Q8_0's rule on cards that compute in integers, IQ2, IQ4_XS and Q8_K with their scales rounded
 * (pack_integers.c), and what that costs is measured.
 */
#ifndef SLUICE_MODEL_PACK_H
#define SLUICE_MODEL_PACK_H

#include "host/model/gguf.h"
#include "kernels/abi/card_layout.h"

struct pack_source {
    enum gguf_tensor_type type;   /* a supported one */
    const uint8_t *data;          /* rows of cols values, borrowed */
    uint32_t rows, cols;          /* cols is a multiple of the type's block */
    unsigned packed;              /* enum card_format: data is a matrix in this layout already; 0: rows of type */
    const struct gguf_rows *made; /* who makes the rows from first_row on, where data is NULL; borrowed */
    uint64_t first_row;
};

/* Matrices [first, first + n) of a tensor, of rows by cols each, with its data or with who makes its rows. */
struct pack_source pack_source_of(const struct gguf_tensor *tensor, uint32_t rows, uint32_t cols, uint64_t first,
                                  uint32_t n);

/* What packing saw. Sums grow over calls; the caller zeroes them. */
struct pack_result {
    bool not_finite;      /* a scale or a float weight was infinite or not a number */
    bool too_large;       /* a weight too large for INT8's half scale */
    bool no_memory;       /* for rows that are made */
    double error_squares; /* of weights that may be rounded: (packed - value)^2 */
    double value_squares; /* and value^2 */
};

/*
 * The card format for a matrix of this type on a card with these weight_formats (bits 1 << enum card_format): the type's
 * own, or F32 where the card has no integer format for it; 0 if it has neither.
 */
unsigned pack_format(enum gguf_tensor_type type, uint32_t weight_formats);

/* Whether packing type as format may round its values: error_squares says whether it did. */
bool pack_rounds(enum gguf_tensor_type type, unsigned format);

/* Whether type holds floats, which can be packed as INT8, INT4 or INT4_MIN, whichever is asked for. */
bool pack_is_float(enum gguf_tensor_type type);

/* Whether a matrix of this type may lie on a card in this format. */
bool pack_fits(enum gguf_tensor_type type, unsigned format);

/* Bytes of a row of values of source->type in the file. */
size_t pack_row_bytes(const struct pack_source *source);

/* A piece is 16 rows of the matrix, the last one what is left. Pieces lie one after the other on the card. */
uint32_t pack_n_pieces(uint32_t rows);

/* Bytes on the card of the pieces [0, n): the offset of piece n, or the whole matrix. */
uint64_t pack_bytes_before(unsigned format, uint32_t rows, uint32_t cols, uint32_t n);

/*
 * A packed source goes to its own format, or to F32.
 *
 * Writes pieces [first, first + n) to out, pack_bytes_before(first + n) - pack_bytes_before(first) bytes, padding
 * included. Calls on different pieces may run at the same time, each with its own result.
 */
void pack_pieces(const struct pack_source *source, unsigned format, uint32_t first, uint32_t n, uint8_t *out,
                 struct pack_result *result);

#endif
