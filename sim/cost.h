/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a descriptor costs by itself: the unit that does it and for how many cycles, from shapes and what the account
 * found in tables. Memory is not in here: the clock charges it (clock_program.c).
 */
#ifndef SLUICE_SIM_COST_H
#define SLUICE_SIM_COST_H

#include "sim/account.h"
#include "sim/step.h"
#include "sim/timeline.h"

#include "bitstreams/profiles/profile.h"

struct sim_cost {
    unsigned unit;   /* enum timeline_resource */
    uint64_t cycles; /* of the unit, operands and weights never waited for */
    uint64_t lead,
        tail; /* of these, before and after the words of a matrix go by: those of the matrix before and of the
                            next one may go by meanwhile */
    uint64_t float_adds; /* multiply-adds that are not of a matrix */
};

struct sim_cost sim_cost_of(const struct engine_profile *engine, const struct sim_step *step,
                            const struct sim_work *work);

/*
 * Cycles of one matmul pipeline for `tiles` tiles of 16 rows of a matrix of `cols` columns in a format with blocks, against
 * `tokens` activation rows: kernels/rtl/cycles.json, measured in RTL with one token. Tiles go through by fours, because a
 * sum takes 16 cycles to come back; a round of one to three takes as long as a sum for each of its groups. Without the end,
 * which experts that follow each other have once.
 */
uint64_t sim_cost_tiles(const struct engine_profile *engine, unsigned format, uint32_t cols, uint64_t tiles,
                        uint64_t tokens);

#endif
