/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ATTENTION: online softmax over the pages of a sequence, for the query heads that share a KV head. A page is read once
 * for up to HLS_HEADS of them.
 */
#include "kernels/hls/hls_batch.h"
#include "kernels/hls/hls_operations.h"
#include "kernels/hls/hls_score.h"

/* One query head: its vector, and what the pages so far have given. */
struct head {
    struct hls_query query;
    struct hls_word acc[HLS_HEAD_WORDS];
    float largest, sum;
};

/* Query heads of one token that share a KV head and go over the pages together. */
struct pass {
    struct card_batch_token token;
    uint32_t t, kv_head, head, count; /* head: the first one */
};

/* What a descriptor says of scores and values. */
struct rule {
    uint32_t format, keys, values; /* dimensions */
    int latent;
    float scale, cap, inverse_cap; /* cap 0: none */
};

/* A page of which some positions are seen: bit s of mask is position s. next: where the walk goes on. */
struct visit {
    uint32_t page, mask, next;
};

static struct rule find_rule(const struct hls_step *step)
{
    HLS_INLINE
    struct rule rule = {.format = step->format, .keys = step->cols, .values = step->cols};
    if (step->e_cols != 0) rule.values = step->e_cols;
    rule.latent = (step->flags & CARD_FLAG_LATENT) != 0;
    rule.scale = card_float(step->param[1]);
    rule.cap = card_float(step->e_param[0]);
    rule.inverse_cap = card_recip(rule.cap);
    return rule;
}

/* Positions [from, to) of `seen` that lie in the page. */
static uint32_t page_mask(uint32_t page, struct hls_span seen)
{
    HLS_INLINE
    const uint32_t start = page * CARD_PAGE_TOKENS;
    uint32_t mask = 0;
mask_positions:
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        HLS_UNROLL
        if (start + s >= seen.from && start + s < seen.to) mask |= 1u << s;
    }
    return mask;
}

/* The page of entry `at` of the token's list, with those entries after it that lie in the same page. */
static struct visit visit_listed(HLS_BANKS, const struct hls_step *step, uint32_t t, uint32_t at, struct hls_span seen)
{
    HLS_NO_INLINE
    struct hls_word list[CARD_PAGE_TOKENS / HLS_LANES];
    const uint32_t n = step->e_param[3], count = hls_min(n - at, CARD_PAGE_TOKENS);
    hls_load(HLS_BANK_ARGS, step->e_aux + 4 * ((uint64_t)t * n + at), count, list);
    struct visit visit = {list[0].lane[0] / CARD_PAGE_TOKENS, 0, at};
list_entries:
    for (uint32_t i = 0; i < CARD_PAGE_TOKENS; i++) {
        HLS_PIPELINE(1) /* carried: next and mask, an addition and an or of one cycle */
        const uint32_t position = list[i / HLS_LANES].lane[i % HLS_LANES];
        /* Entries ascend: those of one page are neighbours. */
        if (i < count && position / CARD_PAGE_TOKENS == visit.page) {
            visit.next++;
            if (position >= seen.from && position < seen.to) visit.mask |= 1u << position % CARD_PAGE_TOKENS;
        }
    }
    if (list[0].lane[0] == CARD_NO_POSITION) visit.next = n;
    return visit;
}

/* score = the head's scores of a page: scaled, capped, with the distance's bias. */
static void find_scores(const struct rule *rule, const struct head *head, const struct hls_row key[CARD_PAGE_TOKENS],
                        uint32_t mask, const float bias[CARD_PAGE_TOKENS], int biased, float score[CARD_PAGE_TOKENS])
{
    HLS_NO_INLINE
    hls_find_dots(rule->format, &head->query, key, mask, rule->keys, score);
scale_scores:
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        HLS_PIPELINE(1) /* nothing carried */
        float x = score[s] * rule->scale;
        if (rule->cap != 0.0f) x = rule->cap * card_tanh(x * rule->inverse_cap);
        score[s] = biased ? x + bias[s] : x;
    }
}

/* acc = acc rescale, then for each position of mask in order acc = fma(p, value, acc). */
static void add_values(struct hls_word acc[HLS_HEAD_WORDS],
                       const struct hls_word value[CARD_PAGE_TOKENS][HLS_HEAD_WORDS], const float p[CARD_PAGE_TOKENS],
                       uint32_t mask, uint32_t words, float rescale)
{
    HLS_NO_INLINE
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
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        const uint32_t count = (mask >> s & 1u) != 0 ? words : 0;
    value_words:
        for (uint32_t i = 0; i < count; i++) {
            HLS_TRIPS(0, 64)
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

/* One page for one head, whose scores are in `score`. */
static void attend_page(struct head *head, const struct hls_word value[CARD_PAGE_TOKENS][HLS_HEAD_WORDS],
                        float score[CARD_PAGE_TOKENS], uint32_t mask, uint32_t words)
{
    HLS_NO_INLINE
    float largest = head->largest, sum;
page_largest:
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        HLS_PIPELINE(2) /* carried: the largest so far, one comparison of 2 cycles */
        largest = (mask >> s & 1u) != 0 && score[s] > largest ? score[s] : largest;
    }
    const float rescale = card_select(head->largest == -CARD_INFINITY, 0.0f, card_exp(head->largest - largest));
    sum = head->sum * rescale;
page_exps:
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        HLS_PIPELINE(HLS_ADD_CYCLES) /* carried: sum, an addition an iteration, distance 1: the contract's order */
        score[s] = card_exp(score[s] - largest);
        sum = (mask >> s & 1u) != 0 ? sum + score[s] : sum;
    }
    add_values(head->acc, value, score, mask, words, rescale);
    head->largest = largest;
    head->sum = sum;
}

static void load_heads(HLS_BANKS, const struct hls_step *step, const struct rule *rule, const struct pass *pass,
                       struct head head[HLS_HEADS])
{
    const struct hls_word zero = {{0}};
    struct hls_word sink[1];
    const int sinks = (step->e_flags & CARD_FLAG_SINKS) != 0;
    const uint64_t first = (uint64_t)pass->t * step->rows + pass->head;
    if (sinks) hls_load(HLS_BANK_ARGS, step->e_src + 4ull * pass->head, pass->count, sink);
load_heads:
    for (uint32_t h = 0; h < pass->count; h++) {
        HLS_TRIPS(1, 16)
        hls_load_query(HLS_BANK_ARGS, rule->format, step->src + 4 * (first + h) * rule->keys, rule->keys,
                       &head[h].query);
    clear_acc:
        for (uint32_t i = 0; i < hls_words(rule->values); i++) {
            HLS_TRIPS(4, 64)
            HLS_PIPELINE(1) /* nothing carried */
            head[h].acc[i] = zero;
        }
        head[h].largest = sinks ? card_float(sink[0].lane[h]) : -CARD_INFINITY;
        head[h].sum = sinks ? 1.0f : 0.0f;
    }
}

/* dst = acc / sum; zeros where nothing was seen. */
static void store_heads(HLS_BANKS, const struct hls_step *step, const struct rule *rule, const struct pass *pass,
                        int any_seen, struct head head[HLS_HEADS])
{
    const uint32_t n = rule->values;
    const uint64_t first = (uint64_t)pass->t * step->rows + pass->head;
store_heads:
    for (uint32_t h = 0; h < pass->count; h++) {
        HLS_TRIPS(1, 16)
        const float inverse = card_recip(head[h].sum);
    finish_words:
        for (uint32_t i = 0; i < hls_words(n); i++) {
            HLS_TRIPS(4, 64)
            HLS_PIPELINE(1) /* nothing carried */
        finish_lanes:
            for (uint32_t l = 0; l < HLS_LANES; l++) {
                HLS_UNROLL
                const uint32_t bits = hls_result(card_float(head[h].acc[i].lane[l]) * inverse);
                head[h].acc[i].lane[l] = any_seen ? bits : 0u;
            }
        }
        hls_store(HLS_BANK_ARGS, step->dst + 4 * (first + h) * n, n, head[h].acc);
    }
}

/* Keys, and values as floats, of the positions of mask; a latent value is the key's first dimensions. */
static void load_page(HLS_BANKS, const struct rule *rule, card_addr key_block, card_addr value_block, uint32_t mask,
                      struct hls_row key[CARD_PAGE_TOKENS], struct hls_word value[CARD_PAGE_TOKENS][HLS_HEAD_WORDS])
{
    HLS_NO_INLINE
    struct hls_row row;
load_positions:
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        if ((mask >> s & 1u) != 0) {
            hls_load_row(HLS_BANK_ARGS, rule->format, key_block, rule->keys, s, &key[s]);
            if (rule->latent) {
                hls_row_floats(rule->format, &key[s], rule->values, value[s]);
            } else {
                hls_load_row(HLS_BANK_ARGS, rule->format, value_block, rule->values, s, &row);
                hls_row_floats(rule->format, &row, rule->values, value[s]);
            }
        }
    }
}

static uint64_t bias_place(uint32_t position, uint32_t own, uint32_t reach)
{
    HLS_INLINE
    if (position < own) return own - position > reach ? 0 : (uint64_t)reach - (own - position);
    return (uint64_t)reach + (position - own > reach ? reach : position - own);
}

/* The bias of one head for each position of a page: distances past the table's ends count as the ends. */
static void load_bias(HLS_BANKS, const struct hls_step *step, uint32_t head, uint32_t start, uint32_t own,
                      float bias[CARD_PAGE_TOKENS])
{
    HLS_NO_INLINE
    struct hls_word part[CARD_PAGE_TOKENS / HLS_LANES];
    const uint32_t reach = step->e_param[2];
    const uint64_t from = bias_place(start, own, reach), to = bias_place(start + CARD_PAGE_TOKENS - 1, own, reach);
    const uint64_t table = (2ull * reach + 1) * head;
    hls_load(HLS_BANK_ARGS, step->e_weight + 4 * (table + from), (uint32_t)(to - from) + 1, part);
bias_positions:
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        HLS_PIPELINE(1) /* nothing carried */
        const uint32_t at = (uint32_t)(bias_place(start + s, own, reach) - from);
        bias[s] = card_float(part[at / HLS_LANES].lane[at % HLS_LANES]);
    }
}

/* The pass's heads over the pages of its sequence, in order. Whether any position was seen. */
static int attend_heads(HLS_BANKS, const struct hls_step *step, const struct rule *rule, const struct pass *pass,
                        struct head head[HLS_HEADS])
{
    struct hls_row key[CARD_PAGE_TOKENS];
    struct hls_word value[CARD_PAGE_TOKENS][HLS_HEAD_WORDS];
    HLS_URAM(key)
    HLS_URAM(value)
    const uint32_t kv_heads = step->param[2], value_dims = rule->latent ? 0 : rule->values;
    const uint64_t page_bytes = card_page_bytes(rule->format, kv_heads, rule->keys, value_dims);
    const uint64_t key_bytes = card_page_block_bytes(rule->format, rule->keys);
    const uint64_t value_bytes = card_page_block_bytes(rule->format, rule->values);
    const card_addr pages = hls_token_pages(step, pass->token);
    const struct hls_span seen = hls_seen(step, pass->token);
    const int sparse = hls_is_sparse(step), biased = (step->e_flags & CARD_FLAG_BIAS) != 0;
    const uint32_t end = sparse ? step->e_param[3] : (seen.to + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS;
    int any_seen = 0;
    struct visit visit = {0, 0, 0};
attend_pages:
    for (uint32_t at = sparse ? 0 : seen.from / CARD_PAGE_TOKENS; at < end; at = visit.next) {
        HLS_TRIPS(1, 4096)
        if (sparse) {
            visit = visit_listed(HLS_BANK_ARGS, step, pass->t, at, seen);
        } else {
            visit.page = at;
            visit.mask = page_mask(at, seen);
            visit.next = at + 1;
        }
        if (visit.mask == 0) continue;
        const uint32_t number = hls_load_one(HLS_BANK_ARGS, pages + 4ull * visit.page);
        const card_addr page = hls_page_address(step->weight, hls_pool_banks(step), number, page_bytes);
        any_seen = 1;
        load_page(HLS_BANK_ARGS, rule, page + pass->kv_head * key_bytes,
                  page + kv_heads * key_bytes + pass->kv_head * value_bytes, visit.mask, key, value);
    attend_each:
        for (uint32_t h = 0; h < pass->count; h++) {
            HLS_TRIPS(1, 16)
            float score[CARD_PAGE_TOKENS], bias[CARD_PAGE_TOKENS] = {0};
            if (biased) {
                load_bias(HLS_BANK_ARGS, step, pass->head + h, visit.page * CARD_PAGE_TOKENS, pass->token.position,
                          bias);
            }
            find_scores(rule, &head[h], key, visit.mask, bias, biased, score);
            attend_page(&head[h], value, score, visit.mask, hls_words(rule->values));
        }
    }
    return any_seen;
}

void hls_attention(HLS_BANKS, const struct hls_step *step)
{
    struct head head[HLS_HEADS];
    const struct rule rule = find_rule(step);
    const uint32_t kv_heads = step->param[2], group = step->rows / kv_heads;
attention_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        struct pass pass = {.token = hls_load_token(HLS_BANK_ARGS, step, t), .t = t};
    attention_kv_heads:
        for (uint32_t k = 0; k < kv_heads; k++) {
            HLS_TRIPS(1, 64)
        attention_heads:
            for (uint32_t h = 0; h < group; h += HLS_HEADS) {
                HLS_TRIPS(1, 2)
                pass.kv_head = k;
                pass.head = k * group + h;
                pass.count = hls_min(group - h, HLS_HEADS);
                load_heads(HLS_BANK_ARGS, step, &rule, &pass, head);
                const int any_seen = attend_heads(HLS_BANK_ARGS, step, &rule, &pass, head);
                store_heads(HLS_BANK_ARGS, step, &rule, &pass, any_seen, head);
            }
        }
    }
}
