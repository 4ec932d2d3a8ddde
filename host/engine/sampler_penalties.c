/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Penalties for what was said already. DRY ("don't repeat yourself", as llama.cpp's tools/main/README.md documents it):
 * a token that would go on with a repeat of at least dry_allowed_length tokens loses multiplier * base^(length - allowed).
 */
#include "host/engine/sampler_internal.h"

#define SEEN 0x80000000u /* in counts: the token came, be it in the prompt; the rest counts it in the answer */
#define MOST_PENALTY 1e30f

static void count_tokens(struct sampler *sampler, const struct sampler_history *history, uint32_t first)
{
    for (uint32_t i = first; i < history->n_tokens; i++) {
        uint32_t *count = &sampler->counts[history->tokens[i]];
        *count |= SEEN;
        if (i >= history->n_prompt) ++*count;
    }
}

void sampler_penalize(struct sampler *sampler, const struct sampling *sampling, const struct sampler_history *history,
                      struct candidate *list, uint32_t n)
{
    const float repetition = sampling->repetition_penalty > 0 ? sampling->repetition_penalty : 1;
    const uint32_t last_n = sampling->penalty_last_n;
    const uint32_t first = last_n > 0 && last_n < history->n_tokens ? history->n_tokens - last_n : 0;
    count_tokens(sampler, history, first);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t count = sampler->counts[list[i].index];
        if (!count) continue;
        float logit = list[i].logit;
        logit = logit > 0 ? logit / repetition : logit * repetition;
        count &= ~SEEN;
        if (count > 0) logit -= (float)count * sampling->frequency_penalty + sampling->presence_penalty;
        list[i].logit = logit;
    }
    for (uint32_t i = first; i < history->n_tokens; i++) sampler->counts[history->tokens[i]] = 0;
}

static bool is_breaker(const struct sampler_history *history, uint32_t token)
{
    return history->breakers && (history->breakers[token / 32] >> token % 32 & 1);
}

/*
 * repeats[i]: how many tokens before and with the one i places from the end are those that end the text (the
 * Z-algorithm, Gusfield 1997, section 1.4, read backwards), cut at breakers.
 */
static void find_repeats(uint32_t *repeats, const uint32_t *end, uint32_t n, uint32_t most)
{
    uint32_t left = 0, right = 0; /* the match that reaches furthest back */
    repeats[0] = 0;
    for (uint32_t i = 1; i < n; i++) {
        uint32_t length = 0;
        if (i < right) length = repeats[i - left] < right - i ? repeats[i - left] : right - i;
        while (i + length < n && *(end - 1 - length) == *(end - 1 - i - length)) length++;
        repeats[i] = length;
        if (i + length > right) {
            left = i;
            right = i + length;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        if (repeats[i] > most) repeats[i] = most;
}

void sampler_dry(struct sampler *sampler, const struct sampling *sampling, const struct sampler_history *history,
                 struct candidate *list, uint32_t n)
{
    uint32_t last_n =
        sampling->dry_last_n > 0 && sampling->dry_last_n < SAMPLER_DRY_MOST ? sampling->dry_last_n : SAMPLER_DRY_MOST;
    if (last_n > history->n_tokens) last_n = history->n_tokens;
    const uint32_t *end = history->tokens + history->n_tokens;
    uint32_t most = 0;
    while (most < last_n && !is_breaker(history, *(end - 1 - most))) most++;
    if (most == 0 || most < sampling->dry_allowed_length) return;
    find_repeats(sampler->repeats, end, last_n, most);
    for (uint32_t i = 1; i < last_n; i++) {
        uint32_t *longest = &sampler->counts[*(end - i)]; /* the token that came after the repeat */
        if (sampler->repeats[i] > *longest) *longest = sampler->repeats[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t length = sampler->counts[list[i].index];
        if (length == 0 || length < sampling->dry_allowed_length) continue;
        float penalty = sampling->dry_multiplier;
        for (uint32_t j = sampling->dry_allowed_length; j < length && penalty < MOST_PENALTY; j++)
            penalty *= sampling->dry_base;
        list[i].logit -= penalty;
    }
    for (uint32_t i = 1; i < last_n; i++) sampler->counts[*(end - i)] = 0;
}
