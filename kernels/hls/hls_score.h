/* SPDX-License-Identifier: Apache-2.0 */
/* Queries against the keys of a page: what ATTENTION and INDEX share. */
#ifndef SLUICE_HLS_SCORE_H
#define SLUICE_HLS_SCORE_H

#include "kernels/hls/hls_page.h"

/* A query: floats for F32 and F16 pages; for INT8 and INT4 pages bytes, with scale and sum of each group. */
struct hls_query {
    struct hls_word word[HLS_HEAD_WORDS];
    struct hls_word scale[HLS_GROUP_WORDS], sum[HLS_GROUP_WORDS];
};

/* n floats, made 8-bit integers as by QUANTIZE where the pages are integers. */
void hls_load_query(HLS_BANKS, uint32_t format, card_addr from, uint32_t n, struct hls_query *query);

/* dot[s] = query . key[s] for each position s of the page whose bit is in `mask`; of the others +0. n: dimensions. */
void hls_find_dots(uint32_t format, const struct hls_query *query, const struct hls_row key[CARD_PAGE_TOKENS],
                   uint32_t mask, uint32_t n, float dot[CARD_PAGE_TOKENS]);

#endif
