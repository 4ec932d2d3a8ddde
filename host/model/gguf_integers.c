/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts are those of ggml's block structs (ggml-common.h); the grids' entries are eight or four elements each, and their
 * signs are a bit for each element. Elements 8j to 8j + 7 are octet j.
 *
 *   type     offset size content                                                        unit   scale       q
 *   Q3_K     0 32 bit 2, inverted (bit g of byte j: element 32g + j); 32 64 bits 0..1;
 *            96 12 six-bit scales; 108 2 f16 d                                          d      s - 32      -4..3
 *   Q8_K     0 4 f32 d; 4 256 i8; 260 32 sums, not used                                 d      1           i8
 *   IQ1_S    0 2 f16 d; 2 32 low bytes of indices; 34 16 u16 for each 32: four times
 *            three bits above the index, three bits of scale, the sign of an eighth     d / 8  2s + 1      8 * grid +- 1
 *   IQ1_M    0 32 low bytes of indices; 32 16 for each octet three bits above the index
 *            and the sign of an eighth; 48 8 four u16: four scales of three bits, then
 *            four bits of the f16 d, lowest first                                       d / 8  2s + 1      8 * grid +- 1
 *   IQ2_XXS  0 2 f16 d; 2 64 for each 32: four bytes of indices, u32 of four times seven
 *            bits of signs (the eighth makes their number even), then the scale         d / 8  2s + 1      grid
 *   IQ2_XS   0 2 f16 d; 2 64 u16 for each octet: 9 bits of index, 7 of signs; 66 8
 *            nibbles of scale for each 16                                               d / 8  2s + 1      grid
 *   IQ2_S    0 2 f16 d; 2 32 low bytes of indices; 34 32 signs; 66 8 two bits above
 *            each index; 74 8 nibbles of scale for each 16                              d / 8  2s + 1      grid
 *   IQ3_XXS  0 2 f16 d; 2 64 indices; 66 32 u32 for each 32, as in IQ2_XXS              d / 2  2s + 1      grid / 2
 *   IQ3_S    0 2 f16 d; 2 64 low bytes of indices; 66 8 bit 8 of each; 74 32 signs;
 *            106 4 nibbles of scale for each 32                                         d      2s + 1      grid
 *   IQ4_XS   0 2 f16 d; 2 2 two bits above each scale; 4 4 nibbles of scale for each 32;
 *            8 128 nibbles, 16 bytes for each 32 as in Q4_0                             d      s - 32      codes' values
 *   TQ1_0    0 48 five digits of base 3 in a byte, 48 4 four of them; 52 2 f16 d        d      1           -1..1
 *   TQ2_0    0 64 two bits each, 64 2 f16 d                                             d      1           -1..2
 */
#include "host/model/gguf_integers.h"

#include "host/base/vector_clones.h"
#include "host/model/gguf_grids.h"
#include "host/model/gguf_half.h"
#include "host/model/gguf_iq4.h"

/* Into gguf_read_integers, which has clones: left to itself, the compiler calls them. */
#define READ_INLINE static inline __attribute__((always_inline))
#define EACH_BYTE 0x0101010101010101ull
#define TWO_BITS(entry, i) ((uint64_t)(entry) >> 2 * (i)&3u)
#define NIBBLE(entry, i) ((uint64_t)(entry) >> 4 * (i)&7u)
/* One octet's bytes from a value for each. */
#define OCTET(value, entry)                                                                                            \
    (value(entry, 0) | value(entry, 1) << 8 | value(entry, 2) << 16 | value(entry, 3) << 24 | value(entry, 4) << 32 |  \
     value(entry, 5) << 40 | value(entry, 6) << 48 | value(entry, 7) << 56)
#define QUARTET(value, entry)                                                                                          \
    (uint32_t)(value(entry, 0) | value(entry, 1) << 8 | value(entry, 2) << 16 | value(entry, 3) << 24)

/* Codes 0, 1 and 2: 8, 25 and 43; codes 0 to 7: half of 4, 12, ... 52 and 62, or the odd numbers to 15. */
#define IQ2_VALUE(entry, i) (8 + 17 * TWO_BITS(entry, i) + (TWO_BITS(entry, i) >> 1))
#define IQ3_XXS_VALUE(entry, i) (2 + 4 * NIBBLE(entry, i) + (NIBBLE(entry, i) == 7))
#define IQ3_S_VALUE(entry, i) (1 + 2 * NIBBLE(entry, i))
/* Eight times -1, 0 or 1, plus 9, so that no byte is negative. */
#define IQ1_VALUE(entry, i) (1 + 8 * TWO_BITS(entry, i))

#define IQ1_ENTRY(entry) OCTET(IQ1_VALUE, entry),
#define IQ2_ENTRY(entry) OCTET(IQ2_VALUE, entry),
#define IQ3_XXS_ENTRY(entry) QUARTET(IQ3_XXS_VALUE, entry),
#define IQ3_S_ENTRY(entry) QUARTET(IQ3_S_VALUE, entry),

static const uint64_t iq1_grid[2048] = {GGUF_IQ1_GRID(IQ1_ENTRY)};
static const uint64_t iq2_xxs_grid[256] = {GGUF_IQ2_XXS_GRID(IQ2_ENTRY)};
static const uint64_t iq2_xs_grid[512] = {GGUF_IQ2_XS_GRID(IQ2_ENTRY)};
static const uint64_t iq2_s_grid[1024] = {GGUF_IQ2_S_GRID(IQ2_ENTRY)};
static const uint32_t iq3_xxs_grid[256] = {GGUF_IQ3_XXS_GRID(IQ3_XXS_ENTRY)};
static const uint32_t iq3_s_grid[512] = {GGUF_IQ3_S_GRID(IQ3_S_ENTRY)};

READ_INLINE void put_octet(struct gguf_integers *out, unsigned octet, uint64_t bytes)
{
    store_u64((uint8_t *)out->q + 8 * octet, bytes);
}

/* Eight magnitudes, none of them zero, of which those with a bit in signs become negative. */
READ_INLINE uint64_t with_signs(uint64_t magnitudes, uint64_t signs)
{
    uint64_t ones = (((signs & 255u) * EACH_BYTE & 0x8040201008040201ull) + 0x7f * EACH_BYTE) >> 7 & EACH_BYTE;
    return (magnitudes ^ ones * 255u) + ones;
}

/* Seven bits of signs, and the eighth that makes the number of them even. */
READ_INLINE uint64_t even_signs(uint32_t seven)
{
    uint32_t parity = seven & 127u;
    parity ^= parity >> 4;
    return (seven & 127u) | (0x6996u >> (parity & 15u) & 1u) << 7;
}

READ_INLINE void set_scales(struct gguf_integers *out, unsigned first, unsigned n, unsigned scale)
{
    for (unsigned i = first; i < first + n; i++) out->scale[i] = (int8_t)scale;
}

/* Eight bytes with a nibble for each 16 elements, low first: 2s + 1. */
READ_INLINE void odd_scales(const uint8_t *restrict nibbles, struct gguf_integers *restrict out)
{
    for (unsigned i = 0; i < 8; i++) {
        out->scale[2 * i] = (int8_t)(2 * (nibbles[i] & 15) + 1);
        out->scale[2 * i + 1] = (int8_t)(2 * (nibbles[i] >> 4) + 1);
    }
}

READ_INLINE void read_q3_k(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    const uint8_t *scales = block + 96;
    out->unit = load_f16(block + 108);
    for (unsigned i = 0; i < 8; i++) {
        unsigned high = scales[8 + i % 4];
        out->scale[i] = (int8_t)((scales[i] & 15) + ((int)(high >> 2 * (i / 4) & 3) << 4) - 32);
        out->scale[8 + i] = (int8_t)((scales[i] >> 4) + ((int)(high >> (4 + 2 * (i / 4)) & 3) << 4) - 32);
    }
    for (unsigned group = 0; group < 8; group++) {
        const uint8_t *low = block + 32 + 32 * (group / 4);
        for (unsigned j = 0; j < 32; j++)
            out->q[32 * group + j] = (int8_t)((low[j] >> 2 * (group % 4) & 3) + (block[j] >> group & 1) * 4 - 4);
    }
}

READ_INLINE void read_q8_k(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    out->unit = load_f32(block);
    set_scales(out, 0, 16, 1);
    memcpy(out->q, block + 4, sizeof out->q);
}

/* The grid has value + 9; less 10 or 8 is minus or plus one. Bit 7 keeps a subtraction from taking from the next byte. */
READ_INLINE uint64_t iq1_octet(unsigned index, bool minus)
{
    uint64_t bit_7 = 0x80 * EACH_BYTE;
    return ((iq1_grid[index] | bit_7) - (minus ? 10u : 8u) * EACH_BYTE) ^ bit_7;
}

READ_INLINE void read_iq1_s(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    out->unit = load_f16(block) * 0.125f;
    for (unsigned group = 0; group < 8; group++) {
        unsigned high = load_u16(block + 34 + 2 * group);
        set_scales(out, 2 * group, 2, 2 * (high >> 12 & 7) + 1);
        for (unsigned i = 0; i < 4; i++) {
            unsigned index = block[2 + 4 * group + i] | (high >> 3 * i & 7) << 8;
            put_octet(out, 4 * group + i, iq1_octet(index, high >> 15));
        }
    }
}

READ_INLINE void read_iq1_m(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    uint32_t d = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned scales = load_u16(block + 48 + 2 * i);
        d |= (scales >> 12) << 4 * i;
        for (unsigned k = 0; k < 4; k++) out->scale[4 * i + k] = (int8_t)(2 * (scales >> 3 * k & 7) + 1);
    }
    out->unit = half_to_float(d) * 0.125f;
    for (unsigned i = 0; i < 32; i++) {
        unsigned high = (unsigned)block[32 + i / 2] >> 4 * (i % 2) & 15u;
        put_octet(out, i, iq1_octet(block[i] | (high & 7) << 8, high >> 3));
    }
}

READ_INLINE void read_iq2_xxs(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    out->unit = load_f16(block) * 0.125f;
    for (unsigned group = 0; group < 8; group++) {
        uint32_t signs = load_u32(block + 2 + 8 * group + 4);
        set_scales(out, 2 * group, 2, 2 * (signs >> 28) + 1);
        for (unsigned i = 0; i < 4; i++)
            put_octet(out, 4 * group + i,
                      with_signs(iq2_xxs_grid[block[2 + 8 * group + i]], even_signs(signs >> 7 * i)));
    }
}

READ_INLINE void read_iq2_xs(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    out->unit = load_f16(block) * 0.125f;
    odd_scales(block + 66, out);
    for (unsigned i = 0; i < 32; i++) {
        uint32_t octet = load_u16(block + 2 + 2 * i);
        put_octet(out, i, with_signs(iq2_xs_grid[octet & 511], even_signs(octet >> 9)));
    }
}

READ_INLINE void read_iq2_s(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    out->unit = load_f16(block) * 0.125f;
    odd_scales(block + 74, out);
    for (unsigned i = 0; i < 32; i++) {
        unsigned index = block[2 + i] | ((unsigned)block[66 + i / 4] >> 2 * (i % 4) & 3u) << 8;
        put_octet(out, i, with_signs(iq2_s_grid[index], block[34 + i]));
    }
}

READ_INLINE void read_iq3_xxs(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    out->unit = load_f16(block) * 0.5f;
    for (unsigned group = 0; group < 8; group++) {
        uint32_t signs = load_u32(block + 66 + 4 * group);
        set_scales(out, 2 * group, 2, 2 * (signs >> 28) + 1);
        for (unsigned i = 0; i < 4; i++) {
            const uint8_t *index = block + 2 + 8 * group + 2 * i;
            uint64_t magnitudes = iq3_xxs_grid[index[0]] | (uint64_t)iq3_xxs_grid[index[1]] << 32;
            put_octet(out, 4 * group + i, with_signs(magnitudes, even_signs(signs >> 7 * i)));
        }
    }
}

READ_INLINE void read_iq3_s(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    out->unit = load_f16(block);
    for (unsigned i = 0; i < 4; i++) {
        set_scales(out, 4 * i, 2, 2 * (block[106 + i] & 15u) + 1);
        set_scales(out, 4 * i + 2, 2, 2u * (block[106 + i] >> 4) + 1);
    }
    for (unsigned i = 0; i < 32; i++) {
        const uint8_t *index = block + 2 + 2 * i;
        unsigned high = (unsigned)block[66 + i / 4] >> 2 * (i % 4) & 3u;
        uint64_t magnitudes = iq3_s_grid[index[0] | (high & 1) << 8];
        magnitudes |= (uint64_t)iq3_s_grid[index[1] | (high >> 1) << 8] << 32;
        put_octet(out, i, with_signs(magnitudes, block[74 + i]));
    }
}

READ_INLINE void read_iq4_xs(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    unsigned high = load_u16(block + 2);
    out->unit = load_f16(block);
    for (unsigned group = 0; group < 8; group++) {
        unsigned low = (unsigned)block[4 + group / 2] >> 4 * (group % 2) & 15u;
        set_scales(out, 2 * group, 2, (low | (high >> 2 * group & 3) << 4) - 32u);
        gguf_iq4_values(block + 8 + 16 * group, out->q + 32 * group);
    }
}

/* Digit after digit: three times what is left, and the whole part goes. */
READ_INLINE void ternary_digits(const uint8_t *restrict bytes, unsigned n, unsigned digits, int8_t *restrict q)
{
    for (unsigned digit = 0, power = 1; digit < digits; digit++, power *= 3)
        for (unsigned j = 0; j < n; j++) q[n * digit + j] = (int8_t)(((uint8_t)(bytes[j] * power) * 3u >> 8) - 1u);
}

READ_INLINE void read_tq1_0(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    out->unit = load_f16(block + 52);
    set_scales(out, 0, 16, 1);
    ternary_digits(block, 32, 5, out->q);
    ternary_digits(block + 32, 16, 5, out->q + 160);
    ternary_digits(block + 48, 4, 4, out->q + 240);
}

READ_INLINE void read_tq2_0(const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    out->unit = load_f16(block + 64);
    set_scales(out, 0, 16, 1);
    for (unsigned group = 0; group < 8; group++)
        for (unsigned j = 0; j < 32; j++)
            out->q[32 * group + j] = (int8_t)((block[32 * (group / 4) + j] >> 2 * (group % 4) & 3) - 1);
}

bool gguf_has_integers(enum gguf_tensor_type type)
{
    switch ((unsigned)type) {
    case GGUF_Q3_K:
    case GGUF_Q8_K:
    case GGUF_IQ1_S:
    case GGUF_IQ1_M:
    case GGUF_IQ2_XXS:
    case GGUF_IQ2_XS:
    case GGUF_IQ2_S:
    case GGUF_IQ3_XXS:
    case GGUF_IQ3_S:
    case GGUF_IQ4_XS:
    case GGUF_TQ1_0:
    case GGUF_TQ2_0: return true;
    default: return false;
    }
}

VECTOR_CLONES
void gguf_read_integers(enum gguf_tensor_type type, const uint8_t *restrict block, struct gguf_integers *restrict out)
{
    switch ((unsigned)type) {
    case GGUF_Q3_K: read_q3_k(block, out); break;
    case GGUF_Q8_K: read_q8_k(block, out); break;
    case GGUF_IQ1_S: read_iq1_s(block, out); break;
    case GGUF_IQ1_M: read_iq1_m(block, out); break;
    case GGUF_IQ2_XXS: read_iq2_xxs(block, out); break;
    case GGUF_IQ2_XS: read_iq2_xs(block, out); break;
    case GGUF_IQ2_S: read_iq2_s(block, out); break;
    case GGUF_IQ3_XXS: read_iq3_xxs(block, out); break;
    case GGUF_IQ3_S: read_iq3_s(block, out); break;
    case GGUF_IQ4_XS: read_iq4_xs(block, out); break;
    case GGUF_TQ1_0: read_tq1_0(block, out); break;
    case GGUF_TQ2_0: read_tq2_0(block, out); break;
    default: *out = (struct gguf_integers){0}; break;
    }
}
