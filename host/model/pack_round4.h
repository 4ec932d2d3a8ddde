/* SPDX-License-Identifier: Apache-2.0 */
/* Float matrices to four bits, round to nearest: for `sluice pack --quant`. Part of pack.c. */
#ifndef SLUICE_MODEL_PACK_ROUND4_H
#define SLUICE_MODEL_PACK_ROUND4_H

#include "host/model/pack.h"

/* As pack_integers_tile; format is CARD_FORMAT_INT4 or CARD_FORMAT_INT4_MIN. */
void pack_round4_tile(const struct pack_source *source, unsigned format, const uint8_t *rows, unsigned n_rows,
                      uint8_t *out, struct pack_result *result);

#endif
