/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a draft shall be. A draft of k tokens makes the step longer and brings the tokens that are kept; the policy
 * takes the length that brings the most tokens per second, by what steps have cost and by how often such drafts of this
 * sequence were right. That may be 0: then a short draft is tried now and then, ever less often, to notice when
 * it would be worth while again. No text depends on it, only time.
 */
#ifndef SLUICE_ENGINE_DRAFT_POLICY_H
#define SLUICE_ENGINE_DRAFT_POLICY_H

#include "host/engine/draft.h"

/* How drafts of one grade did, older ones counting less: in one sequence, or in all. Made by draft_record_begin. */
struct draft_record {
    float tried, kept; /* tokens: those that were looked at, of them those that were right */
    uint32_t resting;  /* steps without a draft since the last */
    uint32_t pause;    /* so many until the next trial; 0: drafts are worth while */
};

struct draft_policy {
    bool always; /* drafts are as long as they may be, whatever they bring: for tests and measurements */
    /* Sums over steps that only decode, older ones count less: of 1, tokens, seconds, tokens^2, tokens * seconds. */
    double n, m, t, mm, mt;
    double slope; /* of one more token, as a part of the mean step; 0: not known */
};

/* What a step is going to be, as far as it is planned: draft_policy_length's argument and result. */
struct draft_plan {
    uint32_t n_tokens; /* in the step */
    double n_expected; /* tokens that it will bring */
    uint32_t n_rounds; /* the longest draft so far */
};

/* A step of n_tokens tokens, none of them a prompt's, took so long. */
void draft_policy_observe(struct draft_policy *policy, uint32_t n_tokens, double seconds);

/* Seconds of a step, as a guess; 1 / some speed if no step was seen. */
double draft_policy_seconds(const struct draft_policy *policy, double n_tokens);

/* The length, 0 to most, of the next draft; adds it to the plan. round_seconds is the source's. */
uint32_t draft_policy_length(const struct draft_policy *policy, struct draft_record *record, uint32_t most,
                             double round_seconds, struct draft_plan *plan);

/* A record that starts from a guess, and one that starts from how it went in general. */
void draft_record_begin(struct draft_record *record, float chance);
void draft_record_inherit(struct draft_record *record, const struct draft_record *all);

/* Of a draft, n_kept tokens were right; wrong: the next one was not (else nobody looked at it). all learns it too. */
void draft_record_result(struct draft_record *record, struct draft_record *all, uint32_t n_kept, bool wrong);

#endif
