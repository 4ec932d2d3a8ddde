/* SPDX-License-Identifier: Apache-2.0 */
/* The reverse of packing, for cards that compute in F32 only and a model that is there in the card layout only. */
#ifndef SLUICE_MODEL_UNPACK_H
#define SLUICE_MODEL_UNPACK_H

#include "kernels/abi/card_layout.h"

/*
 * The values of a tile (card_layout.h) of a tiled format: n_rows (at most 16) rows of cols float32 at out, without padding. The
 * same bits as gguf_decode gives of what was packed, save where packing rounds.
 */
void unpack_tile(unsigned format, const uint8_t *tile, uint32_t n_rows, uint32_t cols, float *out);

#endif
