/* SPDX-License-Identifier: Apache-2.0 */
/* What sampler.c (the plain way) and sampler_stages.c (all stages, in any order) share. */
#ifndef SLUICE_ENGINE_SAMPLER_INTERNAL_H
#define SLUICE_ENGINE_SAMPLER_INTERNAL_H

#include "host/engine/sampler.h"
#include "kernels/abi/card_math.h"

/* A temperature below this is taken for 0: its reciprocal would leave the range of float. */
#define SAMPLER_COLDEST 0x1p-100f

struct candidate {
    float logit;
    uint32_t index;
};

struct sampler {
    uint32_t n_vocab;
    struct candidate *candidates, *spare, *shifts; /* [n_vocab] each */
    float *weights;                                /* [n_vocab], by token; set for those that are candidates */
    uint32_t *counts;                              /* [n_vocab], by token; zeros between calls */
    float unbiased[SAMPLER_MOST_BIASES];           /* the logits before their biases */
    uint32_t *repeats;                             /* [SAMPLER_DRY_MOST] */
};

/* In [0, 1), a multiple of 2^-24; draw tells several of one position apart. */
double sampler_unit(const struct sampling *sampling, uint32_t position, uint32_t draw);

/* What is below e^-87 is next to the subnormal numbers and never drawn in practice; it and NaN weigh nothing. */
static inline __attribute__((always_inline)) float weight_of(float logit, float best, float coldness)
{
    float exponent = (logit - best) * coldness;
    float weight = card_exp(exponent);
    return exponent > -87.0f ? weight : 0.0f;
}

/* sampler_penalties.c: change the candidates' logits by what came before. */
void sampler_penalize(struct sampler *sampler, const struct sampling *sampling, const struct sampler_history *history,
                      struct candidate *list, uint32_t n);
void sampler_dry(struct sampler *sampler, const struct sampling *sampling, const struct sampler_history *history,
                 struct candidate *list, uint32_t n);

#endif
