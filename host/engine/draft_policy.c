/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/draft_policy.h"

#define STEP_MEMORY 0.98    /* weight of what was seen one step before */
#define RECORD_MEMORY 0.9f  /* of one draft before */
#define FIRST_TOKENS 1.0f   /* a record begins as if so many tokens had been tried */
#define MARGIN 1.02         /* what drafts must bring at least */
#define FIRST_VARIANCE 0.25 /* the first guess at the slope weighs as much as steps of this variance in tokens */
#define FIRST_PAUSE 16u
#define LONGEST_PAUSE 256u
#define TRIAL_LENGTH 1u   /* after a pause */
#define UNKNOWN_LENGTH 2u /* while nobody knows what a longer step costs */

/* A step is mostly reading weights: as a guess, as long as seven tokens take. */
static double first_slope(double mean_tokens) { return 1 / (7 + mean_tokens); }

double draft_policy_seconds(const struct draft_policy *policy, double n_tokens)
{
    if (policy->n <= 0) return 7 + n_tokens;
    const double m = policy->m / policy->n, t = policy->t / policy->n;
    const double slope = policy->slope > 0 ? policy->slope : first_slope(m);
    return t + t * slope * (n_tokens - m);
}

void draft_policy_observe(struct draft_policy *policy, uint32_t n_tokens, double seconds)
{
    const double m = n_tokens, expected = draft_policy_seconds(policy, m);
    if (policy->n > 0 && seconds > 3 * expected) seconds = 3 * expected; /* something else ran on this machine */
    policy->n = policy->n * STEP_MEMORY + 1;
    policy->m = policy->m * STEP_MEMORY + m;
    policy->t = policy->t * STEP_MEMORY + seconds;
    policy->mm = policy->mm * STEP_MEMORY + m * m;
    policy->mt = policy->mt * STEP_MEMORY + m * seconds;

    /* The slope of the regression line, while the steps differ enough to have one. */
    const double mean = policy->m / policy->n, mean_t = policy->t / policy->n;
    const double variance = policy->mm / policy->n - mean * mean;
    if (policy->n < 4 || variance < 0.02 || mean_t <= 0) return;
    const double covariance = policy->mt / policy->n - mean * mean_t;
    double slope = (covariance / mean_t + FIRST_VARIANCE * first_slope(mean)) / (variance + FIRST_VARIANCE);
    if (slope < 0.01 / mean) slope = 0.01 / mean;
    if (slope > 1 / mean) slope = 1 / mean; /* a step of no tokens takes no less than no time */
    policy->slope = slope;
}

static double chance(const struct draft_record *record) { return (double)(record->kept / record->tried); }

static void add_to_plan(struct draft_plan *plan, uint32_t length, double gain)
{
    plan->n_tokens += length;
    plan->n_expected += gain;
    if (length > plan->n_rounds) plan->n_rounds = length;
}

/* The length that brings the most tokens per second, and how many tokens that is on average. */
static uint32_t best_length(const struct draft_policy *policy, double right, uint32_t most, double round_seconds,
                            const struct draft_plan *plan, double *gain)
{
    const double spent = plan->n_rounds * round_seconds;
    const double now = plan->n_expected / (draft_policy_seconds(policy, plan->n_tokens) + spent);
    double best_rate = now * MARGIN, in_a_row = 1, sum = 0;
    uint32_t best = 0;
    *gain = 0;
    for (uint32_t k = 1; k <= most; k++) {
        in_a_row *= right;
        sum += in_a_row;
        const uint32_t rounds = k > plan->n_rounds ? k : plan->n_rounds;
        const double seconds = draft_policy_seconds(policy, plan->n_tokens + (double)k) + rounds * round_seconds;
        const double rate = (plan->n_expected + sum) / seconds;
        if (rate > best_rate) best_rate = rate, best = k, *gain = sum;
    }
    return best;
}

uint32_t draft_policy_length(const struct draft_policy *policy, struct draft_record *record, uint32_t most,
                             double round_seconds, struct draft_plan *plan)
{
    if (most > DRAFT_MOST) most = DRAFT_MOST;
    if (policy->slope <= 0 && most > UNKNOWN_LENGTH && !policy->always) most = UNKNOWN_LENGTH;
    const double right = chance(record);
    double gain = 0;
    uint32_t length = policy->always ? most : best_length(policy, right, most, round_seconds, plan, &gain);
    if (length > 0) {
        record->pause = 0;
    } else if (most > 0) {
        if (record->pause == 0) record->pause = FIRST_PAUSE;
        if (++record->resting < record->pause) return 0;
        if (record->pause < LONGEST_PAUSE) record->pause *= 2;
        length = most < TRIAL_LENGTH ? most : TRIAL_LENGTH;
        gain = right;
    }
    record->resting = 0;
    add_to_plan(plan, length, gain);
    return length;
}

void draft_record_begin(struct draft_record *record, float chance)
{
    *record = (struct draft_record){.tried = FIRST_TOKENS, .kept = FIRST_TOKENS * chance};
}

void draft_record_inherit(struct draft_record *record, const struct draft_record *all)
{
    *record = (struct draft_record){
        .tried = FIRST_TOKENS, .kept = FIRST_TOKENS * all->kept / all->tried, .pause = all->pause};
}

static void add_result(struct draft_record *record, uint32_t n_kept, bool wrong)
{
    record->tried = record->tried * RECORD_MEMORY + (float)n_kept + (wrong ? 1.0f : 0.0f);
    record->kept = record->kept * RECORD_MEMORY + (float)n_kept;
}

void draft_record_result(struct draft_record *record, struct draft_record *all, uint32_t n_kept, bool wrong)
{
    add_result(record, n_kept, wrong);
    add_result(all, n_kept, wrong);
    all->pause = record->pause;
}
