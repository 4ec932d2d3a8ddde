/* SPDX-License-Identifier: Apache-2.0 */
/* Plans beside the plan: what would be faster, and which cards would do. */
#include "host/card/card.h"
#include "host/plan/plan_make.h"
#include "host/plan/plan_number.h"

#include <stdio.h>
#include <string.h>

#define WORTH 1.02 /* a change is told from this factor on */

/* Plans the request's batch alone; 0 if it does not fit or cannot be. */
static int speed_of(const struct plan_request *request, double *tokens_per_s, struct error *err)
{
    struct plan_setting setting;
    struct plan_decode decode = {.batch = request->batch};
    *tokens_per_s = 0;
    int status = plan_setting_open(request, &setting, err);
    if (status < 0) return status;
    status = plan_setting_decode(&setting, &decode, err);
    if (status == 0 && decode.fits) *tokens_per_s = decode.tokens_per_s;
    plan_setting_close(&setting);
    return status;
}

/* Keeps a change that is worth it, fastest first. */
static void keep(struct plan *plan, const char *text, double tokens_per_s)
{
    unsigned at = plan->n_changes;
    if (tokens_per_s < WORTH * plan->decode[plan->asked].tokens_per_s) return;
    while (at > 0 && plan->change[at - 1].tokens_per_s < tokens_per_s) at--;
    if (at == PLAN_CHANGES) return;
    unsigned moved = (plan->n_changes < PLAN_CHANGES ? plan->n_changes : PLAN_CHANGES - 1) - at;
    memmove(&plan->change[at + 1], &plan->change[at], moved * sizeof plan->change[0]);
    plan->change[at].tokens_per_s = tokens_per_s;
    snprintf(plan->change[at].text, sizeof plan->change[at].text, "%s", text);
    if (plan->n_changes < PLAN_CHANGES) plan->n_changes++;
}

static int try_change(struct plan *plan, const struct plan_request *request, const char *text, struct error *err)
{
    double tokens_per_s;
    int status = speed_of(request, &tokens_per_s, err);
    if (status == 0) keep(plan, text, tokens_per_s);
    return status;
}

/* The fewest cards of this kind that hold what is asked for; 0: not even PLAN_MAX_CARDS. */
static int fewest_cards(const struct plan_setting *setting, const struct card_memory *card, enum plan_experts experts,
                        uint32_t *cards, struct error *err)
{
    uint32_t n_layers = setting->architecture.n_layers;
    uint32_t low = 0, high = n_layers < PLAN_MAX_CARDS ? n_layers : PLAN_MAX_CARDS; /* low does not do */
    struct plan_setting with = *setting;
    struct memory_layout layout;
    with.places.memory = *card;
    with.request.experts = experts;
    *cards = 0;
    while (low < high) {
        with.request.cards = *cards == 0 ? high : low + (high - low) / 2;
        int status = plan_setting_layout(&with, setting->request.batch, setting->request.context, &layout, err);
        if (status < 0) return status;
        bool fits = layout.memory.fits;
        memory_plan_close(&layout);
        if (!fits && *cards == 0) return 0;
        if (fits)
            *cards = high = with.request.cards;
        else
            low = with.request.cards;
        if (high - low == 1) break;
    }
    return 0;
}

static int try_more_cards(const struct plan_setting *setting, struct plan *plan, struct error *err)
{
    struct plan_request request = setting->request;
    char text[sizeof plan->change[0].text];
    uint32_t cards = request.cards * 2;
    if (plan->memory.resident_share < 1) {
        int status = fewest_cards(setting, &setting->places.memory, PLAN_EXPERTS_RESIDENT, &cards, err);
        if (status < 0 || cards == 0) return status;
        request.experts = PLAN_EXPERTS_RESIDENT;
        snprintf(text, sizeof text, "%u %s cards, all experts resident", cards, plan->card);
    } else if (cards <= setting->architecture.n_layers && cards <= PLAN_MAX_CARDS) {
        snprintf(text, sizeof text, "%u %s cards", cards, plan->card);
    } else {
        return 0;
    }
    request.cards = cards;
    return try_change(plan, &request, text, err);
}

/* The link that brings most, if experts go over it. */
static int try_faster_link(const struct plan_setting *setting, struct plan *plan, struct error *err)
{
    struct plan_request request = setting->request;
    uint64_t best = setting->places.host_to_card_bytes_per_s;
    char text[sizeof plan->change[0].text];
    const char *name;
    request.host = NULL;
    for (size_t i = 0; (name = plan_host_name(i)) != NULL; i++) {
        struct plan_places places;
        int status = plan_read_profiles(request.card, name, &places, err);
        if (status < 0) return status;
        if (places.host_to_card_bytes_per_s <= best) continue;
        best = places.host_to_card_bytes_per_s;
        request.host = name;
    }
    if (request.host == NULL) return 0;
    snprintf(text, sizeof text, "a link as of host %s (%s)", request.host, number_rate((double)best).text);
    return try_change(plan, &request, text, err);
}

static int try_smaller_pages(const struct plan_setting *setting, struct plan *plan, struct error *err)
{
    struct plan_request request = setting->request;
    int status = 0;
    if (request.kv_format != CARD_FORMAT_INT8 && request.kv_format != CARD_FORMAT_INT4) {
        request.kv_format = CARD_FORMAT_INT8;
        status = try_change(plan, &request, "KV pages in int8", err);
    }
    if (status < 0 || setting->request.kv_format == CARD_FORMAT_INT4) return status;
    request.kv_format = CARD_FORMAT_INT4;
    return try_change(plan, &request, "KV pages in int4", err);
}

static int try_smaller_weights(const struct plan_setting *setting, struct plan *plan, struct error *err)
{
    struct plan_request request = setting->request;
    request.weight_format = CARD_FORMAT_INT4;
    return try_change(plan, &request, "weights in INT4 (q4_0), at a loss of quality", err);
}

/* The built-in card with the fastest memory. */
static int try_faster_card(const struct plan_setting *setting, struct plan *plan, struct error *err)
{
    struct plan_request request = setting->request;
    double best = setting->places.peak_bytes_per_s;
    char text[sizeof plan->change[0].text];
    const char *name;
    bool found = false;
    for (size_t i = 0; (name = plan_card_name(i)) != NULL; i++) {
        struct plan_places places;
        int status = plan_read_profiles(name, NULL, &places, err);
        if (status < 0) return status;
        if (places.peak_bytes_per_s <= best) continue;
        best = places.peak_bytes_per_s;
        request.card = name;
        request.host = NULL;
        found = true;
    }
    if (!found) return 0;
    snprintf(text, sizeof text, "%u %s card%s (%s each)", request.cards, request.card, request.cards == 1 ? "" : "s",
             number_rate(best).text);
    return try_change(plan, &request, text, err);
}

int plan_find_changes(const struct plan_setting *setting, struct plan *plan, struct error *err)
{
    if (!plan->decode[plan->asked].fits) return 0;
    int status = try_more_cards(setting, plan, err);
    if (status == 0) status = try_faster_link(setting, plan, err);
    if (status == 0) status = try_smaller_pages(setting, plan, err);
    if (status == 0) status = try_smaller_weights(setting, plan, err);
    if (status == 0) status = try_faster_card(setting, plan, err);
    return status;
}

/* The fewest cards win; of equally many, those with less memory. best is NULL if no built-in card does. */
static int search_cards(const struct plan_setting *setting, enum plan_experts experts, const char **best,
                        uint32_t *best_cards, double *best_bytes, struct error *err)
{
    const char *name;
    *best = NULL;
    for (size_t i = 0; (name = plan_card_name(i)) != NULL; i++) {
        struct plan_places places;
        uint32_t cards;
        double bytes = 0;
        int status = plan_read_profiles(name, NULL, &places, err);
        if (status == 0) status = fewest_cards(setting, &places.memory, experts, &cards, err);
        if (status < 0) return status;
        for (unsigned c = 0; c < places.memory.n_classes; c++)
            bytes += (double)places.memory.banks[c] * (double)places.memory.bank_bytes[c] * cards;
        bool fewer = *best == NULL || cards < *best_cards || (cards == *best_cards && bytes < *best_bytes);
        if (cards == 0 || !fewer) continue;
        *best = name;
        *best_cards = cards;
        *best_bytes = bytes;
    }
    return 0;
}

int plan_find_cards(const struct plan_setting *setting, char *text, size_t size, struct error *err)
{
    enum plan_experts asked = setting->request.experts;
    const char *best, *resident = NULL;
    uint32_t cards, resident_cards = 0, same = 0;
    double bytes, resident_bytes = 0;
    int status = search_cards(setting, asked, &best, &cards, &bytes, err);
    if (status == 0) status = fewest_cards(setting, &setting->places.memory, asked, &same, err);
    if (status == 0 && asked != PLAN_EXPERTS_RESIDENT)
        status = search_cards(setting, PLAN_EXPERTS_RESIDENT, &resident, &resident_cards, &resident_bytes, err);
    if (status < 0) return status;
    if (best == NULL) {
        snprintf(text, size, "No set of cards of one built-in profile holds it (%u at most, and no more than layers).",
                 PLAN_MAX_CARDS);
        return 0;
    }
    int n = snprintf(text, size, "The smallest set that holds it: %u x %s, %s of card memory", cards, best,
                     number_bytes(bytes).text);
    size_t used = n > 0 && (size_t)n < size ? (size_t)n : size - 1;
    if (same > 0 && strcmp(best, setting->places.card) != 0)
        n = snprintf(text + used, size - used, "; of %s: %u", setting->places.card, same);
    else
        n = 0;
    used += n > 0 && (size_t)n < size - used ? (size_t)n : 0;
    if (resident != NULL && resident_cards > cards)
        snprintf(text + used, size - used, "; with all experts resident: %u x %s.", resident_cards, resident);
    else
        snprintf(text + used, size - used, ".");
    return 0;
}
