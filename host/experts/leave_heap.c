/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/memory.h"
#include "host/experts/policy_internal.h"

int leave_heap_open(struct leave_heap *heap, uint32_t n_ids, struct error *err)
{
    heap->n = 0;
    heap->ids = memory_array(n_ids, sizeof *heap->ids);
    heap->place = memory_array(n_ids, sizeof *heap->place);
    heap->rank = memory_array(n_ids, sizeof *heap->rank);
    if (heap->ids && heap->place && heap->rank) return 0;
    leave_heap_close(heap);
    return error_set(err, ERROR_NO_MEMORY, "no host memory for a policy over %u experts", n_ids);
}

void leave_heap_close(struct leave_heap *heap)
{
    free(heap->ids);
    free(heap->place);
    free(heap->rank);
    *heap = (struct leave_heap){0};
}

static bool is_less(const struct leave_heap *heap, uint32_t a, uint32_t b)
{
    const struct leave_rank *x = &heap->rank[a], *y = &heap->rank[b];
    if (x->first != y->first) return x->first < y->first;
    if (x->second != y->second) return x->second < y->second;
    return a < b;
}

static void put(struct leave_heap *heap, uint32_t at, uint32_t id)
{
    heap->ids[at] = id;
    heap->place[id] = at + 1;
}

static void sift_up(struct leave_heap *heap, uint32_t at, uint32_t id)
{
    while (at > 0 && is_less(heap, id, heap->ids[(at - 1) / 2])) {
        put(heap, at, heap->ids[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(heap, at, id);
}

static void sift_down(struct leave_heap *heap, uint32_t at, uint32_t id)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->n) break;
        if (child + 1 < heap->n && is_less(heap, heap->ids[child + 1], heap->ids[child])) child++;
        if (!is_less(heap, heap->ids[child], id)) break;
        put(heap, at, heap->ids[child]);
        at = child;
    }
    put(heap, at, id);
}

static void settle(struct leave_heap *heap, uint32_t at, uint32_t id)
{
    if (at > 0 && is_less(heap, id, heap->ids[(at - 1) / 2]))
        sift_up(heap, at, id);
    else
        sift_down(heap, at, id);
}

void leave_heap_set(struct leave_heap *heap, uint32_t id, struct leave_rank rank)
{
    heap->rank[id] = rank;
    if (heap->place[id]) settle(heap, heap->place[id] - 1, id);
}

void leave_heap_add(struct leave_heap *heap, uint32_t id)
{
    if (!heap->place[id]) sift_up(heap, heap->n++, id);
}

void leave_heap_remove(struct leave_heap *heap, uint32_t id)
{
    if (!heap->place[id]) return;
    uint32_t at = heap->place[id] - 1, last = heap->ids[--heap->n];
    heap->place[id] = 0;
    if (last != id) settle(heap, at, last);
}

uint32_t leave_heap_least(const struct leave_heap *heap) { return heap->n ? heap->ids[0] : POLICY_NONE; }

void policy_heap_enter(struct expert_policy *policy, uint32_t id) { leave_heap_add(policy->own, id); }
void policy_heap_leave(struct expert_policy *policy, uint32_t id) { leave_heap_remove(policy->own, id); }
uint32_t policy_heap_victim(struct expert_policy *policy) { return leave_heap_least(policy->own); }
