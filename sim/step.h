/* SPDX-License-Identifier: Apache-2.0 */
/* One descriptor with its operands found in memory, and the checks of the tables that it reads. */
#ifndef SLUICE_SIM_STEP_H
#define SLUICE_SIM_STEP_H

#include "host/base/bytes.h"
#include "host/base/error.h"
#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_operands.h"
#include "kernels/abi/card_program.h"
#include "sim/memory.h"
#include "sim/page_kernels.h"
#include "sim/tile_kernels.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Operands that the opcode does not have are NULL. A matrix that is dealt over banks starts at weight, a pool at weight or
 * dst: sim_step_tile and sim_step_page say where the rest is.
 */
struct sim_step {
    const struct card_descriptor *d, *e; /* e: the extension, NULL if there is none */
    void *dst;
    const void *src, *weight, *aux;
    uint64_t aux_bytes; /* from aux to where its allocation or dst ends it: bounds the page numbers of a batch table */
    void *e_dst;        /* operands of the extension */
    const void *e_src, *e_weight, *e_aux;
    const struct sim_memory *memory;
    tile_kernel *tile_kernel;                /* of quantized matmuls; the executor's */
    const struct page_kernels *page_kernels; /* of attention; the executor's */
    struct card_operand operand[CARD_PLACES];
};

/* d is followed by its extension if it is EXTENDED. */
void sim_step_find(struct sim_step *step, const struct card_descriptor *d, const struct sim_memory *memory);

static inline float sim_step_float(const struct sim_step *step, unsigned param)
{
    return float_of_bits(step->d->param[param]);
}
static inline int sim_step_has(const struct sim_step *step, unsigned flags) { return (step->d->flags & flags) != 0; }
/* The same of the extension: 0 if there is none. */
static inline uint32_t sim_step_e_param(const struct sim_step *step, unsigned param)
{
    return step->e ? step->e->param[param] : 0;
}
static inline int sim_step_e_has(const struct sim_step *step, unsigned flags)
{
    return step->e && (step->e->flags & flags) != 0;
}

static inline const struct card_batch_token *sim_step_batch(const struct sim_step *step) { return step->aux; }
/* The page numbers after the batch entries. */
static inline const uint32_t *sim_step_pages(const struct sim_step *step)
{
    return (const uint32_t *)(const void *)(sim_step_batch(step) + step->d->tokens);
}

/* Positions [from, to); none if from >= to. */
struct sim_span {
    uint32_t from, to;
};

/*
 * What a token of ATTENTION or INDEX may see of its sequence: positions below `visible`, within ATTENTION's window
 * (P3) and the token's own chunk (E.P1). Of these only the sparse positions if sim_step_sparse gives some.
 */
struct sim_span sim_step_seen(const struct sim_step *step, uint32_t token);

/* The token's E.P3 sparse positions, ascending, then CARD_NO_POSITION; NULL if the step is not SPARSE. */
static inline const uint32_t *sim_step_sparse(const struct sim_step *step, uint32_t token)
{
    if (step->d->opcode != CARD_OP_ATTENTION || !sim_step_e_has(step, CARD_FLAG_SPARSE)) return NULL;
    return (const uint32_t *)step->e_aux + (size_t)token * step->e->param[3];
}

/* Where a tile of a tiled matrix at `address`, dealt over `banks` (0 or 1: one), lies in this process. */
static inline uint8_t *sim_step_tile(const struct sim_memory *memory, card_addr address, uint32_t tile, uint32_t banks,
                                     uint64_t tile_bytes)
{
    const uint32_t bank = CARD_ADDR_BANK(address);
    return memory->bank[card_tile_bank(bank, tile, banks)].base +
           card_tile_offset(bank, CARD_ADDR_OFFSET(address), tile, banks, tile_bytes);
}

/* Where page `number`, of page_bytes, of the pool of KV_WRITE, ATTENTION or INDEX lies in this process. */
static inline uint8_t *sim_step_page(const struct sim_step *step, uint32_t number, uint64_t page_bytes)
{
    const struct card_descriptor *d = step->d;
    return sim_step_tile(step->memory, d->opcode == CARD_OP_KV_WRITE ? d->dst : d->weight, number,
                         card_pool_banks(d, step->e), page_bytes);
}

/*
 * Checks the tables that the descriptor reads, and of a table only what the descriptor reads: positions; `visible` of
 * ATTENTION and INDEX; table entries and page numbers of KV_WRITE, ATTENTION and INDEX; states of SCAN and CONV; sparse
 * positions; experts, and the slot addresses of those in use, of EXPERT_MATMUL; experts of AWAIT; indexes of GATHER.
 * ERROR_CARD says what lies; 0 for opcodes without a table.
 */
int sim_step_check(const struct sim_step *step, struct error *err);

#endif
