/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loop of a quantized matmul: one tile of 16 rows against n rows of activations. There is one implementation
 * in GNU C for any processor and one for each instruction set worth it; all give the bits of kernels/README.md.
 */
#ifndef SLUICE_SIM_TILE_KERNELS_H
#define SLUICE_SIM_TILE_KERNELS_H

#include "kernels/abi/card_layout.h"

#include <stddef.h>
#include <stdint.h>

/* A row of act[T][C] (card_layout.h). */
struct act_row {
    const int8_t *value; /* [groups][32] */
    const float *scale;  /* [groups] */
    const int32_t *sum;  /* [groups] */
};

/*
 * acc[i][r] goes on with the products of the tile's row r and activation row i, group after group. tile: `blocks` blocks
 * of a quantized format; groups: of an activation row, what lies past them in the last block is padding.
 */
typedef void tile_kernel(unsigned format, const uint8_t *tile, uint32_t blocks, uint32_t groups,
                         const struct act_row *rows, uint32_t n, float (*acc)[CARD_TILE_ROWS]);

tile_kernel tile_generic;
#if defined(__x86_64__)
tile_kernel tile_avx2;   /* AVX2, FMA, F16C */
tile_kernel tile_avx512; /* AVX-512 F, BW, VL, VNNI */
#elif defined(__aarch64__)
tile_kernel tile_neon; /* dot-product extension */
#endif

/*
 * A matrix times one row of activations: as tile_kernel with one row, of `tiles` tiles that follow each other in memory;
 * acc[t] is of tile t. What is asked for ahead crosses from tile to tile, and a tile need not end before the next begins.
 */
typedef void row_kernel(unsigned format, const uint8_t *tile, uint32_t tiles, uint32_t blocks, uint32_t groups,
                        const struct act_row *row, float (*acc)[CARD_TILE_ROWS]);

/* The kernel for one row that goes with `kernel`; NULL: it has none. */
row_kernel *row_kernel_of(tile_kernel *kernel);
#if defined(__x86_64__)
row_kernel row_avx512;
#endif

/*
 * One group of one row of activations, as a kernel for many rows reads it: what it needs is in one place, and what is the
 * same for every tile has been computed. The instruction takes unsigned weights, made so by an offset (tile_offset); an
 * exact product of columns goes on from `start`, which takes it back.
 */
struct act_cell {
    int8_t value[CARD_GROUP_COLS];
    float scale;
    float sum;        /* of the values */
    int32_t start[2]; /* of the group; of formats with a scale for each 16 columns: of either half */
};

/* As tile_kernel, of cell[groups][n]. */
typedef void panel_kernel(unsigned format, const uint8_t *tile, uint32_t blocks, uint32_t groups,
                          const struct act_cell *cell, uint32_t n, float (*acc)[CARD_TILE_ROWS]);

/* The kernel for many rows that goes with `kernel`; NULL: it has none. */
panel_kernel *panel_kernel_of(tile_kernel *kernel);
#if defined(__x86_64__)
panel_kernel panel_avx512;
#endif

/* What is added to a format's integer weights where they are multiplied as unsigned bytes. */
static inline __attribute__((always_inline)) int32_t tile_offset(unsigned format)
{
    switch (format) {
    case CARD_FORMAT_INT4: return 8;
    case CARD_FORMAT_INT8:
    case CARD_FORMAT_INT8_MIN: return 128;
    case CARD_FORMAT_Q6_K: return 32;
    case CARD_FORMAT_MXFP4: return 12; /* the largest is 12 halves */
    default: return 0;
    }
}

/* Modulo 2^32: a table of sums that lies gives a wrong result, not an undefined one. */
static inline int32_t wrapped_product(int32_t a, int32_t b) { return (int32_t)((uint32_t)a * (uint32_t)b); }
static inline int32_t wrapped_difference(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b); }

/*
 * Asks for the bytes that lie AHEAD of group i of a block. Blocks of 256 columns have their parts in several places, which
 * no prefetcher follows as one stream; the others are read from end to end, where processors are better at it than we.
 */
static inline __attribute__((always_inline)) void tile_prefetch(unsigned format, unsigned block_groups,
                                                                const uint8_t *block, unsigned i)
{
    enum { AHEAD = 8192, LARGE = 8 };
    const unsigned share = card_block_bytes(format) / block_groups;
    if (block_groups < LARGE) return;
    for (unsigned at = 0; at < share; at += CARD_WORD_BYTES) __builtin_prefetch(block + AHEAD + (size_t)share * i + at);
}

/*
 * The kernel with this name, or NULL if this processor or this build has it not; asked NULL: the fastest that it has.
 * *name is static.
 */
tile_kernel *tile_kernel_find(const char *asked, const char **name);

#endif
