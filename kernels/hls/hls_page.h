/* SPDX-License-Identifier: Apache-2.0 */
/* Where a page of a pool lies, and one position of it in every page format: what ATTENTION and INDEX read. */
#ifndef SLUICE_HLS_PAGE_H
#define SLUICE_HLS_PAGE_H

#include "kernels/hls/hls_memory.h"

#define HLS_HEAD_WORDS (CARD_MAX_HEAD_DIM / HLS_LANES) /* of a head's vector as floats */
#define HLS_HEAD_GROUPS (CARD_MAX_HEAD_DIM / CARD_GROUP_COLS)
#define HLS_GROUP_WORDS (HLS_HEAD_GROUPS / HLS_LANES) /* of a value for each group */

/*
 * A key or a value as it lies in a page: of F32 and F16 pages the floats, of INT8 and INT4 pages the bytes of
 * card_layout.h, with scale and (INT4) minimum of each group as floats.
 */
struct hls_row {
    struct hls_word word[HLS_HEAD_WORDS];
    struct hls_word scale[HLS_GROUP_WORDS], minimum[HLS_GROUP_WORDS];
};

static inline int hls_page_is_integer(uint32_t format)
{
    HLS_INLINE
    return format == CARD_FORMAT_INT8 || format == CARD_FORMAT_INT4;
}

/* The banks over which the step's pool is dealt. */
static inline uint32_t hls_pool_banks(const struct hls_step *step)
{
    HLS_INLINE
    return step->opcode == CARD_OP_KV_WRITE ? step->param[2] : step->e_rows;
}

/*
 * Page `number`, of page_bytes, of the pool at `pool`, dealt over `banks` (0: 1); it lies in one bank. As card_tile_bank and
 * card_tile_offset, with one division of 32 bits: card_check has no pool of more than 2^28 pages.
 */
static inline card_addr hls_page_address(card_addr pool, uint32_t banks, uint32_t number, uint64_t page_bytes)
{
    HLS_INLINE
    if (banks <= 1) return pool + number * page_bytes;
    const uint32_t tile = CARD_ADDR_BANK(pool) + number, row = tile / banks;
    return CARD_ADDR(tile - row * banks, CARD_ADDR_OFFSET(pool) + row * page_bytes);
}

/* Groups of 32 that a vector of n dimensions takes. */
static inline uint32_t hls_groups(uint32_t n)
{
    HLS_INLINE
    return (n + CARD_GROUP_COLS - 1) / CARD_GROUP_COLS;
}

/* Where slot `slot` lies in a block of vectors of n dimensions: offsets in bytes from the block's start. */
struct hls_row_place {
    uint64_t values, scales, minima;
};
static inline struct hls_row_place hls_find_row(uint32_t format, uint32_t n, uint32_t slot)
{
    HLS_INLINE
    const uint32_t groups = hls_groups(n), bytes = format == CARD_FORMAT_INT8 ? 32u : 16u; /* of a group */
    struct hls_row_place place = {0, 0, 0};
    if (hls_page_is_integer(format)) {
        place.values = (uint64_t)slot * groups * bytes;
        place.scales = ((uint64_t)CARD_PAGE_TOKENS * bytes + 2ull * slot) * groups;
        place.minima = place.scales + 2ull * CARD_PAGE_TOKENS * groups;
    } else {
        place.values = (uint64_t)slot * n * (format == CARD_FORMAT_F32 ? 4u : 2u);
    }
    return place;
}

/* Slot `slot` of the block of vectors of n dimensions at `block`. */
void hls_load_row(HLS_BANKS, uint32_t format, card_addr block, uint32_t n, uint32_t slot, struct hls_row *row);

/* The first n dimensions of a row as floats. */
void hls_row_floats(uint32_t format, const struct hls_row *row, uint32_t n, struct hls_word *to);

#endif
