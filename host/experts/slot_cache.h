/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which expert is in which slot. Who goes when another one comes is the policy's to say (policy.h), but never an expert that
 * the publication at hand has chosen: its program is about to read it. No card is touched here.
 */
#ifndef SLUICE_EXPERTS_SLOT_CACHE_H
#define SLUICE_EXPERTS_SLOT_CACHE_H

#include "host/experts/policy.h"

#define SLOT_NONE UINT32_MAX

struct slot_cache; /* opaque */

/* With the policy of that name. *out is owned by the caller: slot_cache_close. Errors as expert_policy_open. */
int slot_cache_open(const char *policy, const struct policy_shape *shape, struct slot_cache **out, struct error *err);
void slot_cache_close(struct slot_cache *cache); /* NULL is allowed */

/* A publication: a layer's router has chosen these n different experts, best first. They stay until the next one. */
void slot_cache_choose(struct slot_cache *cache, uint32_t layer, const uint16_t *experts, uint32_t n);

/* SLOT_NONE: the layer's expert has none. */
uint32_t slot_cache_find(const struct slot_cache *cache, uint32_t layer, uint32_t expert);

/* A slot that was given away: what was in it before. */
struct slot_change {
    uint32_t slot;                  /* SLOT_NONE: more experts were chosen at once than there are slots */
    uint32_t old_layer, old_expert; /* SLOT_NONE both: it was empty */
};

/*
 * A layer's expert will be wanted soon: it stays, if it is there or when a slot is given, until its layer's publication, until
 * nothing is expected any more, or until those that were chosen need its slot.
 */
void slot_cache_expect(struct slot_cache *cache, uint32_t layer, uint32_t expert);
void slot_cache_expect_none(struct slot_cache *cache);

/* The slot that slot_cache_give would give now to one that is expected; SLOT_NONE as there. */
uint32_t slot_cache_next(struct slot_cache *cache);

/* Gives a slot to an expert that was chosen or is expected, and has none: to one of the layer chosen last, whoever is expected. */
struct slot_change slot_cache_give(struct slot_cache *cache, uint32_t layer, uint32_t expert);

/* The slot is empty again, if it is still the expert's. */
void slot_cache_drop(struct slot_cache *cache, uint32_t slot, uint32_t layer, uint32_t expert);

#endif
