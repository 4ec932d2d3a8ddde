/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots for experts in card memory. A slot is room for one expert's matrix; a layer has a run of slots for each of gate,
 * up and down (placement.h), and a slot table for each that names the slot of every expert. EXPERT_MATMUL reads nothing
 * else, so an expert is where its table entries say. Here every expert has a slot of its own, expert e in slot e.
 */
#ifndef SLUICE_MODEL_EXPERT_SLOTS_H
#define SLUICE_MODEL_EXPERT_SLOTS_H

#include "host/model/placement.h"
#include "host/model/upload.h"

/*
 * Fills the slots of a layer: takes card memory into loaded, packs every expert into its slot, and writes the tables to
 * tables, a host copy of the n_experts * 3 addresses (gate, up, down).
 */
int expert_slots_load(struct loaded_model *loaded, uint32_t layer, struct placement *placement, struct upload *upload,
                      uint8_t *tables, struct error *err);

#endif
