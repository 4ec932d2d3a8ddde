/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulator's engine (sim/xrt) writes where a run's status belongs: the word of kernels/hls/hls_engine.h in lanes
 * 0 to 3, what it knows besides in the others, which the kernels leave 0, and a text behind the word. Counts are of the run.
 */
#ifndef SLUICE_SIM_ENGINE_STATUS_H
#define SLUICE_SIM_ENGINE_STATUS_H

#include <stdint.h>

#define ENGINE_STATUS_TEXT 448u
#define ENGINE_STATUS_OTHER 0x100u /* lane 0: it failed, and only the text says why */

struct engine_status {
    uint32_t status; /* enum hls_status, or ENGINE_STATUS_OTHER */
    uint32_t descriptor, item, value;
    uint64_t virtual_ps, cycles; /* of the clock of the card's profile; 0: it has none */
    uint64_t weight_bytes, kv_bytes, multiply_adds;
    uint64_t unused;
    char text[ENGINE_STATUS_TEXT]; /* why it failed, ended by 0; empty: as lanes 0 to 3 say */
};
_Static_assert(sizeof(struct engine_status) == 512, "a word and a text");

#endif
