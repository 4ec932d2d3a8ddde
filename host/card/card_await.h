/* SPDX-License-Identifier: Apache-2.0 */
/* AWAIT of backends whose device cannot wait by itself: the host looks at the slot table between two parts of a program. */
#ifndef SLUICE_CARD_CARD_AWAIT_H
#define SLUICE_CARD_CARD_AWAIT_H

#include "host/base/error.h"
#include "kernels/abi/card_program.h"

#include <stdbool.h>

/* What an AWAIT sees in its slot table. */
struct card_look {
    uint64_t missing;     /* an expert without a slot; CARD_NO_SLOT: there is none */
    bool goes_on;         /* as many have one as it waits for */
    uint32_t passed_over; /* descriptors behind it that do not run */
};

/*
 * sorted[2 n]: the choices with a slot, and behind them those without, which is what a PER_CHOICE writes to its dst when it
 * goes on. n = tokens x P0. ERROR_CARD for an expert that the slot table has not: choices may have been written since the
 * card checked them.
 */
int card_await_look(const struct card_descriptor *d, const struct card_choice *choices, const card_addr *slots,
                    struct card_choice *sorted, struct card_look *look, struct error *err);

#endif
