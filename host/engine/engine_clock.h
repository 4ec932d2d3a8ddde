/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine knows of time: the virtual time of its card, if that keeps a clock, and the wall clock's otherwise. Of
 * host/engine, host/experts and sim this is the only place that may read a wall clock (tests/lint/lint.py): on a card with
 * a clock nothing that the engine does, decides or reports depends on the speed of this machine.
 */
#ifndef SLUICE_ENGINE_ENGINE_CLOCK_H
#define SLUICE_ENGINE_ENGINE_CLOCK_H

#include "host/card/card.h"

struct engine_clock {
    struct card *card;   /* whose clock this is; NULL: the wall clock */
    uint64_t started_ns; /* of the wall clock */
};

/* card is borrowed for as long as the clock is read. */
void engine_clock_open(struct engine_clock *clock, struct card *card);

/* Picoseconds. Only the thread that owns the card may ask a card's clock; any thread may ask the wall clock. */
uint64_t engine_clock_now(const struct engine_clock *clock);

static inline double engine_clock_seconds(uint64_t from, uint64_t to) { return 1e-12 * (double)(to - from); }

#endif
