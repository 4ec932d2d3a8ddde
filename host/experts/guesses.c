/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/guesses.h"

#include "host/base/memory.h"
#include "host/experts/following.h"

#include <string.h>

#define MOST_TOKENS 8u       /* of a step that is guessed for: PLANNER_GUESS_TOKENS sends no more */
#define BREAK_EVEN 0.5       /* a transfer in vain costs what a right one saves, where the link is the limit */
#define EXPECTED 0.6f        /* share of right guesses, before any was judged */
#define EXPECTED_WEIGHT 8.0f /* guesses that this counts for */
#define FADE (1 - 1.0f / 256)

struct rank {
    float right, all; /* faded counts */
};

/* What a source has guessed for the layer that comes next. */
struct guessed {
    uint32_t layer, n; /* n: experts without a slot that had at least even chances */
    uint16_t *experts; /* [n_experts] */
};

/* What a layer's router said, run ahead at the layer `distance` before it. */
struct said {
    uint32_t layer, n_tokens; /* 0: nothing, or judged */
    uint16_t *experts;        /* [MOST_TOKENS][n_used] */
};

struct guesses {
    struct guesses_shape shape;
    struct following *table;                    /* NULL: none */
    struct guess_judge *judge[EXPERTS_GUESSES]; /* NULL: not used */
    struct guessed guessed[EXPERTS_GUESSES];
    struct rank *ranks;      /* [depth][n_layers][n_used] */
    struct said *said;       /* [depth][depth]: by distance - 1, of the layers that are still to come */
    uint16_t *ahead;         /* their experts */
    uint16_t *last, *before; /* [MOST_TOKENS][n_used]: what was chosen last, and before that */
    uint32_t n_last;         /* tokens of these; 0: none */
    uint32_t last_layer;
    uint64_t number, *chosen; /* [n_experts]: the last number under which it was chosen */
    float *doubt;             /* [n_experts]: that it will not be chosen; 1 where nobody guesses it */
    float *chances;           /* [n_experts]: scratch */
};

static int open_parts(struct guesses *g, struct error *err)
{
    const struct guesses_shape *shape = &g->shape;
    const size_t n = shape->n_experts, used = shape->n_used;
    int result = 0;
    const size_t n_said = (size_t)shape->depth * shape->depth;
    g->ranks = memory_array(shape->depth * shape->n_layers * used, sizeof *g->ranks);
    g->said = memory_array(n_said, sizeof *g->said);
    g->ahead = memory_array(n_said * MOST_TOKENS * used, sizeof *g->ahead);
    g->last = memory_array(MOST_TOKENS * used, sizeof *g->last);
    g->before = memory_array(MOST_TOKENS * used, sizeof *g->before);
    g->chosen = memory_array(n, sizeof *g->chosen);
    g->doubt = memory_array(n, sizeof *g->doubt);
    g->chances = memory_array(n, sizeof *g->chances);
    bool ok = g->ranks && g->said && g->ahead && g->last && g->before && g->chosen && g->doubt && g->chances;
    for (size_t i = 0; i < n_said && ok; i++) g->said[i].experts = g->ahead + i * MOST_TOKENS * used;
    for (unsigned s = 0; s < EXPERTS_GUESSES && ok; s++) {
        g->guessed[s].experts = memory_array(n, sizeof *g->guessed[s].experts);
        ok = g->guessed[s].experts != NULL;
    }
    if (!ok) return error_set(err, ERROR_NO_MEMORY, "no host memory for guesses at experts");
    for (unsigned s = 0; s < EXPERTS_GUESSES && result == 0; s++)
        if (shape->uses[s])
            result = guess_judge_open(shape->n_layers, shape->expert_bytes, BREAK_EVEN, &g->judge[s], err);
    if (result == 0 && shape->uses[EXPERTS_GUESS_TABLE])
        result = following_open(shape->n_layers, shape->n_experts, FOLLOWING_NEXT_LAYER, &g->table, err);
    return result;
}

int guesses_open(const struct guesses_shape *shape, struct guesses **out, struct error *err)
{
    *out = NULL;
    struct guesses *g = memory_array(1, sizeof *g);
    if (g == NULL) return error_set(err, ERROR_NO_MEMORY, "no host memory for guesses at experts");
    g->shape = *shape;
    if (g->shape.depth < 1) g->shape.depth = 1;
    if (g->shape.depth > GUESSES_MOST_DEPTH) g->shape.depth = GUESSES_MOST_DEPTH;
    int result = open_parts(g, err);
    if (result < 0)
        guesses_close(g);
    else
        *out = g;
    return result;
}

void guesses_close(struct guesses *g)
{
    if (g == NULL) return;
    following_close(g->table);
    for (unsigned s = 0; s < EXPERTS_GUESSES; s++) {
        guess_judge_close(g->judge[s]);
        free(g->guessed[s].experts);
    }
    free(g->ranks);
    free(g->said);
    free(g->ahead);
    free(g->last);
    free(g->before);
    free(g->chosen);
    free(g->doubt);
    free(g->chances);
    free(g);
}

/* ---- judging ---- */

static bool was_chosen(const struct guesses *g, uint32_t expert) { return g->chosen[expert] == g->number; }

static float confidence(const struct rank *rank)
{
    return (rank->right + EXPECTED * EXPECTED_WEIGHT) / (rank->all + EXPECTED_WEIGHT);
}

static struct rank *ranks_of(const struct guesses *g, uint32_t layer, uint32_t distance)
{
    return g->ranks + ((size_t)(distance - 1) * g->shape.n_layers + layer) * g->shape.n_used;
}

/* As many layers are still to come as the distance says; for another one the place of any of them that is judged, or the first. */
static struct said *said_of(const struct guesses *g, uint32_t layer, uint32_t distance)
{
    struct said *said = &g->said[(distance - 1) * g->shape.depth], *place = said;
    for (uint32_t i = distance; i-- > 0;) {
        if (said[i].n_tokens == 0) place = &said[i];
        if (said[i].n_tokens > 0 && said[i].layer == layer) return &said[i];
    }
    return place;
}

static void judge_ranks(struct guesses *g, uint32_t layer)
{
    const uint32_t used = g->shape.n_used;
    for (uint32_t distance = 1; distance <= g->shape.depth; distance++) {
        struct said *said = said_of(g, layer, distance);
        if (said->layer != layer) continue;
        for (uint32_t i = 0; i < said->n_tokens * used; i++) {
            struct rank *rank = &ranks_of(g, layer, distance)[i % used];
            rank->right = rank->right * FADE + (was_chosen(g, said->experts[i]) ? 1 : 0);
            rank->all = rank->all * FADE + 1;
        }
        said->n_tokens = 0;
    }
}

static void judge_source(struct guesses *g, enum experts_guess source, uint32_t layer)
{
    struct guessed *guessed = &g->guessed[source];
    uint32_t right = 0;
    for (uint32_t i = 0; i < guessed->n; i++) right += was_chosen(g, guessed->experts[i]);
    if (guessed->layer == layer && guessed->n > 0) guess_judge_note(g->judge[source], layer, right, guessed->n - right);
    guessed->n = 0;
}

/* Keeps what was chosen; the table learns that it follows what was chosen before. */
static void keep_last(struct guesses *g, uint32_t layer, const struct card_choice *choices, uint32_t n_tokens)
{
    const uint32_t used = g->shape.n_used;
    const bool follows = g->table != NULL && g->n_last == n_tokens && g->last_layer + 1 == layer;
    uint16_t *last = g->before;
    for (uint32_t i = 0; i < n_tokens * used; i++) last[i] = (uint16_t)choices[i].expert;
    for (uint32_t at = 0; at < n_tokens * used && follows; at += used)
        following_learn(g->table, layer - 1, g->last + at, used, last + at, used);
    g->before = g->last;
    g->last = last;
    g->n_last = n_tokens;
    g->last_layer = layer;
}

void guesses_learn(struct guesses *g, uint32_t layer, const struct card_choice *choices, uint32_t n_tokens)
{
    const uint32_t n = n_tokens * g->shape.n_used;
    g->number++;
    if (n_tokens > MOST_TOKENS) { /* what was guessed was for another step */
        g->n_last = 0;
        for (uint32_t i = 0; i < g->shape.depth * g->shape.depth; i++) g->said[i].n_tokens = 0;
        for (unsigned s = 0; s < EXPERTS_GUESSES; s++) g->guessed[s].n = 0;
        return;
    }
    for (uint32_t i = 0; i < n; i++) g->chosen[choices[i].expert] = g->number;
    judge_ranks(g, layer);
    for (unsigned s = 0; s < EXPERTS_GUESSES; s++)
        if (g->judge[s] != NULL) judge_source(g, (enum experts_guess)s, layer);
    keep_last(g, layer, choices, n_tokens);
}

/* ---- guessing ---- */

static bool guessed_already(const struct guesses *g, enum experts_guess source, uint32_t layer, uint32_t expert)
{
    for (unsigned s = 0; s < (unsigned)source; s++)
        for (uint32_t i = 0; g->guessed[s].layer == layer && i < g->guessed[s].n; i++)
            if (g->guessed[s].experts[i] == expert) return true;
    return false;
}

/* To out those with the least doubt, which is forgotten: experts that have no slot and that no source before it has named. */
static uint32_t least_doubted(struct guesses *g, enum experts_guess source, uint32_t layer,
                              const struct guesses_slots *slots, uint16_t *out)
{
    for (uint32_t n = 0;;) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < g->shape.n_experts; e++)
            if (g->doubt[e] < g->doubt[best]) best = e;
        if (g->doubt[best] > (float)(1 - BREAK_EVEN)) return n;
        g->doubt[best] = 1;
        if (!slots->has_slot(slots->context, layer, best) && !guessed_already(g, source, layer, best))
            out[n++] = (uint16_t)best;
    }
}

/* The same, kept for the judge; returns those that are to be brought. */
static uint32_t choose(struct guesses *g, enum experts_guess source, uint32_t layer, const struct guesses_slots *slots,
                       uint16_t *out)
{
    struct guessed *guessed = &g->guessed[source];
    guessed->layer = layer;
    guessed->n = least_doubted(g, source, layer, slots, guessed->experts);
    if (!guess_judge_allows(g->judge[source], layer)) return 0;
    memcpy(out, guessed->experts, guessed->n * sizeof *out);
    return guessed->n;
}

static void doubt_all(struct guesses *g)
{
    for (uint32_t e = 0; e < g->shape.n_experts; e++) g->doubt[e] = 1;
}

uint32_t guesses_of_router(struct guesses *g, uint32_t layer, uint32_t distance, const struct card_choice *choices,
                           uint32_t n_tokens, const struct guesses_slots *slots, uint16_t *out)
{
    const uint32_t used = g->shape.n_used, n = n_tokens * used;
    if (g->judge[EXPERTS_GUESS_ROUTER] == NULL || n_tokens > MOST_TOKENS || distance > g->shape.depth) return 0;
    struct said *said = said_of(g, layer, distance);
    doubt_all(g);
    for (uint32_t i = 0; i < n; i++) {
        said->experts[i] = (uint16_t)choices[i].expert;
        g->doubt[choices[i].expert] *= 1 - confidence(&ranks_of(g, layer, distance)[i % used]);
    }
    said->n_tokens = n_tokens;
    said->layer = layer;
    return distance == 1 ? choose(g, EXPERTS_GUESS_ROUTER, layer, slots, out)
                         : least_doubted(g, EXPERTS_GUESS_ROUTER, layer, slots, out);
}

uint32_t guesses_of_table(struct guesses *g, uint32_t layer, const struct guesses_slots *slots, uint16_t *out)
{
    const uint32_t used = g->shape.n_used;
    struct guessed *guessed = &g->guessed[EXPERTS_GUESS_TABLE];
    if (g->table == NULL || g->last_layer + 1 != layer) return 0;
    doubt_all(g);
    for (uint32_t t = 0; t < g->n_last; t++) {
        const uint32_t n = following_guess(g->table, g->last_layer, g->last + (size_t)t * used, used, 0.1f,
                                           g->shape.n_experts, guessed->experts, g->chances);
        for (uint32_t i = 0; i < n; i++) g->doubt[guessed->experts[i]] *= 1 - g->chances[i];
    }
    return choose(g, EXPERTS_GUESS_TABLE, layer, slots, out);
}

struct guess_counts guesses_count(const struct guesses *g, enum experts_guess source, uint32_t layer)
{
    return g->judge[source] != NULL ? guess_judge_counts(g->judge[source], layer) : (struct guess_counts){0};
}
