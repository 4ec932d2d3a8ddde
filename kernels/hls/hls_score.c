/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/hls/hls_score.h"
#include "kernels/hls/hls_group.h"

void hls_load_query(HLS_BANKS, uint32_t format, card_addr from, uint32_t n, struct hls_query *query)
{
    HLS_NO_INLINE
    struct hls_word x[HLS_HEAD_WORDS];
    const struct hls_word zero = {{0}};
    if (!hls_page_is_integer(format)) {
        hls_load(HLS_BANK_ARGS, from, n, query->word);
        return;
    }
    hls_load(HLS_BANK_ARGS, from, n, x);
query_groups:
    for (uint32_t g = 0; g < hls_groups(n); g++) {
        HLS_TRIPS(2, 32)
        HLS_PIPELINE(2) /* two words are read a group; nothing carried: each lane of the results is written once */
        const struct hls_word pair[2] = {x[2 * g], 2 * g + 1 < hls_words(n) ? x[2 * g + 1] : zero};
        const struct hls_group group = hls_quantize_group(pair);
    query_lanes:
        for (uint32_t l = 0; l < HLS_GROUP_LANES; l++) {
            HLS_UNROLL
            query->word[g / 2].lane[g % 2 * HLS_GROUP_LANES + l] = group.bytes[l];
        }
        query->scale[g / HLS_LANES].lane[g % HLS_LANES] = group.scale;
        query->sum[g / HLS_LANES].lane[g % HLS_LANES] = group.sum;
    }
}

/* dot16 of floats, 32 positions side by side. */
static void find_float_dots(const struct hls_query *query, const struct hls_row key[CARD_PAGE_TOKENS], uint32_t mask,
                            uint32_t n, float dot[CARD_PAGE_TOKENS])
{
    HLS_NO_INLINE
    const struct hls_word zero = {{0}};
    float lane[CARD_PAGE_TOKENS][HLS_LANES] = {{0}};
    HLS_PARTITION(lane, 2)
score_words:
    for (uint32_t i = 0; i < hls_words(n); i++) {
        HLS_TRIPS(4, 64)
    score_positions:
        for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
            HLS_PIPELINE(1)
            HLS_DISTANCE(lane, 32) /* all 32 positions, seen or not, so that a position's lanes wait out their fma */
            const int seen = (mask >> s & 1u) != 0;
            const struct hls_word word = seen ? key[s].word[i] : zero;
            hls_dot_word(query->word[i], word, seen ? hls_min(n - i * HLS_LANES, HLS_LANES) : 0, lane[s]);
        }
    }
score_sums:
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        HLS_PIPELINE(1) /* nothing carried */
        dot[s] = hls_tree(lane[s]);
    }
}

/* The exact product sum of group g of a key and a query: 32 multipliers. */
static int32_t group_dot(uint32_t format, const struct hls_query *query, const struct hls_row *key, uint32_t g)
{
    HLS_INLINE
    int32_t sum = 0;
group_bytes:
    for (uint32_t b = 0; b < CARD_GROUP_COLS; b++) {
        HLS_UNROLL
        const int32_t x = hls_int8(query->word[g / 2].lane[g % 2 * HLS_GROUP_LANES + b / 4], b % 4);
        const int32_t wide = hls_int8(key->word[g / 2].lane[g % 2 * HLS_GROUP_LANES + b / 4], b % 4);
        const int32_t pair = hls_uint8(key->word[g / 4].lane[g % 4 * 4 + b % 16 / 4], b % 4);
        sum += x * (format == CARD_FORMAT_INT8 ? wide : pair >> (b / 16 * 4) & 15);
    }
    return sum;
}

/* acc = fma(key scale * query scale, dot, acc), and of INT4 the minimum's step, group after group. */
static void find_integer_dots(uint32_t format, const struct hls_query *query,
                              const struct hls_row key[CARD_PAGE_TOKENS], uint32_t mask, uint32_t n,
                              float dot[CARD_PAGE_TOKENS])
{
    HLS_NO_INLINE
clear_dots:
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        HLS_PIPELINE(1) /* nothing carried */
        dot[s] = 0.0f;
    }
dot_groups:
    for (uint32_t g = 0; g < hls_groups(n); g++) {
        HLS_TRIPS(2, 32)
        const float scale = card_float(query->scale[g / HLS_LANES].lane[g % HLS_LANES]);
        const float sum = (float)(int32_t)query->sum[g / HLS_LANES].lane[g % HLS_LANES];
    dot_positions:
        for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
            HLS_PIPELINE(1)
            HLS_DISTANCE(dot, 32) /* a position comes back after 32 iterations; two fmas are 24 cycles */
            if ((mask >> s & 1u) != 0) {
                const float key_scale = card_float(key[s].scale[g / HLS_LANES].lane[g % HLS_LANES]);
                const float product = (float)group_dot(format, query, &key[s], g);
                dot[s] = card_fma(key_scale * scale, product, dot[s]);
                if (format == CARD_FORMAT_INT4) {
                    const float key_minimum = card_float(key[s].minimum[g / HLS_LANES].lane[g % HLS_LANES]);
                    dot[s] = card_fma(key_minimum * scale, sum, dot[s]);
                }
            }
        }
    }
}

void hls_find_dots(uint32_t format, const struct hls_query *query, const struct hls_row key[CARD_PAGE_TOKENS],
                   uint32_t mask, uint32_t n, float dot[CARD_PAGE_TOKENS])
{
    HLS_INLINE
    if (hls_page_is_integer(format))
        find_integer_dots(format, query, key, mask, n, dot);
    else
        find_float_dots(query, key, mask, n, dot);
}
