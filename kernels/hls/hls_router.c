/* SPDX-License-Identifier: Apache-2.0 */
/* ROUTER: the best experts of each token and their weights. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

#define LOGIT_WORDS (HLS_EXPERTS / HLS_LANES)

static float logit_at(const struct hls_word *logit, uint32_t i)
{
    HLS_INLINE
    return card_float(logit[i / HLS_LANES].lane[i % HLS_LANES]);
}

/* Whether logit a at index i comes before logit b at index j: larger first, NaN last, ties to the lower index. */
static int comes_before(float a, uint32_t i, float b, uint32_t j)
{
    HLS_INLINE
    const int a_is_nan = a != a, b_is_nan = b != b;
    if (a > b) return 1;
    if (a < b) return 0;
    if (a_is_nan != b_is_nan) return b_is_nan;
    return i < j;
}

/* The best logit after the one at index `last` (n: none yet). */
static uint32_t next_best(const struct hls_word *logit, uint32_t n, uint32_t last)
{
    const float bound = logit_at(logit, last < n ? last : 0);
    uint32_t best = n;
    float best_logit = 0.0f;
router_scan:
    for (uint32_t i = 0; i < n; i++) {
        HLS_TRIPS(8, 512)
        HLS_PIPELINE(2) /* carried: the best so far, one comparison of floats of 2 cycles */
        const float x = logit_at(logit, i);
        const int open = last >= n || comes_before(bound, last, x, i);
        const int better = best == n || comes_before(x, i, best_logit, best);
        best = open && better ? i : best;
        best_logit = open && better ? x : best_logit;
    }
    return best;
}

static float sum_of_exps(const struct hls_word *logit, uint32_t n, float largest)
{
    float lane[HLS_LANES] = {0};
    HLS_PARTITION(lane, 1)
router_exps:
    for (uint32_t i = 0; i < n; i++) {
        HLS_TRIPS(8, 512)
        HLS_PIPELINE(1)
        HLS_DISTANCE(lane, 16) /* a lane comes back after 16 iterations, an addition takes 8 cycles */
        lane[i % HLS_LANES] = lane[i % HLS_LANES] + card_exp(logit_at(logit, i) - largest);
    }
    return hls_tree(lane);
}

/* choice: expert and weight of the j-th best at values 2 j and 2 j + 1. */
static void route_token(const struct hls_word *logit, const struct hls_step *step, struct hls_word *choice)
{
    const uint32_t n = step->cols, n_choices = step->rows;
    float weight[HLS_CHOICES];
    uint32_t last = n;
    float largest = 0.0f, total = 0.0f, inverse;
router_choices:
    for (uint32_t j = 0; j < n_choices; j++) {
        HLS_TRIPS(1, 8)
        last = next_best(logit, n, last);
        choice[j / 8].lane[j % 8 * 2] = last;
        weight[j] = logit_at(logit, last);
    }
    largest = weight[0];
    inverse = card_recip(sum_of_exps(logit, n, largest));
router_weights:
    for (uint32_t j = 0; j < n_choices; j++) {
        HLS_TRIPS(1, 8)
        HLS_PIPELINE(HLS_ADD_CYCLES) /* carried: total, an addition an iteration, distance 1 */
        weight[j] = card_exp(weight[j] - largest) * inverse;
        total += weight[j];
    }
    inverse = card_recip(total);
router_scale:
    for (uint32_t j = 0; j < n_choices; j++) {
        HLS_TRIPS(1, 8)
        HLS_PIPELINE(1) /* nothing carried */
        const float share = (step->flags & CARD_FLAG_RENORMALIZE) != 0 ? weight[j] * inverse : weight[j];
        choice[j / 8].lane[j % 8 * 2 + 1] = card_bits(share * card_float(step->param[0]));
    }
}

void hls_router(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word logit[LOGIT_WORDS], choice[HLS_CHOICES / 8];
    HLS_URAM(logit)
    const uint32_t n = step->cols;
router_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
    router_load:
        for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 16)
            const card_addr at = step->src + 4 * ((uint64_t)t * n + from);
            hls_load(HLS_BANK_ARGS, at, hls_min(n - from, HLS_CHUNK), &logit[from / HLS_LANES]);
        }
        route_token(logit, step, choice);
        hls_store(HLS_BANK_ARGS, step->dst + 8ull * t * step->rows, 2 * step->rows, choice);
    }
}
