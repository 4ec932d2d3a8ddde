/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Least frequently used goes first, where a use counts half after LFU_HALF_LIFE steps; ties: least recently used.
 *
 * Counts are never decayed: a use adds 2^(step / half-life) instead, which orders experts the same way. Before that
 * number leaves the range of double, all counts are scaled down once.
 */
#include "host/base/memory.h"
#include "host/experts/policy_internal.h"

#include <math.h>

#define LFU_HALF_LIFE 128.0
#define LARGEST 0x1p500

struct lfu {
    struct leave_heap heap; /* first: policy_heap_enter and the others find it */
    uint64_t now;
    uint32_t last_layer;
    double weight, growth; /* of a use in this step, and from step to step */
};

static int lfu_open(struct expert_policy *policy, const struct policy_inputs *inputs, struct error *err)
{
    (void)inputs;
    struct lfu *lfu = policy->own = memory_array(1, sizeof *lfu);
    if (!lfu) return error_set(err, ERROR_NO_MEMORY, "no host memory for policy lfu");
    lfu->weight = 1;
    lfu->growth = exp2(1 / LFU_HALF_LIFE);
    return leave_heap_open(&lfu->heap, policy->n_ids, err);
}

static void lfu_close(struct expert_policy *policy)
{
    leave_heap_close(&((struct lfu *)policy->own)->heap);
    free(policy->own);
}

/* Multiplication by a power of two keeps the order, so the heap stays one. */
static void scale_down(struct lfu *lfu, uint32_t n_ids)
{
    for (uint32_t id = 0; id < n_ids; id++) lfu->heap.rank[id].first /= LARGEST;
    lfu->weight /= LARGEST;
}

static void lfu_use(struct expert_policy *policy, uint32_t layer, const uint16_t *experts, uint32_t n)
{
    struct lfu *lfu = policy->own;
    if (layer <= lfu->last_layer) lfu->weight *= lfu->growth; /* another step has begun */
    lfu->last_layer = layer;
    if (lfu->weight > LARGEST) scale_down(lfu, policy->n_ids);
    lfu->now += n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = layer * policy->shape.n_experts + experts[i];
        struct leave_rank rank = {lfu->heap.rank[id].first + lfu->weight, lfu->now - i};
        leave_heap_set(&lfu->heap, id, rank);
    }
}

const struct policy_ops policy_lfu = {
    .name = "lfu",
    .open = lfu_open,
    .close = lfu_close,
    .use = lfu_use,
    .enter = policy_heap_enter,
    .leave = policy_heap_leave,
    .victim = policy_heap_victim,
};
