/* SPDX-License-Identifier: Apache-2.0 */
/* Loading, as loaded_model.c offers it to expert_slots.c. */
#ifndef SLUICE_MODEL_LOADED_MODEL_H
#define SLUICE_MODEL_LOADED_MODEL_H

#include "host/model/model_internal.h"
#include "host/model/upload.h"

/* card_place for something that lives as long as loaded. */
int loaded_model_place(struct loaded_model *loaded, uint64_t bytes, card_addr *address, struct error *err);

/*
 * Packs matrices [first, first + n) of the tensor at this index of the table, which has its place, to dst, and counts
 * what was rounded. More than one is for experts whose rows fill tiles. ERROR_BAD_FILE names a tensor with a scale or a
 * weight that is not finite.
 */
int loaded_model_upload(struct loaded_model *loaded, struct upload *upload, size_t index, uint32_t first, uint32_t n,
                        card_addr dst, struct error *err);

/* The same of allocation, in this bank. */
int loaded_model_take(struct loaded_model *loaded, unsigned bank, uint64_t bytes, card_addr *address,
                      struct error *err);

/* The same in each of the first n_banks banks, at one offset: that of *address, in bank 0. */
int loaded_model_take_dealt(struct loaded_model *loaded, unsigned n_banks, uint64_t bytes, card_addr *address,
                            struct error *err);

/* Packs matrix number `first` of the tensor, whose weight has its format, to sink, and counts as loaded_model_upload. */
int loaded_model_pack(struct loaded_model *loaded, struct upload *upload, size_t index, uint32_t first,
                      upload_sink sink, void *context, struct error *err);

/* Lets the tensor, which is packed, be verified in the background. */
void loaded_model_verify(struct loaded_model *loaded, struct upload *upload, size_t index);

/*
 * Lets the tensor at this index, which has its place, be read from a packed file into card memory in the background: 1.
 * 0: the caller uploads it, and if it is packed it has been verified. Or a negative error code.
 */
int loaded_model_fill(struct loaded_model *loaded, struct upload *upload, size_t index, struct error *err);

/* ERROR_BAD_FILE names a tensor in which packing saw what cannot be computed with. */
int loaded_model_check_packed(const struct gguf_tensor *tensor, const struct pack_result *packed, struct error *err);

/*
 * ERROR_UNSUPPORTED names a tensor in which packing saw that the card format does not keep a value, or that comes out of a packed
 * file, where nobody knows any more.
 */
int loaded_model_check_exact(const struct tensor_entry *entry, const struct pack_result *packed, struct error *err);

/* The error for a tensor whose type this card cannot hold. */
int loaded_model_no_format(size_t index, enum gguf_tensor_type type, struct error *err);

#endif
