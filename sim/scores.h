/* SPDX-License-Identifier: Apache-2.0 */
/* Query vectors times the keys of one page: what ATTENTION and INDEX share. */
#ifndef SLUICE_SIM_SCORES_H
#define SLUICE_SIM_SCORES_H

#include "sim/kv_pages.h"
#include "sim/page_kernels.h"
#include "sim/step.h"

#include <stddef.h>
#include <stdint.h>

/* Up to PAGE_QUERIES query vectors: floats, or for integer pages rows of activations as QUANTIZE makes them. */
struct queries {
    uint32_t n;
    const float *floats[PAGE_QUERIES];
    struct act_row row[PAGE_QUERIES];
};

/* Bytes of a quantized query of this page format: 0 for float pages. A multiple of 4. */
static inline size_t query_bytes(unsigned format, uint32_t dims)
{
    return kv_is_integer(format) ? (size_t)kv_groups(dims) * (CARD_GROUP_COLS + 4 + 4) : 0;
}

/* Quantizes x[dims] to `to` if the page format asks for it. */
void query_make(unsigned format, uint32_t dims, const float *x, void *to);

/* Adds x[dims], or what query_make made of it, to less than PAGE_QUERIES. Both are borrowed. */
static inline void queries_add(struct queries *queries, unsigned format, uint32_t dims, const float *x,
                               const void *made)
{
    const size_t groups = kv_groups(dims);
    const uint32_t i = queries->n++;
    queries->floats[i] = x;
    if (!kv_is_integer(format)) return;
    const float *scale = (const float *)made;
    const int32_t *sum = (const int32_t *)(const void *)(scale + groups);
    queries->row[i] =
        (struct act_row){.value = (const int8_t *)(const void *)(sum + groups), .scale = scale, .sum = sum};
}

/* Keys of one page, in the form in which queries meet them: halves, floats, or two tiles of 16 rows (card_layout.h). */
struct page_keys {
    unsigned format;
    uint32_t dims;
    const uint16_t *halves; /* NULL: not in this form */
    struct kv_floats floats;
    const uint8_t *tiles;
    const struct page_kernels *kernels;
    tile_kernel *tile_kernel;
};

/* Bytes of scratch in which keys of a page are unpacked; a multiple of 64. */
size_t page_keys_bytes(unsigned format, uint32_t dims);

/* The keys in `slots` of a block, with the kernels of the step; scratch: page_keys_bytes. */
struct page_keys page_keys_read(const struct sim_step *step, const uint8_t *block, uint32_t dims, slot_set slots,
                                void *scratch);

/* score[q][s] = query q . key_s * scale for the slots of the set, some float for the others. */
void page_scores(const struct page_keys *keys, const struct queries *queries, slot_set slots, float scale,
                 float (*score)[CARD_PAGE_TOKENS]);

#endif
