/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/sampler_internal.h"

#include <math.h>

/* Puts a token in its place among the most likely so far; ties stay in order of the index. */
static void rank(struct sampler_logprobs *out, const float *logits, uint32_t token, uint32_t *n)
{
    uint32_t at = *n;
    if (at == out->n_top && !(logits[token] > logits[out->top[at - 1]])) return;
    if (at < out->n_top)
        ++*n;
    else
        at--;
    while (at > 0 && logits[token] > logits[out->top[at - 1]]) {
        out->top[at] = out->top[at - 1];
        at--;
    }
    out->top[at] = token;
}

void sampler_measure(const float *logits, uint32_t n_vocab, struct sampler_logprobs *out)
{
    float best = -INFINITY;
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_vocab; i++) best = logits[i] > best ? logits[i] : best;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (isnan(logits[i])) continue;
        if (isfinite(best)) sum += (double)weight_of(logits[i], best, 1);
        if (out->n_top > 0) rank(out, logits, i, &n);
    }
    out->n_top = n;
    out->best = best;
    out->log_sum = sum > 0 ? card_log((float)sum) : 0;
    for (uint32_t i = 0; i < n; i++) out->top_logprob[i] = sampler_logprob(out, logits[out->top[i]]);
}

/* JSON has no infinity: what cannot be is taken for very unlikely, as OpenAI has it. */
float sampler_logprob(const struct sampler_logprobs *measured, float logit)
{
    float logprob = (logit - measured->best) - measured->log_sum;
    return logprob > -9999.0f ? logprob : -9999.0f;
}

float sampler_given_logit(const struct sampler *sampler, const struct sampling *sampling, const float *logits,
                          uint32_t token)
{
    for (uint32_t i = 0; i < sampling->n_biases; i++)
        if (sampling->biases[i].token == token) return sampler->unbiased[i];
    return logits[token];
}
