/* SPDX-License-Identifier: Apache-2.0 */
/* ROUTER: scores of the experts, the groups that take part, the best experts of those and their weights. */
#include "kernels/hls/hls_best.h"
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

#define EXPERT_WORDS (HLS_EXPERTS / HLS_LANES)

/* One token in work: what the choice goes by and what weights are made of, for each expert. */
struct routing {
    struct hls_word key[EXPERT_WORDS], score[EXPERT_WORDS];
    uint32_t group_key[HLS_EXPERTS], open[HLS_EXPERTS]; /* of each group; open: its experts take part */
};

static uint32_t bits_at(const struct hls_word *word, uint32_t i)
{
    HLS_INLINE
    return word[i / HLS_LANES].lane[i % HLS_LANES];
}

/* The best logit, as its float. */
static float best_logit(const struct hls_word *logit, uint32_t n)
{
    uint32_t rank = 0, best = 0;
router_largest:
    for (uint32_t i = 0; i < n; i++) {
        HLS_TRIPS(8, 512)
        HLS_PIPELINE(1) /* carried: the best so far, one comparison of integers */
        const uint32_t bits = bits_at(logit, i);
        best = hls_rank(bits) > rank ? bits : best;
        rank = hls_rank(bits) > rank ? hls_rank(bits) : rank;
    }
    return card_float(best);
}

/* Exps of the logits, which are in `key`, to `score`; returns their sum. */
static float make_exps(struct routing *r, uint32_t n)
{
    const float largest = best_logit(r->key, n);
    float lane[HLS_LANES] = {0};
    HLS_PARTITION(lane, 1)
router_exps:
    for (uint32_t i = 0; i < n; i++) {
        HLS_TRIPS(8, 512)
        HLS_PIPELINE(1)
        HLS_DISTANCE(lane, 16) /* a lane comes back after 16 iterations, an addition takes 8 cycles */
        const float e = card_exp(card_float(bits_at(r->key, i)) - largest);
        r->score[i / HLS_LANES].lane[i % HLS_LANES] = card_bits(e);
        lane[i % HLS_LANES] = lane[i % HLS_LANES] + e;
    }
    return hls_tree(lane);
}

/* Scores of all experts from their exps, times `inverse`, or logits; with a bias, keys become scores plus bias. */
static void make_scores(const struct hls_step *step, float inverse, const struct hls_word *bias, struct hls_word *key,
                        struct hls_word *score)
{
    const int softmax = step->format == CARD_SCORING_SOFTMAX, biased = (step->flags & CARD_FLAG_BIAS) != 0;
router_scores:
    for (uint32_t i = 0; i < step->cols; i++) {
        HLS_TRIPS(8, 512)
        HLS_PIPELINE(1) /* nothing carried: an expert's places are its iteration's own */
        HLS_INDEPENDENT(key)
        HLS_INDEPENDENT(score)
        const uint32_t w = i / HLS_LANES, l = i % HLS_LANES;
        const float value = softmax ? card_float(score[w].lane[l]) * inverse : card_sigmoid(card_float(key[w].lane[l]));
        score[w].lane[l] = card_bits(value);
        if (biased) key[w].lane[l] = card_bits(value + card_float(bits_at(bias, i)));
    }
}

/* Keys of the groups: that of the best expert, or the sum of the best two. */
static void make_group_keys(struct routing *r, const struct hls_step *step, uint32_t size)
{
    const int pairs = (step->flags & CARD_FLAG_GROUP_PAIRS) != 0;
    uint32_t group = 0, member = 0, first = 0, second = 0, first_rank = 0, second_rank = 0;
router_groups:
    for (uint32_t i = 0; i < step->cols; i++) {
        HLS_TRIPS(8, 512)
        HLS_PIPELINE(1) /* carried: the best two of the group, two comparisons of integers side by side */
        const uint32_t bits = bits_at(r->key, i), rank = hls_rank(bits);
        const int best = member == 0 || rank > first_rank, next = best || member == 1 || rank > second_rank;
        second = best ? first : next ? bits : second;
        second_rank = best ? first_rank : next ? rank : second_rank;
        first = best ? bits : first;
        first_rank = best ? rank : first_rank;
        member++;
        if (member == size) {
            r->group_key[group] = pairs ? card_bits(card_float(first) + card_float(second)) : first;
            r->open[group] = 0;
            group++;
            member = 0;
        }
    }
}

/* Opens the P2 best of the P1 groups. */
static void open_groups(struct routing *r, const struct hls_step *step)
{
    const uint32_t groups = step->param[1];
    uint32_t last_rank = 0xffffffffu, last = 0;
router_open:
    for (uint32_t k = 0; k < step->param[2]; k++) {
        HLS_TRIPS(1, 8)
        uint32_t best_rank = 0, best = 0;
    router_scan:
        for (uint32_t g = 0; g < groups; g++) {
            HLS_TRIPS(1, 16)
            HLS_PIPELINE(1) /* carried: the best so far, one comparison of integers */
            const uint32_t rank = hls_rank(r->group_key[g]);
            const int comes_later = rank < last_rank || (rank == last_rank && g > last);
            best = comes_later && rank > best_rank ? g : best;
            best_rank = comes_later && rank > best_rank ? rank : best_rank;
        }
        r->open[best] = 1;
        last = best;
        last_rank = best_rank;
    }
}

/* The best experts of all, or of the open groups of `size` experts (0: there are no groups). */
static void choose(struct routing *r, const struct hls_step *step, uint32_t size, struct hls_best *best)
{
    uint32_t group = 0, member = 0;
    hls_best_clear(best);
router_choose:
    for (uint32_t i = 0; i < step->cols; i++) {
        HLS_TRIPS(8, 512)
        HLS_PIPELINE(1) /* carried: the list, one comparison of integers, and counters */
        if (size == 0 || r->open[group] != 0) hls_best_insert(best, step->rows, i, bits_at(r->key, i));
        group = member + 1 == size ? group + 1 : group;
        member = member + 1 == size ? 0 : member + 1;
    }
}

/* choice: expert and weight of the j-th best at values 2 j and 2 j + 1. */
static void make_choices(struct routing *r, const struct hls_step *step, const struct hls_best *best,
                         struct hls_word *choice)
{
    float weight[HLS_CHOICES], total = 0.0f;
router_weights:
    for (uint32_t j = 0; j < step->rows; j++) {
        HLS_TRIPS(1, 8)
        HLS_PIPELINE(HLS_ADD_CYCLES) /* carried: total, an addition an iteration, distance 1 */
        weight[j] = card_float(bits_at(r->score, best->index[j]));
        choice[j / 8].lane[j % 8 * 2] = best->index[j];
        total += weight[j];
    }
    const float inverse = card_recip(total);
router_scale:
    for (uint32_t j = 0; j < step->rows; j++) {
        HLS_TRIPS(1, 8)
        HLS_PIPELINE(1) /* nothing carried */
        const float share = (step->flags & CARD_FLAG_RENORMALIZE) != 0 ? weight[j] * inverse : weight[j];
        choice[j / 8].lane[j % 8 * 2 + 1] = hls_result(share * card_float(step->param[0]));
    }
}

static void load_experts(HLS_BANKS, card_addr from, uint32_t n, struct hls_word *to)
{
router_load:
    for (uint32_t at = 0; at < n; at += HLS_CHUNK) {
        HLS_TRIPS(1, 16)
        hls_load(HLS_BANK_ARGS, from + 4ull * at, hls_min(n - at, HLS_CHUNK), &to[at / HLS_LANES]);
    }
}

void hls_router(HLS_BANKS, const struct hls_step *step)
{
    struct routing r;
    struct hls_word bias[EXPERT_WORDS], choice[HLS_CHOICES / 8];
    struct hls_best best;
    HLS_URAM(r.key)
    HLS_URAM(r.score)
    HLS_URAM(r.group_key)
    HLS_URAM(r.open)
    HLS_URAM(bias)
    HLS_PARTITION(best.rank, 1)
    HLS_PARTITION(best.index, 1)
    HLS_PARTITION(best.bits, 1)
    const uint32_t n = step->cols, groups = step->param[1], size = groups > 1 ? n / groups : 0;
    if ((step->flags & CARD_FLAG_BIAS) != 0) load_experts(HLS_BANK_ARGS, step->aux, n, bias);
router_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        load_experts(HLS_BANK_ARGS, step->src + 4ull * t * n, n, r.key);
        const float inverse = step->format == CARD_SCORING_SOFTMAX ? card_recip(make_exps(&r, n)) : 1.0f;
        make_scores(step, inverse, bias, r.key, r.score);
        if (size != 0) {
            make_group_keys(&r, step, size);
            open_groups(&r, step);
        }
        choose(&r, step, size, &best);
        make_choices(&r, step, &best, choice);
        hls_store(HLS_BANK_ARGS, step->dst + 8ull * t * step->rows, 2 * step->rows, choice);
    }
}
