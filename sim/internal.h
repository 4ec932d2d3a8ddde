/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the executor share. */
#ifndef SLUICE_SIM_INTERNAL_H
#define SLUICE_SIM_INTERNAL_H

#include "sim/pool.h"
#include "sim/step.h"

#include <stddef.h>
#include <stdint.h>

/* Scratch of one program: grows before the program runs, never during. */
struct sim_scratch {
    void *block;
    size_t bytes;
};

/* An operation on resolved operands whose tables have been checked. scratch holds what its sim_*_scratch asked for. */
typedef void sim_operation(struct pool *pool, const struct sim_step *step, void *scratch);

sim_operation sim_norm, sim_quantize, sim_rope, sim_router, sim_glu, sim_expert_sum, sim_gather; /* vectors.c */
sim_operation sim_kv_write, sim_attention;                                                       /* attention.c */
sim_operation sim_matmul, sim_expert_matmul;                                                     /* matmul.c */

/* Bytes of scratch that the descriptor needs with this many threads; UINT64_MAX if that overflows. */
uint64_t sim_attention_scratch(const struct card_descriptor *d, unsigned threads);
uint64_t sim_expert_matmul_scratch(const struct card_descriptor *d, unsigned threads);

/* Items of `work` multiply-adds each that make a part worth another thread's attention. */
static inline uint32_t sim_grain(uint64_t work)
{
    uint64_t enough = 150000; /* some 20 us of one core: a thread that sleeps takes as long to wake */
    return work >= enough ? 1 : (uint32_t)(enough / (work ? work : 1));
}

#endif
