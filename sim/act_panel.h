/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The activations of a matmul with many tokens, packed for panel kernels. Rows are cut into panels of PANEL_ROWS, the last
 * one may be shorter; the cells of a panel are [groups][rows of the panel], so that a kernel reads them from end to end
 * where act[T][C] would take it to as many cache lines as there are tokens, all of them in the same few sets.
 */
#ifndef SLUICE_SIM_ACT_PANEL_H
#define SLUICE_SIM_ACT_PANEL_H

#include "sim/internal.h"
#include "sim/tile_kernels.h"

#define PANEL_ROWS 64u

/* Fewer rows than these are not worth packing. */
#define PANEL_LEAST_ROWS 4u

/* Bytes of the cells; UINT64_MAX if that overflows. */
uint64_t act_panel_bytes(uint64_t rows, uint64_t groups);

/* Packs n rows that follow each other for weights of this format, with all threads of the pool. */
void act_panel_pack(struct pool *pool, unsigned format, const struct act_row *first, uint32_t n, uint32_t groups,
                    struct act_cell *cell);

/* The cells of the panel that starts with row `from`. */
static inline const struct act_cell *act_panel_at(const struct act_cell *cell, uint32_t from, uint32_t groups)
{
    return cell + (size_t)from * groups;
}

#endif
