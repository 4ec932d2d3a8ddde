/* SPDX-License-Identifier: Apache-2.0 */
/* Least recently used goes first. Of the experts of one choice, which is sorted best first, the worst counts as oldest. */
#include "host/base/memory.h"
#include "host/experts/policy_internal.h"

struct lru {
    struct leave_heap heap; /* first: policy_heap_enter and the others find it */
    uint64_t now;
};

static int lru_open(struct expert_policy *policy, const struct policy_inputs *inputs, struct error *err)
{
    (void)inputs;
    struct lru *lru = policy->own = memory_array(1, sizeof *lru);
    if (!lru) return error_set(err, ERROR_NO_MEMORY, "no host memory for policy lru");
    return leave_heap_open(&lru->heap, policy->n_ids, err);
}

static void lru_close(struct expert_policy *policy)
{
    leave_heap_close(&((struct lru *)policy->own)->heap);
    free(policy->own);
}

static void lru_use(struct expert_policy *policy, uint32_t layer, const uint16_t *experts, uint32_t n)
{
    struct lru *lru = policy->own;
    lru->now += n;
    for (uint32_t i = 0; i < n; i++)
        leave_heap_set(&lru->heap, layer * policy->shape.n_experts + experts[i], (struct leave_rank){0, lru->now - i});
}

const struct policy_ops policy_lru = {
    .name = "lru",
    .open = lru_open,
    .close = lru_close,
    .use = lru_use,
    .enter = policy_heap_enter,
    .leave = policy_heap_leave,
    .victim = policy_heap_victim,
};
