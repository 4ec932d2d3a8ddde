/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of ggml's reference quantizers (quantize_row_q4_0_ref and _q4_1_ref in ggml-quants.c), with each integer chosen for the scale
 * as it is stored: 32 columns share a scale (INT4: the value of largest magnitude becomes -8), or a scale and a minimum.
 */
#include "host/model/pack_round4.h"

#include "host/base/bytes.h"
#include "host/base/vector_clones.h"
#include "kernels/abi/card_math.h"

#include <math.h>

#define GROUP CARD_GROUP_COLS
#define PACK_INLINE static inline __attribute__((always_inline))

struct scale {
    float step, least; /* value of q is step * q + least */
    uint16_t half_step, half_least;
};

PACK_INLINE void choose_int4(const float values[GROUP], struct scale *scale)
{
    float most = 0.0f;
    for (unsigned i = 0; i < GROUP; i++)
        if (fabsf(values[i]) > fabsf(most)) most = values[i];
    scale->half_step = card_f32_to_f16(most / -8.0f);
    scale->step = card_f16_to_f32(scale->half_step);
    scale->least = -8.0f * scale->step;
    scale->half_least = 0;
}

PACK_INLINE void choose_int4_min(const float values[GROUP], struct scale *scale)
{
    float least = values[0], most = values[0];
    for (unsigned i = 1; i < GROUP; i++) {
        least = values[i] < least ? values[i] : least;
        most = values[i] > most ? values[i] : most;
    }
    scale->half_least = card_f32_to_f16(least);
    scale->least = card_f16_to_f32(scale->half_least);
    scale->half_step = card_f32_to_f16((most - scale->least) / 15.0f);
    scale->step = card_f16_to_f32(scale->half_step);
}

/* Column 8j + b is in the low nibble of byte b of word j, column 8j + 4 + b in its high one. */
PACK_INLINE void put_group(const float values[GROUP], const struct scale *scale, uint8_t *group, unsigned row,
                           struct pack_result *result)
{
    float inverse = scale->step != 0.0f ? 1.0f / scale->step : 0.0f;
    double errors = 0, squares = 0;
    uint8_t q[GROUP];
    for (unsigned i = 0; i < GROUP; i++) {
        float place = (values[i] - scale->least) * inverse + 0.5f;
        q[i] = place >= 15.0f ? 15 : place > 0.0f ? (uint8_t)place : 0;
        float error = scale->step * (float)q[i] + scale->least - values[i];
        errors += (double)(error * error);
        squares += (double)(values[i] * values[i]);
    }
    for (unsigned word = 0; word < GROUP / 8; word++)
        for (unsigned b = 0; b < 4; b++)
            group[word * CARD_WORD_BYTES + 4 * row + b] = (uint8_t)(q[8 * word + b] | q[8 * word + 4 + b] << 4);
    result->error_squares += errors;
    result->value_squares += squares;
}

VECTOR_CLONES
void pack_round4_tile(const struct pack_source *source, unsigned format, const uint8_t *rows, unsigned n_rows,
                      uint8_t *out, struct pack_result *result)
{
    const bool has_least = format == CARD_FORMAT_INT4_MIN;
    const size_t stride = pack_row_bytes(source);
    const size_t group_bytes = (size_t)GROUP / gguf_block_elements(source->type) * gguf_block_bytes(source->type);
    for (uint32_t c = 0; c < source->cols; c += GROUP) {
        uint8_t *block = out + c / (2 * GROUP) * card_block_bytes(format);
        unsigned g = c / GROUP % 2, count = source->cols - c < GROUP ? source->cols - c : GROUP;
        for (unsigned r = 0; r < n_rows; r++) {
            float values[GROUP] = {0};
            struct scale scale;
            gguf_decode(source->type, rows + r * stride + c / GROUP * group_bytes, count, values);
            for (unsigned i = 0; i < count; i++) result->not_finite |= !isfinite(values[i]);
            if (result->not_finite) return;
            if (has_least)
                choose_int4_min(values, &scale);
            else
                choose_int4(values, &scale);
            result->too_large |= (scale.half_step & 0x7c00u) == 0x7c00u || (scale.half_least & 0x7c00u) == 0x7c00u;
            store_u16(block + 32 * g + 2 * r, scale.half_step);
            if (has_least) store_u16(block + 64 + 32 * g + 2 * r, scale.half_least);
            put_group(values, &scale, block + (has_least ? 128 : 64) + 256 * g, r, result);
        }
    }
}
