/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/bench_routing.h"

#include "bitstreams/profiles/profile.h"
#include "host/base/memory.h"
#include "host/cli/link_idle.h"
#include "host/cli/routing_replay.h"
#include "host/cli/routing_source.h"
#include "host/experts/policy.h"
#include "sim/link_model.h"
#include "sluice_revision.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define SIM "sim:"
#define DEMO_MODEL "sluice-demo" /* as model_name has it */
#define PS_PER_S ((double)TIMELINE_PS_PER_S)

/* What the card and its host are capable of. */
struct limits {
    double link_bytes_per_s;   /* to the card, in copies of one expert one behind the other */
    double memory_bytes_per_s; /* peak of all channels */
    double step_s;             /* of each step at least: the host's decision, three short copies, a launch */
    double card_s;             /* of each step when nothing is missing, the host's part included */
};

struct bench {
    const struct bench_routing_options *options;
    struct architecture *architecture;
    struct routing_source *source;
    struct card_profile card;
    struct host_profile host;
    uint32_t max_rows, n_ids;
    struct experts_traffic *before; /* owned; [layer of the trace]: when counting began */
    struct link_idle idle;
    uint64_t card_ps; /* of a step whose experts are all there */
};

/* ---- what could be ---- */

static void find_limits(const struct bench *bench, uint64_t expert_bytes, struct limits *limits)
{
    const struct host_profile *host = &bench->host;
    const uint64_t small = sizeof(struct card_descriptor);
    *limits = (struct limits){0};
    limits->link_bytes_per_s =
        (double)expert_bytes * PS_PER_S / (double)link_copy_ps(host, LINK_HOST_TO_CARD, false, expert_bytes);
    for (unsigned i = 0; i < bench->card.n_memories; i++)
        limits->memory_bytes_per_s +=
            (double)bench->card.memory[i].channels * (double)bench->card.memory[i].peak_bytes_per_s;
    const uint64_t least = host->decision_ps + link_copies_ps(host, LINK_HOST_TO_CARD, small, 2) +
                           link_launches_ps(host, 1) +
                           link_copies_ps(host, LINK_CARD_TO_HOST, sizeof(float) * bench->architecture->n_vocab, 1);
    limits->step_s = (double)least / PS_PER_S;
    limits->card_s = (double)bench->card_ps / PS_PER_S;
}

static void subtract(struct experts_traffic *traffic, const struct experts_traffic *before)
{
    traffic->hits -= before->hits;
    traffic->misses -= before->misses;
    traffic->ahead -= before->ahead;
    traffic->ahead_used -= before->ahead_used;
    traffic->bytes -= before->bytes;
    traffic->used_bytes -= before->used_bytes;
    traffic->wasted_bytes -= before->wasted_bytes;
    traffic->stall_ps -= before->stall_ps;
}

/* ---- the line ---- */

static json_t *layers_json(const struct bench *bench, struct routing_replay *replay)
{
    json_t *layers = json_array();
    for (uint32_t i = 0; i < routing_source_shape(bench->source)->n_layers; i++) {
        struct experts_traffic traffic;
        routing_replay_layer(replay, i, &traffic);
        subtract(&traffic, &bench->before[i]);
        json_array_append_new(layers, json_pack("{s:I, s:I, s:I, s:f}", "hits", (json_int_t)traffic.hits, "misses",
                                                (json_int_t)traffic.misses, "bytes", (json_int_t)traffic.bytes,
                                                "stall_s_virtual", (double)traffic.stall_ps / PS_PER_S));
    }
    return layers;
}

/*
 * Each part's least time over the whole, and the longest of them. Memory and the host are parts of the card's time, too: where
 * one of them alone is nearly all of it, that is the limit.
 */
#define NEARLY_ALL 0.9

static bool set_bounds(const struct replay_sums *sums, const struct limits *limits, json_t *line)
{
    const double seconds = (double)sums->ps / PS_PER_S;
    const double link = (double)sums->traffic.used_bytes / limits->link_bytes_per_s;
    const double memory = (double)(sums->weight_bytes + sums->kv_bytes) / limits->memory_bytes_per_s;
    const double host = (double)sums->steps * limits->step_s;
    const double card = (double)sums->steps * limits->card_s, most = link > card ? link : card;
    const char *name = most == link                 ? "link"
                       : memory > NEARLY_ALL * card ? "memory"
                       : host > NEARLY_ALL * card   ? "launch and host"
                                                    : "card";
    json_t *bounds = json_pack("{s:f, s:f, s:f, s:f}", "link", link / seconds, "card", card / seconds, "memory",
                               memory / seconds, "launch_and_host", host / seconds);
    return bounds && json_object_set_new(line, "bound", json_string(name)) == 0 &&
           json_object_set_new(line, "time_over_bound", json_real(seconds / most)) == 0 &&
           json_object_set_new(line, "link_fraction", json_real(link / seconds)) == 0 &&
           json_object_set_new(line, "shares", bounds) == 0;
}

/* Shares of the time in which nothing went to the card. */
static json_t *idle_json(const struct bench *bench, uint64_t ps)
{
    json_t *shares = json_object();
    for (unsigned o = 0; o < CARD_OPCODE_END; o++) {
        const char *name = o == 0 ? "between programs" : o == CARD_OP_AWAIT ? "host's turn" : card_opcode_name(o);
        if (bench->idle.ps[o] > 0) json_object_set_new(shares, name, json_real((double)bench->idle.ps[o] / (double)ps));
    }
    return shares;
}

static int print_line(const struct bench *bench, struct routing_replay *replay, uint32_t slots,
                      const struct replay_sums *sums, struct error *err)
{
    const struct bench_routing_options *o = bench->options;
    const struct routing_shape *shape = routing_source_shape(bench->source);
    const uint64_t expert_bytes = routing_replay_expert_bytes(replay), uses = sums->traffic.hits + sums->traffic.misses;
    const double seconds = (double)sums->ps / PS_PER_S;
    struct limits limits;
    find_limits(bench, expert_bytes, &limits);
    json_t *line =
        json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:f, s:I, s:I, s:I, s:I, s:I, s:f}", "name", "routing", "trace",
                  shape->model, "architecture", bench->architecture->name, "seed",
                  routing_source_is_made(bench->source) ? json_integer((json_int_t)o->seed) : json_null(), "card",
                  o->card, "policy", o->policy ? o->policy : POLICY_DEFAULT, "resident", (double)slots / bench->n_ids,
                  "slots", (json_int_t)slots, "expert_bytes", (json_int_t)expert_bytes, "steps",
                  (json_int_t)sums->steps, "tokens", (json_int_t)sums->tokens, "picoseconds_virtual",
                  (json_int_t)sums->ps, "tokens_per_s_virtual", (double)sums->tokens / seconds);
    json_t *experts = json_pack(
        "{s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:o}", "hits", (json_int_t)sums->traffic.hits, "misses",
        (json_int_t)sums->traffic.misses, "hit_rate", uses ? (double)sums->traffic.hits / (double)uses : 0, "ahead",
        (json_int_t)sums->traffic.ahead, "ahead_used", (json_int_t)sums->traffic.ahead_used, "bytes",
        (json_int_t)sums->traffic.bytes, "wasted_bytes", (json_int_t)sums->traffic.wasted_bytes, "stall_s_virtual",
        (double)sums->traffic.stall_ps / PS_PER_S, "link_gb_per_s", limits.link_bytes_per_s / 1e9, "layers",
        layers_json(bench, replay));
    bool failed =
        !line || !experts || !set_bounds(sums, &limits, line) ||
        json_object_set_new(line, "link_busy", json_real((double)sums->link_busy_ps / (double)sums->ps)) < 0 ||
        json_object_set_new(line, "guesses", json_boolean(!o->no_guesses && shape->flags & ROUTING_PREDICTED)) < 0 ||
        json_object_set_new(line, "link_idle", idle_json(bench, sums->ps)) < 0 ||
        json_object_set(line, "experts", experts) < 0 ||
        json_object_set_new(line, "revision", json_string(SLUICE_REVISION)) < 0 ||
        json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7)) < 0 || putchar('\n') == EOF ||
        fflush(stdout) != 0;
    json_decref(experts);
    json_decref(line);
    return failed ? error_set(err, ERROR_IO, "cannot write the result") : 0;
}

/* ---- the runs ---- */

/* Steps of the trace, at most n; *done: how many there were. idle: NULL, or what is to be counted. */
static int run_steps(const struct bench *bench, struct routing_replay *replay, uint32_t n, struct link_idle *idle,
                     uint32_t *done, struct error *err)
{
    struct card *card = routing_replay_card(replay);
    struct routing_step step;
    uint64_t begin = 0, end = 0;
    int status = card_trace(card, idle ? &(struct timeline_sink){link_idle_event, idle} : NULL, err);
    if (status == 0) status = 1;
    for (*done = 0; *done < n && status == 1; *done += status == 1) {
        status = routing_source_next(bench->source, &step, err);
        if (status != 1) break;
        if (card_now(card, &begin, err) < 0 || routing_replay_step(replay, &step, err) < 0 ||
            card_now(card, &end, err) < 0)
            status = err->code;
        else if (idle)
            link_idle_count(idle, begin, end);
    }
    if (idle && idle->is_out_of_memory) return error_set(err, ERROR_NO_MEMORY, "no host memory for the card's events");
    return status < 0 ? status : 0;
}

/* What the card takes for the trace's first step once its experts are all there, dealt over banks as so many slots are. */
static int find_card_time(struct bench *bench, const struct replay_options *options, struct error *err)
{
    struct replay_options all = *options;
    struct routing_replay *replay = NULL;
    struct routing_step step;
    uint64_t begin = 0, end = 0;
    all.dealt_as = options->n_slots;
    all.n_slots = bench->n_ids;
    int status = routing_replay_open(&all, &replay, err);
    if (status == 0) status = routing_source_rewind(bench->source, err);
    if (status == 0) status = routing_source_next(bench->source, &step, err);
    if (status == 1) {
        struct card *card = routing_replay_card(replay);
        status = routing_replay_step(replay, &step, err); /* brings them */
        if (status == 0) status = card_now(card, &begin, err);
        if (status == 0) status = routing_replay_step(replay, &step, err);
        if (status == 0) status = card_now(card, &end, err);
    }
    bench->card_ps = end - begin;
    routing_replay_close(replay);
    return status;
}

static int measure(struct bench *bench, uint32_t slots, struct error *err)
{
    const struct bench_routing_options *o = bench->options;
    const struct replay_options options = {.architecture = bench->architecture,
                                           .shape = routing_source_shape(bench->source),
                                           .card = o->card + strlen(SIM),
                                           .policy = o->policy,
                                           .guesses = !o->no_guesses,
                                           .n_slots = slots,
                                           .max_rows = bench->max_rows,
                                           .position = o->position};
    struct routing_replay *replay = NULL;
    struct replay_sums before, sums;
    memset(bench->idle.ps, 0, sizeof bench->idle.ps);
    uint32_t n = 0;
    int status = find_card_time(bench, &options, err);
    if (status == 0) status = routing_replay_open(&options, &replay, err);
    if (status == 0) status = routing_source_rewind(bench->source, err);
    if (status == 0) status = run_steps(bench, replay, o->warm_steps, NULL, &n, err);
    if (status == 0) {
        routing_replay_sum(replay, &before);
        for (uint32_t i = 0; i < options.shape->n_layers; i++) routing_replay_layer(replay, i, &bench->before[i]);
        status = run_steps(bench, replay, o->steps, &bench->idle, &n, err);
    }
    if (status == 0 && n == 0)
        status = error_set(err, ERROR_BAD_ARGUMENT, "%s ends within the %u steps that only fill the slots (--warm)",
                           o->routing, o->warm_steps);
    if (status == 0) {
        routing_replay_sum(replay, &sums);
        sums.ps -= before.ps;
        sums.steps -= before.steps;
        sums.tokens -= before.tokens;
        sums.weight_bytes -= before.weight_bytes;
        sums.kv_bytes -= before.kv_bytes;
        sums.link_busy_ps -= before.link_busy_ps;
        subtract(&sums.traffic, &before.traffic);
        status = print_line(bench, replay, slots, &sums, err);
    }
    routing_replay_close(replay);
    return status;
}

/* Rows of the largest step that is run. */
static int count_rows(struct bench *bench, struct error *err)
{
    struct routing_step step;
    const uint64_t n = (uint64_t)bench->options->warm_steps + bench->options->steps;
    int status = 1;
    bench->max_rows = bench->options->batch;
    for (uint64_t i = 0; i < n && status == 1 && !routing_source_is_made(bench->source); i++) {
        status = routing_source_next(bench->source, &step, err);
        if (status == 1 && (i == 0 || step.n_rows > bench->max_rows)) bench->max_rows = step.n_rows;
    }
    return status < 0 ? status : 0;
}

/* The profiles that the card's name stands for, a profile's name and nothing else. */
static int open_profiles(struct bench *bench, struct error *err)
{
    const char *name = bench->options->card ? bench->options->card : "sim";
    if (strncmp(name, SIM, strlen(SIM)) != 0 || strchr(name, ',') != NULL)
        return error_set(err, ERROR_UNSUPPORTED, "--routing runs in virtual time: give --card sim:PROFILE, not %s",
                         name);
    int status = card_profile_open(name + strlen(SIM), &bench->card, err);
    return status < 0 ? status : host_profile_open(bench->card.host, &bench->host, err);
}

static int open_architecture(struct bench *bench, struct error *err)
{
    const struct bench_routing_options *o = bench->options;
    const char *name = o->architecture ? o->architecture : routing_source_shape(bench->source)->model;
    if (o->model_path) return architecture_from_file(o->model_path, &bench->architecture, err);
    if (!o->architecture && strcmp(name, DEMO_MODEL) == 0)
        return architecture_from_file(NULL, &bench->architecture, err);
    return architecture_by_name(name, &bench->architecture, err);
}

static int open_all(struct bench *bench, struct error *err)
{
    const struct bench_routing_options *o = bench->options;
    int status = open_profiles(bench, err);
    if (status == 0) status = routing_source_open(o->routing, o->seed, o->batch, &bench->source, err);
    if (status < 0) return status;
    const struct routing_shape *shape = routing_source_shape(bench->source);
    status = open_architecture(bench, err);
    if (status < 0) return error_prefix(err, "%s", o->routing);
    bench->n_ids = shape->n_layers * shape->n_experts;
    bench->before = memory_array(shape->n_layers, sizeof *bench->before);
    if (!bench->before) return error_set(err, ERROR_NO_MEMORY, "no host memory for the results");
    return count_rows(bench, err);
}

int bench_routing(const struct bench_routing_options *options, struct error *err)
{
    struct bench bench = {.options = options};
    int status = open_all(&bench, err);
    const uint32_t percent = options->resident_percent;
    for (uint32_t p = 25; p <= 75 && status == 0; p += 25) {
        const uint64_t share = (uint64_t)bench.n_ids * (percent ? percent : p) / 100;
        status = measure(&bench, options->slots ? options->slots : share > 0 ? (uint32_t)share : 1, err);
        if (percent || options->slots) break;
    }
    architecture_close(bench.architecture);
    routing_source_close(bench.source);
    free(bench.before);
    link_idle_close(&bench.idle);
    return status;
}
