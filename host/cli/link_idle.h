/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stood in the link's way: the time in which nothing went to the card, by what the card was at meanwhile. Fed with a
 * card's events (card_trace), program by program.
 */
#ifndef SLUICE_CLI_LINK_IDLE_H
#define SLUICE_CLI_LINK_IDLE_H

#include "host/card/card.h"

#include <stdbool.h>
#include <stddef.h>

struct link_edge;

struct link_idle {
    struct link_edge *edges; /* owned; since the last count */
    size_t n_edges, capacity;
    bool is_out_of_memory;
    /* Summed up, in ps: operations by opcode; AWAIT is the host's turn, from a choice to the first copy for it; 0: no program. */
    uint64_t ps[CARD_OPCODE_END];
};

/* Zeroed at first; a struct timeline_sink's function with a struct link_idle as its context. */
void link_idle_event(void *link_idle, const struct timeline_event *event);

/* Adds what was idle between begin and end to the sums, from the events since the last call, and forgets these. */
void link_idle_count(struct link_idle *idle, uint64_t begin, uint64_t end);

void link_idle_close(struct link_idle *idle);

#endif
