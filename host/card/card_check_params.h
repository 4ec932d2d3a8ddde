/* SPDX-License-Identifier: Apache-2.0 */
/* The validator's second half: what each opcode's parameters may be. Private to host/card. */
#ifndef SLUICE_CARD_CHECK_PARAMS_H
#define SLUICE_CARD_CHECK_PARAMS_H

#include "host/card/card_check.h"

/*
 * Limits of one descriptor. They keep every product below 64 bits and every count of items below 32; with them no
 * operand that lies inside an allocation can make a backend overflow.
 */
#define MAX_FEATURES (1u << 24) /* rows of a matrix, length of a vector */
#define MAX_VECTORS (1u << 12)  /* heads or vectors per token */
#define MAX_EXPERTS (1u << 16)
#define MAX_CHOICES 256u
#define MAX_PAGES (1u << 28)
#define MAX_STATES (1u << 20)
#define MAX_SPARSE (1u << 16)  /* positions that one token may be given */
#define MAX_AWAIT_US 60000000u /* longer than any read from disk, shorter than patience */

/* ERROR_BAD_ARGUMENT "field: value is not in low to high". */
int check_between(const char *field, uint32_t value, uint32_t low, uint32_t high, struct error *err);

/*
 * Parameters of a descriptor whose flags, formats and shape have passed, with its extension (NULL if it has none).
 * ERROR_BAD_ARGUMENT begins with the field.
 */
typedef int check_params(const struct card_descriptor *d, const struct card_descriptor *e,
                         const struct card_check_limits *limits, struct error *err);

check_params check_norm_params, check_matmul_params, check_rope_params, check_kv_write_params, check_attention_params,
    check_router_params, check_expert_matmul_params, check_glu_params, check_choices_params, check_copy_params,
    check_factor_params, check_soft_cap_params, check_top_k_params, check_index_params, check_scan_params,
    check_conv_params, check_await_params;

#endif
