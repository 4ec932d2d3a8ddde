/* SPDX-License-Identifier: Apache-2.0 */
/* Packing of the types that are integers, scales and a unit (gguf_integers.h), and of NVFP4. Part of pack.c. */
#ifndef SLUICE_MODEL_PACK_INTEGERS_H
#define SLUICE_MODEL_PACK_INTEGERS_H

#include "host/model/pack.h"

/* The card format of such a type; 0 of all others. */
unsigned pack_integers_format(enum gguf_tensor_type type);

/* One tile: n_rows rows at `rows`, as blocks at out, which is zero where rows or columns are padded. */
void pack_integers_tile(const struct pack_source *source, const uint8_t *rows, unsigned n_rows, uint8_t *out,
                        struct pack_result *result);

#endif
