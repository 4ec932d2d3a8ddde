/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the float reference share. Private to host/card/card_ref*.c. */
#ifndef SLUICE_CARD_REF_H
#define SLUICE_CARD_REF_H

#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_program.h"
#include "sim/step.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* An operation on operands that were found and whose tables were checked. */
typedef void ref_operation(const struct sim_step *s);
/* One that can fail: ERROR_NO_MEMORY. */
typedef int ref_fallible(const struct sim_step *s, struct error *err);

/* card_ref_vectors.c */
ref_operation ref_norm, ref_quantize, ref_rope, ref_glu, ref_gather, ref_copy, ref_add, ref_scale, ref_soft_cap,
    ref_decay;
/* card_ref_matmul.c */
ref_operation ref_matmul, ref_expert_matmul;
/* card_ref_attention.c */
ref_operation ref_kv_write, ref_attention;
ref_fallible ref_index;
/* card_ref_experts.c */
ref_fallible ref_router;
ref_operation ref_top_k, ref_expert_sum, ref_expert_spread;
/* card_ref_state.c */
ref_operation ref_scan, ref_conv;

/* Row `row` of f32[][cols]. */
static inline const float *ref_row(const void *base, size_t row, size_t cols)
{
    return (const float *)base + row * cols;
}
static inline float *ref_result(const struct sim_step *s, size_t row, size_t cols)
{
    return (float *)s->dst + row * cols;
}

static inline double ref_dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static inline double ref_sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* The order of every choice: larger first, NaN after -infinity; equal ones are not better than each other. */
static inline int ref_better(double a, double b) { return a > b || (isnan(b) && !isnan(a)); }

#endif
