/* SPDX-License-Identifier: Apache-2.0 */
/* Integers of scaled.h to the card layout, their scales rounded to halves: exactly, where a half has them. */
#ifndef SLUICE_MODEL_PACK_SCALED_H
#define SLUICE_MODEL_PACK_SCALED_H

#include "host/model/pack.h"

/* The card format of a type of integers; 0: it is none. */
unsigned pack_scaled_format(enum gguf_tensor_type type);

/* As pack_integers_tile. */
void pack_scaled_tile(const struct pack_source *source, const uint8_t *rows, unsigned n_rows, uint8_t *out,
                      struct pack_result *result);

#endif
