/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/act_panel.h"

#include "sim/lanes.h"

#include <string.h>

struct packing {
    struct act_row first;
    struct act_cell *cell;
    uint32_t n, groups;
    int32_t offset;
    int halves; /* the format has a scale for each 16 columns */
};

uint64_t act_panel_bytes(uint64_t rows, uint64_t groups)
{
    uint64_t cells, bytes;
    if (__builtin_mul_overflow(rows, groups, &cells) || __builtin_mul_overflow(cells, sizeof(struct act_cell), &bytes))
        return UINT64_MAX;
    return bytes;
}

SIM_INLINE int32_t sum_of_half(const int8_t *value)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < CARD_GROUP_COLS / 2; i++) sum += value[i];
    return sum;
}

SIM_INLINE void pack_cell(const struct packing *job, size_t group, struct act_cell *cell, int halves)
{
    const int32_t sum = job->first.sum[group];
    memcpy(cell->value, job->first.value + group * CARD_GROUP_COLS, sizeof cell->value);
    cell->scale = job->first.scale[group];
    cell->sum = (float)sum;
    const int32_t half = halves ? sum_of_half(cell->value) : sum;
    cell->start[0] = wrapped_product(-job->offset, half);
    cell->start[1] = wrapped_product(-job->offset, wrapped_difference(sum, half));
}

/* Items are panels' groups: cells that lie together. */
SIM_CLONES
static void pack_part(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct packing *job = opaque;
    for (uint32_t i = begin; i < end; i++) {
        const uint32_t from = i / job->groups * PANEL_ROWS, g = i % job->groups;
        const uint32_t rows = job->n - from < PANEL_ROWS ? job->n - from : PANEL_ROWS;
        struct act_cell *cell = job->cell + (size_t)from * job->groups + (size_t)g * rows;
        for (uint32_t r = 0; r < rows; r++) {
            const size_t group = (size_t)(from + r) * job->groups + g;
            if (job->halves)
                pack_cell(job, group, cell + r, 1);
            else
                pack_cell(job, group, cell + r, 0);
        }
    }
}

void act_panel_pack(struct pool *pool, unsigned format, const struct act_row *first, uint32_t n, uint32_t groups,
                    struct act_cell *cell)
{
    struct packing job = {.first = *first,
                          .cell = cell,
                          .n = n,
                          .groups = groups,
                          .offset = tile_offset(format),
                          .halves = format == CARD_FORMAT_Q6_K};
    const uint32_t panels = (n + PANEL_ROWS - 1) / PANEL_ROWS;
    const uint64_t work = 40ull * (n < PANEL_ROWS ? n : PANEL_ROWS);
    pool_run(pool, panels * groups, sim_grain(work), pack_part, &job);
}
