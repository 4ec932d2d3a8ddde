/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From logits to a token. All arithmetic is card_math's, and randomness is a counter-based generator keyed by seed,
 * choice and position, so a seed gives the same text on every backend, in every batch and on every run.
 * Order: temperature scales, then top_k, then top_p, then min_p cut; the draw is over what is left. Ties go to the lower index.
 */
#ifndef SLUICE_ENGINE_SAMPLER_H
#define SLUICE_ENGINE_SAMPLER_H

#include "host/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct sampling {
    float temperature; /* 0: the most likely token */
    uint32_t top_k;    /* 0: no limit */
    float top_p;       /* 1: no limit; in (0, 1] */
    float min_p;       /* 0: no limit; in [0, 1] */
    uint64_t seed;
    uint32_t choice; /* which of a request's n answers */
};

struct sampler; /* scratch for one vocabulary size; owned by one thread */
int sampler_open(uint32_t n_vocab, struct sampler **out, struct error *err);
void sampler_close(struct sampler *sampler);

/* position: index of the new token in its sequence. NaN logits never win; if all are NaN the result is 0. Allocates nothing. */
uint32_t sampler_pick(struct sampler *sampler, const struct sampling *sampling, uint32_t position, const float *logits);

/* 32 random bits of (seed, choice, position, draw). The algorithm is named in sampler.c. */
uint32_t random_bits(uint64_t seed, uint32_t choice, uint32_t position, uint32_t draw);

#endif
