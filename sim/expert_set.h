/* SPDX-License-Identifier: Apache-2.0 */
/* Which experts of a layer were met: a bit for each of the 65536 that a slot table may have. */
#ifndef SLUICE_SIM_EXPERT_SET_H
#define SLUICE_SIM_EXPERT_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct expert_set {
    uint64_t bits[1024];
};

/* Empty for experts below n; the bits of others stay undefined. */
static inline void expert_set_clear(struct expert_set *set, uint32_t n)
{
    memset(set->bits, 0, ((size_t)n + 63) / 64 * sizeof *set->bits);
}

/* True if the expert was not there yet. */
static inline bool expert_set_add(struct expert_set *set, uint32_t expert)
{
    const uint64_t bit = UINT64_C(1) << expert % 64;
    const bool is_new = !(set->bits[expert / 64] & bit);
    set->bits[expert / 64] |= bit;
    return is_new;
}

#endif
