/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan takes from the profiles of card and host (bitstreams/profiles). */
#ifndef SLUICE_PLAN_PLAN_PROFILE_H
#define SLUICE_PLAN_PLAN_PROFILE_H

#include "host/plan/memory_plan.h"

struct plan_places {
    char card[64], card_title[64], host[64], host_title[64];
    struct card_memory memory;
    double peak_bytes_per_s;         /* of all channels of a card */
    uint64_t host_bytes, nvme_bytes; /* 0: not known */
    uint64_t host_to_card_bytes_per_s, nvme_bytes_per_s;
    double eur_per_kwh;
};

/* host NULL: the card's own. Names of built-in profiles or paths. */
int plan_read_profiles(const char *card, const char *host, struct plan_places *out, struct error *err);

/* Names of the built-in profiles, index from 0; NULL after the last. */
const char *plan_card_name(size_t index);
const char *plan_host_name(size_t index);

/* Every figure of both profiles and where it is from, into plan->source. */
int plan_list_sources(const char *card, const char *host, struct plan *plan, struct error *err);

#endif
