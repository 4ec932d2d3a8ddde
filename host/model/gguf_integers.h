/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensor types whose values are integers times a scale for each 16 elements, which is a small integer times one unit for 256:
 * what both decoding and packing read. (gguf_integers.c)
 */
#ifndef SLUICE_MODEL_GGUF_INTEGERS_H
#define SLUICE_MODEL_GGUF_INTEGERS_H

#include "host/model/gguf.h"

#define GGUF_INTEGERS 256u /* elements of one block */

/* Element i is (unit * scale[i / 16]) * q[i], in float32 and in this order: the bits that gguf-py gives. */
struct gguf_integers {
    float unit;
    int8_t scale[GGUF_INTEGERS / 16];
    int8_t q[GGUF_INTEGERS];
};

/* Q3_K, Q8_K, all IQ1 to IQ3, IQ4_XS, TQ1_0 and TQ2_0; all of them have blocks of 256. */
bool gguf_has_integers(enum gguf_tensor_type type);

/* Reads one block of such a type, at any alignment. */
void gguf_read_integers(enum gguf_tensor_type type, const uint8_t *block, struct gguf_integers *out);

#endif
