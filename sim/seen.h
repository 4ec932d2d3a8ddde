/* SPDX-License-Identifier: Apache-2.0 */
/* The positions that a token sees, page by page. */
#ifndef SLUICE_SIM_SEEN_H
#define SLUICE_SIM_SEEN_H

#include "sim/kv_pages.h"
#include "sim/step.h"

#define NO_PAGE UINT32_MAX

/* What is left of a token's positions: span, or those of the ascending list `sparse` that lie in span. */
struct seen {
    struct sim_span span;
    const uint32_t *sparse, *end;
};

static inline struct seen seen_by(const struct sim_step *step, uint32_t token)
{
    struct seen seen = {.span = sim_step_seen(step, token), .sparse = sim_step_sparse(step, token)};
    if (!seen.sparse) return seen;
    seen.end = seen.sparse + step->e->param[3];
    while (seen.sparse < seen.end && *seen.sparse < seen.span.from) seen.sparse++;
    return seen;
}

/* The next page with a position that is seen, NO_PAGE if there is none. */
static inline uint32_t seen_page(const struct seen *seen)
{
    if (!seen->sparse) return seen->span.from < seen->span.to ? seen->span.from / CARD_PAGE_TOKENS : NO_PAGE;
    /* CARD_NO_POSITION, which ends a short list, is past every span. */
    return seen->sparse < seen->end && *seen->sparse < seen->span.to ? *seen->sparse / CARD_PAGE_TOKENS : NO_PAGE;
}

/* Takes the slots of `page`, which is not past seen_page. */
static inline slot_set seen_take(struct seen *seen, uint32_t page)
{
    const uint32_t start = page * CARD_PAGE_TOKENS;
    slot_set slots = 0;
    if (seen_page(seen) != page) return 0;
    if (!seen->sparse) {
        const uint32_t to = seen->span.to - start < CARD_PAGE_TOKENS ? seen->span.to - start : CARD_PAGE_TOKENS;
        slots = (slot_set)(UINT64_MAX << (seen->span.from - start) & ~(UINT64_MAX << to));
        seen->span.from = start + CARD_PAGE_TOKENS;
        return slots;
    }
    for (; seen_page(seen) == page; seen->sparse++) slots |= 1u << (*seen->sparse - start);
    return slots;
}

/* How many positions are left. */
static inline uint64_t seen_count(struct seen seen)
{
    if (!seen.sparse) return seen.span.from < seen.span.to ? seen.span.to - seen.span.from : 0;
    uint64_t n = 0;
    for (; seen_page(&seen) != NO_PAGE; seen.sparse++) n++;
    return n;
}

#endif
