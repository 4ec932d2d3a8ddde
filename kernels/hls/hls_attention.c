/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ATTENTION: online softmax over the pages of a sequence, for the query heads that share a KV head. A page is read once
 * for up to HLS_HEADS of them.
 */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

#define WORDS (CARD_MAX_HEAD_DIM / HLS_LANES)

/* One query head: its vector, and what the pages so far have given. */
struct head {
    struct hls_word query[WORDS], acc[WORDS];
    float largest, sum;
};

/* n elements of a page, as floats. */
static void load_elements(HLS_BANKS, uint32_t format, card_addr from, uint32_t n, struct hls_word *to)
{
    HLS_NO_INLINE
    if (format == CARD_FORMAT_F32) {
        hls_load(HLS_BANK_ARGS, from, n, to);
        return;
    }
    struct hls_word half[WORDS / 2 + 1];
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

/* score[s] = dot16(query, key of position s) * scale for positions [from, to) of the page. */
static void find_scores(const struct hls_word *query, struct hls_word key[CARD_PAGE_TOKENS][WORDS], uint32_t from,
                        uint32_t to, uint32_t n, float scale, float score[CARD_PAGE_TOKENS])
{
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
            const int seen = s >= from && s < to;
            const struct hls_word word = seen ? key[s][i] : zero;
            hls_dot_word(query[i], word, seen ? hls_min(n - i * HLS_LANES, HLS_LANES) : 0, lane[s]);
        }
    }
score_sums:
    for (uint32_t s = from; s < to; s++) {
        HLS_TRIPS(1, 32)
        HLS_PIPELINE(1) /* nothing carried */
        score[s] = hls_tree(lane[s]) * scale;
    }
}

/* acc = acc rescale, then for each position in order acc = fma(p, value, acc). */
static void add_values(struct hls_word acc[WORDS], struct hls_word value[CARD_PAGE_TOKENS][WORDS],
                       const float p[CARD_PAGE_TOKENS], uint32_t from, uint32_t to, uint32_t words, float rescale)
{
value_rescale:
    for (uint32_t i = 0; i < words; i++) {
        HLS_TRIPS(4, 64)
        HLS_PIPELINE(1) /* nothing carried */
    value_rescale_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            acc[i].lane[l] = card_bits(card_float(acc[i].lane[l]) * rescale);
        }
    }
value_positions:
    for (uint32_t s = from; s < to; s++) {
        HLS_TRIPS(1, 32)
    value_words:
        for (uint32_t i = 0; i < words; i++) {
            HLS_TRIPS(4, 64)
            /* A word of acc comes back with the next position only, and this loop drains before: 8 + 15 cycles a
             * position with heads of 128. */
            HLS_PIPELINE(1)
            HLS_INDEPENDENT(acc)
        value_lanes:
            for (uint32_t l = 0; l < HLS_LANES; l++) {
                HLS_UNROLL
                acc[i].lane[l] = card_bits(card_fma(p[s], card_float(value[s][i].lane[l]), card_float(acc[i].lane[l])));
            }
        }
    }
}

/* One page for one head. */
static void attend_page(struct head *head, struct hls_word key[CARD_PAGE_TOKENS][WORDS],
                        struct hls_word value[CARD_PAGE_TOKENS][WORDS], uint32_t from, uint32_t to, uint32_t n,
                        float scale)
{
    float score[CARD_PAGE_TOKENS];
    float largest = head->largest, sum;
    find_scores(head->query, key, from, to, n, scale, score);
page_largest:
    for (uint32_t s = from; s < to; s++) {
        HLS_TRIPS(1, 32)
        HLS_PIPELINE(2) /* carried: the largest so far, one comparison of 2 cycles */
        largest = score[s] > largest ? score[s] : largest;
    }
    const float rescale = card_select(head->largest == -CARD_INFINITY, 0.0f, card_exp(head->largest - largest));
    sum = head->sum * rescale;
page_exps:
    for (uint32_t s = from; s < to; s++) {
        HLS_TRIPS(1, 32)
        HLS_PIPELINE(HLS_ADD_CYCLES) /* carried: sum, an addition an iteration, distance 1: the contract's order */
        score[s] = card_exp(score[s] - largest);
        sum += score[s];
    }
    add_values(head->acc, value, score, from, to, hls_words(n), rescale);
    head->largest = largest;
    head->sum = sum;
}

static void load_heads(HLS_BANKS, card_addr from, uint32_t n, uint32_t count, struct head head[HLS_HEADS])
{
    const struct hls_word zero = {{0}};
load_heads:
    for (uint32_t h = 0; h < count; h++) {
        HLS_TRIPS(1, 16)
        hls_load(HLS_BANK_ARGS, from + 4ull * h * n, n, head[h].query);
    clear_acc:
        for (uint32_t i = 0; i < hls_words(n); i++) {
            HLS_TRIPS(4, 64)
            HLS_PIPELINE(1) /* nothing carried */
            head[h].acc[i] = zero;
        }
        head[h].largest = -CARD_INFINITY;
        head[h].sum = 0.0f;
    }
}

static void store_heads(HLS_BANKS, card_addr to, uint32_t n, uint32_t count, struct head head[HLS_HEADS])
{
store_heads:
    for (uint32_t h = 0; h < count; h++) {
        HLS_TRIPS(1, 16)
        const float inverse = card_recip(head[h].sum);
    finish_words:
        for (uint32_t i = 0; i < hls_words(n); i++) {
            HLS_TRIPS(4, 64)
            HLS_PIPELINE(1) /* nothing carried */
        finish_lanes:
            for (uint32_t l = 0; l < HLS_LANES; l++) {
                HLS_UNROLL
                head[h].acc[i].lane[l] = card_bits(card_float(head[h].acc[i].lane[l]) * inverse);
            }
        }
        hls_store(HLS_BANK_ARGS, to + 4ull * h * n, n, head[h].acc);
    }
}

/* Query heads of one token that share a KV head: key and value are the byte offsets of its keys and values in a page. */
static void attend_heads(HLS_BANKS, const struct hls_step *step, uint32_t position, card_addr table, uint64_t key_at,
                         uint32_t count, struct head head[HLS_HEADS])
{
    struct hls_word key[CARD_PAGE_TOKENS][WORDS], value[CARD_PAGE_TOKENS][WORDS];
    HLS_URAM(key)
    HLS_URAM(value)
    const uint32_t n = step->cols, window = step->param[3], element = card_kv_element_bytes(step->format);
    const uint32_t first = window != 0 && position + 1 > window ? position + 1 - window : 0;
    const uint64_t page_bytes = card_page_bytes(step->format, step->param[2], n);
attend_pages:
    for (uint32_t p = first / CARD_PAGE_TOKENS; p <= position / CARD_PAGE_TOKENS; p++) {
        HLS_TRIPS(1, 4096)
        const uint32_t start = p * CARD_PAGE_TOKENS, from = first > start ? first - start : 0;
        const uint32_t to = hls_min(position - start + 1, CARD_PAGE_TOKENS);
        const uint64_t number = hls_load_one(HLS_BANK_ARGS, table + 4ull * p);
        const card_addr page = step->weight + number * page_bytes + key_at;
    load_positions:
        for (uint32_t s = from; s < to; s++) {
            HLS_TRIPS(1, 32)
            const uint64_t at = (uint64_t)s * n * element;
            load_elements(HLS_BANK_ARGS, step->format, page + at, n, key[s]);
            load_elements(HLS_BANK_ARGS, step->format, page + page_bytes / 2 + at, n, value[s]);
        }
    attend_each:
        for (uint32_t h = 0; h < count; h++) {
            HLS_TRIPS(1, 16)
            attend_page(&head[h], key, value, from, to, n, card_float(step->param[1]));
        }
    }
}

void hls_attention(HLS_BANKS, const struct hls_step *step)
{
    struct head head[HLS_HEADS];
    const uint32_t n = step->cols, kv_heads = step->param[2], group = step->rows / kv_heads;
    const uint64_t head_bytes = (uint64_t)CARD_PAGE_TOKENS * n * card_kv_element_bytes(step->format);
    const card_addr pages = step->aux + 8ull * step->tokens;
attention_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        const uint32_t position = hls_load_one(HLS_BANK_ARGS, step->aux + 8ull * t);
        const uint64_t first_page = hls_load_one(HLS_BANK_ARGS, step->aux + 8ull * t + 4);
    attention_kv_heads:
        for (uint32_t k = 0; k < kv_heads; k++) {
            HLS_TRIPS(1, 64)
        attention_heads:
            for (uint32_t h = 0; h < group; h += HLS_HEADS) {
                HLS_TRIPS(1, 2)
                const uint32_t count = hls_min(group - h, HLS_HEADS);
                const uint64_t at = 4 * (((uint64_t)t * step->rows + (uint64_t)k * group + h) * n);
                load_heads(HLS_BANK_ARGS, step->src + at, n, count, head);
                attend_heads(HLS_BANK_ARGS, step, position, pages + 4 * first_page, k * head_bytes, count, head);
                store_heads(HLS_BANK_ARGS, step->dst + at, n, count, head);
            }
        }
    }
}
