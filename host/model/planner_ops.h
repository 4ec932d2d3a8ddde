/* SPDX-License-Identifier: Apache-2.0 */
/* What planner_blocks.c needs of planner.c beyond planner.h. Families do not include this. */
#ifndef SLUICE_MODEL_PLANNER_OPS_H
#define SLUICE_MODEL_PLANNER_OPS_H

#include "host/model/model_internal.h"
#include "host/model/planner.h"

/* bytes of the arena, 64-byte aligned. */
uint64_t planner_take(struct planner *planner, uint64_t bytes);

/* Adds a descriptor to the program; only counts it while measuring. */
void planner_append(struct planner *planner, const struct card_descriptor *descriptor);

/* Zero while measuring. */
struct weight planner_weight(const struct planner *planner, enum tensor_role role, uint32_t layer);

/* src as a matrix of this format takes it: f32, or quantized (once). While measuring: quantized. */
card_addr planner_operand(struct planner *planner, struct activations *src, unsigned format);

/* dst = the rows of src whose logits are wanted. */
void planner_gather(struct planner *planner, const struct activations *dst, const struct activations *src);

#endif
