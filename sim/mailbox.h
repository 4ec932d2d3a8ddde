/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUBLISH and AWAIT: how a running program and the host, in another thread, tell each other which experts are chosen and
 * where they lie. Both sides use atomic loads and stores of whole words (host_memory_write and host_memory_read of
 * host/card give them to the host). The float reference uses these too.
 */
#ifndef SLUICE_SIM_MAILBOX_H
#define SLUICE_SIM_MAILBOX_H

#include "host/base/error.h"
#include "sim/agent.h"
#include "sim/step.h"

/* Writes the choices, then the sequence number with release order: who reads it by acquire sees the choices. */
void sim_publish(const struct sim_step *step);

/*
 * Returns 0 when every chosen expert has a slot, having read it by acquire: what the host wrote before is seen. PER_CHOICE:
 * when one has, and dst says which; is_taken: dst says already which are to be taken, and these are waited for.
 * ERROR_CARD names an expert that has none and the time waited, or is the agent's, who is asked while it waits. The choices
 * have passed sim_step_check.
 */
int sim_await(const struct sim_step *step, const struct card_agent *agent, bool is_taken, struct error *err);

/* Descriptors behind an AWAIT that do not run. */
unsigned sim_passed_over(const struct sim_step *step);

#endif
