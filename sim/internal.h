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

sim_operation sim_norm, sim_quantize, sim_rope;                        /* vectors.c */
sim_operation sim_glu, sim_add, sim_scale, sim_soft_cap, sim_decay;    /* elementwise.c */
sim_operation sim_copy, sim_gather, sim_expert_sum, sim_expert_spread; /* rows.c */
sim_operation sim_router, sim_top_k;                                   /* router.c */
sim_operation sim_scan, sim_conv;                                      /* scan.c */
sim_operation sim_kv_write, sim_attention, sim_index;                  /* attention files */
sim_operation sim_matmul, sim_expert_matmul;                           /* matmul.c */

/* Bytes of scratch that the descriptor needs with this many threads; UINT64_MAX if that overflows. */
typedef uint64_t sim_scratch_size(const struct card_descriptor *d, unsigned threads);
sim_scratch_size sim_router_scratch, sim_attention_scratch, sim_index_scratch;
sim_scratch_size sim_matmul_scratch, sim_expert_matmul_scratch;

/* Items of `work` multiply-adds each that make a part worth another thread's attention. */
static inline uint32_t sim_grain(uint64_t work)
{
    uint64_t enough = 150000; /* some 20 us of one core: a thread that sleeps takes as long to wake */
    return work >= enough ? 1 : (uint32_t)(enough / (work ? work : 1));
}

#endif
