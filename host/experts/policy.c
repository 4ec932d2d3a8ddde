/* SPDX-License-Identifier: Apache-2.0 */
/* What all policies share: who is resident and who is pinned. */
#include "host/base/memory.h"
#include "host/experts/policy_internal.h"

#include <string.h>

static const struct policy_ops *const policies[] = {&policy_lru, &policy_lfu, &policy_profile, &policy_adaptive,
                                                    &policy_belady};

#define N_POLICIES (sizeof policies / sizeof policies[0])

const char *expert_policy_name_at(unsigned index) { return index < N_POLICIES ? policies[index]->name : NULL; }

static int check(const char *name, const struct policy_shape *shape, const struct policy_inputs *inputs,
                 struct error *err)
{
    uint32_t n_ids;
    if (shape->n_layers == 0 || shape->n_experts == 0 || shape->n_experts > UINT16_MAX || shape->n_slots == 0 ||
        __builtin_mul_overflow(shape->n_layers, shape->n_experts, &n_ids) || n_ids > UINT32_MAX / 2)
        return error_set(err, ERROR_BAD_ARGUMENT, "no policy %s for %u layers of %u experts in %u slots", name,
                         shape->n_layers, shape->n_experts, shape->n_slots);
    const struct expert_profile *profile = inputs ? inputs->profile : NULL;
    if (profile && (profile->shape.n_layers != shape->n_layers || profile->shape.n_experts != shape->n_experts))
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "the profile is of %s (%u layers, %u experts), not of this model (%u layers, %u experts)",
                         profile->shape.model, profile->shape.n_layers, profile->shape.n_experts, shape->n_layers,
                         shape->n_experts);
    return 0;
}

int expert_policy_open(const char *name, const struct policy_shape *shape, const struct policy_inputs *inputs,
                       struct expert_policy **out, struct error *err)
{
    *out = NULL;
    const struct policy_ops *ops = NULL;
    for (unsigned i = 0; i < N_POLICIES; i++)
        if (strcmp(policies[i]->name, name) == 0) ops = policies[i];
    if (!ops) return error_set(err, ERROR_NOT_FOUND, "no policy %s (lru, lfu, profile, adaptive)", name);
    int status = check(name, shape, inputs, err);
    if (status < 0) return status;
    struct expert_policy *policy = memory_array(1, sizeof *policy);
    if (!policy) return error_set(err, ERROR_NO_MEMORY, "no host memory for policy %s", name);
    policy->ops = ops;
    policy->shape = *shape;
    policy->n_ids = shape->n_layers * shape->n_experts;
    policy->resident = memory_array(policy->n_ids, sizeof *policy->resident);
    policy->pins = memory_array(policy->n_ids, sizeof *policy->pins);
    if (!policy->resident || !policy->pins)
        status = error_set(err, ERROR_NO_MEMORY, "no host memory for policy %s", name);
    else
        status = ops->open(policy, inputs ? inputs : &(struct policy_inputs){0}, err);
    if (status < 0) {
        expert_policy_close(policy);
        return status;
    }
    *out = policy;
    return 0;
}

void expert_policy_close(struct expert_policy *policy)
{
    if (!policy) return;
    if (policy->own) policy->ops->close(policy);
    free(policy->resident);
    free(policy->pins);
    free(policy);
}

const char *expert_policy_name(const struct expert_policy *policy) { return policy->ops->name; }

uint32_t expert_policy_n_slots(const struct expert_policy *policy) { return policy->shape.n_slots; }

void expert_policy_use(struct expert_policy *policy, uint32_t layer, const uint16_t *experts, uint32_t n)
{
    policy->ops->use(policy, layer, experts, n);
}

bool expert_policy_is_resident(const struct expert_policy *policy, uint32_t id) { return policy->resident[id]; }

uint32_t expert_policy_n_resident(const struct expert_policy *policy) { return policy->n_resident; }

uint32_t expert_policy_victim(struct expert_policy *policy) { return policy->ops->victim(policy); }

void expert_policy_insert(struct expert_policy *policy, uint32_t id)
{
    if (policy->resident[id]) return;
    policy->resident[id] = 1;
    policy->n_resident++;
    if (policy->pins[id] == 0) policy->ops->enter(policy, id);
}

void expert_policy_remove(struct expert_policy *policy, uint32_t id)
{
    if (!policy->resident[id]) return;
    policy->resident[id] = 0;
    policy->n_resident--;
    if (policy->pins[id] == 0) policy->ops->leave(policy, id);
}

void expert_policy_pin(struct expert_policy *policy, uint32_t id)
{
    if (policy->pins[id]++ == 0 && policy->resident[id]) policy->ops->leave(policy, id);
}

void expert_policy_unpin(struct expert_policy *policy, uint32_t id)
{
    if (policy->pins[id] == 0) return;
    if (--policy->pins[id] == 0 && policy->resident[id]) policy->ops->enter(policy, id);
}
