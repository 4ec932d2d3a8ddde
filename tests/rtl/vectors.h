/* SPDX-License-Identifier: Apache-2.0 */
/* Test matrices in the card's INT4 layout and what the simulated card makes of them. C for the C++ test benches too. */
#ifndef SLUICE_TEST_RTL_VECTORS_H
#define SLUICE_TEST_RTL_VECTORS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vector_kind {
    VECTOR_USUAL,   /* scales as models have them */
    VECTOR_ZEROS,   /* a third of the scales are +0 or -0 */
    VECTOR_CANCEL,  /* groups that cancel each other exactly or nearly */
    VECTOR_EXTREME, /* largest nibbles and values */
    VECTOR_LARGE,   /* products up to infinity, and infinity minus infinity */
    VECTOR_SPECIAL, /* infinite and NaN scales */
    VECTOR_BORDER,  /* products and sums around 2^-126, subnormal halves */
    VECTOR_KINDS
};
extern const char *const vector_kind_name[VECTOR_KINDS];

struct vector_case {
    uint32_t rows, cols, tiles, blocks;
    uint8_t *matrix;    /* card_matrix_bytes */
    uint8_t *act;       /* act[1][cols] */
    uint32_t *expected; /* bits of f32[16 tiles], by the contract's text */
    uint32_t *sim;      /* bits of f32[rows], from the simulated card */
};

/* Random, from seed. 0, or -1 with the reason on stderr. Freed by vector_case_free. */
int vector_case_make(struct vector_case *v, enum vector_kind kind, uint32_t rows, uint32_t cols, uint64_t seed);
void vector_case_free(struct vector_case *v);

/* A pseudo-random number (xorshift64*). *state is not 0. */
uint64_t vector_random(uint64_t *state);

/* half x single and fma(scale, dot, acc) with subnormals as zero and NaN as 0x7fc00000; bits in, bits out. */
uint32_t vector_scale_product(uint16_t half, uint32_t single);
uint32_t vector_dot_fma(uint32_t scale, int32_t dot, uint32_t acc);

/* The float32 nearest to 2^-126 / half: the product is 2^-126 or within half a unit in the last place of it. */
uint32_t vector_border_single(uint16_t half);

#ifdef __cplusplus
}
#endif

#endif
