/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/hls/hls_page.h"

/* n halves from an even address, as floats; lanes after them become 0. */
static void load_halves(HLS_BANKS, card_addr from, uint32_t n, struct hls_word *to)
{
    HLS_NO_INLINE
    struct hls_word half[HLS_HEAD_WORDS / 2 + 1];
    const uint32_t odd = (uint32_t)(from / 2 % 2);
    hls_load(HLS_BANK_ARGS, from - 2 * odd, (odd + n + 1) / 2, half);
page_halves:
    for (uint32_t i = 0; i < hls_words(n); i++) {
        HLS_TRIPS(4, 64)
        HLS_PIPELINE(1) /* nothing carried: each word is written once */
    page_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const uint32_t at = i * HLS_LANES + l, h = at + odd;
            const float value = hls_half(half[h / (2 * HLS_LANES)], h % (2 * HLS_LANES));
            to[i].lane[l] = at < n ? card_bits(value) : 0u;
        }
    }
}

void hls_load_row(HLS_BANKS, uint32_t format, card_addr block, uint32_t n, uint32_t slot, struct hls_row *row)
{
    HLS_NO_INLINE
    const uint32_t groups = hls_groups(n);
    const struct hls_row_place place = hls_find_row(format, n, slot);
    switch (format) {
    case CARD_FORMAT_F32: hls_load(HLS_BANK_ARGS, block + place.values, n, row->word); break;
    case CARD_FORMAT_F16: load_halves(HLS_BANK_ARGS, block + place.values, n, row->word); break;
    case CARD_FORMAT_INT8:
        hls_load(HLS_BANK_ARGS, block + place.values, 8 * groups, row->word);
        load_halves(HLS_BANK_ARGS, block + place.scales, groups, row->scale);
        break;
    default: /* INT4 */
        hls_load(HLS_BANK_ARGS, block + place.values, 4 * groups, row->word);
        load_halves(HLS_BANK_ARGS, block + place.scales, groups, row->scale);
        load_halves(HLS_BANK_ARGS, block + place.minima, groups, row->minimum);
        break;
    }
}

/* Dimensions 16 i to 16 i + 15 of a row of 8-bit values: half of group i / 2. */
static struct hls_word floats_of_int8(const struct hls_row *row, uint32_t i)
{
    HLS_INLINE
    const float scale = card_float(row->scale[i / 2 / HLS_LANES].lane[i / 2 % HLS_LANES]);
    struct hls_word out;
int8_lanes:
    for (uint32_t l = 0; l < HLS_LANES; l++) {
        HLS_UNROLL
        const int32_t q = hls_int8(row->word[i / 4].lane[i % 4 * 4 + l / 4], l % 4);
        out.lane[l] = card_bits(scale * (float)q);
    }
    return out;
}

/* The same of 4-bit values: the low nibbles of a group's 16 bytes, or the high ones. */
static struct hls_word floats_of_int4(const struct hls_row *row, uint32_t i)
{
    HLS_INLINE
    const uint32_t group = i / 2, shift = i % 2 * 4;
    const float scale = card_float(row->scale[group / HLS_LANES].lane[group % HLS_LANES]);
    const float minimum = card_float(row->minimum[group / HLS_LANES].lane[group % HLS_LANES]);
    struct hls_word out;
int4_lanes:
    for (uint32_t l = 0; l < HLS_LANES; l++) {
        HLS_UNROLL
        const int32_t both = hls_uint8(row->word[group / 4].lane[group % 4 * 4 + l / 4], l % 4);
        out.lane[l] = card_bits(card_fma(scale, (float)(both >> shift & 15), minimum));
    }
    return out;
}

void hls_row_floats(uint32_t format, const struct hls_row *row, uint32_t n, struct hls_word *to)
{
    HLS_NO_INLINE
row_words:
    for (uint32_t i = 0; i < hls_words(n); i++) {
        HLS_TRIPS(4, 64)
        HLS_PIPELINE(1) /* nothing carried */
        if (format == CARD_FORMAT_INT8)
            to[i] = floats_of_int8(row, i);
        else if (format == CARD_FORMAT_INT4)
            to[i] = floats_of_int4(row, i);
        else
            to[i] = row->word[i];
    }
}
