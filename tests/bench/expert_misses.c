/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Experts that must be moved, by trace, share resident and policy: one JSON object a line.
 *
 *   expert_misses [--tokens N] [--seed N] [--batch N] [--no-profile] [RECIPE or FILE ...]
 *
 * Without names, all recipes of host/experts/routing_recipes.c. The profile is of as many tokens of the same traffic
 * before the trace (of a file: of its first half, and the second is replayed). Slots start empty and the first quarter of
 * the replayed tokens only fills them. Then one line for each kind of learned table.
 */
#include "host/base/memory.h"
#include "host/experts/following.h"
#include "host/experts/guess_judge.h"
#include "host/experts/policy_replay.h"
#include "host/experts/routing_generate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct settings {
    uint32_t tokens, batch;
    uint64_t seed;
    bool no_profile;
};

struct workload {
    struct routing_shape shape;
    struct expert_profile profile;
    struct policy_visits visits;
    struct policy_future future;
    uint32_t n_steps;
};

static void workload_close(struct workload *work)
{
    expert_profile_close(&work->profile);
    policy_visits_close(&work->visits);
    policy_future_close(&work->future);
}

static int begin(struct workload *work, struct error *err)
{
    work->visits = (struct policy_visits){
        .n_layers = work->shape.n_layers, .n_experts = work->shape.n_experts, .n_used = work->shape.n_used};
    return expert_profile_open(&work->shape, &work->profile, err);
}

static void count(struct workload *work, const struct routing_step *step)
{
    for (uint32_t l = 0; l < work->shape.n_layers; l++)
        expert_profile_count(&work->profile, l, step->choice + (size_t)l * step->n_rows * work->shape.n_used,
                             step->n_rows);
}

static int make(const struct routing_recipe *made, const struct settings *settings, struct workload *work,
                struct error *err)
{
    struct routing_recipe recipe = *made;
    recipe.shape.depth = recipe.shape.flags = 0;
    work->shape = recipe.shape;
    struct routing_generator *generator;
    struct routing_step step;
    int status = begin(work, err);
    if (status < 0) return status;
    status = routing_generator_open(&recipe, settings->seed, settings->batch, &generator, err);
    if (status < 0) return status;
    work->n_steps = settings->tokens / settings->batch;
    for (uint32_t i = 0; i < work->n_steps; i++) {
        routing_generator_next(generator, &step);
        count(work, &step);
    }
    for (uint32_t i = 0; i < work->n_steps && status == 0; i++) {
        routing_generator_next(generator, &step);
        status = policy_visits_add(&work->visits, &step, err);
    }
    routing_generator_close(generator);
    return status;
}

static int read_file(const char *path, struct workload *work, struct error *err)
{
    struct routing_trace *trace;
    struct routing_step step;
    uint32_t n = 0, i = 0;
    int status = routing_trace_open(path, &trace, err);
    if (status < 0) return status;
    work->shape = *routing_trace_shape(trace);
    status = begin(work, err);
    while (status == 0 && (status = routing_trace_next(trace, &step, err)) == 1) n++, status = 0;
    if (status == 0) routing_trace_rewind(trace);
    while (status == 0 && i < n && (status = routing_trace_next(trace, &step, err)) == 1) {
        status = 0;
        if (i++ < n / 2)
            count(work, &step);
        else
            status = policy_visits_add(&work->visits, &step, err);
    }
    work->n_steps = n - n / 2;
    routing_trace_close(trace);
    return status;
}

static int replay(const struct workload *work, const struct settings *settings, uint32_t percent, const char *name,
                  struct policy_counts *counts, struct error *err)
{
    uint32_t n_ids = work->shape.n_layers * work->shape.n_experts;
    struct policy_shape shape = {work->shape.n_layers, work->shape.n_experts, n_ids * percent / 100};
    struct policy_inputs inputs = {settings->no_profile && strcmp(name, "profile") != 0 ? NULL : &work->profile,
                                   &work->future};
    struct expert_policy *policy;
    int status = expert_policy_open(name, &shape, &inputs, &policy, err);
    if (status < 0) return status;
    policy_replay(policy, &work->visits, work->n_steps / 4 * work->shape.n_layers, counts);
    expert_policy_close(policy);
    return 0;
}

static int print_policies(const struct workload *work, const struct settings *settings, uint32_t percent,
                          struct error *err)
{
    struct policy_counts optimum, lru, counts;
    int status = replay(work, settings, percent, "belady", &optimum, err);
    if (status == 0) status = replay(work, settings, percent, "lru", &lru, err);
    for (unsigned i = 0; expert_policy_name_at(i) && status == 0; i++) {
        const char *name = expert_policy_name_at(i);
        status = replay(work, settings, percent, name, &counts, err);
        if (status < 0) break;
        printf("{\"name\":\"expert_misses\",\"trace\":\"%s\",\"seed\":%" PRIu64 ",\"batch\":%u,\"steps\":%u,"
               "\"resident_percent\":%u,\"policy\":\"%s\",\"profile\":%s,\"uses\":%" PRIu64 ",\"misses\":%" PRIu64
               ",\"hit_rate\":%.4f,\"misses_of_lru\":%.4f,\"misses_of_belady\":%.4f}\n",
               work->shape.model, settings->seed, settings->batch, work->n_steps, percent, name,
               settings->no_profile ? "false" : "true", counts.uses, counts.misses,
               1 - (double)counts.misses / (double)counts.uses, (double)counts.misses / (double)lru.misses,
               (double)counts.misses / (double)optimum.misses);
        fflush(stdout);
    }
    return status;
}

/* Learns and guesses over the visits of a batch of one, as if nothing were resident: every guess is judged. */
static int print_table(const struct workload *work, const struct settings *settings, enum following_step kind,
                       struct error *err)
{
    uint32_t n_layers = work->shape.n_layers, back = kind == FOLLOWING_NEXT_LAYER ? 1 : n_layers;
    struct following *table;
    struct guess_judge *judge;
    int status = following_open(n_layers, work->shape.n_experts, kind, &table, err);
    if (status < 0) return status;
    status = guess_judge_open(n_layers, 1, 0.5, &judge, err);
    if (status < 0) {
        following_close(table);
        return status;
    }
    const struct policy_visits *visits = &work->visits;
    for (uint32_t v = back; v < visits->n; v++) {
        if (kind == FOLLOWING_NEXT_LAYER && v % n_layers == 0) continue;
        uint16_t guesses[ROUTING_MAX_USED];
        float chances[ROUTING_MAX_USED];
        const uint16_t *from = visits->experts + visits->first[v - back], *to = visits->experts + visits->first[v];
        uint32_t n = (uint32_t)(visits->first[v - back + 1] - visits->first[v - back]), row = (v - back) % n_layers;
        uint32_t m = (uint32_t)(visits->first[v + 1] - visits->first[v]), right = 0;
        uint32_t n_guesses = following_guess(table, row, from, n, 0.25f, work->shape.n_used, guesses, chances);
        for (uint32_t g = 0; g < n_guesses; g++)
            for (uint32_t i = 0; i < m; i++) right += guesses[g] == to[i];
        guess_judge_note(judge, v % n_layers, right, n_guesses - right);
        following_learn(table, row, from, n, to, m);
    }
    struct guess_counts counts = guess_judge_counts(judge, n_layers);
    uint32_t n_on = 0;
    for (uint32_t l = 0; l < n_layers; l++) n_on += guess_judge_allows(judge, l);
    printf("{\"name\":\"following\",\"trace\":\"%s\",\"seed\":%" PRIu64 ",\"table\":\"%s\",\"guesses\":%" PRIu64
           ",\"accuracy\":%.4f,\"sent\":%" PRIu64 ",\"wasted\":%" PRIu64 ",\"layers_on\":%u,\"layers\":%u}\n",
           work->shape.model, settings->seed, kind == FOLLOWING_NEXT_LAYER ? "next layer" : "next token",
           counts.right + counts.wrong, (double)counts.right / (double)(counts.right + counts.wrong + !counts.right),
           counts.sent, counts.wasted, n_on, n_layers);
    guess_judge_close(judge);
    following_close(table);
    return 0;
}

static int run(const char *name, const struct settings *settings, struct error *err)
{
    struct workload work = {0};
    const struct routing_recipe *recipe = routing_recipe_find(name);
    int status = recipe ? make(recipe, settings, &work, err) : read_file(name, &work, err);
    if (status == 0) status = policy_visits_future(&work.visits, &work.future, err);
    for (uint32_t percent = 25; percent <= 75 && status == 0; percent += 25)
        status = print_policies(&work, settings, percent, err);
    if (status == 0 && settings->batch == 1) status = print_table(&work, settings, FOLLOWING_NEXT_LAYER, err);
    if (status == 0 && settings->batch == 1) status = print_table(&work, settings, FOLLOWING_NEXT_TOKEN, err);
    workload_close(&work);
    return status;
}

int main(int argc, char **argv)
{
    struct settings settings = {.tokens = 4000, .batch = 1, .seed = 7};
    struct error err = {0};
    int i = 1, status = 0;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--no-profile") == 0) {
            settings.no_profile = true;
            continue;
        }
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;
        if (strcmp(argv[i], "--tokens") == 0 && value >= 8 && value < 1u << 24)
            settings.tokens = (uint32_t)value;
        else if (strcmp(argv[i], "--batch") == 0 && value >= 1 && value <= 1024)
            settings.batch = (uint32_t)value;
        else if (strcmp(argv[i], "--seed") == 0)
            settings.seed = value;
        else
            return fprintf(stderr,
                           "expert_misses [--tokens N] [--seed N] [--batch N] [--no-profile] [RECIPE or FILE ...]\n"),
                   2;
        i++;
    }
    if (settings.tokens < 8 * settings.batch) settings.tokens = 8 * settings.batch;
    for (unsigned r = 0; i == argc && routing_recipe_at(r) && status == 0; r++)
        status = run(routing_recipe_at(r)->shape.model, &settings, &err);
    for (; i < argc && status == 0; i++) status = run(argv[i], &settings, &err);
    if (status < 0) fprintf(stderr, "expert_misses: %s\n", err.text);
    return status < 0;
}
