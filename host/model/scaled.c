/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/scaled.h"

#include "host/base/vector_clones.h"

VECTOR_CLONES
static void decode_fp8(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n; n -= SCALED_COLS, in += 36, out += SCALED_COLS) {
        float scale = load_f32(in);
        for (unsigned i = 0; i < SCALED_COLS; i++) out[i] = scaled_e4m3(in[4 + i]) * scale;
    }
}

VECTOR_CLONES
static void decode_integers(enum gguf_tensor_type type, const uint8_t *restrict in, size_t n, float *restrict out)
{
    struct scaled_block block;
    for (; n; n -= SCALED_COLS, in += gguf_block_bytes(type), out += SCALED_COLS) {
        scaled_read(type, in, &block);
        for (unsigned i = 0; i < SCALED_COLS; i++) out[i] = (float)(block.q[i] - block.zero) * block.scale;
    }
}

void scaled_decode(enum gguf_tensor_type type, const uint8_t *in, size_t n, float *out)
{
    if (type == GGUF_SCALED_FP8)
        decode_fp8(in, n, out);
    else
        decode_integers(type, in, n, out);
}
