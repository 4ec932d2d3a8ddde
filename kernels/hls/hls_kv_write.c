/* SPDX-License-Identifier: Apache-2.0 */
/* KV_WRITE: the step's keys and values into the pages of their sequences, token after token in the batch's order. */
#include "kernels/hls/hls_batch.h"
#include "kernels/hls/hls_group.h"
#include "kernels/hls/hls_operations.h"
#include "kernels/hls/hls_page.h"

#define RECIP_15 0x1.111112p-4f  /* 1/15 rounded: scale of a 4-bit group per unit of its range */
#define LARGEST_HALF 0x477fe000u /* 65504 as a float */

/* Half i of an array of halves, two to a lane. */
static uint32_t half_at(const struct hls_word *half, uint32_t i)
{
    HLS_INLINE
    return half[i / 2 / HLS_LANES].lane[i / 2 % HLS_LANES] >> (16 * (i % 2)) & 0xffffu;
}

/* Half number i - odd of `half` in the place of `old`, where there is one. */
static uint32_t half_or(const struct hls_word *half, uint32_t n, uint32_t i, uint32_t odd, uint32_t old)
{
    HLS_INLINE
    const uint32_t at = i < odd ? n : i - odd;
    return at < n ? half_at(half, at) : old;
}

/* n halves to an even address. */
static void store_halves(HLS_BANKS, card_addr to, uint32_t n, const struct hls_word *half)
{
    HLS_NO_INLINE
    struct hls_word page[HLS_HEAD_WORDS / 2 + 1];
    const uint32_t odd = (uint32_t)(to / 2 % 2), lanes = (odd + n + 1) / 2;
    hls_load(HLS_BANK_ARGS, to - 2 * odd, lanes, page); /* its first and last lane may hold a neighbour's half */
kv_lanes:
    for (uint32_t i = 0; i < lanes; i++) {
        HLS_TRIPS(1, 513)
        HLS_PIPELINE(1)
        HLS_INDEPENDENT(page) /* a lane is read and written by its own iteration only */
        const uint32_t old = page[i / HLS_LANES].lane[i % HLS_LANES];
        const uint32_t low = half_or(half, n, 2 * i, odd, old & 0xffffu);
        page[i / HLS_LANES].lane[i % HLS_LANES] = half_or(half, n, 2 * i + 1, odd, old >> 16) << 16 | low;
    }
    hls_store(HLS_BANK_ARGS, to - 2 * odd, lanes, page);
}

/* F32 as it is, but with one NaN. */
static void clean_nans(struct hls_word *x, uint32_t n)
{
kv_floats:
    for (uint32_t i = 0; i < hls_words(n); i++) {
        HLS_TRIPS(4, 64)
        HLS_PIPELINE(1) /* nothing carried */
    kv_float_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const uint32_t bits = x[i].lane[l];
            x[i].lane[l] = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
        }
    }
}

static void find_halves(const struct hls_word *x, uint32_t n, struct hls_word *half)
{
kv_halves:
    for (uint32_t i = 0; i < (n + 1) / 2; i++) {
        HLS_TRIPS(32, 512)
        HLS_PIPELINE(1) /* nothing carried: each lane is written once; lanes past n are zeros */
        const struct hls_word word = x[i / 8];
        const uint32_t low = card_f32_to_f16(card_float(word.lane[i % 8 * 2]));
        const uint32_t high = card_f32_to_f16(card_float(word.lane[i % 8 * 2 + 1]));
        half[i / HLS_LANES].lane[i % HLS_LANES] = high << 16 | low;
    }
}

/* The group's scale as a half. */
static uint32_t make_int8(const struct hls_word x[2], struct hls_group *out)
{
    HLS_INLINE
    const uint32_t largest = hls_largest_bits(x);
    const uint32_t half = card_f32_to_f16(card_float(largest) * CARD_RECIP_127);
    const float scale = card_f16_to_f32((uint16_t)half);
    const int normal = largest <= LARGEST_HALF && half != 0;
    hls_round_group(x, normal, card_select(normal, card_recip(scale), 1.0f), out);
    return largest <= LARGEST_HALF ? half : 0x7e00u;
}

/* Scale and, in the high half, minimum as halves; `count` (1 to 32) of the group's dimensions are there. */
static uint32_t make_int4(const struct hls_word x[2], uint32_t count, struct hls_group *out)
{
    HLS_INLINE
    const int finite = hls_largest_bits(x) <= LARGEST_HALF;
    float least = card_float(x[0].lane[0]), most = least;
kv_range:
    for (uint32_t i = 1; i < CARD_GROUP_COLS; i++) {
        HLS_UNROLL
        const float value = card_float(x[i / HLS_LANES].lane[i % HLS_LANES]);
        least = i < count && value < least ? value : least;
        most = i < count && value > most ? value : most;
    }
    const uint32_t rounded = card_f32_to_f16(least), minimum = (rounded & 0x7fffu) != 0 ? rounded : 0u;
    const uint32_t half = card_f32_to_f16((most - least) * RECIP_15);
    const float low = card_f16_to_f32((uint16_t)minimum);
    const float inverse = card_recip(card_f16_to_f32((uint16_t)half));
kv_nibbles:
    for (uint32_t i = 0; i < CARD_GROUP_COLS; i++) {
        HLS_UNROLL
        const int live = finite && half != 0 && i < count;
        const float value = card_float(x[i / HLS_LANES].lane[i % HLS_LANES]);
        float q = card_round_even(card_select(live, (value - low) * inverse, 0.0f));
        q = q > 15.0f ? 15.0f : q;
        q = q < 0.0f ? 0.0f : q;
        const uint32_t nibble = (uint32_t)(int32_t)q << (i % 4 * 8 + i / 16 * 4), lane = i % 16 / 4;
        out->bytes[lane] = i / 16 == 0 && i % 4 == 0 ? nibble : out->bytes[lane] | nibble;
    }
    return finite ? minimum << 16 | half : 0x7e007e00u;
}

/* n floats as the row of a page of integers: bytes, and halves of scales and minima, two to a lane. */
static void make_row(uint32_t format, const struct hls_word *x, uint32_t n, struct hls_word *bytes,
                     struct hls_word scale[1], struct hls_word minimum[1])
{
    HLS_NO_INLINE
    const struct hls_word zero = {{0}};
    const uint32_t lanes = format == CARD_FORMAT_INT8 ? 8u : 4u; /* of a group */
kv_groups:
    for (uint32_t g = 0; g < hls_groups(n); g++) {
        HLS_TRIPS(2, 32)
        HLS_PIPELINE(2) /* two words are read a group; carried: a lane of two halves, a selection of one cycle */
        const struct hls_word pair[2] = {x[2 * g], 2 * g + 1 < hls_words(n) ? x[2 * g + 1] : zero};
        const uint32_t count = hls_min(n - g * CARD_GROUP_COLS, CARD_GROUP_COLS);
        struct hls_group group;
        const uint32_t halves = format == CARD_FORMAT_INT8 ? make_int8(pair, &group) : make_int4(pair, count, &group);
        const uint32_t low = halves & 0xffffu, high = halves >> 16, lane = g / 2;
        scale[0].lane[lane] = g % 2 == 0 ? low : scale[0].lane[lane] | low << 16;
        minimum[0].lane[lane] = g % 2 == 0 ? high : minimum[0].lane[lane] | high << 16;
    kv_group_lanes:
        for (uint32_t l = 0; l < 8; l++) {
            HLS_UNROLL
            const uint32_t at = g * lanes + l;
            if (l < lanes) bytes[at / HLS_LANES].lane[at % HLS_LANES] = group.bytes[l];
        }
    }
}

/* One head's n floats at src to slot `slot` of the block of vectors at `block`. */
static void write_head(HLS_BANKS, uint32_t format, card_addr src, card_addr block, uint32_t n, uint32_t slot)
{
    HLS_NO_INLINE
    struct hls_word x[HLS_HEAD_WORDS], row[HLS_HEAD_WORDS / 2], scale[1] = {{{0}}}, minimum[1] = {{{0}}};
    const struct hls_row_place place = hls_find_row(format, n, slot);
    const uint32_t groups = hls_groups(n);
    hls_load(HLS_BANK_ARGS, src, n, x);
    if (format == CARD_FORMAT_F32) {
        clean_nans(x, n);
        hls_store(HLS_BANK_ARGS, block + place.values, n, x);
    } else if (format == CARD_FORMAT_F16) {
        find_halves(x, n, row);
        store_halves(HLS_BANK_ARGS, block + place.values, n, row);
    } else {
        make_row(format, x, n, row, scale, minimum);
        hls_store(HLS_BANK_ARGS, block + place.values, (format == CARD_FORMAT_INT8 ? 8 : 4) * groups, row);
        store_halves(HLS_BANK_ARGS, block + place.scales, groups, scale);
        if (format == CARD_FORMAT_INT4) store_halves(HLS_BANK_ARGS, block + place.minima, groups, minimum);
    }
}

void hls_kv_write(HLS_BANKS, const struct hls_step *step)
{
    const uint32_t keys = step->cols, values = step->param[1], heads = step->rows;
    const uint64_t page_bytes = card_page_bytes(step->format, heads, keys, values);
    const uint64_t key_bytes = card_page_block_bytes(step->format, keys);
    const uint64_t value_bytes = card_page_block_bytes(step->format, values);
kv_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        const struct card_batch_token token = hls_load_token(HLS_BANK_ARGS, step, t);
        const uint32_t p = token.position / CARD_PAGE_TOKENS, slot = token.position % CARD_PAGE_TOKENS;
        const uint32_t number = hls_load_one(HLS_BANK_ARGS, hls_token_pages(step, token) + 4ull * p);
        const card_addr page = hls_page_address(step->dst, hls_pool_banks(step), number, page_bytes);
    kv_heads:
        for (uint32_t h = 0; h < heads; h++) {
            HLS_TRIPS(1, 128)
            const uint64_t vector = (uint64_t)t * heads + h;
            const card_addr value = page + heads * key_bytes + h * value_bytes;
            write_head(HLS_BANK_ARGS, step->format, step->src + 4 * vector * keys, page + h * key_bytes, keys, slot);
            if (values == 0) continue;
            write_head(HLS_BANK_ARGS, step->format, step->weight + 4 * vector * values, value, values, slot);
        }
    }
}
