/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of tensor data to float32. Layouts and the order of operations are those of ggml's quantization formats
 * (block structs in ggml-common.h, reference decoding in gguf-py's quants.py); f16 is IEEE 754 binary16.
 *
 *   type  elements  offset size content                                          value of element i
 *   Q4_0        32  0 2 f16 d; 2 16 nibbles (low: i < 16, high: i >= 16)         d * (q - 8)
 *   Q4_1        32  0 2 f16 d; 2 2 f16 m; 4 16 nibbles                           d * q + m
 *   Q5_0        32  0 2 f16 d; 2 4 u32, bit i = bit 4 of q; 6 16 nibbles         d * (q - 16)
 *   Q5_1        32  0 2 f16 d; 2 2 f16 m; 4 4 u32 of bits 4; 8 16 nibbles        d * q + m
 *   Q8_0        32  0 2 f16 d; 2 32 i8 q                                         d * q
 *   Q4_K       256  0 2 f16 d; 2 2 f16 dmin; 4 12 packed scales and minima;
 *                   16 128 nibbles: 32 bytes hold two groups of 32 (low, high)   (d * scale) * q - (dmin * min)
 *   Q5_K       256  as Q4_K up to 16; 16 32 bits 4 (bit g of byte j: group g);
 *                   48 128 nibbles                                               as Q4_K
 *   Q6_K       256  0 128 low nibbles; 128 64 bits 4..5; 192 16 i8 scale;
 *                   208 2 f16 d; one scale for each 16 elements                  (d * scale) * (q - 32)
 *   Q2_K       256  0 16 nibbles: scale, minimum for each 16 elements;
 *                   16 64 two bits each; 80 2 f16 d; 82 2 f16 dmin               (d * scale) * q - (dmin * min)
 *   IQ4_NL      32  0 2 f16 d; 2 16 nibbles as in Q4_0, codes                    d * code's value
 *   MXFP4       32  0 1 u8 exponent; 1 16 nibbles as in Q4_0, codes of E2M1      2^(exponent - 128) * (2 * code's value)
 *   NVFP4       64  0 4 UE4M3 scale for each 16 elements; 4 32 for each 16 eight
 *                   bytes: low nibbles 0 to 7, high ones 8 to 15, codes of E2M1  (scale / 2) * (2 * code's value)
 *
 * Q3_K, Q8_K, IQ1 to IQ3, IQ4_XS and TQ: gguf_integers.c.
 *
 * An MXFP4 exponent of 255 is a NaN to the OCP Microscaling Formats specification 1.0, and 2^127 to ggml and gguf-py. An
 * NVFP4 scale of 0x7f is a NaN to E4M3, and zero to ggml and gguf-py, which leave bit 7 out of account otherwise.
 */
#include "host/base/bytes.h"
#include "host/base/vector_clones.h"
#include "host/model/gguf.h"
#include "host/model/gguf_half.h"
#include "host/model/gguf_integers.h"
#include "host/model/gguf_iq4.h"
#include "host/model/scaled.h"
#include "kernels/abi/card_layout.h"

static void decode_f32(const uint8_t *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = load_f32(in + 4 * i);
}

VECTOR_CLONES
static void decode_f16(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n >= 16; n -= 16, in += 32, out += 16)
        for (size_t i = 0; i < 16; i++) out[i] = load_f16(in + 2 * i);
    for (size_t i = 0; i < n; i++) out[i] = load_f16(in + 2 * i);
}

VECTOR_CLONES
static void decode_bf16(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n >= 16; n -= 16, in += 32, out += 16)
        for (size_t i = 0; i < 16; i++) out[i] = float_of_bits((uint32_t)load_u16(in + 2 * i) << 16);
    for (size_t i = 0; i < n; i++) out[i] = float_of_bits((uint32_t)load_u16(in + 2 * i) << 16);
}

static void decode_q4_0(const uint8_t *in, size_t n, float *out)
{
    for (; n; n -= 32, in += 18, out += 32) {
        float d = load_f16(in);
        for (int j = 0; j < 16; j++) {
            out[j] = d * (float)((in[2 + j] & 15) - 8);
            out[j + 16] = d * (float)((in[2 + j] >> 4) - 8);
        }
    }
}

static void decode_q4_1(const uint8_t *in, size_t n, float *out)
{
    for (; n; n -= 32, in += 20, out += 32) {
        float d = load_f16(in), m = load_f16(in + 2);
        for (int j = 0; j < 16; j++) {
            out[j] = d * (float)(in[4 + j] & 15) + m;
            out[j + 16] = d * (float)(in[4 + j] >> 4) + m;
        }
    }
}

/* Element i of 32 five-bit values: a nibble and bit i of high. */
static int five_bits(const uint8_t *nibbles, uint32_t high, int i)
{
    int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
    return low | (int)(high >> i & 1) << 4;
}

static void decode_q5_0(const uint8_t *in, size_t n, float *out)
{
    for (; n; n -= 32, in += 22, out += 32) {
        float d = load_f16(in);
        uint32_t high = load_u32(in + 2);
        for (int i = 0; i < 32; i++) out[i] = d * (float)(five_bits(in + 6, high, i) - 16);
    }
}

static void decode_q5_1(const uint8_t *in, size_t n, float *out)
{
    for (; n; n -= 32, in += 24, out += 32) {
        float d = load_f16(in), m = load_f16(in + 2);
        uint32_t high = load_u32(in + 4);
        for (int i = 0; i < 32; i++) out[i] = d * (float)five_bits(in + 8, high, i) + m;
    }
}

static void decode_q8_0(const uint8_t *in, size_t n, float *out)
{
    for (; n; n -= 32, in += 34, out += 32) {
        float d = load_f16(in);
        for (int i = 0; i < 32; i++) out[i] = d * (float)(int8_t)in[2 + i];
    }
}

/*
 * Scale and minimum of group 0..7, six bits each. Bytes 0..3 hold the scales and 4..7 the minima of groups 0..3 in their low
 * six bits; bytes 8..11 hold the low nibbles of groups 4..7 (scale low, minimum high), whose upper two bits are the top
 * bits of bytes 0..3 and 4..7.
 */
static void group_scale(const uint8_t packed[12], int group, float *scale, float *minimum)
{
    if (group < 4) {
        *scale = (float)(packed[group] & 63);
        *minimum = (float)(packed[group + 4] & 63);
    } else {
        *scale = (float)((packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4);
        *minimum = (float)((packed[group + 4] >> 4) | (packed[group] >> 6) << 4);
    }
}

/* Q4_K and Q5_K: high is NULL or the 32 bytes with bit 4 of each element. */
static void decode_k_block(const uint8_t *header, const uint8_t *high, const uint8_t *nibbles, float *out)
{
    float d = load_f16(header), dmin = load_f16(header + 2);
    for (int group = 0; group < 8; group++) {
        float scale, minimum;
        group_scale(header + 4, group, &scale, &minimum);
        scale = d * scale;
        minimum = dmin * minimum;
        const uint8_t *quants = nibbles + group / 2 * 32;
        for (int j = 0; j < 32; j++) {
            int q = group % 2 ? quants[j] >> 4 : quants[j] & 15;
            if (high) q |= (high[j] >> group & 1) << 4;
            out[group * 32 + j] = scale * (float)q - minimum;
        }
    }
}

static void decode_q4_k(const uint8_t *in, size_t n, float *out)
{
    for (; n; n -= 256, in += 144, out += 256) decode_k_block(in, NULL, in + 16, out);
}

static void decode_q5_k(const uint8_t *in, size_t n, float *out)
{
    for (; n; n -= 256, in += 176, out += 256) decode_k_block(in, in + 16, in + 48, out);
}

/* Each half of 128 elements has 64 bytes of nibbles and 32 bytes of upper bits; 32 elements share a bit position. */
static void decode_q6_k(const uint8_t *in, size_t n, float *out)
{
    for (; n; n -= 256, in += 210, out += 256) {
        float d = load_f16(in + 208);
        for (int i = 0; i < 256; i++) {
            int half = i / 128, quarter = i % 128 / 32, j = i % 32;
            uint8_t nibbles = in[half * 64 + quarter % 2 * 32 + j];
            int low = quarter < 2 ? nibbles & 15 : nibbles >> 4;
            int high = in[128 + half * 32 + j] >> (2 * quarter) & 3;
            out[i] = d * (float)(int8_t)in[192 + i / 16] * (float)((low | high << 4) - 32);
        }
    }
}

/* 2^(exponent - 128), subnormal for 0 and 1. */
static float half_of_e8m0(uint8_t exponent)
{
    return float_of_bits(exponent < 2 ? 0x00200000u << exponent : (exponent - 1u) << 23);
}

static void decode_mxfp4(const uint8_t *in, size_t n, float *out)
{
    static const int8_t values[16] = CARD_MXFP4_VALUE;
    for (; n; n -= 32, in += 17, out += 32) {
        float scale = half_of_e8m0(in[0]);
        for (int j = 0; j < 16; j++) {
            out[j] = scale * (float)values[in[1 + j] & 15];
            out[j + 16] = scale * (float)values[in[1 + j] >> 4];
        }
    }
}

/* Each half of 128 elements has 32 bytes; 32 elements share a bit position. */
VECTOR_CLONES
static void decode_q2_k(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n; n -= 256, in += 84, out += 256) {
        float d = load_f16(in + 80), dmin = load_f16(in + 82);
        for (unsigned group = 0; group < 16; group++) {
            float scale = d * (float)(in[group] & 15), minimum = dmin * (float)(in[group] >> 4);
            const uint8_t *quants = in + 16 + 32 * (group / 8) + 16 * (group % 2);
            for (unsigned j = 0; j < 16; j++)
                out[16 * group + j] = scale * (float)(quants[j] >> 2 * (group % 8 / 2) & 3) - minimum;
        }
    }
}

static void decode_iq4_nl(const uint8_t *in, size_t n, float *out)
{
    for (; n; n -= 32, in += 18, out += 32) {
        float d = load_f16(in);
        int8_t values[32];
        gguf_iq4_values(in + 2, values);
        for (unsigned i = 0; i < 32; i++) out[i] = d * (float)values[i];
    }
}

/* Half of an UE4M3 number, as gguf-py reads it. */
static float half_of_ue4m3(uint8_t bits)
{
    if (bits == 0x7f) return 0.0f;
    unsigned exponent = bits >> 3 & 15u, fraction = bits & 7u;
    if (exponent == 0) return (float)fraction * 0x1p-10f;
    return (float)(8 + fraction) * float_of_bits((exponent + 127u - 11u) << 23);
}

static void decode_nvfp4(const uint8_t *in, size_t n, float *out)
{
    static const int8_t values[16] = CARD_MXFP4_VALUE;
    for (; n; n -= 64, in += 36, out += 64)
        for (unsigned group = 0; group < 4; group++) {
            float scale = half_of_ue4m3(in[group]);
            const uint8_t *codes = in + 4 + 8 * group;
            for (unsigned j = 0; j < 8; j++) {
                out[16 * group + j] = scale * (float)values[codes[j] & 15];
                out[16 * group + 8 + j] = scale * (float)values[codes[j] >> 4];
            }
        }
}

VECTOR_CLONES
static void decode_integers(enum gguf_tensor_type type, const uint8_t *in, size_t n, float *restrict out)
{
    struct gguf_integers block;
    for (; n; n -= 256, in += gguf_block_bytes(type), out += 256) {
        gguf_read_integers(type, in, &block);
        for (unsigned group = 0; group < 16; group++) {
            float scale = block.unit * (float)block.scale[group];
            for (unsigned j = 0; j < 16; j++) out[16 * group + j] = scale * (float)block.q[16 * group + j];
        }
    }
}

bool gguf_has_nan_scale(enum gguf_tensor_type type, const uint8_t *bytes, size_t n_elements)
{
    bool found = false;
    if (type == GGUF_MXFP4)
        for (size_t i = 0; i < n_elements / 32; i++) found |= bytes[17 * i] == 255;
    if (type == GGUF_NVFP4)
        for (size_t i = 0; i < n_elements / 16; i++) found |= (bytes[36 * (i / 4) + i % 4] & 0x7f) == 0x7f;
    return found;
}

void gguf_decode(enum gguf_tensor_type type, const uint8_t *bytes, size_t n_elements, float *out)
{
    switch ((unsigned)type) {
    case GGUF_F32: decode_f32(bytes, n_elements, out); break;
    case GGUF_F16: decode_f16(bytes, n_elements, out); break;
    case GGUF_BF16: decode_bf16(bytes, n_elements, out); break;
    case GGUF_Q4_0: decode_q4_0(bytes, n_elements, out); break;
    case GGUF_Q4_1: decode_q4_1(bytes, n_elements, out); break;
    case GGUF_Q5_0: decode_q5_0(bytes, n_elements, out); break;
    case GGUF_Q5_1: decode_q5_1(bytes, n_elements, out); break;
    case GGUF_Q8_0: decode_q8_0(bytes, n_elements, out); break;
    case GGUF_Q4_K: decode_q4_k(bytes, n_elements, out); break;
    case GGUF_Q5_K: decode_q5_k(bytes, n_elements, out); break;
    case GGUF_Q6_K: decode_q6_k(bytes, n_elements, out); break;
    case GGUF_MXFP4: decode_mxfp4(bytes, n_elements, out); break;
    case GGUF_Q2_K: decode_q2_k(bytes, n_elements, out); break;
    case GGUF_IQ4_NL: decode_iq4_nl(bytes, n_elements, out); break;
    case GGUF_NVFP4: decode_nvfp4(bytes, n_elements, out); break;
    default:
        if (gguf_is_scaled(type)) {
            scaled_decode(type, bytes, n_elements, out);
            break;
        }
        if (gguf_has_integers(type)) {
            decode_integers(type, bytes, n_elements, out);
            break;
        }
        for (size_t i = 0; i < n_elements; i++) out[i] = float_of_bits(0x7fc00000u);
    }
}
