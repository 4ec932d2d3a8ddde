/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ROUTER, TOP_K and INDEX write where nothing is computed: choices that a hash of the descriptor's number and the
 * token gives, so that a run can be repeated. Experts are equally likely and different tokens choose independently, within
 * the groups that ROUTER may choose from; positions of INDEX are spread over what is visible.
 */
#ifndef SLUICE_SIM_MADE_UP_H
#define SLUICE_SIM_MADE_UP_H

#include "sim/step.h"

#include <stdbool.h>

static inline bool sim_makes_up(unsigned opcode)
{
    return opcode == CARD_OP_ROUTER || opcode == CARD_OP_TOP_K || opcode == CARD_OP_INDEX;
}

/* number: of the descriptor among those that make something up, since the card was opened. */
void sim_make_up(const struct sim_step *step, uint64_t number);

#endif
