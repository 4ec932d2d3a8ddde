/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache policies: which expert gives up its slot when another one comes. One interface, one file for each policy, and
 * no card: a policy sees what routers choose and says who goes.
 *
 * All layers share the slots (README.md says why). An expert's id is layer * n_experts + expert. Whoever moves experts
 * tells the policy, in this order for each layer of each step: use, then for each expert that is not resident victim and
 * remove (if no slot is free) and insert; experts that are being read or written are pinned meanwhile. Nothing here
 * allocates after opening, and no function but open can fail.
 */
#ifndef SLUICE_EXPERTS_POLICY_H
#define SLUICE_EXPERTS_POLICY_H

#include "host/base/error.h"
#include "host/experts/expert_profile.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_NONE UINT32_MAX
#define POLICY_DEFAULT "adaptive"

struct policy_shape {
    uint32_t n_layers, n_experts; /* of each layer */
    uint32_t n_slots;             /* of all layers together, at least 1 */
};

/* When each expert is used: for Belady's optimum, which knows the future. Uses are numbered by the call of use, from 0. */
struct policy_future {
    const uint64_t *first; /* [n_layers * n_experts + 1]: where an id's uses start in when */
    const uint32_t *when;  /* ascending for each id */
};

struct policy_inputs {
    const struct expert_profile *profile; /* of earlier traffic, read at opening only; NULL: none */
    const struct policy_future *future;   /* borrowed until close; only "belady" takes it */
};

struct expert_policy;

/* "lru", "lfu", "profile", "adaptive", "belady"; NULL past the last. Static. */
const char *expert_policy_name_at(unsigned index);

/*
 * The policy is the caller's, who closes it. ERROR_NOT_FOUND for a name that is none, ERROR_BAD_ARGUMENT for a shape
 * without layers, experts or slots and for an input that the policy needs and does not get.
 */
int expert_policy_open(const char *name, const struct policy_shape *shape, const struct policy_inputs *inputs,
                       struct expert_policy **out, struct error *err);
void expert_policy_close(struct expert_policy *policy); /* NULL does nothing */

const char *expert_policy_name(const struct expert_policy *policy);
uint32_t expert_policy_n_slots(const struct expert_policy *policy); /* as at opening */

/* A layer's router has chosen these n different experts for the rows of a step. Before any of them is looked up. */
void expert_policy_use(struct expert_policy *policy, uint32_t layer, const uint16_t *experts, uint32_t n);

bool expert_policy_is_resident(const struct expert_policy *policy, uint32_t id);
uint32_t expert_policy_n_resident(const struct expert_policy *policy);

/* The expert that should go first of those that are resident and not pinned; POLICY_NONE if there is none. */
uint32_t expert_policy_victim(struct expert_policy *policy);

/* It has a slot now, or none any more. Inserting a resident one or removing one that is not does nothing. */
void expert_policy_insert(struct expert_policy *policy, uint32_t id);
void expert_policy_remove(struct expert_policy *policy, uint32_t id);

/* Pins count; as many unpins let it go. Pins outlive removal. */
void expert_policy_pin(struct expert_policy *policy, uint32_t id);
void expert_policy_unpin(struct expert_policy *policy, uint32_t id);

#endif
