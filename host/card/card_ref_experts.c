/* SPDX-License-Identifier: Apache-2.0 */
/* The float reference: choices of experts, and what is done with their weights. */
#include "host/card/card_ref.h"

#include <stdlib.h>

/* ---- choices ---- */

/* The best of key[0..n) that is not taken, n if all are; ties to the lower index. */
static uint32_t best_of(const double *key, const uint8_t *taken, uint32_t n)
{
    uint32_t best = n;
    for (uint32_t i = 0; i < n; i++) {
        if (!taken[i] && (best == n || ref_better(key[i], key[best]))) best = i;
    }
    return best;
}

/* What a group of experts is chosen by: its best key, or the sum of its best two. */
static double group_key(const double *key, uint32_t n, int pairs)
{
    uint32_t first = 0, second = n;
    for (uint32_t i = 1; i < n; i++) {
        if (ref_better(key[i], key[first])) {
            second = first;
            first = i;
        } else if (second == n || ref_better(key[i], key[second])) {
            second = i;
        }
    }
    return pairs ? key[first] + key[second] : key[first];
}

/* Takes the experts of all groups but the P2 best out of the choice. */
static void take_groups(const struct sim_step *s, const double *key, uint8_t *taken)
{
    const uint32_t groups = s->d->param[1], size = s->d->cols / groups;
    memset(taken, 1, s->d->cols);
    /* A group takes part if fewer than P2 others are before it. */
    for (uint32_t g = 0; g < groups; g++) {
        const double mine = group_key(key + (size_t)g * size, size, sim_step_has(s, CARD_FLAG_GROUP_PAIRS));
        uint32_t before = 0;
        for (uint32_t o = 0; o < groups; o++) {
            const double other = group_key(key + (size_t)o * size, size, sim_step_has(s, CARD_FLAG_GROUP_PAIRS));
            before += ref_better(other, mine) || (o < g && !ref_better(mine, other));
        }
        if (before < s->d->param[2]) memset(taken + (size_t)g * size, 0, size);
    }
}

/* The score of each expert: softmax over all of them, or sigmoid. */
static void score_experts(const struct sim_step *s, const float *logit, double *score)
{
    const uint32_t n = s->d->cols;
    double largest = logit[0], sum = 0;
    for (uint32_t i = 0; i < n; i++) largest = ref_better(logit[i], largest) ? logit[i] : largest;
    for (uint32_t i = 0; i < n; i++) sum += exp(logit[i] - largest);
    for (uint32_t i = 0; i < n; i++) {
        score[i] = s->d->format == CARD_SCORING_SIGMOID ? ref_sigmoid(logit[i]) : exp(logit[i] - largest) / sum;
    }
}

/* One token; key and taken have room for each expert. */
static void route(const struct sim_step *s, size_t token, double *score, double *key, uint8_t *taken)
{
    const struct card_descriptor *d = s->d;
    const float *logit = ref_row(s->src, token, d->cols);
    struct card_choice *choice = (struct card_choice *)s->dst + token * d->rows;
    score_experts(s, logit, score);
    for (uint32_t i = 0; i < d->cols; i++) key[i] = s->aux ? score[i] + *ref_row(s->aux, i, 1) : logit[i];
    memset(taken, 0, d->cols);
    if (d->param[1] > 1) take_groups(s, key, taken);
    double sum = 0;
    for (uint32_t j = 0; j < d->rows; j++) {
        choice[j].expert = best_of(key, taken, d->cols);
        taken[choice[j].expert] = 1;
        sum += score[choice[j].expert];
    }
    for (uint32_t j = 0; j < d->rows; j++) {
        const double weight = score[choice[j].expert] / (sim_step_has(s, CARD_FLAG_RENORMALIZE) ? sum : 1);
        choice[j].weight = (float)(weight * sim_step_float(s, 0));
    }
}

int ref_router(const struct sim_step *s, struct error *err)
{
    const uint32_t n = s->d->cols;
    double *number = malloc(2 * (size_t)n * sizeof *number);
    uint8_t *taken = malloc(n);
    if (number && taken) {
        for (size_t t = 0; t < s->d->tokens; t++) route(s, t, number, number + n, taken);
    }
    const int rc = number && taken ? 0 : error_set(err, ERROR_NO_MEMORY, "card ref: no memory for %u experts", n);
    free(number);
    free(taken);
    return rc;
}

void ref_top_k(const struct sim_step *s)
{
    const uint32_t n = s->d->cols, kept = s->d->rows;
    for (size_t t = 0; t < s->d->tokens; t++) {
        const float *x = ref_row(s->src, t, n);
        struct card_choice *choice = (struct card_choice *)s->dst + t * kept;
        for (uint32_t j = 0; j < kept; j++) {
            /* The best of those that come after the one before: worse, or as good with a higher index. */
            uint32_t best = n;
            for (uint32_t i = 0; i < n; i++) {
                const uint32_t last = j ? choice[j - 1].expert : 0;
                if (j && !ref_better(x[last], x[i]) && (ref_better(x[i], x[last]) || i <= last)) continue;
                if (best == n || ref_better(x[i], x[best])) best = i;
            }
            choice[j] = (struct card_choice){.expert = best, .weight = x[best]};
        }
    }
}

void ref_expert_sum(const struct sim_step *s)
{
    const size_t n = s->d->cols, choices = s->d->param[0];
    const struct card_choice *choice = s->aux;
    for (size_t t = 0; t < s->d->tokens; t++) {
        float *dst = ref_result(s, t, n);
        for (size_t i = 0; i < n; i++) {
            double sum = dst[i];
            for (size_t j = t * choices; j < (t + 1) * choices; j++) {
                sum += (choice ? (double)choice[j].weight : 1.0) * ref_row(s->src, j, n)[i];
            }
            dst[i] = (float)sum;
        }
    }
}

void ref_expert_spread(const struct sim_step *s)
{
    const size_t n = s->d->cols, choices = s->d->param[0];
    for (size_t j = 0; j < s->d->tokens * choices; j++) {
        const double weight = ((const struct card_choice *)s->aux)[j].weight;
        for (size_t i = 0; i < n; i++) {
            ref_result(s, j, n)[i] = (float)(weight * ref_row(s->src, j / choices, n)[i]);
        }
    }
}
