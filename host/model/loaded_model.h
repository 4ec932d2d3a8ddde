/* SPDX-License-Identifier: Apache-2.0 */
/* Loading, as loaded_model.c offers it to expert_slots.c. */
#ifndef SLUICE_MODEL_LOADED_MODEL_H
#define SLUICE_MODEL_LOADED_MODEL_H

#include "host/model/model_internal.h"
#include "host/model/upload.h"

/* card_place for something that lives as long as loaded. */
int loaded_model_place(struct loaded_model *loaded, uint64_t bytes, card_addr *address, struct error *err);

/*
 * Packs matrix `expert` of the tensor at this index of the table (0 where it is one matrix) to dst, and counts what
 * was rounded. ERROR_BAD_FILE names a tensor with a scale or a weight that is not finite.
 */
int loaded_model_upload(struct loaded_model *loaded, struct upload *upload, size_t index, uint32_t expert,
                        unsigned format, card_addr dst, struct error *err);

/* The error for a tensor whose type this card cannot hold. */
int loaded_model_no_format(size_t index, enum gguf_tensor_type type, struct error *err);

#endif
