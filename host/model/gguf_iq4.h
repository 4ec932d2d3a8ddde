/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codes of IQ4_NL and IQ4_XS. Their values are constants that define the published format (kvalues_iq4nl in
 * ggml-common.h; MIT, Copyright (c) 2023 Georgi Gerganov).
 */
#ifndef SLUICE_MODEL_GGUF_IQ4_H
#define SLUICE_MODEL_GGUF_IQ4_H

#include <stdint.h>

/* 16 bytes: the low nibbles are codes of elements 0 to 15, the high ones of 16 to 31. */
static inline void gguf_iq4_values(const uint8_t *restrict nibbles, int8_t *restrict values)
{
    static const int8_t value[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    for (unsigned j = 0; j < 16; j++) {
        values[j] = value[nibbles[j] & 15];
        values[j + 16] = value[nibbles[j] >> 4];
    }
}

#endif
