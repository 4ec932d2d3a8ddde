/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of KV pages (card_layout.h): one KV head's keys or values of CARD_PAGE_TOKENS positions, written vector by
 * vector and read as floats or as integers with their scales.
 */
#ifndef SLUICE_SIM_KV_PAGES_H
#define SLUICE_SIM_KV_PAGES_H

#include "kernels/abi/card_layout.h"
#include "sim/lanes.h"
#include "sim/page_kernels.h"

#include <stddef.h>
#include <stdint.h>

/* Whether vectors of this page format are integers with scales. */
static inline int kv_is_integer(unsigned format) { return format == CARD_FORMAT_INT8 || format == CARD_FORMAT_INT4; }

/* Groups of 32 of a vector. */
static inline uint32_t kv_groups(uint32_t dims) { return (dims + CARD_GROUP_COLS - 1) / CARD_GROUP_COLS; }

/* Bytes of one vector with its scales; they need not lie together. */
static inline uint64_t kv_vector_bytes(unsigned format, uint32_t dims)
{
    return card_page_block_bytes(format, dims) / CARD_PAGE_TOKENS;
}

/* Writes x[dims] into a slot of a block. NaN becomes the one NaN of the format. */
void kv_write_vector(uint8_t *block, unsigned format, uint32_t dims, uint32_t slot, const float *x);

/* Vectors as floats: that of slot s starts at at + s * stride. */
struct kv_floats {
    const float *at;
    size_t stride;
};

/*
 * The first `take` dimensions of the vectors in `slots`, unpacked to `to` (room for CARD_PAGE_TOKENS * take floats); an
 * F32 block is used where it lies and `to` left alone.
 */
struct kv_floats kv_read_floats(const struct page_kernels *kernels, const uint8_t *block, unsigned format,
                                uint32_t dims, uint32_t take, slot_set slots, float *to);

/* An INT8 or INT4 block's vectors are rows of a matrix in this weight format (card_layout.h). */
static inline unsigned kv_tile_format(unsigned format)
{
    return format == CARD_FORMAT_INT4 ? CARD_FORMAT_INT4_MIN : CARD_FORMAT_INT8;
}
static inline size_t kv_tile_bytes(unsigned format, uint32_t dims)
{
    return (size_t)card_tile_bytes(kv_tile_format(format), dims);
}

/*
 * Makes a tile of CARD_TILE_ROWS vectors from `slot` on. Nothing is written past kv_groups(dims) groups. Scales and
 * minimums that are NaN stay so.
 */
void kv_read_tile(const uint8_t *block, unsigned format, uint32_t dims, uint32_t slot, uint8_t *tile);

#endif
