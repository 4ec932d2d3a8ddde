/* SPDX-License-Identifier: Apache-2.0 */
/* Who brings the experts that a running program asks for: the host's side of PUBLISH and AWAIT. */
#ifndef SLUICE_SIM_AGENT_H
#define SLUICE_SIM_AGENT_H

#include "host/base/error.h"
#include "kernels/abi/card_program.h"

#include <stdbool.h>
#include <stdint.h>

/* All on the thread that runs the program. Zeros: nobody. */
struct card_agent {
    /* PUBLISH has run: choices[publish->tokens][publish->rows], borrowed for the call. An error ends the program. */
    int (*published)(void *context, const struct card_descriptor *publish, const struct card_choice *choices,
                     struct error *err);
    /*
     * AWAIT finds no slot for the expert; called again and again. late: its time is over, which is an error either way.
     * 0: it may still come. An error, which says why it will not, ends the program.
     */
    int (*missing)(void *context, uint32_t expert, bool late, struct error *err);
    void *context;
};

#endif
