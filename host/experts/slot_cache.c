/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/slot_cache.h"

#include "host/base/memory.h"

#include <string.h>

#define EXPECTED_LAYERS 4u /* at once; more are not kept */

struct slot_cache {
    struct policy_shape shape;
    struct expert_policy *policy;                  /* owned */
    uint32_t *slot_of;                             /* owned; by id; SLOT_NONE: not resident */
    uint32_t *empty, n_empty;                      /* owned; a stack of slots */
    uint32_t *chosen, n_chosen;                    /* owned; [n_experts]: ids, which are pinned */
    uint32_t layer;                                /* theirs */
    uint32_t *expected, n_expected, most_expected; /* owned; [most_expected]: the same of later layers */
};

int slot_cache_open(const char *policy, const struct policy_shape *shape, struct slot_cache **out, struct error *err)
{
    struct slot_cache *cache = memory_array(1, sizeof *cache);
    if (cache == NULL) return error_set(err, ERROR_NO_MEMORY, "expert slots: out of memory");
    const size_t n_ids = (size_t)shape->n_layers * shape->n_experts;
    cache->shape = *shape;
    int result = expert_policy_open(policy, shape, NULL, &cache->policy, err);
    cache->slot_of = memory_array(n_ids, sizeof *cache->slot_of);
    cache->empty = memory_array(shape->n_slots, sizeof *cache->empty);
    cache->most_expected = EXPECTED_LAYERS * shape->n_experts;
    cache->chosen = memory_array(shape->n_experts, sizeof *cache->chosen);
    cache->expected = memory_array(cache->most_expected, sizeof *cache->expected);
    if (result == 0 &&
        (cache->slot_of == NULL || cache->empty == NULL || cache->chosen == NULL || cache->expected == NULL))
        result = error_set(err, ERROR_NO_MEMORY, "expert slots: out of memory");
    if (result < 0) {
        slot_cache_close(cache);
        return result;
    }
    memset(cache->slot_of, 0xff, n_ids * sizeof *cache->slot_of);
    while (cache->n_empty < shape->n_slots) {
        cache->empty[cache->n_empty] = shape->n_slots - 1 - cache->n_empty;
        cache->n_empty++;
    }
    *out = cache;
    return 0;
}

void slot_cache_close(struct slot_cache *cache)
{
    if (cache == NULL) return;
    expert_policy_close(cache->policy);
    free(cache->slot_of);
    free(cache->empty);
    free(cache->chosen);
    free(cache->expected);
    free(cache);
}

static uint32_t id_of(const struct slot_cache *cache, uint32_t layer, uint32_t expert)
{
    return layer * cache->shape.n_experts + expert;
}

static void expect_no_more_of(struct slot_cache *cache, uint32_t layer)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < cache->n_expected; i++) {
        if (cache->expected[i] / cache->shape.n_experts == layer)
            expert_policy_unpin(cache->policy, cache->expected[i]);
        else
            cache->expected[n++] = cache->expected[i];
    }
    cache->n_expected = n;
}

void slot_cache_expect_none(struct slot_cache *cache)
{
    while (cache->n_expected > 0) expert_policy_unpin(cache->policy, cache->expected[--cache->n_expected]);
}

void slot_cache_choose(struct slot_cache *cache, uint32_t layer, const uint16_t *experts, uint32_t n)
{
    expect_no_more_of(cache, layer);
    cache->layer = layer;
    while (cache->n_chosen > 0) expert_policy_unpin(cache->policy, cache->chosen[--cache->n_chosen]);
    expert_policy_use(cache->policy, layer, experts, n);
    for (; cache->n_chosen < n; cache->n_chosen++) {
        const uint32_t id = id_of(cache, layer, experts[cache->n_chosen]);
        cache->chosen[cache->n_chosen] = id;
        expert_policy_pin(cache->policy, id);
    }
}

void slot_cache_expect(struct slot_cache *cache, uint32_t layer, uint32_t expert)
{
    if (cache->n_expected == cache->most_expected) return;
    const uint32_t id = id_of(cache, layer, expert);
    cache->expected[cache->n_expected++] = id;
    expert_policy_pin(cache->policy, id);
}

uint32_t slot_cache_find(const struct slot_cache *cache, uint32_t layer, uint32_t expert)
{
    return cache->slot_of[id_of(cache, layer, expert)];
}

/* Empties the slot of the expert that should go first. */
static struct slot_change evict(struct slot_cache *cache)
{
    const uint32_t id = expert_policy_victim(cache->policy);
    if (id == POLICY_NONE) return (struct slot_change){SLOT_NONE, SLOT_NONE, SLOT_NONE};
    const struct slot_change change = {cache->slot_of[id], id / cache->shape.n_experts, id % cache->shape.n_experts};
    expert_policy_remove(cache->policy, id);
    cache->slot_of[id] = SLOT_NONE;
    return change;
}

uint32_t slot_cache_next(struct slot_cache *cache)
{
    if (cache->n_empty > 0) return cache->empty[cache->n_empty - 1];
    const uint32_t id = expert_policy_victim(cache->policy);
    return id == POLICY_NONE ? SLOT_NONE : cache->slot_of[id];
}

struct slot_change slot_cache_give(struct slot_cache *cache, uint32_t layer, uint32_t expert)
{
    struct slot_change change = {SLOT_NONE, SLOT_NONE, SLOT_NONE};
    if (cache->n_empty > 0)
        change.slot = cache->empty[--cache->n_empty];
    else
        change = evict(cache);
    if (change.slot == SLOT_NONE && layer == cache->layer && cache->n_expected > 0) {
        slot_cache_expect_none(cache);
        change = evict(cache);
    }
    if (change.slot == SLOT_NONE) return change;
    cache->slot_of[id_of(cache, layer, expert)] = change.slot;
    expert_policy_insert(cache->policy, id_of(cache, layer, expert));
    return change;
}

void slot_cache_drop(struct slot_cache *cache, uint32_t slot, uint32_t layer, uint32_t expert)
{
    const uint32_t id = id_of(cache, layer, expert);
    if (cache->slot_of[id] != slot) return;
    cache->slot_of[id] = SLOT_NONE;
    expert_policy_remove(cache->policy, id);
    cache->empty[cache->n_empty++] = slot;
}
