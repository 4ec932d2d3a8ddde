/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loops of ATTENTION and INDEX: a page's keys and values as floats against several queries, so that what is
 * loaded of a page meets all of them; and that of QUANTIZE. There is one implementation in plain C for any processor and one for each
 * instruction set worth it, from one text (page_template.h); all give the bits of kernels/README.md.
 */
#ifndef SLUICE_SIM_PAGE_KERNELS_H
#define SLUICE_SIM_PAGE_KERNELS_H

#include "kernels/abi/card_layout.h"

#include <stddef.h>
#include <stdint.h>

#define PAGE_QUERIES 16u /* of one call at most */

/* A set of a page's positions: bit s is slot s. */
typedef uint32_t slot_set;
_Static_assert(CARD_PAGE_TOKENS == 32, "a slot_set has a bit for every position of a page");

/* Takes the first run of neighbours [from, to) out of the set; 0 if the set is empty. */
static inline int take_slots(slot_set *set, uint32_t *from, uint32_t *to)
{
    if (*set == 0) return 0;
    *from = (uint32_t)__builtin_ctz(*set);
    *to = *from + (uint32_t)__builtin_ctzll(~((uint64_t)*set >> *from));
    *set = (uint32_t)(*set & (UINT64_MAX << *to));
    return 1;
}

/* Running state of one query head of one token: largest score so far and the sum of exp(score - largest). */
struct softmax {
    float largest, sum;
};

struct page_kernels {
    /*
     * score[q][s] = dot16(query[q], key s) of n queries, key s being the dims floats at key + s * dims; all 32 can be
     * read. Scores of slots that are not in the set are any float.
     */
    void (*dots)(const float *const *query, uint32_t n, const float *key, uint32_t dims, slot_set slots,
                 float (*score)[CARD_PAGE_TOKENS]);
    /*
     * Adds the scores of each query's slots to its softmax and makes exp(score - largest) of them, 0 of the others.
     * rescale[q]: the factor by which its weighted sum shrinks.
     */
    void (*soften)(struct softmax *const *state, float *rescale, uint32_t n, float (*score)[CARD_PAGE_TOKENS],
                   const slot_set *slots);
    /*
     * Of n queries with weights p[q]: acc[q][dims] = acc[q] rescale[q], then acc[q] += p[q][s] value s for the query's
     * slots s in order; value s is at value + s * stride. Spoils rescale.
     */
    void (*weigh)(float *const *acc, float *rescale, uint32_t n, const float (*p)[CARD_PAGE_TOKENS],
                  const slot_set *slots, const float *value, size_t stride, uint32_t dims);
    /*
     * dots and weigh of a page of halves as it lies in memory; dims: a multiple of 16. For up to `few` queries that is
     * faster than read_halves first.
     */
    uint32_t few;
    void (*dots_halves)(const float *const *query, uint32_t n, const uint16_t *key, uint32_t dims, slot_set slots,
                        float (*score)[CARD_PAGE_TOKENS]);
    void (*weigh_halves)(float *const *acc, float *rescale, uint32_t n, const float (*p)[CARD_PAGE_TOKENS],
                         const slot_set *slots, const uint16_t *value, uint32_t dims);
    /* Floats of halves. A NaN stays one, of any sign and payload. */
    void (*read_halves)(float *to, const uint16_t *half, size_t n);
    /* Floats of n whole groups of INT8 or INT4 pages (card_layout.h): scale * q, fma(scale, q, min). NaN as above. */
    void (*read_int8)(float *to, const int8_t *q, const uint16_t *scale, size_t n);
    void (*read_int4)(float *to, const uint8_t *q, const uint16_t *scale, const uint16_t *min, size_t n);
    /* QUANTIZE of whole groups: x[n][32] to value[n][32], scale[n] and sum[n]. */
    void (*quantize)(const float *x, size_t n, int8_t *value, float *scale, int32_t *sum);
};

extern const struct page_kernels page_generic;
#if defined(__x86_64__)
extern const struct page_kernels page_avx2, page_avx512; /* as the tile kernels of these names (tile_kernels.h) */
#elif defined(__aarch64__)
extern const struct page_kernels page_neon;
#endif

/* Those that belong to the tile kernel of this name. */
const struct page_kernels *page_kernels_find(const char *name);

#endif
