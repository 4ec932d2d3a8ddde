/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All stages in any order, on a list of candidates in order of (logit descending, index ascending). Where only those of
 * sampler_pick are asked for, in its order, that is taken, and what is left out of the vocabulary is -INFINITY to it:
 * both ways give the same token.
 */
#include "host/engine/sampler_internal.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    enum sampler_stage stage;
} names[SAMPLER_STAGES] = {
    {"penalties", STAGE_PENALTIES},
    {"dry", STAGE_DRY},
    {"temperature", STAGE_TEMPERATURE},
    {"top_n_sigma", STAGE_TOP_N_SIGMA},
    {"top_k", STAGE_TOP_K},
    {"typical_p", STAGE_TYPICAL_P},
    {"top_p", STAGE_TOP_P},
    {"min_p", STAGE_MIN_P},
    {"xtc", STAGE_XTC},
};

enum sampler_stage sampler_stage_find(const char *name)
{
    for (unsigned i = 0; i < SAMPLER_STAGES; i++)
        if (strcmp(names[i].name, name) == 0) return names[i].stage;
    return STAGE_NONE;
}

static int check_range(const char *name, float value, float min, float max, struct error *err)
{
    if (value >= min && value <= max) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s %g is not between %g and %g", name, (double)value, (double)min,
                     (double)max);
}

int sampling_check(const struct sampling *s, struct error *err)
{
    if (!isfinite(s->temperature) || s->temperature < 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "temperature %g is not 0 or more", (double)s->temperature);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return error_set(err, ERROR_BAD_ARGUMENT, "top_p %g is not above 0 and at most 1", (double)s->top_p);
    if (check_range("min_p", s->min_p, 0, 1, err) < 0 || check_range("typical_p", s->typical_p, 0, 1, err) < 0 ||
        check_range("top_n_sigma", s->top_n_sigma, 0, 1e6f, err) < 0 ||
        check_range("xtc_probability", s->xtc_probability, 0, 1, err) < 0 ||
        check_range("xtc_threshold", s->xtc_threshold, 0, 1, err) < 0 ||
        check_range("repetition_penalty", s->repetition_penalty, 0, 1e6f, err) < 0 ||
        check_range("presence_penalty", s->presence_penalty, -100, 100, err) < 0 ||
        check_range("frequency_penalty", s->frequency_penalty, -100, 100, err) < 0 ||
        check_range("dry_multiplier", s->dry_multiplier, 0, 1e6f, err) < 0 ||
        check_range("dry_base", s->dry_base, s->dry_multiplier > 0 ? 1 : 0, 1e6f, err) < 0 ||
        check_range("mirostat_tau", s->mirostat_tau, 0, 100, err) < 0 ||
        check_range("mirostat_eta", s->mirostat_eta, 0, 1, err) < 0)
        return err->code;
    if (s->n_biases > SAMPLER_MOST_BIASES)
        return error_set(err, ERROR_BAD_ARGUMENT, "logit_bias for %u tokens, %d are possible", s->n_biases,
                         SAMPLER_MOST_BIASES);
    return 0;
}

/* ---- the list ---- */

struct stages {
    struct sampler *sampler;
    const struct sampling *sampling;
    const struct sampler_history *history;
    uint32_t position, n;
    float coldness; /* 1 until the temperature's stage */
    bool sorted;
};

/* Orders floats as unsigned integers, the largest first. */
static uint32_t sort_key(float logit)
{
    uint32_t bits = card_bits(logit == 0 ? 0.0f : logit);
    return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
}

/* By radix, 11 bits at a time; what is equal stays in order. room is as large as the list. */
static void radix_sort(struct candidate *list, struct candidate *room, uint32_t n)
{
    struct candidate *from = list, *to = room;
    for (unsigned shift = 0; shift < 33; shift += 11) {
        uint32_t at[2049] = {0};
        for (uint32_t i = 0; i < n; i++) at[(sort_key(from[i].logit) >> shift & 2047u) + 1]++;
        for (uint32_t i = 1; i < 2049; i++) at[i] += at[i - 1];
        for (uint32_t i = 0; i < n; i++) to[at[sort_key(from[i].logit) >> shift & 2047u]++] = from[i];
        struct candidate *other = from;
        from = to;
        to = other;
    }
    if (from != list) memcpy(list, from, n * sizeof *list);
}

/* What is equal stays in order of the index. */
static void sort(struct stages *s)
{
    if (!s->sorted) radix_sort(s->sampler->candidates, s->sampler->spare, s->n);
    s->sorted = true;
}

/* The sum of the weights, which are set by token, in order of the list. */
static double weigh(struct stages *s)
{
    struct candidate *list = s->sampler->candidates;
    double sum = 0;
    sort(s);
    for (uint32_t i = 0; i < s->n; i++) {
        float weight = weight_of(list[i].logit, list[0].logit, s->coldness);
        s->sampler->weights[list[i].index] = weight;
        sum += (double)weight;
    }
    return sum;
}

static float weight_at(const struct stages *s, uint32_t i)
{
    return s->sampler->weights[s->sampler->candidates[i].index];
}

/* ---- stages ---- */

static void cut_top_n_sigma(struct stages *s)
{
    const struct candidate *list = s->sampler->candidates;
    double sum = 0, squares = 0;
    uint32_t n = 0;
    sort(s);
    while (n < s->n && list[n].logit > -INFINITY) sum += (double)list[n++].logit;
    if (n == 0) return;
    double mean = sum / n;
    for (uint32_t i = 0; i < n; i++) squares += ((double)list[i].logit - mean) * ((double)list[i].logit - mean);
    double least = (double)list[0].logit - (double)s->sampling->top_n_sigma * sqrt(squares / n);
    while (n > 1 && (double)list[n - 1].logit < least) n--;
    s->n = n;
}

static void cut_top_k(struct stages *s)
{
    if (s->sampling->top_k >= s->n) return;
    sort(s);
    s->n = s->sampling->top_k;
}

/* As sampler_pick does it: the whole is summed in order of index. */
static void cut_top_p(struct stages *s)
{
    double reached = 0, whole = 0;
    weigh(s);
    for (uint32_t i = 0; i < s->n; i++) s->sampler->counts[s->sampler->candidates[i].index] = 1;
    for (uint32_t t = 0; t < s->sampler->n_vocab; t++) {
        if (s->sampler->counts[t]) whole += (double)s->sampler->weights[t];
        s->sampler->counts[t] = 0;
    }
    double limit = (double)s->sampling->top_p * whole;
    uint32_t n = 0;
    do reached += (double)weight_at(s, n++);
    while (n < s->n && reached < limit);
    s->n = n;
}

static void cut_min_p(struct stages *s)
{
    weigh(s);
    float smallest = s->sampling->min_p * weight_at(s, 0);
    while (s->n > 1 && weight_at(s, s->n - 1) < smallest) s->n--;
}

/* Keeps those whose surprise is nearest to the mean one, until they make up more than typical_p. */
static void cut_typical(struct stages *s)
{
    struct candidate *list = s->sampler->candidates, *shifts = s->sampler->shifts;
    uint32_t *kept = s->sampler->counts, n = 0;
    double sum = weigh(s), entropy = 0, reached = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        double p = (double)weight_at(s, i) / sum;
        if (p > 0) entropy -= p * (double)card_log((float)p);
    }
    for (uint32_t i = 0; i < s->n; i++) {
        float p = (float)((double)weight_at(s, i) / sum);
        float shift = p > 0 ? (float)fabs(-(double)card_log(p) - entropy) : INFINITY;
        shifts[i] = (struct candidate){-shift, list[i].index};
    }
    radix_sort(shifts, s->sampler->spare, s->n);
    for (uint32_t i = 0; i < s->n && reached <= (double)s->sampling->typical_p; i++) {
        kept[shifts[i].index] = 1;
        reached += (double)s->sampler->weights[shifts[i].index] / sum;
    }
    for (uint32_t i = 0; i < s->n; i++)
        if (kept[list[i].index]) list[n++] = list[i];
    for (uint32_t i = 0; i < n; i++) kept[list[i].index] = 0;
    s->n = n;
}

/* Sometimes takes away all but the least of those that have at least the threshold's share. */
static void cut_xtc(struct stages *s)
{
    struct candidate *list = s->sampler->candidates;
    if (sampler_unit(s->sampling, s->position, 1) >= (double)s->sampling->xtc_probability) return;
    double limit = (double)s->sampling->xtc_threshold * weigh(s);
    uint32_t n = 0;
    while (n < s->n && (double)weight_at(s, n) >= limit) n++;
    if (n < 2) return;
    s->n -= n - 1;
    memmove(list, list + n - 1, s->n * sizeof *list);
}

static void set_temperature(struct stages *s)
{
    if (s->sampling->temperature >= SAMPLER_COLDEST) {
        s->coldness = card_recip(s->sampling->temperature);
        return;
    }
    sort(s);
    s->n = 1;
}

static void take_stage(struct stages *s, enum sampler_stage stage)
{
    const struct sampling *o = s->sampling;
    struct candidate *list = s->sampler->candidates;
    switch (stage) {
    case STAGE_NONE: return;
    case STAGE_PENALTIES:
        sampler_penalize(s->sampler, o, s->history, list, s->n);
        s->sorted = false;
        return;
    case STAGE_DRY:
        if (!(o->dry_multiplier > 0)) return;
        sampler_dry(s->sampler, o, s->history, list, s->n);
        s->sorted = false;
        return;
    case STAGE_TEMPERATURE: set_temperature(s); return;
    case STAGE_TOP_N_SIGMA:
        if (o->top_n_sigma > 0) cut_top_n_sigma(s);
        return;
    case STAGE_TOP_K:
        if (o->top_k > 0) cut_top_k(s);
        return;
    case STAGE_TYPICAL_P:
        if (o->typical_p > 0 && o->typical_p < 1) cut_typical(s);
        return;
    case STAGE_TOP_P:
        if (o->top_p < 1) cut_top_p(s);
        return;
    case STAGE_MIN_P:
        if (o->min_p > 0) cut_min_p(s);
        return;
    case STAGE_XTC:
        if (o->xtc_probability > 0) cut_xtc(s);
        return;
    }
}

/* ---- the draw ---- */

/* In order of index over the whole vocabulary, as sampler_pick draws. */
static uint32_t draw_by_index(struct stages *s)
{
    uint32_t *kept = s->sampler->counts, last = s->sampler->candidates[0].index;
    double sum = 0, reached = 0;
    weigh(s);
    if (s->n == 1) return last;
    for (uint32_t i = 0; i < s->n; i++) kept[s->sampler->candidates[i].index] = 1;
    for (uint32_t t = 0; t < s->sampler->n_vocab; t++)
        if (kept[t]) sum += (double)s->sampler->weights[t];
    double target = sampler_unit(s->sampling, s->position, 0) * sum;
    for (uint32_t t = 0; t < s->sampler->n_vocab && reached <= target; t++) {
        if (!kept[t] || !(s->sampler->weights[t] > 0)) continue;
        reached += (double)s->sampler->weights[t];
        last = t;
    }
    for (uint32_t i = 0; i < s->n; i++) kept[s->sampler->candidates[i].index] = 0;
    return last;
}

#define LOG2_E 1.4426950408889634

/* Leaves out what is more surprising than mu, and moves mu towards a surprise of tau. */
static uint32_t draw_by_mirostat(struct stages *s)
{
    double sum = weigh(s), *mu = s->history->mirostat_mu, kept = 0;
    uint32_t n = 0;
    while (n < s->n && weight_at(s, n) > 0) {
        double surprise = -(double)card_log((float)((double)weight_at(s, n) / sum)) * LOG2_E;
        if (n > 0 && surprise > *mu) break;
        kept += (double)weight_at(s, n++);
    }
    s->n = n > 0 ? n : 1;
    uint32_t token = draw_by_index(s);
    float share = (float)((double)s->sampler->weights[token] / kept);
    double surprise = n > 0 ? -(double)card_log(share) * LOG2_E : 0;
    *mu -= (double)s->sampling->mirostat_eta * (surprise - (double)s->sampling->mirostat_tau);
    return token;
}

static const uint8_t usual_order[SAMPLER_STAGES + 1] = {
    STAGE_PENALTIES, STAGE_DRY,   STAGE_TEMPERATURE, STAGE_TOP_N_SIGMA, STAGE_TOP_K,
    STAGE_TYPICAL_P, STAGE_TOP_P, STAGE_MIN_P,       STAGE_XTC,         STAGE_NONE};

static bool before_mirostat(enum sampler_stage stage)
{
    return stage == STAGE_PENALTIES || stage == STAGE_DRY || stage == STAGE_TEMPERATURE;
}

static bool penalizes(const struct sampling *s)
{
    bool repetition = s->repetition_penalty > 0 && (s->repetition_penalty < 1 || s->repetition_penalty > 1);
    return repetition || s->presence_penalty < 0 || s->presence_penalty > 0 || s->frequency_penalty < 0 ||
           s->frequency_penalty > 0;
}

/* Whether sampler_pick does all that is asked for. */
static bool is_plain(const struct sampling *s)
{
    return s->stages[0] == STAGE_NONE && !penalizes(s) && !(s->dry_multiplier > 0) && !(s->top_n_sigma > 0) &&
           !(s->typical_p > 0 && s->typical_p < 1) && !(s->xtc_probability > 0) && !(s->mirostat_tau > 0);
}

static bool is_allowed(const struct sampler_history *history, uint32_t token)
{
    return !history->allowed || (history->allowed[token / 32] >> token % 32 & 1);
}

static uint32_t stage_by_stage(struct sampler *sampler, const struct sampling *sampling,
                               const struct sampler_history *history, uint32_t position, const float *logits)
{
    struct stages s = {
        .sampler = sampler, .sampling = sampling, .history = history, .position = position, .coldness = 1};
    const uint8_t *order = sampling->stages[0] ? sampling->stages : usual_order;
    const bool mirostat = sampling->mirostat_tau > 0 && history->mirostat_mu;
    for (uint32_t t = 0; t < sampler->n_vocab; t++)
        if (!isnan(logits[t]) && is_allowed(history, t)) sampler->candidates[s.n++] = (struct candidate){logits[t], t};
    for (unsigned i = 0; order[i] != STAGE_NONE && s.n > 0; i++)
        if ((!mirostat || before_mirostat(order[i])) && (order[i] != STAGE_PENALTIES || penalizes(sampling)))
            take_stage(&s, order[i]);
    if (s.n == 0) return 0;
    sort(&s);
    if (!isfinite(sampler->candidates[0].logit)) return sampler->candidates[0].index;
    return mirostat && sampling->temperature >= SAMPLER_COLDEST ? draw_by_mirostat(&s) : draw_by_index(&s);
}

/* Blocks of 32 tokens at a time; mostly all or none of them are allowed. */
static void forbid(float *logits, const uint32_t *allowed, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 32) {
        const uint32_t bits = allowed[i / 32], end = n - i < 32 ? n - i : 32;
        if (bits == UINT32_MAX) continue;
        for (uint32_t j = 0; j < end; j++)
            if (!(bits >> j & 1)) logits[i + j] = -INFINITY;
    }
}

static uint32_t first_allowed(const uint32_t *allowed, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (allowed[i / 32] >> i % 32 & 1) return i;
    return 0;
}

uint32_t sampler_choose(struct sampler *sampler, const struct sampling *sampling, const struct sampler_history *history,
                        uint32_t position, float *logits)
{
    uint32_t token;
    for (uint32_t i = 0; i < sampling->n_biases; i++) {
        const struct logit_bias *bias = &sampling->biases[i];
        if (bias->token < sampler->n_vocab) sampler->unbiased[i] = logits[bias->token];
        if (bias->token < sampler->n_vocab)
            logits[bias->token] = bias->bias <= -100 ? -INFINITY : logits[bias->token] + bias->bias;
    }
    if (is_plain(sampling)) {
        if (history->allowed) forbid(logits, history->allowed, sampler->n_vocab);
        token = sampler_pick(sampler, sampling, position, logits);
    } else {
        token = stage_by_stage(sampler, sampling, history, position, logits);
    }
    return is_allowed(history, token) ? token : first_allowed(history->allowed, sampler->n_vocab);
}
