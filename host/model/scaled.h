/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of 32 weights with a float32 scale: what quantized safetensors folders become in host memory (hf/weights.h). No file has
 * them: GGUF's own blocks have half-precision scales, and would round these.
 *
 *   type              bytes   offset size content                                      value of element i
 *   SCALED_INT4          20   0 4 f32 scale; 4 16 nibbles (low: i < 16)                 (q - 8) * scale
 *   SCALED_INT4_ZERO     22   0 4 f32 scale; 4 2 i16 zero; 6 16 nibbles                 (q - zero) * scale
 *   SCALED_INT8          36   0 4 f32 scale; 4 32 i8                                    q * scale
 *   SCALED_INT8_ZERO     38   0 4 f32 scale; 4 2 i16 zero; 6 32 i8                      (q - zero) * scale
 *   SCALED_FP8           36   0 4 f32 scale; 4 32 FP8 E4M3 ("OCP 8-bit Floating Point")  e4m3 * scale
 */
#ifndef SLUICE_MODEL_SCALED_H
#define SLUICE_MODEL_SCALED_H

#include "host/model/gguf.h"
#include "host/model/gguf_half.h"

#define SCALED_COLS 32u

/* One block: integers of any of the types but FP8, with their zero. */
struct scaled_block {
    float scale;
    int zero;
    int16_t q[SCALED_COLS]; /* as stored: nibbles from 0 to 15 */
};

static inline bool gguf_is_scaled(enum gguf_tensor_type type) { return type >= GGUF_SCALED_INT4; }
static inline bool scaled_has_zero(enum gguf_tensor_type type)
{
    return type == GGUF_SCALED_INT4_ZERO || type == GGUF_SCALED_INT8_ZERO;
}
static inline bool scaled_is_int4(enum gguf_tensor_type type)
{
    return type == GGUF_SCALED_INT4 || type == GGUF_SCALED_INT4_ZERO;
}

/* Without branches. A half with the same fields is 2^-8 of it; 0x7f is not a number. */
static inline float scaled_e4m3(uint8_t byte)
{
    uint32_t is_nan = (byte & 0x7fu) == 0x7fu ? 0x7fc00000u : 0u;
    float value = half_to_float((byte & 0x80u) << 8 | (byte & 0x7fu) << 7) * 256.0f;
    return float_of_bits(bits_of_float(value) | is_nan);
}

/* Two to the exponent less 128, for codes whose values are doubled (CARD_MXFP4_VALUE). */
static inline float scaled_mxfp4(uint8_t exponent)
{
    if (exponent == 255) return float_of_bits(0x7fc00000u);
    return exponent < 2 ? float_of_bits(1u << (21 + exponent)) : float_of_bits((uint32_t)(exponent - 1) << 23);
}

static inline void scaled_read(enum gguf_tensor_type type, const uint8_t *bytes, struct scaled_block *block)
{
    bool has_zero = scaled_has_zero(type);
    const uint8_t *values = bytes + (has_zero ? 6 : 4);
    block->scale = load_f32(bytes);
    block->zero = has_zero ? (int16_t)load_u16(bytes + 4) : type == GGUF_SCALED_INT4 ? 8 : 0;
    for (unsigned i = 0; i < SCALED_COLS / 2; i++) {
        block->q[i] = (int16_t)(scaled_is_int4(type) ? values[i] & 15 : (int8_t)values[i]);
        block->q[i + 16] = (int16_t)(scaled_is_int4(type) ? values[i] >> 4 : (int8_t)values[i + 16]);
    }
}

/* For gguf_decode. (scaled.c) */
void scaled_decode(enum gguf_tensor_type type, const uint8_t *in, size_t n, float *out);

#endif
