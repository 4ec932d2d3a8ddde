/* SPDX-License-Identifier: Apache-2.0 */
/* A plan in the making, shared by plan.c and plan_change.c. */
#ifndef SLUICE_PLAN_PLAN_MAKE_H
#define SLUICE_PLAN_PLAN_MAKE_H

#include "host/plan/plan_profile.h"
#include "host/plan/plan_speed.h"

/* A request with every choice made. */
struct plan_setting {
    struct plan_request request;
    struct architecture architecture;  /* a copy, in the formats asked for */
    struct architecture_layer *layers; /* owned; the copy's */
    struct plan_places places;
    struct plan_speed speed;
};

/* As much of foreign text as size bytes hold, fit to be shown: control characters and what is no UTF-8 become '?'. */
void plan_copy_text(char *to, size_t size, const char *from);

int plan_setting_open(const struct plan_request *request, struct plan_setting *out, struct error *err);
void plan_setting_close(struct plan_setting *setting); /* a zeroed one is allowed */

/* The layout for so many sequences of so many tokens. */
int plan_setting_layout(const struct plan_setting *setting, uint32_t batch, uint32_t context,
                        struct memory_layout *layout, struct error *err);

/* Decodes with out->batch sequences, or sets fits to false. */
int plan_setting_decode(struct plan_setting *setting, struct plan_decode *out, struct error *err);

/* The same of a prompt of out->prompt tokens that arrives alone. */
int plan_setting_prefill(struct plan_setting *setting, struct plan_prefill *out, struct error *err);

/* What would be faster than the plan: each change planned anew. */
int plan_find_changes(const struct plan_setting *setting, struct plan *plan, struct error *err);

/* The smallest set of equal cards with a built-in profile that holds what was asked for, in words. */
int plan_find_cards(const struct plan_setting *setting, char *text, size_t size, struct error *err);

#endif
