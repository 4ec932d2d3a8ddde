/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chance that expert e follows a set is the mean, over the set, of (pairs + PRIOR * share of e) / (uses + PRIOR):
 * what is seldom seen is taken to be followed by what is used most.
 */
#include "host/experts/following.h"

#include "host/base/memory.h"

#include <stdbool.h>
#include <string.h>

#define PRIOR 4.0f

struct following {
    uint32_t n_layers, n_experts;
    uint16_t *pairs; /* [layer][before][after] */
    uint16_t *uses;  /* [layer][before] */
    uint32_t *after; /* [layer][after], and their tokens in [layer][n_experts] */
    float *chance;   /* [expert], scratch */
};

int following_open(uint32_t n_layers, uint32_t n_experts, enum following_step step, struct following **out,
                   struct error *err)
{
    *out = NULL;
    uint32_t n_rows = step == FOLLOWING_NEXT_LAYER && n_layers > 1 ? n_layers - 1 : n_layers;
    size_t n;
    struct following *table = memory_array(1, sizeof *table);
    bool ok = table && n_experts > 0 && !__builtin_mul_overflow((size_t)n_rows * n_experts, (size_t)n_experts, &n);
    if (ok) {
        *table = (struct following){
            .n_layers = n_rows,
            .n_experts = n_experts,
            .pairs = memory_array(n, sizeof *table->pairs),
            .uses = memory_array((size_t)n_rows * n_experts, sizeof *table->uses),
            .after = memory_array((size_t)n_rows * (n_experts + 1), sizeof *table->after),
            .chance = memory_array(n_experts, sizeof *table->chance),
        };
        ok = table->pairs && table->uses && table->after && table->chance;
    }
    if (!ok) {
        following_close(table);
        return error_set(err, ERROR_NO_MEMORY, "no host memory for a table of %u layers of %u experts", n_layers,
                         n_experts);
    }
    *out = table;
    return 0;
}

void following_close(struct following *table)
{
    if (!table) return;
    free(table->pairs);
    free(table->uses);
    free(table->after);
    free(table->chance);
    free(table);
}

/* An expert's row before a count overflows: the past counts half from then on. */
static void halve(uint16_t *pairs, uint16_t *uses, uint32_t n)
{
    for (uint32_t e = 0; e < n; e++) pairs[e] /= 2;
    *uses /= 2;
}

static void halve_after(uint32_t *after, uint32_t n)
{
    for (uint32_t e = 0; e <= n; e++) after[e] /= 2;
}

void following_learn(struct following *table, uint32_t layer, const uint16_t *from, uint32_t n, const uint16_t *to,
                     uint32_t m)
{
    if (layer >= table->n_layers) return;
    uint32_t *after = table->after + (size_t)layer * (table->n_experts + 1);
    if (after[table->n_experts] >= UINT32_MAX / 2) halve_after(after, table->n_experts);
    after[table->n_experts]++;
    for (uint32_t j = 0; j < m; j++) after[to[j]]++;
    for (uint32_t i = 0; i < n; i++) {
        size_t row = (size_t)layer * table->n_experts + from[i];
        uint16_t *pairs = table->pairs + row * table->n_experts;
        if (table->uses[row] == UINT16_MAX) halve(pairs, &table->uses[row], table->n_experts);
        table->uses[row]++;
        for (uint32_t j = 0; j < m; j++) pairs[to[j]]++;
    }
}

static void estimate(struct following *table, uint32_t layer, const uint16_t *from, uint32_t n)
{
    const uint32_t *after = table->after + (size_t)layer * (table->n_experts + 1);
    float tokens = (float)after[table->n_experts], constant = 0;
    memset(table->chance, 0, table->n_experts * sizeof *table->chance);
    for (uint32_t i = 0; i < n; i++) {
        size_t row = (size_t)layer * table->n_experts + from[i];
        const uint16_t *pairs = table->pairs + row * table->n_experts;
        float weight = 1 / ((float)n * ((float)table->uses[row] + PRIOR));
        constant += weight * PRIOR;
        for (uint32_t e = 0; e < table->n_experts; e++) table->chance[e] += weight * (float)pairs[e];
    }
    for (uint32_t e = 0; e < table->n_experts; e++) table->chance[e] += constant * (float)after[e] / tokens;
}

uint32_t following_guess(struct following *table, uint32_t layer, const uint16_t *from, uint32_t n, float threshold,
                         uint32_t n_most, uint16_t *guesses, float *chances)
{
    if (layer >= table->n_layers || n == 0) return 0;
    if (table->after[(size_t)layer * (table->n_experts + 1) + table->n_experts] == 0) return 0;
    estimate(table, layer, from, n);
    uint32_t n_guesses = 0;
    while (n_guesses < n_most && n_guesses < table->n_experts) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < table->n_experts; e++)
            if (table->chance[e] > table->chance[best]) best = e;
        if (!(table->chance[best] >= threshold) || table->chance[best] <= 0) break;
        guesses[n_guesses] = (uint16_t)best;
        chances[n_guesses++] = table->chance[best];
        table->chance[best] = -1;
    }
    return n_guesses;
}
