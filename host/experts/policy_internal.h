/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy's file implements, and the heap that most of them are made of. Private to host/experts. */
#ifndef SLUICE_EXPERTS_POLICY_INTERNAL_H
#define SLUICE_EXPERTS_POLICY_INTERNAL_H

#include "host/experts/policy.h"

struct policy_ops {
    const char *name;
    /* Sets policy->own. */
    int (*open)(struct expert_policy *policy, const struct policy_inputs *inputs, struct error *err);
    void (*close)(struct expert_policy *policy); /* also after a failed open */
    void (*use)(struct expert_policy *policy, uint32_t layer, const uint16_t *experts, uint32_t n);
    void (*enter)(struct expert_policy *policy, uint32_t id); /* may be evicted from now on */
    void (*leave)(struct expert_policy *policy, uint32_t id); /* may not */
    uint32_t (*victim)(struct expert_policy *policy);
};

struct expert_policy {
    const struct policy_ops *ops;
    struct policy_shape shape;
    uint32_t n_ids, n_resident;
    uint8_t *resident; /* [id] */
    uint16_t *pins;    /* [id] */
    void *own;         /* the policy's */
};

extern const struct policy_ops policy_lru, policy_lfu, policy_profile, policy_adaptive, policy_belady;

/* Order of leaving: the least first goes first, ties by second, then by id. */
struct leave_rank {
    double first;
    uint64_t second;
};

/* An indexed binary heap of ids; setting, adding and removing take O(log n), the least O(1). */
struct leave_heap {
    uint32_t n;
    uint32_t *ids;           /* [n] */
    uint32_t *place;         /* [id], 0: not in the heap, else 1 + its place in ids */
    struct leave_rank *rank; /* [id], kept while it is not in the heap too */
};

int leave_heap_open(struct leave_heap *heap, uint32_t n_ids, struct error *err); /* all ranks 0 */
void leave_heap_close(struct leave_heap *heap);                                  /* allowed on {0} */
void leave_heap_set(struct leave_heap *heap, uint32_t id, struct leave_rank rank);
void leave_heap_add(struct leave_heap *heap, uint32_t id);
void leave_heap_remove(struct leave_heap *heap, uint32_t id);
uint32_t leave_heap_least(const struct leave_heap *heap); /* POLICY_NONE if it is empty */

/* enter, leave and victim of a policy whose own begins with its leave_heap. */
void policy_heap_enter(struct expert_policy *policy, uint32_t id);
void policy_heap_leave(struct expert_policy *policy, uint32_t id);
uint32_t policy_heap_victim(struct expert_policy *policy);

#endif
