/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INDEX: the positions with the best scores, ascending. The best so far are a heap with the worst of them at its root;
 * a bit for each position says whether it is among them, so that in the end nothing needs sorting.
 */
#include "kernels/hls/hls_batch.h"
#include "kernels/hls/hls_best.h"
#include "kernels/hls/hls_operations.h"
#include "kernels/hls/hls_score.h"

#define INDEX_HEADS 64u      /* heads whose queries stay on chip while the pages go by */
#define POSITIONS (1u << 16) /* of a list, at most: card_check refuses more */
#define HEAP_LEVELS 17u

/* Queries and weights of heads [first, first + count) of token t. */
struct queries {
    uint32_t first, count;
    struct hls_query query[INDEX_HEADS];
    struct hls_word weight[INDEX_HEADS / HLS_LANES];
};

/* Keys order as the scores do (hls_rank), among equal scores the lower position above. */
static uint64_t key_of(float score, uint32_t position)
{
    HLS_INLINE
    return (uint64_t)hls_rank(card_bits(score)) << 32 | ~position;
}
static uint32_t position_of(uint64_t key)
{
    HLS_INLINE
    return ~(uint32_t)key;
}

/* Puts a key at the end, place n, and lets it rise past those above it that are larger. */
static void heap_add(uint64_t heap[POSITIONS], uint32_t n, uint64_t key)
{
    HLS_NO_INLINE
    uint32_t at = n;
heap_rise:
    for (uint32_t level = 0; level < HEAP_LEVELS; level++) { /* not pipelined: a step reads where the last one led */
        const uint32_t above = at > 0 ? (at - 1) / 2 : 0;
        const uint64_t other = heap[above];
        if (at > 0 && other > key) {
            heap[at] = other;
            at = above;
        }
    }
    heap[at] = key;
}

/* Puts a key in the place of the root, the least of n, and lets it sink past those below it that are smaller. */
static void heap_replace(uint64_t heap[POSITIONS], uint32_t n, uint64_t key)
{
    HLS_NO_INLINE
    uint32_t at = 0;
heap_sink:
    for (uint32_t level = 0; level < HEAP_LEVELS; level++) { /* not pipelined: a step reads where the last one led */
        const uint32_t left = 2 * at + 1, right = left + 1;
        const uint64_t a = left < n ? heap[left] : UINT64_MAX, b = right < n ? heap[right] : UINT64_MAX;
        const uint64_t least = a < b ? a : b;
        if (least < key) {
            heap[at] = least;
            at = a < b ? left : right;
        }
    }
    heap[at] = key;
}

static void load_queries(HLS_BANKS, const struct hls_step *step, uint32_t t, uint32_t first, struct queries *queries)
{
    HLS_NO_INLINE
    const uint64_t head = (uint64_t)t * step->rows + first;
    queries->first = first;
    queries->count = hls_min(step->rows - first, INDEX_HEADS);
    hls_load(HLS_BANK_ARGS, step->e_src + 4 * head, queries->count, queries->weight);
index_queries:
    for (uint32_t h = 0; h < queries->count; h++) {
        HLS_TRIPS(1, 64)
        hls_load_query(HLS_BANK_ARGS, step->format, step->src + 4 * (head + h) * step->cols, step->cols,
                       &queries->query[h]);
    }
}

/* sum = fma(weight, relu(dot factor), sum) for the loaded heads, in order. */
static void add_scores(const struct hls_step *step, const struct queries *queries,
                       const struct hls_row key[CARD_PAGE_TOKENS], uint32_t mask, float sum[CARD_PAGE_TOKENS])
{
    HLS_NO_INLINE
    const float factor = card_float(step->param[1]);
index_heads:
    for (uint32_t h = 0; h < queries->count; h++) {
        HLS_TRIPS(1, 64)
        float dot[CARD_PAGE_TOKENS];
        const float weight = card_float(queries->weight[h / HLS_LANES].lane[h % HLS_LANES]);
        hls_find_dots(step->format, &queries->query[h], key, mask, step->cols, dot);
    index_scores:
        for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
            HLS_PIPELINE(1)
            HLS_DISTANCE(sum, 32) /* a position comes back after 32 iterations; an fma is 12 cycles */
            const float a = dot[s] * factor;
            sum[s] = card_fma(weight, a > 0.0f ? a : 0.0f, sum[s]);
        }
    }
}

/* Sets the bit of each of the `most` best positions of token t. */
static void choose_positions(HLS_BANKS, const struct hls_step *step, struct card_batch_token token, uint32_t t,
                             uint32_t most, uint32_t chosen[CARD_MAX_POSITIONS / 32])
{
    struct queries queries;
    struct hls_row key[CARD_PAGE_TOKENS];
    uint64_t heap[POSITIONS];
    uint32_t n = 0;
    HLS_URAM(key)
    HLS_URAM(heap)
    const uint64_t page_bytes = card_page_bytes(step->format, 1, step->cols, 0);
    load_queries(HLS_BANK_ARGS, step, t, 0, &queries);
index_pages:
    for (uint32_t start = 0; start < token.visible; start += CARD_PAGE_TOKENS) {
        HLS_TRIPS(1, 4096)
        const uint32_t page = start / CARD_PAGE_TOKENS, count = hls_min(token.visible - start, CARD_PAGE_TOKENS);
        const uint32_t number = hls_load_one(HLS_BANK_ARGS, hls_token_pages(step, token) + 4ull * page);
        const card_addr keys = hls_page_address(step->weight, hls_pool_banks(step), number, page_bytes);
        float sum[CARD_PAGE_TOKENS] = {0};
    index_keys:
        for (uint32_t s = 0; s < count; s++) {
            HLS_TRIPS(1, 32)
            hls_load_row(HLS_BANK_ARGS, step->format, keys, step->cols, s, &key[s]);
        }
    index_passes:
        for (uint32_t first = 0; first < step->rows; first += INDEX_HEADS) {
            HLS_TRIPS(1, 1)
            if (queries.first != first) load_queries(HLS_BANK_ARGS, step, t, first, &queries);
            add_scores(step, &queries, key, (uint32_t)((1ull << count) - 1), sum);
        }
        chosen[page] = 0;
    index_choose:
        for (uint32_t s = 0; s < count; s++) {
            HLS_TRIPS(1, 32)
            const uint64_t candidate = key_of(sum[s], start + s);
            if (n < most) {
                chosen[page] |= 1u << s;
                heap_add(heap, n, candidate);
                n++;
            } else if (candidate > heap[0]) {
                const uint32_t out = position_of(heap[0]);
                chosen[out / 32] &= ~(1u << out % 32);
                chosen[page] |= 1u << s;
                heap_replace(heap, n, candidate);
            }
        }
    }
}

/* The positions below `visible` whose bit is set, or all, then CARD_NO_POSITION, n in all, to `to`. */
static void write_positions(HLS_BANKS, card_addr to, uint32_t n, uint32_t visible, int all,
                            const uint32_t chosen[CARD_MAX_POSITIONS / 32])
{
    struct hls_word list[HLS_CHUNK_WORDS];
    uint32_t next = 0;
index_chunks:
    for (uint32_t base = 0; base < n; base += HLS_CHUNK) {
        HLS_TRIPS(1, 16)
        const uint32_t count = hls_min(n - base, HLS_CHUNK);
        uint32_t filled = 0;
    index_list:
        for (uint32_t p = next; p < visible && filled < count; p++) {
            HLS_TRIPS(1, 131072)
            HLS_PIPELINE(1) /* carried: filled, an addition of one cycle */
            if (all || (chosen[p / 32] >> p % 32 & 1u) != 0) {
                list[filled / HLS_LANES].lane[filled % HLS_LANES] = p;
                filled++;
            }
            next = p + 1;
        }
    index_fill:
        for (uint32_t i = filled; i < count; i++) {
            HLS_TRIPS(0, 4096)
            HLS_PIPELINE(1) /* nothing carried */
            list[i / HLS_LANES].lane[i % HLS_LANES] = CARD_NO_POSITION;
        }
        hls_store(HLS_BANK_ARGS, to + 4ull * base, count, list);
    }
}

void hls_index(HLS_BANKS, const struct hls_step *step)
{
    uint32_t chosen[CARD_MAX_POSITIONS / 32];
    HLS_URAM(chosen)
    const uint32_t most = step->param[3];
index_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        const struct card_batch_token token = hls_load_token(HLS_BANK_ARGS, step, t);
        const int all = token.visible <= most;
        if (!all) choose_positions(HLS_BANK_ARGS, step, token, t, most, chosen);
        write_positions(HLS_BANK_ARGS, step->dst + 4ull * t * most, most, token.visible, all, chosen);
    }
}
