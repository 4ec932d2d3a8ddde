/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compute unit "sluice_engine:engine_0" as a host sees it over AXI-lite: control register (ap_start, ap_done, ap_idle)
 * and the argument registers of bitstreams/simulator_bitstream.h. A run happens on a thread of its own, over card memory.
 */
#ifndef SLUICE_SIM_XRT_ENGINE_UNIT_H
#define SLUICE_SIM_XRT_ENGINE_UNIT_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_UNIT_BASE 0x1800000u
#define ENGINE_UNIT_REGISTERS 0x10000u /* bytes of address space */
#define ENGINE_UNIT_BANKS 4u

/* Card memory: one stretch of addresses from 0, backed where it is touched. */
struct card_space {
    uint8_t *base;
    uint64_t bytes;
};

/* Where the range lies; NULL if it is not inside. */
static inline uint8_t *card_space_at(const struct card_space *space, uint64_t address, uint64_t bytes)
{
    return address <= space->bytes && bytes <= space->bytes - address ? space->base + address : NULL;
}

struct engine_unit_settings {
    const char *card;     /* profile whose virtual time runs are charged; NULL: none */
    bool hls;             /* runs the kernels of kernels/hls instead of the fast executors */
    unsigned threads;     /* of the fast executors; 0: one per core */
    uint64_t hang_at_run; /* this run, counted from 1, never ends; 0: none */
    uint64_t die_at_run;  /* in this run the process kills itself */
};

struct engine_unit;

/* space is borrowed until the close. */
int engine_unit_open(const struct engine_unit_settings *settings, const struct card_space *space,
                     struct engine_unit **out, struct error *err);
void engine_unit_close(struct engine_unit *unit); /* abandons what runs; NULL is allowed */

/* As the bus does it; ranges outside the registers are ignored and read as 0. */
void engine_unit_write(struct engine_unit *unit, uint64_t offset, const uint8_t *bytes, size_t n);
void engine_unit_read(struct engine_unit *unit, uint64_t offset, uint8_t *bytes, size_t n);

/* Runs that were started, and their virtual time. */
void engine_unit_count(struct engine_unit *unit, uint64_t *runs, uint64_t *virtual_ps);

#endif
