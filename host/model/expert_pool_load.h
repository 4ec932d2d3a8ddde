/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of slots, as loading makes it. */
#ifndef SLUICE_MODEL_EXPERT_POOL_LOAD_H
#define SLUICE_MODEL_EXPERT_POOL_LOAD_H

#include "host/model/expert_pool.h"
#include "host/model/loaded_model.h"
#include "host/model/placement.h"

/*
 * Takes card memory for n_slots slots of these needs and packs all experts into host memory; the layers' slot tables have their place.
 * loaded->pool, whatever the result.
 */
int expert_pool_open(struct loaded_model *loaded, const struct expert_pool_needs *needs, uint32_t n_slots,
                     struct upload *upload, struct error *err);
void expert_pool_close(struct expert_pool *pool); /* NULL is allowed */

/* Card memory of all that is no expert. */
int model_other_bytes(const struct model *model, const struct card_info *info, uint64_t *bytes, struct error *err);

#endif
