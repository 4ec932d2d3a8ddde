/* SPDX-License-Identifier: Apache-2.0 */
/* Least used in earlier traffic goes first, whatever happens now; ties: least recently used. */
#include "host/base/memory.h"
#include "host/experts/policy_internal.h"

struct by_profile {
    struct leave_heap heap; /* first: policy_heap_enter and the others find it */
    uint64_t now;
};

static int profile_open(struct expert_policy *policy, const struct policy_inputs *inputs, struct error *err)
{
    if (!inputs->profile)
        return error_set(err, ERROR_BAD_ARGUMENT, "policy profile needs a profile of earlier traffic (save one first)");
    struct by_profile *own = policy->own = memory_array(1, sizeof *own);
    if (!own) return error_set(err, ERROR_NO_MEMORY, "no host memory for policy profile");
    int status = leave_heap_open(&own->heap, policy->n_ids, err);
    if (status < 0) return status;
    for (uint32_t id = 0; id < policy->n_ids; id++) own->heap.rank[id].first = (double)inputs->profile->uses[id];
    return 0;
}

static void profile_close(struct expert_policy *policy)
{
    leave_heap_close(&((struct by_profile *)policy->own)->heap);
    free(policy->own);
}

static void profile_use(struct expert_policy *policy, uint32_t layer, const uint16_t *experts, uint32_t n)
{
    struct by_profile *own = policy->own;
    own->now += n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = layer * policy->shape.n_experts + experts[i];
        leave_heap_set(&own->heap, id, (struct leave_rank){own->heap.rank[id].first, own->now - i});
    }
}

const struct policy_ops policy_profile = {
    .name = "profile",
    .open = profile_open,
    .close = profile_close,
    .use = profile_use,
    .enter = policy_heap_enter,
    .leave = policy_heap_leave,
    .victim = policy_heap_victim,
};
