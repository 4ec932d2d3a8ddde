/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/policy_replay.h"

#include "host/base/memory.h"

#include <string.h>

static int make_room(struct policy_visits *visits, uint64_t n_visits, uint64_t n_experts, struct error *err)
{
    if (n_visits + 1 > visits->visit_capacity) {
        uint64_t capacity = 2 * (n_visits + 1);
        uint64_t *first = memory_grow(visits->first, capacity, sizeof *first);
        if (!first)
            return error_set(err, ERROR_NO_MEMORY, "no host memory for a trace of %llu steps",
                             (unsigned long long)(n_visits / visits->n_layers));
        if (visits->visit_capacity == 0) first[0] = 0;
        visits->first = first;
        visits->visit_capacity = capacity;
    }
    if (n_experts > visits->expert_capacity) {
        uint16_t *experts = memory_grow(visits->experts, 2 * n_experts, sizeof *experts);
        if (!experts)
            return error_set(err, ERROR_NO_MEMORY, "no host memory for a trace of %llu choices",
                             (unsigned long long)n_experts);
        visits->experts = experts;
        visits->expert_capacity = 2 * n_experts;
    }
    return 0;
}

int policy_visits_add(struct policy_visits *visits, const struct routing_step *step, struct error *err)
{
    size_t n = (size_t)step->n_rows * visits->n_used;
    uint64_t end = visits->n ? visits->first[visits->n] : 0;
    if (visits->n > UINT32_MAX - visits->n_layers)
        return error_set(err, ERROR_TOO_LARGE, "a trace of more than %u visits (cut it)", visits->n);
    int status = make_room(visits, (uint64_t)visits->n + visits->n_layers, end + n * visits->n_layers, err);
    if (status < 0) return status;
    uint64_t seen[ROUTING_MAX_EXPERTS / 64];
    for (uint32_t layer = 0; layer < visits->n_layers; layer++) {
        memset(seen, 0, sizeof seen);
        for (size_t i = 0; i < n; i++) {
            uint16_t expert = step->choice[layer * n + i];
            uint64_t bit = UINT64_C(1) << expert % 64;
            if (seen[expert / 64] & bit) continue;
            seen[expert / 64] |= bit;
            visits->experts[end++] = expert;
        }
        visits->first[++visits->n] = end;
    }
    return 0;
}

void policy_visits_close(struct policy_visits *visits)
{
    free(visits->first);
    free(visits->experts);
    *visits = (struct policy_visits){0};
}

int policy_visits_future(const struct policy_visits *visits, struct policy_future *future, struct error *err)
{
    size_t n_ids = (size_t)visits->n_layers * visits->n_experts;
    uint64_t n_uses = visits->n ? visits->first[visits->n] : 0;
    uint64_t *first = memory_array(n_ids + 2, sizeof *first);
    uint32_t *when = memory_array(n_uses, sizeof *when);
    *future = (struct policy_future){first, when};
    if (!first || !when) {
        policy_future_close(future);
        return error_set(err, ERROR_NO_MEMORY, "no host memory for the future of %llu uses",
                         (unsigned long long)n_uses);
    }
    /* counted one place further on, so that after the sums first[id + 1] is where id begins, and after filling its end */
    for (uint32_t v = 0; v < visits->n; v++)
        for (uint64_t i = visits->first[v]; i < visits->first[v + 1]; i++)
            first[(size_t)(v % visits->n_layers) * visits->n_experts + visits->experts[i] + 2]++;
    for (size_t id = 0; id < n_ids; id++) first[id + 2] += first[id + 1];
    for (uint32_t v = 0; v < visits->n; v++)
        for (uint64_t i = visits->first[v]; i < visits->first[v + 1]; i++)
            when[first[(size_t)(v % visits->n_layers) * visits->n_experts + visits->experts[i] + 1]++] = v;
    return 0;
}

void policy_future_close(struct policy_future *future)
{
    free((void *)future->first);
    free((void *)future->when);
    *future = (struct policy_future){0};
}

/* Brings one expert: into a free slot, or into that of the victim. */
static bool bring(struct expert_policy *policy, uint32_t n_slots, uint32_t id)
{
    if (expert_policy_n_resident(policy) >= n_slots) {
        uint32_t victim = expert_policy_victim(policy);
        if (victim == POLICY_NONE) return false;
        expert_policy_remove(policy, victim);
    }
    expert_policy_insert(policy, id);
    return true;
}

void policy_replay(struct expert_policy *policy, const struct policy_visits *visits, uint32_t n_warm,
                   struct policy_counts *counts)
{
    *counts = (struct policy_counts){0};
    uint32_t n_slots = expert_policy_n_slots(policy);
    for (uint32_t v = 0; v < visits->n; v++) {
        const uint16_t *experts = visits->experts + visits->first[v];
        uint32_t n = (uint32_t)(visits->first[v + 1] - visits->first[v]), layer = v % visits->n_layers;
        uint32_t base = layer * visits->n_experts, misses = 0, refused = 0;
        expert_policy_use(policy, layer, experts, n);
        for (uint32_t i = 0; i < n; i++) expert_policy_pin(policy, base + experts[i]);
        for (uint32_t i = 0; i < n; i++) {
            if (expert_policy_is_resident(policy, base + experts[i])) continue;
            misses++;
            refused += !bring(policy, n_slots, base + experts[i]);
        }
        for (uint32_t i = 0; i < n; i++) expert_policy_unpin(policy, base + experts[i]);
        if (v < n_warm) continue;
        counts->uses += n;
        counts->misses += misses;
        counts->refused += refused;
    }
}
