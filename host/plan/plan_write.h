/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as text for a terminal, as JSON for scripts, as a page for people. */
#ifndef SLUICE_PLAN_PLAN_WRITE_H
#define SLUICE_PLAN_PLAN_WRITE_H

#include "host/plan/plan.h"

#include <stdio.h>

/* What every form of a plan says about itself. Static storage. */
const char *plan_disclaimer(void);

/* "Mixtral 8x7B on 2 x u55c" */
struct plan_title {
    char text[240];
};
struct plan_title plan_title(const struct plan *plan);

/* Whether the busiest part of the card is busy enough to be what limits; else parts wait for each other. */
bool plan_has_limit(const struct plan_decode *decode);

void plan_print(const struct plan *plan, FILE *out);

/* One JSON object and a newline. ERROR_NO_MEMORY, or ERROR_IO. Sizes are bytes, times seconds. */
int plan_write_json(const struct plan *plan, FILE *out, struct error *err);

/*
 * A self-contained page. sweep (NULL: none) and its n_points points are plotted in it. Write errors stay in out: ferror.
 */
struct sweep;
struct sweep_point;
void plan_write_html(const struct plan *plan, const struct sweep *sweep, const struct sweep_point *points,
                     uint32_t n_points, FILE *out);

#endif
