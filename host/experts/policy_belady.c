/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The optimum of Belady, "A study of replacement algorithms for a virtual-storage computer" (IBM Systems Journal 1966):
 * the expert whose next use is farthest goes first. Only for traces, whose future is known.
 */
#include "host/base/memory.h"
#include "host/experts/policy_internal.h"

struct belady {
    struct leave_heap heap; /* first: policy_heap_enter and the others find it */
    const struct policy_future *future;
    uint64_t *next; /* [id]: its first use in future->when that has not come */
};

static struct leave_rank rank_of(const struct belady *belady, uint32_t id)
{
    if (belady->next[id] == belady->future->first[id + 1]) return (struct leave_rank){-0x1p40, 0}; /* never again */
    return (struct leave_rank){-(double)belady->future->when[belady->next[id]], 0};
}

static int belady_open(struct expert_policy *policy, const struct policy_inputs *inputs, struct error *err)
{
    if (!inputs->future) return error_set(err, ERROR_BAD_ARGUMENT, "policy belady is for traces: it needs the future");
    struct belady *belady = policy->own = memory_array(1, sizeof *belady);
    if (!belady) return error_set(err, ERROR_NO_MEMORY, "no host memory for policy belady");
    belady->future = inputs->future;
    belady->next = memory_array(policy->n_ids, sizeof *belady->next);
    if (!belady->next) return error_set(err, ERROR_NO_MEMORY, "no host memory for policy belady");
    int status = leave_heap_open(&belady->heap, policy->n_ids, err);
    if (status < 0) return status;
    for (uint32_t id = 0; id < policy->n_ids; id++) {
        belady->next[id] = belady->future->first[id];
        belady->heap.rank[id] = rank_of(belady, id);
    }
    return 0;
}

static void belady_close(struct expert_policy *policy)
{
    struct belady *belady = policy->own;
    leave_heap_close(&belady->heap);
    free(belady->next);
    free(belady);
}

static void belady_use(struct expert_policy *policy, uint32_t layer, const uint16_t *experts, uint32_t n)
{
    struct belady *belady = policy->own;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = layer * policy->shape.n_experts + experts[i];
        if (belady->next[id] < belady->future->first[id + 1]) belady->next[id]++;
        leave_heap_set(&belady->heap, id, rank_of(belady, id));
    }
}

const struct policy_ops policy_belady = {
    .name = "belady",
    .open = belady_open,
    .close = belady_close,
    .use = belady_use,
    .enter = policy_heap_enter,
    .leave = policy_heap_leave,
    .victim = policy_heap_victim,
};
