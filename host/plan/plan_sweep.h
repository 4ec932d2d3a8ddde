/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many plans at once: every combination of the values that a text names, as
 * "quant=q4_0,q8_0;batch=1,8,32;ctx=4096,32768;cards=1,2;experts=resident,host".
 */
#ifndef SLUICE_PLAN_PLAN_SWEEP_H
#define SLUICE_PLAN_PLAN_SWEEP_H

#include "host/plan/plan.h"

#include <stdio.h>

#define SWEEP_MAX_VALUES 32u
#define SWEEP_MAX_POINTS 4096u

enum sweep_axis { SWEEP_QUANT, SWEEP_BATCH, SWEEP_CONTEXT, SWEEP_CARDS, SWEEP_EXPERTS, SWEEP_AXES };

struct sweep {
    uint32_t n_values[SWEEP_AXES];                /* 0: the axis is not swept */
    uint32_t value[SWEEP_AXES][SWEEP_MAX_VALUES]; /* of QUANT enum card_format, of EXPERTS enum plan_experts */
};

struct sweep_point {
    uint32_t value[SWEEP_AXES];
    bool fits;
    enum plan_experts experts; /* decided */
    uint64_t first_token_ps;   /* of the short prompt; 0: no room for it */
    struct plan_decode decode; /* at the point's batch */
};

/* ERROR_BAD_ARGUMENT names the part of the text and what is allowed there. */
int sweep_parse(const char *text, struct sweep *out, struct error *err);

/* *points: owned by the caller, free. What is not swept is as in request. */
int sweep_run(const struct sweep *sweep, const struct plan_request *request, struct sweep_point **points,
              uint32_t *n_points, struct error *err);

/* Comma-separated values of RFC 4180, with a line of names first. Write errors stay in out: ferror. */
void sweep_write_csv(const struct sweep_point *points, uint32_t n_points, const char *model, const char *card,
                     FILE *out);

/* A section of a page: tokens/s of every point, and a plot of tokens/s over the longest axis of numbers. */
void sweep_write_plot(const struct sweep *sweep, const struct sweep_point *points, uint32_t n_points, FILE *out);

#endif
