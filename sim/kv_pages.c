/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/kv_pages.h"

#include "kernels/abi/card_math.h"
#include "sim/quantize.h"

#include <string.h>

#define GROUP CARD_GROUP_COLS
#define RECIP_15 0x1.111112p-4f  /* 1/15 rounded: scale of a 4-bit group per unit of its range */
#define LARGEST_HALF 0x477fe000u /* bits of 65504 */
#define HALF_NAN 0x7e00u

/* ---- parts of an integer block ---- */

static size_t packed_bytes(unsigned format, uint32_t groups)
{
    return (size_t)groups * (format == CARD_FORMAT_INT4 ? GROUP / 2 : GROUP);
}
static size_t scale_at(unsigned format, uint32_t groups, uint32_t slot)
{
    return CARD_PAGE_TOKENS * packed_bytes(format, groups) + (size_t)slot * groups * 2;
}
static size_t min_at(unsigned format, uint32_t groups, uint32_t slot)
{
    return scale_at(format, groups, CARD_PAGE_TOKENS) + (size_t)slot * groups * 2;
}

/* ---- write ---- */

SIM_CLONES
static void write_floats(float *restrict to, const float *restrict x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += LANES) {
        float pad[LANES], lane[LANES];
        const float *from = lanes_at(x + i, n - i, pad);
        for (unsigned l = 0; l < LANES; l++) lane[l] = one_nan(from[l]);
        lanes_put(to + i, lane, n - i);
    }
}

SIM_CLONES
static void write_halves(uint8_t *to, const float *x, uint32_t n)
{
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        uint16_t half[LANES];
        for (unsigned l = 0; l < LANES; l++) half[l] = card_f32_to_f16(x[i + l]);
        memcpy(to + (size_t)i * 2, half, sizeof half);
    }
    for (; i < n; i++) {
        uint16_t half = card_f32_to_f16(x[i]);
        memcpy(to + (size_t)i * 2, &half, 2);
    }
}

/* One group of n <= 32 floats as INT8; returns its scale. */
SIM_INLINE uint16_t write_group8(int8_t *q, const float *x, uint32_t n)
{
    float v[GROUP] = {0};
    memcpy(v, x, n * sizeof *x);
    const uint32_t largest = group_magnitude(v);
    const int wrong = largest > LARGEST_HALF;
    const uint16_t half = wrong ? HALF_NAN : card_f32_to_f16(card_float(largest) * CARD_RECIP_127);
    const int used = !wrong && half != 0;
    if (!used) memset(v, 0, sizeof v);
    group_integers(v, used ? card_recip(card_f16_to_f32(half)) : 1.0f, q);
    return half;
}

SIM_CLONES
static void write_int8(uint8_t *block, uint32_t dims, uint32_t slot, const float *x)
{
    const uint32_t groups = kv_groups(dims);
    uint8_t *q = block + slot * packed_bytes(CARD_FORMAT_INT8, groups);
    uint8_t *scale = block + scale_at(CARD_FORMAT_INT8, groups, slot);
    for (uint32_t g = 0; g < groups; g++) {
        const uint32_t from = g * GROUP, n = dims - from < GROUP ? dims - from : GROUP;
        const uint16_t half = write_group8((int8_t *)q + from, x + from, n);
        memcpy(scale + (size_t)g * 2, &half, 2);
    }
}

/* Least and largest of a group without NaN. */
SIM_INLINE void group_range(const float v[GROUP], float *low, float *high)
{
    float least[GROUP], most[GROUP];
    memcpy(least, v, sizeof least);
    memcpy(most, v, sizeof most);
    for (unsigned half = GROUP / 2; half > 0; half /= 2) {
        for (unsigned i = 0; i < half; i++) least[i] = least[i + half] < least[i] ? least[i + half] : least[i];
        for (unsigned i = 0; i < half; i++) most[i] = most[i + half] > most[i] ? most[i + half] : most[i];
    }
    *low = least[0];
    *high = most[0];
}

struct scale_min {
    uint16_t scale, min;
};

/* One group of n <= 32 floats as INT4; returns its scale and minimum. */
SIM_INLINE struct scale_min write_group4(uint8_t *q, const float *x, uint32_t n)
{
    float v[GROUP] = {0};
    memcpy(v, x, n * sizeof *x);
    for (uint32_t i = n; i < GROUP; i++) v[i] = v[0]; /* padding takes no part in the range */
    float low, high;
    group_range(v, &low, &high);
    if (group_magnitude(v) > LARGEST_HALF) {
        memset(q, 0, GROUP / 2);
        return (struct scale_min){HALF_NAN, HALF_NAN};
    }
    uint16_t min = card_f32_to_f16(low);
    if ((min & 0x7fffu) == 0) min = 0; /* or its sign would tell which zero was compared first */
    const uint16_t scale = card_f32_to_f16((high - low) * RECIP_15);
    const float base = card_f16_to_f32(min), inverse = scale ? card_recip(card_f16_to_f32(scale)) : 0.0f;
    uint8_t code[GROUP];
    for (unsigned i = 0; i < GROUP; i++) {
        float rounded = (v[i] - base) * inverse;
        rounded = rounded > 15.0f ? 15.0f : rounded;
        rounded = rounded < 0.0f ? 0.0f : rounded;
        code[i] = (uint8_t)(int32_t)card_round_even(rounded);
    }
    for (uint32_t i = n; i < GROUP; i++) code[i] = 0;
    for (unsigned i = 0; i < GROUP / 2; i++) q[i] = (uint8_t)(code[i] | code[i + GROUP / 2] << 4);
    return (struct scale_min){scale, min};
}

SIM_CLONES
static void write_int4(uint8_t *block, uint32_t dims, uint32_t slot, const float *x)
{
    const uint32_t groups = kv_groups(dims);
    uint8_t *q = block + slot * packed_bytes(CARD_FORMAT_INT4, groups);
    uint8_t *scale = block + scale_at(CARD_FORMAT_INT4, groups, slot),
            *min = block + min_at(CARD_FORMAT_INT4, groups, slot);
    for (uint32_t g = 0; g < groups; g++) {
        const uint32_t from = g * GROUP, n = dims - from < GROUP ? dims - from : GROUP;
        const struct scale_min pair = write_group4(q + (size_t)g * GROUP / 2, x + from, n);
        memcpy(scale + (size_t)g * 2, &pair.scale, 2);
        memcpy(min + (size_t)g * 2, &pair.min, 2);
    }
}

void kv_write_vector(uint8_t *block, unsigned format, uint32_t dims, uint32_t slot, const float *x)
{
    switch (format) {
    case CARD_FORMAT_F32: write_floats((float *)(void *)block + (size_t)slot * dims, x, dims); break;
    case CARD_FORMAT_F16: write_halves(block + (size_t)slot * dims * 2, x, dims); break;
    case CARD_FORMAT_INT8: write_int8(block, dims, slot, x); break;
    case CARD_FORMAT_INT4: write_int4(block, dims, slot, x); break;
    default: break;
    }
}

/* ---- read as floats ---- */

SIM_INLINE float half_at(const uint8_t *at, uint32_t i)
{
    uint16_t half;
    memcpy(&half, at + (size_t)i * 2, sizeof half);
    return card_f16_to_f32(half);
}

SIM_CLONES
static void read_part8(float *restrict to, const int8_t *restrict q, float scale, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) to[i] = scale * (float)q[i];
}

SIM_CLONES
static void read_part4(float *restrict to, const uint8_t *restrict q, float scale, float min, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) to[i] = card_fma(scale, (float)(i < 16 ? q[i] & 15 : q[i - 16] >> 4), min);
}

/* Whole groups, then what is left of `take`. */
static void read_vector(const struct page_kernels *kernels, const uint8_t *block, unsigned format, uint32_t dims,
                        uint32_t take, uint32_t slot, float *to)
{
    const uint32_t groups = kv_groups(dims), whole = take / GROUP, left = take % GROUP;
    const uint8_t *q = block + slot * packed_bytes(format, groups), *scales = block + scale_at(format, groups, slot);
    const uint16_t *scale = (const uint16_t *)(const void *)scales;
    if (format == CARD_FORMAT_INT8) {
        kernels->read_int8(to, (const int8_t *)q, scale, whole);
        if (left) read_part8(to + whole * GROUP, (const int8_t *)q + whole * GROUP, half_at(scales, whole), left);
        return;
    }
    const uint8_t *mins = block + min_at(format, groups, slot);
    kernels->read_int4(to, q, scale, (const uint16_t *)(const void *)mins, whole);
    if (left) read_part4(to + whole * GROUP, q + whole * GROUP / 2, half_at(scales, whole), half_at(mins, whole), left);
}

struct kv_floats kv_read_floats(const struct page_kernels *kernels, const uint8_t *block, unsigned format,
                                uint32_t dims, uint32_t take, slot_set slots, float *to)
{
    if (format == CARD_FORMAT_F32) return (struct kv_floats){(const float *)(const void *)block, dims};
    uint32_t from, end;
    while (take_slots(&slots, &from, &end)) {
        const uint16_t *half = (const uint16_t *)(const void *)block;
        if (format == CARD_FORMAT_F16 && take == dims) {
            kernels->read_halves(to + (size_t)from * dims, half + (size_t)from * dims, (size_t)(end - from) * dims);
            continue;
        }
        for (uint32_t s = from; s < end; s++) {
            if (format == CARD_FORMAT_F16)
                kernels->read_halves(to + (size_t)s * take, half + (size_t)s * dims, take);
            else
                read_vector(kernels, block, format, dims, take, s, to + (size_t)s * take);
        }
    }
    return (struct kv_floats){to, take};
}

/* ---- read as a tile ---- */

static uint32_t word_at(const uint8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}
static void put_word(uint8_t *to, uint32_t word) { memcpy(to, &word, sizeof word); }

/* A group of one vector to its row: `words` is the group's part of the tile, moved on by four bytes a row. */
static void row_of_int8(uint8_t *restrict words, const uint8_t *restrict q)
{
    for (unsigned j = 0; j < 8; j++) put_word(words + (size_t)CARD_WORD_BYTES * j, word_at(q + 4 * (size_t)j));
}

/* Pages pair dimensions b and b + 16 in a byte, tiles columns b and b + 4 of every 8. */
static void row_of_int4(uint8_t *restrict words, const uint8_t *restrict q)
{
    const uint32_t low = 0x0f0f0f0fu, high = 0xf0f0f0f0u;
    for (unsigned j = 0; j < 2; j++) {
        const uint32_t a = word_at(q + 8 * (size_t)j), b = word_at(q + 8 * (size_t)j + 4);
        put_word(words + (size_t)CARD_WORD_BYTES * j, (a & low) | (b & low) << 4);
        put_word(words + (size_t)CARD_WORD_BYTES * (j + 2), (a >> 4 & low) | (b & high));
    }
}

void kv_read_tile(const uint8_t *block, unsigned format, uint32_t dims, uint32_t slot, uint8_t *tile)
{
    const unsigned weights = kv_tile_format(format);
    const uint32_t groups = kv_groups(dims);
    const size_t packed = packed_bytes(format, 1), group_words = format == CARD_FORMAT_INT4 ? 256 : 512;
    const size_t header = format == CARD_FORMAT_INT4 ? 128 : 64;
    for (uint32_t r = 0; r < CARD_TILE_ROWS; r++) {
        const uint8_t *q = block + (size_t)(slot + r) * groups * packed;
        const uint8_t *scale = block + scale_at(format, groups, slot + r),
                      *min = block + min_at(format, groups, slot + r);
        for (uint32_t g = 0; g < groups; g++) {
            uint8_t *to = tile + (size_t)(g / 2) * card_block_bytes(weights) + 2 * (size_t)r + g % 2 * (size_t)32;
            uint8_t *words =
                tile + (size_t)(g / 2) * card_block_bytes(weights) + header + g % 2 * group_words + 4 * (size_t)r;
            memcpy(to, scale + 2 * (size_t)g, 2);
            if (format == CARD_FORMAT_INT8) {
                row_of_int8(words, q + g * packed);
                continue;
            }
            memcpy(to + 64, min + 2 * (size_t)g, 2);
            row_of_int4(words, q + g * packed);
        }
    }
}
