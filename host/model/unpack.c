/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/unpack.h"

#include "host/base/bytes.h"
#include "kernels/abi/card_math.h"

#define K_HEADER 320u     /* bytes before the 4-bit groups of Q4_K, Q5_K and Q6_K */
#define K_HIGH_BITS 2368u /* offset of the bits above them */

static float half_at(const uint8_t *list, unsigned entry) { return card_f16_to_f32(load_u16(list + 2 * entry)); }

/* Column c of row `row` in 4-bit group g of those at groups. */
static unsigned nibble_at(const uint8_t *groups, unsigned g, unsigned row, unsigned c)
{
    uint8_t byte = groups[256 * g + CARD_WORD_BYTES * (c / 8) + 4 * row + c % 4];
    return c % 8 < 4 ? byte & 15u : (unsigned)byte >> 4;
}

static int byte_at(const uint8_t *groups, unsigned g, unsigned row, unsigned c)
{
    return (int8_t)groups[512 * g + CARD_WORD_BYTES * (c / 4) + 4 * row + c % 4];
}

static unsigned q5_high_bit(const uint8_t *block, unsigned g, unsigned row, unsigned c)
{
    uint32_t byte = block[K_HIGH_BITS + CARD_WORD_BYTES * g + 4 * row + c % 4];
    return byte >> c / 4 & 1u;
}

static unsigned q6_high_bits(const uint8_t *block, unsigned g, unsigned row, unsigned c)
{
    uint32_t byte = block[K_HIGH_BITS + CARD_WORD_BYTES * (2 * g + c / 16) + 4 * row + c % 4];
    return byte >> 2 * (c % 16 / 4) & 3u;
}

static float k_value(const uint8_t *block, unsigned g, unsigned row, unsigned q)
{
    float scale = half_at(block, row) * (float)block[64 + 16 * g + row];
    float min = half_at(block + 32, row) * (float)block[192 + 16 * g + row];
    return scale * (float)q - min;
}

/* Two to the exponent less 128; 255 is not a number. */
static float mxfp4_scale(uint8_t exponent)
{
    if (exponent == 255) return float_of_bits(0x7fc00000u);
    return exponent < 2 ? float_of_bits(1u << (21 + exponent)) : float_of_bits((uint32_t)(exponent - 1) << 23);
}

/* Column c of group g of row `row` in a block. */
static float value_at(unsigned format, const uint8_t *block, unsigned g, unsigned row, unsigned c)
{
    static const int8_t mxfp4[16] = CARD_MXFP4_VALUE;
    switch (format) {
    case CARD_FORMAT_INT4: return half_at(block + 32 * g, row) * (float)((int)nibble_at(block + 64, g, row, c) - 8);
    case CARD_FORMAT_INT4_MIN:
        return half_at(block + 32 * g, row) * (float)nibble_at(block + 128, g, row, c) +
               half_at(block + 64 + 32 * g, row);
    case CARD_FORMAT_INT8: return half_at(block + 32 * g, row) * (float)byte_at(block + 64, g, row, c);
    case CARD_FORMAT_INT8_MIN:
        return half_at(block + 32 * g, row) * (float)byte_at(block + 128, g, row, c) +
               half_at(block + 64 + 32 * g, row);
    case CARD_FORMAT_Q4_K: return k_value(block, g, row, nibble_at(block + K_HEADER, g, row, c));
    case CARD_FORMAT_Q5_K:
        return k_value(block, g, row, nibble_at(block + K_HEADER, g, row, c) | q5_high_bit(block, g, row, c) << 4);
    case CARD_FORMAT_Q6_K: {
        int q = (int)(nibble_at(block + K_HEADER, g, row, c) | q6_high_bits(block, g, row, c) << 4) - 32;
        int scale = (int8_t)block[64 + 16 * (2 * g + c / 16) + row];
        return half_at(block, row) * (float)scale * (float)q;
    }
    case CARD_FORMAT_MXFP4: return mxfp4_scale(block[16 * g + row]) * (float)mxfp4[nibble_at(block + 64, g, row, c)];
    default: return 0.0f;
    }
}

void unpack_tile(unsigned format, const uint8_t *tile, uint32_t n_rows, uint32_t cols, float *out)
{
    uint32_t width = card_block_cols(format), block_bytes = card_block_bytes(format);
    for (uint32_t row = 0; row < n_rows; row++)
        for (uint32_t c = 0; c < cols; c++)
            out[(size_t)row * cols + c] = value_at(format, tile + (size_t)(c / width) * block_bytes,
                                                   c % width / CARD_GROUP_COLS, row, c % CARD_GROUP_COLS);
}
