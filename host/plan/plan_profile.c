/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/plan_profile.h"

#include "bitstreams/profiles/profile.h"
#include "host/plan/plan_make.h"

#include <stdio.h>

int plan_read_profiles(const char *card, const char *host, struct plan_places *out, struct error *err)
{
    struct card_profile c;
    struct host_profile h;
    *out = (struct plan_places){0};
    int status = card_profile_open(card, &c, err);
    if (status == 0) status = host_profile_open(host ? host : c.host, &h, err);
    if (status < 0) return status;
    snprintf(out->card, sizeof out->card, "%s", c.name);
    snprintf(out->host, sizeof out->host, "%s", h.name);
    snprintf(out->card_title, sizeof out->card_title, "%s", c.title);
    snprintf(out->host_title, sizeof out->host_title, "%s", h.title);
    out->memory.n_classes = c.n_memories;
    for (unsigned i = 0; i < c.n_memories; i++) {
        const struct memory_profile *m = &c.memory[i];
        snprintf(out->memory.class_name[i], sizeof out->memory.class_name[i], "%s",
                 m->kind == MEMORY_HBM ? "HBM" : "DDR");
        out->memory.banks[i] = m->channels;
        out->memory.bank_bytes[i] = m->bytes_per_channel;
        out->peak_bytes_per_s += (double)m->channels * (double)m->peak_bytes_per_s;
    }
    out->host_bytes = h.memory_bytes;
    out->host_to_card_bytes_per_s = h.host_to_card_bytes_per_s;
    out->nvme_bytes_per_s = h.nvme_bytes_per_s;
    out->eur_per_kwh = h.price_per_kwh;
    return 0;
}

/* The name at index of a list that ends with NULL. */
static const char *name_at(const char *const *names, size_t index)
{
    for (size_t i = 0; names[i]; i++)
        if (i == index) return names[i];
    return NULL;
}

const char *plan_card_name(size_t index) { return name_at(card_profile_names(), index); }
const char *plan_host_name(size_t index) { return name_at(host_profile_names(), index); }

static void add_source(void *context, const struct profile_figure *figure)
{
    struct plan *plan = context;
    if (plan->n_sources == PLAN_SOURCES) return;
    struct plan_source *source = &plan->source[plan->n_sources++];
    plan_copy_text(source->what, sizeof source->what, figure->field);
    plan_copy_text(source->value, sizeof source->value, figure->value);
    plan_copy_text(source->source, sizeof source->source, figure->source);
}

int plan_list_sources(const char *card, const char *host, struct plan *plan, struct error *err)
{
    struct card_profile profile;
    int status = card_profile_open(card, &profile, err);
    if (status == 0) status = card_profile_figures(card, add_source, plan, err);
    if (status == 0) status = host_profile_figures(host ? host : profile.host, add_source, plan, err);
    return status;
}
