/* SPDX-License-Identifier: Apache-2.0 */
/* IEEE 754 binary16 in a tensor's bytes. */
#ifndef SLUICE_MODEL_GGUF_HALF_H
#define SLUICE_MODEL_GGUF_HALF_H

#include "host/base/bytes.h"

/* Without branches, so that a loop over it becomes vector instructions. Not-a-number keeps its fraction. */
static inline float half_to_float(uint32_t half)
{
    uint32_t magnitude = half & 0x7fffu, sign = (half & 0x8000u) << 16;
    uint32_t normal = (magnitude << 13) + (112u << 23);
    /* A subnormal counts units of 2^-24: as the fraction of a number with exponent -14, less the leading one; exact. */
    uint32_t small = bits_of_float(float_of_bits((magnitude << 13) + (113u << 23)) - 0x1p-14f);
    uint32_t is_small = 0u - (magnitude < 0x0400u), is_special = 0u - (magnitude > 0x7bffu); /* masks */
    return float_of_bits((small & is_small) | (normal & ~is_small) | (is_special & 0x7f800000u) | sign);
}

static inline float load_f16(const uint8_t *bytes) { return half_to_float(load_u16(bytes)); }

#endif
