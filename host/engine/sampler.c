/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Temperature, top_k, top_p, min_p, and one draw.
 *
 * Candidates are ordered by (logit descending, index ascending); top_k and top_p keep a prefix of that order. Whatever
 * has cut them, the draw walks the survivors in order of index, and weights are summed in that order too, so a limit
 * that cuts nothing (top_k = vocabulary, top_p = 1, min_p = 0) gives the same token as no limit, and the full
 * vocabulary needs no sorting. Only top_p sums in order of logit, to find its prefix. A weight is
 * card_exp((logit - best) * card_recip(temperature)), sums are double, and the draw is a 24-bit fraction of the sum.
 */
#include "host/engine/sampler_internal.h"

#include "host/base/memory.h"
#include "host/base/philox.h"
#include "host/base/vector_clones.h"
#include "kernels/abi/card_math.h"

#include <math.h>
#include <string.h>

int sampler_open(uint32_t n_vocab, struct sampler **out, struct error *err)
{
    struct sampler *sampler = memory_array(1, sizeof *sampler);
    *out = sampler;
    if (sampler) {
        sampler->n_vocab = n_vocab;
        sampler->candidates = memory_array(n_vocab, sizeof *sampler->candidates);
        sampler->weights = memory_array(n_vocab, sizeof *sampler->weights);
        sampler->spare = memory_array(n_vocab, sizeof *sampler->spare);
        sampler->shifts = memory_array(n_vocab, sizeof *sampler->shifts);
        sampler->counts = memory_array(n_vocab, sizeof *sampler->counts);
        sampler->repeats = memory_array(SAMPLER_DRY_MOST, sizeof *sampler->repeats);
        if (sampler->candidates && sampler->weights && sampler->spare && sampler->shifts && sampler->counts &&
            sampler->repeats)
            return 0;
    }
    sampler_close(sampler);
    *out = NULL;
    return error_set(err, ERROR_NO_MEMORY, "no host memory to sample from %u tokens", n_vocab);
}

void sampler_close(struct sampler *sampler)
{
    if (!sampler) return;
    free(sampler->candidates);
    free(sampler->weights);
    free(sampler->spare);
    free(sampler->shifts);
    free(sampler->counts);
    free(sampler->repeats);
    free(sampler);
}

uint32_t random_bits(uint64_t seed, uint32_t choice, uint32_t position, uint32_t draw)
{
    uint32_t counter[4] = {position, choice, draw, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    philox4x32(counter, key);
    return counter[0];
}

double sampler_unit(const struct sampling *sampling, uint32_t position, uint32_t draw)
{
    return (random_bits(sampling->seed, sampling->choice, position, draw) >> 8) * 0x1p-24;
}

/* Largest of a block in 16 lanes, NaN left out; least if nothing is above it. */
#define BEST_BLOCK 256u
#define BEST_LANES 16u
static inline __attribute__((always_inline)) float best_of_block(const float *logits, float least)
{
    float lane[BEST_LANES];
    for (uint32_t j = 0; j < BEST_LANES; j++) lane[j] = least;
    for (uint32_t i = 0; i < BEST_BLOCK; i += BEST_LANES) {
        for (uint32_t j = 0; j < BEST_LANES; j++) lane[j] = logits[i + j] > lane[j] ? logits[i + j] : lane[j];
    }
    for (uint32_t j = 1; j < BEST_LANES; j++) lane[0] = lane[j] > lane[0] ? lane[j] : lane[0];
    return lane[0];
}

/* The first of the largest; 0 if all are NaN. */
VECTOR_CLONES
static uint32_t index_of_best(const float *logits, uint32_t n)
{
    uint32_t best = 0, i = 0;
    while (best < n && isnan(logits[best])) best++;
    if (best == n) return 0;
    for (; i + BEST_BLOCK <= n; i += BEST_BLOCK) {
        if (!(best_of_block(logits + i, logits[best]) > logits[best])) continue;
        for (uint32_t j = i; j < i + BEST_BLOCK; j++) best = logits[j] > logits[best] ? j : best;
    }
    for (; i < n; i++) best = logits[i] > logits[best] ? i : best;
    return best;
}

/* Blocks of 16 without a branch, which compilers turn into vectors. The bits do not depend on it. */
#define WEIGHT_BLOCK 16u
VECTOR_CLONES
static void weigh_all(float *restrict weights, const float *restrict logits, uint32_t n, float best, float coldness)
{
    uint32_t whole = n / WEIGHT_BLOCK * WEIGHT_BLOCK;
    for (uint32_t i = 0; i < whole; i += WEIGHT_BLOCK) {
        for (uint32_t j = 0; j < WEIGHT_BLOCK; j++) weights[i + j] = weight_of(logits[i + j], best, coldness);
    }
    for (uint32_t i = whole; i < n; i++) weights[i] = weight_of(logits[i], best, coldness);
}

/* a comes before b in the order of candidates. */
static bool is_before(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.index < b.index);
}

static bool is_after(struct candidate a, struct candidate b) { return is_before(b, a); }
static bool is_later_index(struct candidate a, struct candidate b) { return a.index > b.index; }

typedef bool (*above)(struct candidate, struct candidate); /* the order of a heap: what is above comes out first */

static void sift_down(struct candidate *heap, uint32_t n, uint32_t at, above order)
{
    struct candidate moved = heap[at];
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && order(heap[child + 1], heap[child])) child++;
        if (!order(heap[child], moved)) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void make_heap(struct candidate *heap, uint32_t n, above order)
{
    for (uint32_t i = n / 2; i-- > 0;) sift_down(heap, n, i, order);
}

/* Sorts so that what is above under order comes last. */
static void heap_sort(struct candidate *list, uint32_t n, above order)
{
    make_heap(list, n, order);
    for (uint32_t end = n; end-- > 1;) {
        struct candidate top = list[0];
        list[0] = list[end];
        list[end] = top;
        sift_down(list, end, 0, order);
    }
}

/*
 * A weight such that the candidates from there up are sure to hold the prefix that top_p keeps: sums by the leading
 * bits of the weights, which order them, and walks down. It saves ordering a whole vocabulary; what is kept does not depend on it.
 */
static float least_weight_of_prefix(const struct sampler *sampler, double limit)
{
    enum { N_BUCKETS = 1024, SHIFT = 20 }; /* sign, exponent and 3 bits of a weight in [0, 1] */
    double sums[N_BUCKETS] = {0}, sum = 0;
    uint32_t bucket = N_BUCKETS;
    for (uint32_t i = 0; i < sampler->n_vocab; i++)
        sums[card_bits(sampler->weights[i]) >> SHIFT] += (double)sampler->weights[i];
    limit *= 1 + 1e-6; /* the sums are in another order */
    while (bucket > 0 && sum <= limit) sum += sums[--bucket];
    return card_float(bucket << SHIFT);
}

/* All that are not NaN and weigh no less, in order of index. */
static uint32_t take_from_weight(struct sampler *sampler, const float *logits, float least)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sampler->n_vocab; i++) {
        if (sampler->weights[i] >= least && !isnan(logits[i]))
            sampler->candidates[n++] = (struct candidate){logits[i], i};
    }
    return n;
}

/* The k first candidates in order of index: a heap of k with the last of them on top, which better ones replace. */
static uint32_t take_top_k(struct sampler *sampler, const float *logits, uint32_t k)
{
    struct candidate *heap = sampler->candidates;
    uint32_t n = 0;
    for (uint32_t i = 0; i < sampler->n_vocab; i++) {
        struct candidate candidate = {logits[i], i};
        if (isnan(candidate.logit)) continue;
        if (n < k) {
            heap[n++] = candidate;
            if (n == k) make_heap(heap, n, is_after);
        } else if (is_before(candidate, heap[0])) {
            heap[0] = candidate;
            sift_down(heap, n, 0, is_after);
        }
    }
    heap_sort(heap, n, is_later_index);
    return n;
}

/*
 * Keeps the shortest prefix, at least one, whose weights reach limit: pops candidates off a heap to the end of the
 * list, so the cost is that of what is kept. Takes and leaves the list in order of index; returns its length.
 */
static uint32_t keep_prefix(struct sampler *sampler, uint32_t n, double limit)
{
    struct candidate *heap = sampler->candidates;
    double sum = 0;
    uint32_t left = n;
    make_heap(heap, n, is_before);
    do {
        struct candidate top = heap[0];
        heap[0] = heap[--left];
        heap[left] = top;
        sift_down(heap, left, 0, is_before);
        sum += (double)sampler->weights[top.index];
    } while (left > 0 && sum < limit);
    memmove(heap, heap + left, (n - left) * sizeof *heap);
    heap_sort(heap, n - left, is_later_index);
    return n - left;
}

/* Of n candidates, or of all tokens. */
static double sum_of_weights(const struct sampler *sampler, uint32_t n, bool all_tokens)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (double)sampler->weights[all_tokens ? i : sampler->candidates[i].index];
    return sum;
}

/* Draws among n tokens in order of index: the candidates, or all. Those below the smallest weight are left out. */
static uint32_t draw(const struct sampler *sampler, uint32_t n, bool all_tokens, float smallest, double unit)
{
    double sum = 0, reached = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < n; i++) {
        float weight = sampler->weights[all_tokens ? i : sampler->candidates[i].index];
        if (weight >= smallest) sum += (double)weight;
    }
    double target = unit * sum;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t token = all_tokens ? i : sampler->candidates[i].index;
        float weight = sampler->weights[token];
        if (weight < smallest || weight <= 0) continue;
        reached += (double)weight;
        last = token;
        if (reached > target) break;
    }
    return last;
}

uint32_t sampler_pick(struct sampler *sampler, const struct sampling *sampling, uint32_t position, const float *logits)
{
    uint32_t n = sampler->n_vocab, best_index = index_of_best(logits, n);
    float best = logits[best_index];
    if (sampling->temperature < SAMPLER_COLDEST || !isfinite(best)) return best_index;

    float coldness = card_recip(sampling->temperature);
    bool top_k = sampling->top_k > 0 && sampling->top_k < n, top_p = sampling->top_p < 1.0f;
    if (top_k) {
        n = take_top_k(sampler, logits, sampling->top_k);
        for (uint32_t i = 0; i < n; i++) {
            struct candidate candidate = sampler->candidates[i];
            sampler->weights[candidate.index] = weight_of(candidate.logit, best, coldness);
        }
    } else {
        weigh_all(sampler->weights, logits, n, best, coldness);
    }
    if (top_p) {
        double limit = (double)sampling->top_p * sum_of_weights(sampler, n, !top_k);
        if (!top_k) n = take_from_weight(sampler, logits, least_weight_of_prefix(sampler, limit));
        n = keep_prefix(sampler, n, limit);
    }
    float smallest = sampling->min_p * sampler->weights[best_index];
    return draw(sampler, n, !top_k && !top_p, smallest, sampler_unit(sampling, position, 0));
}
