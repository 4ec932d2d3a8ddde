/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Card memory filled in the background: threads of their own read the tensors of a packed file into card memory and verify
 * them while the model is open already; nothing is computed before they are done (model_step waits).
 */
#ifndef SLUICE_MODEL_SLC_FILL_H
#define SLUICE_MODEL_SLC_FILL_H

#include "host/model/slc.h"

struct slc_fill; /* opaque */

/* For up to capacity tensors, by threads threads (0: one per core). slc is borrowed. Owned by the caller: slc_fill_close. */
int slc_fill_open(const struct slc *slc, size_t capacity, unsigned threads, struct slc_fill **out, struct error *err);
void slc_fill_close(struct slc_fill *fill); /* stops what runs; NULL is allowed */

/* The tensor is verified and, if out is not NULL, goes there; out is borrowed until slc_fill_wait. Before slc_fill_start. */
void slc_fill_add(struct slc_fill *fill, const struct slc_tensor *tensor, uint8_t *out);
void slc_fill_start(struct slc_fill *fill);

/* Waits for all; the error of slc_verify if a tensor is damaged, in every call. One thread calls. */
int slc_fill_wait(struct slc_fill *fill, struct error *err);

#endif
