/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of page_kernels.h for one instruction set. Whoever includes it has defined TARGET, INLINE and UNROLL; v16, 16
 * floats in registers, with v16_load, v16_store, v16_set, v16_mul, v16_fma, v16_halves, v16_bytes and v16_fma_some (of the first n
 * lanes only, from memory); V16_SUMS, how many of them v16_trees sums at once, lane l with l + 8, then 4, 2, 1;
 * V16_ACROSS, how many stay in registers along a value; and PAGE_KERNELS, the name of the result. V16_QUANTIZE: it has its
 * own `quantize`.
 */
#include "kernels/abi/card_math.h"
#include "sim/lanes.h"
#include "sim/page_kernels.h"
#include "sim/quantize.h"

#include <string.h>

/* Elements [i, i + 16) of a page: floats, or halves as they lie in it. */
INLINE v16 page_load(const void *page, size_t i, int halves)
{
    return halves ? v16_halves((const uint16_t *)page + i) : v16_load((const float *)page + i);
}

INLINE const void *page_at(const void *page, size_t i, int halves)
{
    return (const uint8_t *)page + i * (halves ? sizeof(uint16_t) : sizeof(float));
}

/* ---- queries times keys ---- */

/* V16_SUMS dot products at once: sum[q * k_n + k]. Of halves dims is a multiple of 16. */
INLINE void dot_block(const float *const *query, unsigned q_n, const void *key, unsigned k_n, uint32_t dims, int halves,
                      float sum[V16_SUMS])
{
    v16 acc[V16_SUMS];
    UNROLL
    for (unsigned i = 0; i < V16_SUMS; i++) acc[i] = v16_set(0.0f);
    uint32_t at = 0;
    for (; at + LANES <= dims; at += LANES) {
        v16 x[4];
        UNROLL
        for (unsigned q = 0; q < q_n; q++) x[q] = v16_load(query[q] + at);
        UNROLL
        for (unsigned k = 0; k < k_n; k++) {
            const v16 y = page_load(key, (size_t)k * dims + at, halves);
            UNROLL
            for (unsigned q = 0; q < q_n; q++) acc[q * k_n + k] = v16_fma(x[q], y, acc[q * k_n + k]);
        }
    }
    if (at < dims && !halves) {
        UNROLL
        for (unsigned i = 0; i < V16_SUMS; i++)
            acc[i] = v16_fma_some(query[i / k_n] + at, (const float *)key + (size_t)(i % k_n) * dims + at, acc[i],
                                  dims - at);
    }
    v16_trees(acc, sum);
}

/* q_n queries, by the blocks of k_n keys in which a slot is seen. */
INLINE void dots_of(const float *const *query, unsigned q_n, const void *key, uint32_t dims, int halves, slot_set slots,
                    float (*score)[CARD_PAGE_TOKENS])
{
    const unsigned k_n = V16_SUMS / q_n;
    for (unsigned s = 0; s < CARD_PAGE_TOKENS; s += k_n) {
        if (!(slots >> s & ((1u << k_n) - 1))) continue;
        float sum[V16_SUMS];
        dot_block(query, q_n, page_at(key, (size_t)s * dims, halves), k_n, dims, halves, sum);
        UNROLL
        for (unsigned q = 0; q < q_n; q++) memcpy(score[q] + s, sum + q * k_n, k_n * sizeof *sum);
    }
}

INLINE void dots_all(const float *const *query, uint32_t n, const void *key, uint32_t dims, int halves, slot_set slots,
                     float (*score)[CARD_PAGE_TOKENS])
{
    uint32_t q = 0;
#if V16_SUMS == 16
    for (; q + 4 <= n; q += 4) dots_of(query + q, 4, key, dims, halves, slots, score + q);
#endif
    for (; q + 2 <= n; q += 2) dots_of(query + q, 2, key, dims, halves, slots, score + q);
    if (q < n) dots_of(query + q, 1, key, dims, halves, slots, score + q);
}

TARGET static void dots(const float *const *query, uint32_t n, const float *key, uint32_t dims, slot_set slots,
                        float (*score)[CARD_PAGE_TOKENS])
{
    dots_all(query, n, key, dims, 0, slots, score);
}

TARGET static void dots_halves(const float *const *query, uint32_t n, const uint16_t *key, uint32_t dims,
                               slot_set slots, float (*score)[CARD_PAGE_TOKENS])
{
    dots_all(query, n, key, dims, 1, slots, score);
}

/* ---- softmax ---- */

/* -infinity in place of the scores that are not seen; of all and `largest` the largest that are left in lanes 0..3. */
INLINE void largest_of(float score[CARD_PAGE_TOKENS], slot_set slots, float largest, float most[4])
{
    float lane[LANES];
    for (unsigned s = 0; s < CARD_PAGE_TOKENS; s++)
        score[s] = card_select((int32_t)(slots >> s & 1), score[s], -CARD_INFINITY);
    /* A NaN is never larger; and which of two zeros is kept shows nowhere, so the order does not matter. */
    for (unsigned l = 0; l < LANES; l++) {
        const float first = card_select(score[l] > largest, score[l], largest);
        lane[l] = card_select(score[l + LANES] > first, score[l + LANES], first);
    }
    for (unsigned l = 0; l < 8; l++) lane[l] = card_select(lane[l + 8] > lane[l], lane[l + 8], lane[l]);
    for (unsigned l = 0; l < 4; l++) most[l] = card_select(lane[l + 4] > lane[l], lane[l + 4], lane[l]);
}

/* What is one number per query, of all queries side by side: the new largest score, and the factor for the sums so far. */
INLINE void raise_largest(struct softmax *const *state, uint32_t n, float (*most)[4], float *rescale)
{
    float before[PAGE_QUERIES] = {0}, largest[PAGE_QUERIES], factor[PAGE_QUERIES];
    for (uint32_t q = 0; q < n; q++) before[q] = state[q]->largest;
    for (unsigned q = 0; q < PAGE_QUERIES; q++) {
        float x = most[q][0];
        for (unsigned l = 1; l < 4; l++) x = card_select(most[q][l] > x, most[q][l], x);
        largest[q] = x;
    }
    /* Before the first finite score the sums are zeros, and -infinity - -infinity would spoil them. */
    for (unsigned q = 0; q < PAGE_QUERIES; q++)
        factor[q] = card_select(before[q] == -CARD_INFINITY, 0.0f, card_exp(before[q] - largest[q]));
    for (uint32_t q = 0; q < n; q++) {
        state[q]->largest = largest[q];
        rescale[q] = factor[q];
    }
}

INLINE void weights_of(float score[CARD_PAGE_TOKENS], slot_set slots, float largest)
{
    for (unsigned s = 0; s < CARD_PAGE_TOKENS; s++)
        score[s] = card_select((int32_t)(slots >> s & 1), card_exp(score[s] - largest), 0.0f);
}

/* Sums in order, of q_n queries side by side. They are never -0: the zeros of slots not seen change nothing. */
INLINE void add_weights(struct softmax *const *state, const float *rescale, unsigned q_n, float (*p)[CARD_PAGE_TOKENS])
{
    float sum[4];
    for (unsigned q = 0; q < q_n; q++) sum[q] = state[q]->sum * rescale[q];
    for (unsigned s = 0; s < CARD_PAGE_TOKENS; s++) {
        UNROLL
        for (unsigned q = 0; q < q_n; q++) sum[q] += p[q][s];
    }
    for (unsigned q = 0; q < q_n; q++) state[q]->sum = sum[q];
}

TARGET static void soften(struct softmax *const *state, float *rescale, uint32_t n, float (*score)[CARD_PAGE_TOKENS],
                          const slot_set *slots)
{
    float most[PAGE_QUERIES][4] = {0};
    uint32_t q = 0;
    for (uint32_t i = 0; i < n; i++) largest_of(score[i], slots[i], state[i]->largest, most[i]);
    raise_largest(state, n, most, rescale);
    for (uint32_t i = 0; i < n; i++) weights_of(score[i], slots[i], state[i]->largest);
    for (; q + 4 <= n; q += 4) add_weights(state + q, rescale + q, 4, score + q);
    for (; q + 2 <= n; q += 2) add_weights(state + q, rescale + q, 2, score + q);
    if (q < n) add_weights(state + q, rescale + q, 1, score + q);
}

/* ---- weights times values ---- */

/* q_n queries that see the same slots [from, to), c_n times 16 columns. */
INLINE void weigh_block(float *const *acc, const float *rescale, unsigned q_n, const float (*p)[CARD_PAGE_TOKENS],
                        uint32_t from, uint32_t to, const void *value, size_t stride, int halves, uint32_t at,
                        unsigned c_n)
{
    v16 sum[4 * V16_ACROSS];
    UNROLL
    for (unsigned q = 0; q < q_n; q++) {
        UNROLL
        for (unsigned c = 0; c < c_n; c++)
            sum[q * c_n + c] = v16_mul(v16_load(acc[q] + at + c * LANES), v16_set(rescale[q]));
    }
    for (uint32_t s = from; s < to; s++) {
        const size_t row = s * stride + at;
        v16 y[V16_ACROSS];
        UNROLL
        for (unsigned c = 0; c < c_n; c++) y[c] = page_load(value, row + c * LANES, halves);
        UNROLL
        for (unsigned q = 0; q < q_n; q++) {
            const v16 by = v16_set(p[q][s]);
            UNROLL
            for (unsigned c = 0; c < c_n; c++) sum[q * c_n + c] = v16_fma(by, y[c], sum[q * c_n + c]);
        }
    }
    UNROLL
    for (unsigned q = 0; q < q_n; q++) {
        UNROLL
        for (unsigned c = 0; c < c_n; c++) v16_store(acc[q] + at + c * LANES, sum[q * c_n + c]);
    }
}

/* The same for all columns; and from here on the queries' sums have been rescaled. */
INLINE void weigh_slots(float *const *acc, float *rescale, unsigned q_n, const float (*p)[CARD_PAGE_TOKENS],
                        uint32_t from, uint32_t to, const void *value, size_t stride, int halves, uint32_t dims)
{
    uint32_t at = 0;
    for (; at + V16_ACROSS * LANES <= dims; at += V16_ACROSS * LANES)
        weigh_block(acc, rescale, q_n, p, from, to, value, stride, halves, at, V16_ACROSS);
    for (; at + LANES <= dims; at += LANES) weigh_block(acc, rescale, q_n, p, from, to, value, stride, halves, at, 1);
    for (unsigned q = 0; q < q_n; q++) {
        for (uint32_t i = at; i < dims && !halves; i++) {
            float sum = acc[q][i] * rescale[q];
            for (uint32_t s = from; s < to; s++) sum = card_fma(p[q][s], ((const float *)value)[s * stride + i], sum);
            acc[q][i] = sum;
        }
        rescale[q] = 1.0f;
    }
}

/* q_n queries: runs of slots that all of them see together, what lies between for each alone. */
INLINE void weigh_of(float *const *acc, float *rescale, unsigned q_n, const float (*p)[CARD_PAGE_TOKENS],
                     const slot_set *slots, const void *value, size_t stride, int halves, uint32_t dims)
{
    slot_set all = slots[0], any = slots[0];
    for (unsigned q = 1; q < q_n; q++) {
        all &= slots[q];
        any |= slots[q];
    }
    while (any) {
        const uint32_t at = (uint32_t)__builtin_ctz(any);
        const slot_set rest = all >> at << at;
        uint32_t end = rest ? (uint32_t)__builtin_ctz(rest) : CARD_PAGE_TOKENS;
        if (end == at) {
            end = at + (uint32_t)__builtin_ctzll(~((uint64_t)all >> at));
            weigh_slots(acc, rescale, q_n, p, at, end, value, stride, halves, dims);
        } else {
            for (unsigned q = 0; q < q_n; q++) {
                slot_set own = slots[q] & (slot_set)(UINT64_MAX << at & ~(UINT64_MAX << end));
                for (uint32_t from, to; take_slots(&own, &from, &to);)
                    weigh_slots(acc + q, rescale + q, 1, p + q, from, to, value, stride, halves, dims);
            }
        }
        any = (slot_set)(any & UINT64_MAX << end);
    }
}

INLINE void weigh_all(float *const *acc, float *rescale, uint32_t n, const float (*p)[CARD_PAGE_TOKENS],
                      const slot_set *slots, const void *value, size_t stride, int halves, uint32_t dims)
{
    uint32_t q = 0;
#if V16_SUMS == 16
    for (; q + 4 <= n; q += 4) weigh_of(acc + q, rescale + q, 4, p + q, slots + q, value, stride, halves, dims);
#endif
    for (; q + 2 <= n; q += 2) weigh_of(acc + q, rescale + q, 2, p + q, slots + q, value, stride, halves, dims);
    if (q < n) weigh_of(acc + q, rescale + q, 1, p + q, slots + q, value, stride, halves, dims);
}

TARGET static void weigh(float *const *acc, float *rescale, uint32_t n, const float (*p)[CARD_PAGE_TOKENS],
                         const slot_set *slots, const float *value, size_t stride, uint32_t dims)
{
    weigh_all(acc, rescale, n, p, slots, value, stride, 0, dims);
}

TARGET static void weigh_halves(float *const *acc, float *rescale, uint32_t n, const float (*p)[CARD_PAGE_TOKENS],
                                const slot_set *slots, const uint16_t *value, uint32_t dims)
{
    weigh_all(acc, rescale, n, p, slots, value, dims, 1, dims);
}

/* ---- halves ---- */

TARGET static void read_halves(float *to, const uint16_t *half, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v16_store(to + i, v16_halves(half + i));
    for (; i < n; i++) to[i] = card_f16_to_f32(half[i]);
}

TARGET static void read_int8(float *to, const int8_t *q, const uint16_t *scale, size_t n)
{
    for (size_t g = 0; g < n; g++) {
        const v16 by = v16_set(card_f16_to_f32(scale[g]));
        v16_store(to + g * 32, v16_mul(by, v16_bytes(q + g * 32)));
        v16_store(to + g * 32 + 16, v16_mul(by, v16_bytes(q + g * 32 + 16)));
    }
}

TARGET static void read_int4(float *to, const uint8_t *q, const uint16_t *scale, const uint16_t *min, size_t n)
{
    for (size_t g = 0; g < n; g++) {
        const v16 by = v16_set(card_f16_to_f32(scale[g])), least = v16_set(card_f16_to_f32(min[g]));
        int8_t nibble[32];
        for (unsigned i = 0; i < 16; i++) nibble[i] = (int8_t)(q[g * 16 + i] & 15);
        for (unsigned i = 0; i < 16; i++) nibble[16 + i] = (int8_t)(q[g * 16 + i] >> 4);
        v16_store(to + g * 32, v16_fma(by, v16_bytes(nibble), least));
        v16_store(to + g * 32 + 16, v16_fma(by, v16_bytes(nibble + 16), least));
    }
}

#ifndef V16_QUANTIZE
TARGET static void quantize(const float *x, size_t n, int8_t *value, float *scale, int32_t *sum)
{
    for (size_t g = 0; g < n; g++)
        quantize_group(x + g * CARD_GROUP_COLS, CARD_GROUP_COLS, value + g * CARD_GROUP_COLS, scale + g, sum + g);
}
#endif

const struct page_kernels PAGE_KERNELS = {.dots = dots,
                                          .soften = soften,
                                          .weigh = weigh,
                                          .few = V16_SUMS == 16 ? 4 : 2,
                                          .dots_halves = dots_halves,
                                          .weigh_halves = weigh_halves,
                                          .read_halves = read_halves,
                                          .read_int8 = read_int8,
                                          .read_int4 = read_int4,
                                          .quantize = quantize};
