/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far the streaming runtime is from the best schedule of the same work, in virtual time, for decode of one sequence.
 *
 *   routing_oracle [--card PROFILE] [--policy NAME] [--percent N] [--steps N] [--warm N] [--seed N] [--guesses 0]
 *                  [RECIPE or FILE ...]
 *
 * The oracle is a page of arithmetic of its own: it takes from the runtime only which experts were missing in which
 * layer (the policy's doing), and from a run of the same programs over the same banks in which nothing is missing how long each
 * part of a layer takes on the card. An expert is known to be wanted when its layer's router has ended, the host has read the choice and
 * decided; copies then go back to back, one for each expert; the array computes experts that are there first and each of
 * the others when it has come; nothing waits for anything else. "oracle" does that layer by layer. "oracle_predicted" knows an
 * expert as early as the trace's prediction names it, and is never wrong about it: only right predictions are copied ahead, so
 * no runtime with these predictions can be faster. Each is printed with the runtime's speed over it.
 */
#include "bitstreams/profiles/profile.h"
#include "host/base/memory.h"
#include "host/cli/routing_replay.h"
#include "host/cli/routing_source.h"

#include <stdio.h>
#include <string.h>

#define MOST_LAYERS ROUTING_MAX_LAYERS
#define DISTANCES ROUTING_MAX_DEPTH

struct settings {
    const char *card, *policy;
    uint32_t percent, steps, warm;
    uint64_t seed;
    bool no_guesses;
};

/* ---- what the parts of a step take on the card, by its events ---- */

struct layer_times {
    uint64_t routed, published, computing,
        summed; /* ROUTER's and PUBLISH's end, first EXPERT_MATMUL, EXPERT_SUM's end */
};

struct watch {
    struct layer_times layers[MOST_LAYERS];
    uint32_t n; /* routers so far */
};

static void on_event(void *context, const struct timeline_event *event)
{
    struct watch *watch = context;
    if (event->kind != TIMELINE_OPERATION) return;
    if (event->opcode == CARD_OP_ROUTER && watch->n < MOST_LAYERS)
        watch->layers[watch->n++] = (struct layer_times){.routed = event->end};
    if (watch->n == 0) return;
    struct layer_times *layer = &watch->layers[watch->n - 1];
    if (event->opcode == CARD_OP_PUBLISH) layer->published = event->end;
    if (event->opcode == CARD_OP_EXPERT_MATMUL && layer->computing == 0) layer->computing = event->begin;
    if (event->opcode == CARD_OP_EXPERT_SUM) layer->summed = event->end;
}

/* Parts of a step whose experts are all there. */
struct parts {
    uint32_t n_layers;
    uint64_t before[MOST_LAYERS];  /* the end of the layer before to the router's end */
    uint64_t publish[MOST_LAYERS]; /* on to the end of PUBLISH */
    uint64_t shared[MOST_LAYERS];  /* the router's end to the experts' begin */
    uint64_t experts[MOST_LAYERS]; /* all of them */
    uint64_t behind;               /* the last layer */
    uint64_t all;                  /* the step */
};

static void part(const struct watch *watch, uint64_t begin, uint64_t end, struct parts *parts)
{
    const uint64_t start = begin;
    parts->n_layers = watch->n;
    for (uint32_t i = 0; i < watch->n; i++) {
        const struct layer_times *layer = &watch->layers[i];
        parts->before[i] = layer->routed - begin;
        parts->publish[i] = layer->published - layer->routed;
        parts->shared[i] = layer->computing - layer->routed;
        parts->experts[i] = layer->summed - layer->computing;
        begin = layer->summed;
    }
    parts->behind = end - begin;
    parts->all = end - start;
}

/* ---- the oracle ---- */

struct link_facts {
    uint64_t first, notice, copy; /* ps: an idle link's first copy waits; a choice's way to a decision; one expert */
};

/* copy = max(set-up, transfer) + share * min of both: what is measured of queues of copies (bitstreams/profiles). */
static uint64_t copy_ps(const struct host_profile *host, uint64_t bytes, uint64_t bytes_per_s)
{
    const double transfer = (double)bytes / (double)bytes_per_s * 1e12, set_up = (double)host->transfer_ps;
    const double more = transfer > set_up ? transfer : set_up, less = transfer > set_up ? set_up : transfer;
    return (uint64_t)(more + (double)host->transfer_serial / 100 * less);
}

static struct link_facts facts_of(const struct host_profile *host, uint64_t expert_bytes)
{
    return (struct link_facts){
        .first = host->transfer_first_ps,
        .notice = host->transfer_first_ps + copy_ps(host, sizeof(uint32_t), host->card_to_host_bytes_per_s) +
                  host->decision_ps,
        .copy = copy_ps(host, expert_bytes, host->host_to_card_bytes_per_s),
    };
}

struct oracle {
    uint64_t link_free, taken; /* in all */
};

/* One copy that may start at `known`: its end. */
static uint64_t bring(struct oracle *oracle, const struct link_facts *facts, uint64_t known)
{
    const uint64_t begin = known > oracle->link_free ? known + facts->first : oracle->link_free;
    return oracle->link_free = begin + facts->copy;
}

/*
 * misses[layer]: experts that were missing; early[layer][d - 1]: those of them that a prediction named d layers before. The time of
 * one step. A layer's choice goes before what is predicted for later ones, the nearer of these before the farther.
 */
static void run_step(struct oracle *oracle, const struct parts *parts, const struct link_facts *facts, uint32_t used,
                     const uint32_t *misses, uint32_t (*early)[DISTANCES])
{
    static uint64_t came[MOST_LAYERS][ROUTING_MAX_USED];
    static uint32_t n_came[MOST_LAYERS];
    uint64_t now = 0;
    memset(n_came, 0, sizeof n_came);
    oracle->link_free = 0;
    for (uint32_t i = 0; i < parts->n_layers; i++) {
        const uint64_t routed = now + parts->before[i], known = routed + parts->publish[i] + facts->notice;
        while (n_came[i] < misses[i]) came[i][n_came[i]++] = bring(oracle, facts, known);
        for (uint32_t d = 1; early && d <= DISTANCES && i + d < parts->n_layers; d++)
            for (uint32_t k = 0; k < early[i + d][d - 1]; k++)
                came[i + d][n_came[i + d]++] = bring(oracle, facts, known);
        const uint64_t each = parts->experts[i] / used, last = parts->experts[i] - each * used;
        now = routed + parts->shared[i] + (used - misses[i]) * each;
        for (uint32_t k = 0; k < misses[i]; k++) now = (now > came[i][k] ? now : came[i][k]) + each;
        now += last;
    }
    oracle->taken += now + parts->behind;
}

/* ---- what was missing, and what of it a prediction named ---- */

static bool names(const uint16_t *experts, uint32_t n, uint16_t expert)
{
    for (uint32_t i = 0; i < n; i++)
        if (experts[i] == expert) return true;
    return false;
}

/*
 * Which of a layer's choices were missing is not known here, only how many: each is as likely. So a prediction named
 * as large a share of them as of all its choices, rounded down.
 */
static void find_early(const struct routing_shape *shape, const struct routing_step *step, const uint32_t *misses,
                       uint32_t (*early)[DISTANCES])
{
    memset(early, 0, MOST_LAYERS * sizeof *early);
    for (uint32_t i = 0; step->predicted && i < shape->n_layers; i++) {
        const uint16_t *chosen = step->choice + (size_t)i * shape->n_used;
        uint32_t left = misses[i];
        for (uint32_t d = shape->depth; d >= 1; d--) {
            const uint16_t *guess = step->predicted + ((size_t)i * shape->depth + d - 1) * shape->n_used;
            uint32_t right = 0;
            for (uint32_t k = 0; k < shape->n_used; k++) right += names(guess, shape->n_used, chosen[k]);
            const uint32_t n = d <= i ? misses[i] * right / shape->n_used : 0;
            early[i][d - 1] = n < left ? n : left;
            left -= early[i][d - 1];
        }
    }
}

/* ---- runs ---- */

struct run {
    const struct settings *settings;
    struct architecture *architecture;
    struct routing_source *source;
    struct host_profile host;
    struct parts parts;
};

static int open_replay(const struct run *run, uint32_t slots, uint32_t dealt_as, bool guesses,
                       struct routing_replay **replay, struct error *err)
{
    const struct replay_options options = {.architecture = run->architecture,
                                           .shape = routing_source_shape(run->source),
                                           .card = run->settings->card,
                                           .policy = run->settings->policy,
                                           .guesses = guesses,
                                           .n_slots = slots,
                                           .dealt_as = dealt_as,
                                           .max_rows = 1,
                                           .position = 1023};
    int status = routing_replay_open(&options, replay, err);
    return status < 0 ? status : routing_source_rewind(run->source, err);
}

static int next_step(const struct run *run, struct routing_replay *replay, struct routing_step *step, struct error *err)
{
    int status = routing_source_next(run->source, step, err);
    if (status == 0) return error_set(err, ERROR_BAD_ARGUMENT, "the trace is too short");
    return status < 0 ? status : routing_replay_step(replay, step, err);
}

/* The first step again when its experts are all there, dealt over banks as `slots` slots are. */
static int find_parts(struct run *run, uint32_t slots, struct error *err)
{
    const struct routing_shape *shape = routing_source_shape(run->source);
    struct watch *watch = memory_array(1, sizeof *watch);
    struct routing_replay *replay = NULL;
    struct routing_step step;
    uint64_t begin = 0, end = 0;
    int status = watch ? open_replay(run, shape->n_layers * shape->n_experts, slots, false, &replay, err)
                       : error_set(err, ERROR_NO_MEMORY, "no memory");
    if (status == 0) status = next_step(run, replay, &step, err);
    if (status == 0) status = card_trace(routing_replay_card(replay), &(struct timeline_sink){on_event, watch}, err);
    if (status == 0) status = card_now(routing_replay_card(replay), &begin, err);
    if (status == 0) status = routing_replay_step(replay, &step, err);
    if (status == 0) status = card_now(routing_replay_card(replay), &end, err);
    if (status == 0) part(watch, begin, end, &run->parts);
    routing_replay_close(replay);
    free(watch);
    return status;
}

static void print_line(const struct run *run, uint32_t percent, const struct replay_sums *sums, uint64_t link_ps,
                       uint64_t plain, uint64_t predicted)
{
    const double tokens = (double)sums->tokens * 1e12, took = (double)sums->ps;
    printf("{\"name\":\"routing_oracle\",\"trace\":\"%s\",\"card\":\"%s\",\"policy\":\"%s\",\"resident_percent\":%u,"
           "\"tokens_per_s_virtual\":%.4f,\"oracle\":%.4f,\"of_oracle\":%.4f,\"oracle_predicted\":%.4f,"
           "\"of_oracle_predicted\":%.4f,\"link_fraction\":%.4f,\"oracle_link_fraction\":%.4f,"
           "\"oracle_predicted_link_fraction\":%.4f,\"all_resident\":%.4f}\n",
           routing_source_shape(run->source)->model, run->settings->card,
           run->settings->policy ? run->settings->policy : "default", percent, tokens / took, tokens / (double)plain,
           (double)plain / took, tokens / (double)predicted, (double)predicted / took, (double)link_ps / took,
           (double)link_ps / (double)plain, (double)link_ps / (double)predicted, 1e12 / (double)run->parts.all);
    fflush(stdout);
}

static int compare(struct run *run, uint32_t percent, struct error *err)
{
    static uint32_t early[MOST_LAYERS][DISTANCES];
    const struct routing_shape *shape = routing_source_shape(run->source);
    struct oracle plain = {0}, predicted = {0};
    struct replay_sums before, sums;
    struct routing_replay *replay = NULL;
    struct routing_step step;
    const uint64_t slots = (uint64_t)shape->n_layers * shape->n_experts * percent / 100;
    int status = find_parts(run, (uint32_t)slots, err);
    if (status == 0) status = open_replay(run, (uint32_t)slots, 0, !run->settings->no_guesses, &replay, err);
    for (uint32_t i = 0; i < run->settings->warm && status == 0; i++) status = next_step(run, replay, &step, err);
    if (status == 0) routing_replay_sum(replay, &before);
    for (uint32_t i = 0; i < run->settings->steps && status == 0; i++) {
        const struct link_facts facts = facts_of(&run->host, routing_replay_expert_bytes(replay));
        status = next_step(run, replay, &step, err);
        if (status < 0) break;
        const uint32_t *misses = routing_replay_misses(replay);
        find_early(shape, &step, misses, early);
        run_step(&plain, &run->parts, &facts, shape->n_used, misses, NULL);
        run_step(&predicted, &run->parts, &facts, shape->n_used, misses, early);
    }
    if (status == 0) {
        routing_replay_sum(replay, &sums);
        const uint64_t misses =
            sums.traffic.misses - before.traffic.misses + sums.traffic.ahead_used - before.traffic.ahead_used;
        sums.ps -= before.ps;
        sums.tokens -= before.tokens;
        const struct link_facts facts = facts_of(&run->host, routing_replay_expert_bytes(replay));
        print_line(run, percent, &sums, misses * facts.copy, plain.taken, predicted.taken);
    }
    routing_replay_close(replay);
    return status;
}

static int run_one(const char *name, const struct settings *settings, struct error *err)
{
    struct run *run = memory_array(1, sizeof *run);
    struct card_profile card;
    if (!run) return error_set(err, ERROR_NO_MEMORY, "no memory");
    run->settings = settings;
    int status = card_profile_open(settings->card, &card, err);
    if (status == 0) status = host_profile_open(card.host, &run->host, err);
    if (status == 0) status = routing_source_open(name, settings->seed, 1, &run->source, err);
    if (status == 0) status = architecture_by_name(routing_source_shape(run->source)->model, &run->architecture, err);
    for (uint32_t percent = 25; percent <= 75 && status == 0; percent += 25)
        if (settings->percent == 0 || settings->percent == percent) status = compare(run, percent, err);
    architecture_close(run->architecture);
    routing_source_close(run->source);
    free(run);
    return status;
}

static bool read_setting(struct settings *settings, const char *name, const char *value)
{
    const unsigned long long number = strtoull(value, NULL, 10);
    if (strcmp(name, "--card") == 0)
        settings->card = value;
    else if (strcmp(name, "--policy") == 0)
        settings->policy = value;
    else if (strcmp(name, "--percent") == 0)
        settings->percent = (uint32_t)number;
    else if (strcmp(name, "--steps") == 0 && number >= 1)
        settings->steps = (uint32_t)number;
    else if (strcmp(name, "--warm") == 0)
        settings->warm = (uint32_t)number;
    else if (strcmp(name, "--seed") == 0)
        settings->seed = number;
    else if (strcmp(name, "--guesses") == 0)
        settings->no_guesses = number == 0;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3", "kimi-k2"};
    struct settings settings = {.card = "u55c", .steps = 64, .warm = 256, .seed = 7};
    struct error err = {0};
    int i = 1, status = 0;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2)
        if (!read_setting(&settings, argv[i], argv[i + 1])) break;
    if (i < argc && strncmp(argv[i], "--", 2) == 0)
        return fprintf(stderr, "routing_oracle [--card PROFILE] [--policy NAME] [--percent 25, 50 or 75] [--steps N] "
                               "[--warm N] [--seed N] [--guesses 0] [RECIPE or FILE ...]\n"),
               2;
    for (unsigned r = 0; i == argc && r < sizeof all / sizeof all[0] && status == 0; r++)
        status = run_one(all[r], &settings, &err);
    for (; i < argc && status == 0; i++) status = run_one(argv[i], &settings, &err);
    if (status < 0) fprintf(stderr, "routing_oracle: %s\n", err.text);
    return status < 0;
}
