/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's calls in virtual time (sim/agent.h): charged where they are made, in the thread that runs the program, and
 * not where and when the bytes really move. Copies that it starts wait for each other on the link only, not for their ends.
 */
#ifndef SLUICE_SIM_CLOCK_STREAM_H
#define SLUICE_SIM_CLOCK_STREAM_H

#include "sim/clock.h"

/* The agent learns of a PUBLISH of n choices: it reads the mailbox, and decides. */
void sim_clock_answer(struct sim_clock *clock, card_addr mailbox, uint64_t n_choices);

/* It starts a copy to the card. When that ends, the n entries of slot tables are there, which AWAIT looks at. */
void sim_clock_stream(struct sim_clock *clock, card_addr address, uint64_t bytes, const card_addr *entries, unsigned n);

#endif
