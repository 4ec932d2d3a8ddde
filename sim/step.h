/* SPDX-License-Identifier: Apache-2.0 */
/* One descriptor with its operands found in memory, and the checks of the tables that it reads. */
#ifndef SLUICE_SIM_STEP_H
#define SLUICE_SIM_STEP_H

#include "host/base/bytes.h"
#include "host/base/error.h"
#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_program.h"
#include "sim/memory.h"

#include <stdint.h>

/* Operands that the opcode does not have are NULL. */
struct sim_step {
    const struct card_descriptor *d;
    void *dst;
    const void *src, *weight, *aux;
    uint64_t aux_bytes; /* from aux to the end of its allocation: bounds the page numbers of a batch table */
    const struct sim_memory *memory;
};

void sim_step_find(struct sim_step *step, const struct card_descriptor *d, const struct sim_memory *memory);

static inline float sim_step_float(const struct sim_step *step, unsigned param)
{
    return float_of_bits(step->d->param[param]);
}
static inline const struct card_batch_token *sim_step_batch(const struct sim_step *step) { return step->aux; }
/* The page numbers after the batch entries. */
static inline const uint32_t *sim_step_pages(const struct sim_step *step)
{
    return (const uint32_t *)(const void *)(sim_step_batch(step) + step->d->tokens);
}
/* First position that the token sees: P3 = window. */
static inline uint32_t sim_step_first_seen(const struct sim_step *step, uint32_t position)
{
    uint32_t window = step->d->param[3];
    return window && position + 1 > window ? position + 1 - window : 0;
}

/*
 * Checks the table that the descriptor reads: positions, table entries and page numbers of ROPE, KV_WRITE and
 * ATTENTION; experts and the slot addresses of those chosen of EXPERT_MATMUL; indexes of GATHER. ERROR_CARD says what
 * lies; 0 for opcodes without a table.
 */
int sim_step_check(const struct sim_step *step, struct error *err);

#endif
