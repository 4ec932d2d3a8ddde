/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots for experts in card memory. A slot of a layer holds the three matrices of one expert; the layer's slot tables, one
 * for each of gate, up and down, name the matrix of every expert, and EXPERT_MATMUL reads nothing else. So an expert is
 * where its table entries say. Here every expert has a slot of its own, expert e in slot e.
 */
#ifndef SLUICE_MODEL_EXPERT_SLOTS_H
#define SLUICE_MODEL_EXPERT_SLOTS_H

#include "host/model/model_internal.h"
#include "host/model/upload.h"

/* Bytes of the slots of all layers on a card with these weight formats; 0 for dense models. */
int expert_slots_bytes(const struct model *model, uint32_t weight_formats, uint64_t *bytes, struct error *err);

/*
 * Fills the slots of a layer: takes card memory into loaded, packs every expert into its slot, and writes the tables to
 * tables, a host copy of the n_experts * 3 addresses (gate, up, down).
 */
int expert_slots_load(struct loaded_model *loaded, uint32_t layer, struct upload *upload, uint8_t *tables,
                      struct error *err);

#endif
