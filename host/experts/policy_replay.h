/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trace through a policy, without a card or a clock: how many experts must be moved. A visit is one layer of one
 * step; the experts of a visit are pinned together, as all of them must be there for the layer to be computed.
 */
#ifndef SLUICE_EXPERTS_POLICY_REPLAY_H
#define SLUICE_EXPERTS_POLICY_REPLAY_H

#include "host/experts/policy.h"
#include "host/experts/routing_trace.h"

/* The different experts of each visit, in the order in which the step's rows name them. {0} with a shape is empty. */
struct policy_visits {
    uint32_t n_layers, n_experts, n_used;
    uint32_t n;        /* visits so far; visit v is of layer v % n_layers */
    uint64_t *first;   /* [n + 1] in experts; owned, as experts is */
    uint16_t *experts; /* [first[n]] */
    uint64_t visit_capacity, expert_capacity;
};

int policy_visits_add(struct policy_visits *visits, const struct routing_step *step, struct error *err);
void policy_visits_close(struct policy_visits *visits); /* leaves {0} */

/* The future that "belady" needs; its arrays are the caller's, freed by policy_future_close. */
int policy_visits_future(const struct policy_visits *visits, struct policy_future *future, struct error *err);
void policy_future_close(struct policy_future *future);

struct policy_counts {
    uint64_t uses, misses; /* different experts of a visit, and those of them that were not resident */
    uint64_t refused;      /* misses for which no slot could be freed: fewer slots than a visit has experts */
};

/* Replays all visits. The counts start at visit n_warm: those before fill the slots. */
void policy_replay(struct expert_policy *policy, const struct policy_visits *visits, uint32_t n_warm,
                   struct policy_counts *counts);

#endif
