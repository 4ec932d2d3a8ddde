/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A routing trace through the streaming runtime in virtual time: the card programs of an architecture's shape
 * (host/plan) on a card that only keeps time, the expert slots, policy and copies of host/experts. Each row of a step is
 * one token that a sequence decodes. The router's choice is the trace's; everything after it is what serving does. No weight
 * exists anywhere, and card memory is address space: a share of the experts can be resident that no card has room for.
 */
#ifndef SLUICE_CLI_ROUTING_REPLAY_H
#define SLUICE_CLI_ROUTING_REPLAY_H

#include "host/card/card.h"
#include "host/experts/experts.h"
#include "host/experts/routing_trace.h"
#include "host/plan/architecture.h"

struct replay_options {
    const struct architecture *architecture; /* borrowed */
    const struct routing_shape *shape;       /* of the trace; borrowed */
    const char *card;                        /* a profile's name, perhaps with ",host=NAME" */
    const char *policy;                      /* NULL: the default */
    bool guesses;                /* the trace's predictions of the next layer are copied ahead, if it has them */
    uint32_t n_slots;            /* of all layers together; 0: every expert is resident */
    uint32_t dealt_as;           /* slots are dealt over banks as so many would be; 0: as n_slots */
    uint32_t max_rows, position; /* of a step; at which each token is decoded */
};

struct routing_replay; /* opaque */

/*
 * The replay is the caller's, who closes it. ERROR_BAD_ARGUMENT for a trace whose layers or experts are not the
 * architecture's; ERROR_UNSUPPORTED for a card without a profile; ERROR_NO_MEMORY.
 */
int routing_replay_open(const struct replay_options *options, struct routing_replay **out, struct error *err);
void routing_replay_close(struct routing_replay *replay); /* NULL does nothing */

/* Decodes the step's rows. */
int routing_replay_step(struct routing_replay *replay, const struct routing_step *step, struct error *err);

/* What steps took, all since opening; the difference of two is what was between them. */
struct replay_sums {
    uint64_t ps, steps, tokens;
    uint64_t weight_bytes, kv_bytes; /* that the card read */
    uint64_t link_busy_ps, stall_ps; /* the link towards the card; programs, in AWAIT */
    struct experts_traffic traffic;  /* of all layers */
};
void routing_replay_sum(struct routing_replay *replay, struct replay_sums *sums);

/* Of the trace's layer: below shape->n_layers. */
void routing_replay_layer(struct routing_replay *replay, uint32_t layer, struct experts_traffic *traffic);

/* Experts that the last step used and that came for it, in each of the trace's layers: [n_layers], until the next step. */
const uint32_t *routing_replay_misses(const struct routing_replay *replay);

uint64_t routing_replay_expert_bytes(const struct routing_replay *replay); /* of a layer's, in its slot */
struct card *routing_replay_card(struct routing_replay *replay);           /* to trace it; the replay's */

#endif
