/* SPDX-License-Identifier: Apache-2.0 */
/* What decoding and prompts share: the clock of a stage, and the energy of all cards. */
#ifndef SLUICE_PLAN_PLAN_STAGE_H
#define SLUICE_PLAN_PLAN_STAGE_H

#include "host/plan/plan_speed.h"

/* Whether a card with the one does what a card with the other does. */
bool plan_stage_same(const struct architecture *architecture, const struct plan_stage *a, const struct plan_stage *b);

/* The clock of a stage of that shape, opened when it is first asked for; owned by speed. */
int plan_stage_clock(struct plan_speed *speed, const struct plan_stage *stage, struct plan_clock **out,
                     struct error *err);

/*
 * Joules by kind, and their sum, of `rounds` times what total counted, which took `seconds`: static power of all cards and
 * of the host for that time, the rest as counted.
 */
double plan_stage_joules(const struct plan_speed *speed, const struct clock_step *total, double rounds, double seconds,
                         double joules[TIMELINE_ENERGIES]);

#endif
