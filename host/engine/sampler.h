/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From logits to a token. All arithmetic is card_math's, and randomness is a counter-based generator keyed by seed,
 * choice and position, so a seed gives the same text on every backend, in every batch and on every run.
 *
 * First the logit bias is added and what a grammar does not allow is left out. Then come the stages, in the order of
 * sampling.stages or this one: penalties, dry, temperature, top_n_sigma, top_k, typical_p, top_p, min_p, xtc. The draw
 * is over what is left. Ties go to the lower index. With mirostat only penalties, dry and temperature come before it.
 */
#ifndef SLUICE_ENGINE_SAMPLER_H
#define SLUICE_ENGINE_SAMPLER_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sampler_stage {
    STAGE_NONE, /* ends a list */
    STAGE_PENALTIES,
    STAGE_DRY,
    STAGE_TEMPERATURE,
    STAGE_TOP_N_SIGMA,
    STAGE_TOP_K,
    STAGE_TYPICAL_P,
    STAGE_TOP_P,
    STAGE_MIN_P,
    STAGE_XTC,
};
#define SAMPLER_STAGES 9
/* The stage of a name ("top_k"), or STAGE_NONE. */
enum sampler_stage sampler_stage_find(const char *name);

#define SAMPLER_MOST_BIASES 1024
struct logit_bias {
    uint32_t token;
    float bias; /* -100 or less: never */
};

/* All zeros but the temperature are off. */
struct sampling {
    float temperature; /* 0: the most likely token */
    uint32_t top_k;    /* 0: no limit */
    float top_p;       /* 1: no limit; in (0, 1] */
    float min_p;       /* 0: no limit; in [0, 1] */
    uint64_t seed;
    uint32_t choice; /* which of a request's n answers */

    float typical_p;   /* locally typical sampling, Meister et al., arXiv:2202.00666; 0 or 1: off */
    float top_n_sigma; /* logits within so many deviations of the best, Tang et al., arXiv:2411.07641; 0: off */
    float xtc_probability, xtc_threshold; /* as llama.cpp documents --xtc-probability; probability 0: off */
    float repetition_penalty; /* divides or multiplies logits, Keskar et al., arXiv:1909.05858; 0 or 1: off */
    float presence_penalty, frequency_penalty; /* OpenAI's: of tokens that were generated */
    uint32_t penalty_last_n;                   /* tokens that the penalties look back; 0: all */
    float dry_multiplier, dry_base;            /* as llama.cpp documents --dry-multiplier; multiplier 0: off */
    uint32_t dry_allowed_length, dry_last_n;   /* last_n 0: SAMPLER_DRY_MOST, which is the most */
    float mirostat_tau, mirostat_eta;          /* mirostat 2, Basu et al., arXiv:2007.14966; tau 0: off */
    uint8_t stages[SAMPLER_STAGES + 1];        /* enum sampler_stage, ends with STAGE_NONE; none: the usual order */
    const struct logit_bias *biases;           /* [n_biases]; borrowed by a call, copied by engine_submit */
    uint32_t n_biases;
};
#define SAMPLER_DRY_MOST 4096u

/* What a sequence has behind it. */
struct sampler_history {
    const uint32_t *tokens; /* [n_tokens]: prompt and answer */
    uint32_t n_tokens, n_prompt;
    const uint32_t *allowed;  /* a bit for each token, or NULL: all */
    const uint32_t *breakers; /* a bit for each token that no repeat of DRY's goes over, or NULL */
    double *mirostat_mu;      /* its state, which changes; begins with 2 tau */
};

/* ERROR_BAD_ARGUMENT names what is out of range. */
int sampling_check(const struct sampling *sampling, struct error *err);

struct sampler; /* scratch for one vocabulary size; owned by one thread */
int sampler_open(uint32_t n_vocab, struct sampler **out, struct error *err);
void sampler_close(struct sampler *sampler);

/* position: index of the new token in its sequence. NaN logits never win; if all are NaN the result is 0. Allocates nothing. */
uint32_t sampler_pick(struct sampler *sampler, const struct sampling *sampling, uint32_t position, const float *logits);

/*
 * The same with all that sampling has. logits are changed. If no logit is above -INFINITY, the first allowed token.
 * Allocates nothing.
 */
uint32_t sampler_choose(struct sampler *sampler, const struct sampling *sampling, const struct sampler_history *history,
                        uint32_t position, float *logits);

/* Natural logarithms of the model's probabilities, before bias, grammar and stages. */
#define SAMPLER_MOST_TOP 20
struct sampler_logprobs {
    uint32_t n_top;                 /* asked for, at most SAMPLER_MOST_TOP */
    uint32_t top[SAMPLER_MOST_TOP]; /* the most likely tokens, in order */
    float top_logprob[SAMPLER_MOST_TOP];
    float best;    /* the largest logit */
    float log_sum; /* of e^(logit - best) */
};
void sampler_measure(const float *logits, uint32_t n_vocab, struct sampler_logprobs *out);
/* Of a token whose logit was that before sampler_choose. */
float sampler_logprob(const struct sampler_logprobs *measured, float logit);

/* The logit that a token had before the last call of sampler_choose added its bias. */
float sampler_given_logit(const struct sampler *sampler, const struct sampling *sampling, const float *logits,
                          uint32_t token);

/* 32 random bits of (seed, choice, position, draw). The algorithm is named in sampler.c. */
uint32_t random_bits(uint64_t seed, uint32_t choice, uint32_t position, uint32_t draw);

#endif
