/* SPDX-License-Identifier: Apache-2.0 */
/* What a card's integer formats make of one tensor, without a model or a card around it. */
#ifndef SLUICE_MODEL_PACK_MEASURE_H
#define SLUICE_MODEL_PACK_MEASURE_H

#include "host/model/gguf.h"

struct pack_measure {
    unsigned
        format;    /* enum card_format, of a card that has all of them; 0: the tensor is no matrix, or not supported */
    uint32_t rows; /* that were looked at */
    double relative_error; /* rms(packed - value) / rms(value) of these; 0: exact */
};

/*
 * Packs up to 256 rows, spread over the tensor, and measures. format is 0 also where the tensor has no data, and where memory
 * for a tile is not to be had.
 */
void pack_measure(const struct gguf_tensor *tensor, struct pack_measure *out);

#endif
