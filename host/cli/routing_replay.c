/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/routing_replay.h"

#include "host/base/memory.h"
#include "host/experts/stream.h"
#include "host/plan/plan_clock.h"

struct routing_replay {
    const struct architecture *architecture; /* borrowed */
    struct routing_shape shape;
    uint32_t position, max_rows;
    uint32_t *model_layer; /* owned; [shape.n_layers] */
    uint32_t *trace_layer; /* owned; [architecture->n_layers]; of a dense one: none asks */
    struct plan_clock *clock;
    struct expert_stream *stream; /* NULL: every expert is resident */
    struct card_agent agent;      /* the stream's */
    struct shape_sequence *sequences;
    struct card_choice *choices;     /* owned; [1 + guess_depth][max_rows][n_used] */
    uint32_t *misses;                /* owned; [shape.n_layers]: of the last step */
    const struct routing_step *step; /* the one at hand */
    struct replay_sums sums;         /* but for traffic */
};

/* ---- who decides instead of the router ---- */

/* A token's predicted experts, the surest first, as a router has them. None: what was chosen here is no worse than anything. */
static void take_guesses(const struct routing_shape *shape, const uint16_t *predicted, const uint8_t *sure,
                         const uint16_t *choice, struct card_choice *out)
{
    for (uint32_t i = 0; i < shape->n_used; i++) {
        const struct card_choice guess = {.expert = predicted[i] < shape->n_experts ? predicted[i] : choice[i],
                                          .weight = (float)sure[i]};
        uint32_t place = i;
        for (; place > 0 && out[place - 1].weight < guess.weight; place--) out[place] = out[place - 1];
        out[place] = guess;
    }
}

/* Weights are alike: nothing is computed. Behind them the guesses of the next layers. */
static void take_choices(struct routing_replay *replay, uint32_t layer, uint32_t n_guesses)
{
    const struct routing_shape *shape = &replay->shape;
    const uint32_t n = replay->step->n_rows * shape->n_used;
    const uint16_t *choice = replay->step->choice + (size_t)layer * n;
    const float weight = 1.0f / (float)shape->n_used;
    for (uint32_t i = 0; i < n; i++) replay->choices[i] = (struct card_choice){.expert = choice[i], .weight = weight};
    for (uint32_t d = 1; d <= n_guesses; d++) {
        const size_t at = ((size_t)(layer + d) * shape->depth + d - 1) * n;
        for (uint32_t i = 0; i < n; i += shape->n_used)
            take_guesses(shape, replay->step->predicted + at + i, replay->step->confidence + at + i, choice + i,
                         replay->choices + (size_t)d * n + i);
    }
}

/* The trace's choices take the place of those that the card made up, on the card and for the stream. */
static int published(void *context, const struct card_descriptor *publish, const struct card_choice *choices,
                     struct error *err)
{
    struct routing_replay *replay = context;
    const uint32_t n_guesses = publish->param[0] >> EXPERT_POOL_GUESSES_SHIFT;
    const uint32_t layer = EXPERT_POOL_LAYER(publish->param[0]), rows = replay->step->n_rows;
    (void)choices;
    if (layer >= replay->architecture->n_layers || publish->tokens != (1 + n_guesses) * rows ||
        (n_guesses > 0 && !replay->step->predicted) || publish->rows != replay->shape.n_used)
        return error_set(err, ERROR_INTERNAL, "a publication of %u rows of layer %u in a step of %u rows",
                         publish->tokens, layer, rows);
    take_choices(replay, replay->trace_layer[layer], n_guesses);
    const size_t bytes = (size_t)publish->tokens * publish->rows * sizeof *replay->choices;
    int status = card_stream_write(plan_clock_card(replay->clock), publish->src, replay->choices, bytes, err);
    struct experts_traffic before, after;
    expert_stream_count(replay->stream, layer, &before);
    if (status == 0) status = replay->agent.published(replay->agent.context, publish, replay->choices, err);
    expert_stream_count(replay->stream, layer, &after);
    replay->misses[replay->trace_layer[layer]] =
        (uint32_t)(after.misses - before.misses + after.ahead_used - before.ahead_used);
    return status;
}

static int missing(void *context, uint32_t expert, bool late, struct error *err)
{
    struct routing_replay *replay = context;
    return replay->agent.missing(replay->agent.context, expert, late, err);
}

/* ---- open, close ---- */

/* Which layers of the model the trace's are, and that both mean the same. */
static int match_layers(struct routing_replay *replay, struct error *err)
{
    const struct architecture *architecture = replay->architecture;
    const struct routing_shape *shape = &replay->shape;
    uint32_t n = 0, n_same = 0;
    for (uint32_t i = 0; i < architecture->n_layers; i++) {
        const struct ffn_shape *ffn = &architecture->layers[i].ffn;
        if (ffn->experts == 0) continue;
        n_same += ffn->experts == shape->n_experts && ffn->experts_used == shape->n_used;
        if (n < shape->n_layers) replay->model_layer[n] = i;
        replay->trace_layer[i] = n++;
    }
    if (n == shape->n_layers && n_same == n) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT,
                     "the trace is of %s, with %u layers of %u experts, %u a token; %s has %u layers with experts, %u "
                     "of them like these (--arch names the trace's architecture)",
                     shape->model, shape->n_layers, shape->n_experts, shape->n_used, architecture->name, n, n_same);
}

static int open_stream(struct routing_replay *replay, const struct replay_options *options, struct error *err)
{
    const struct model_load_options how = {.expert_slots = options->n_slots,
                                           .expert_policy = options->policy,
                                           .expert_guess = "router",
                                           .plans_guesses =
                                               options->guesses && (replay->shape.flags & ROUTING_PREDICTED)};
    struct card *card = plan_clock_card(replay->clock);
    int status = expert_stream_open_pool(card, plan_clock_pool(replay->clock), &how, &replay->stream, err);
    if (status < 0) return status;
    replay->agent = expert_stream_agent(replay->stream);
    const struct card_agent agent = {.published = published, .missing = missing, .context = replay};
    return card_set_agent(card, &agent, err);
}

/* Layers that predictions go ahead. */
static uint32_t guess_depth(const struct routing_shape *shape)
{
    if (!(shape->flags & ROUTING_PREDICTED)) return 0;
    return shape->depth < EXPERT_POOL_GUESS_DEPTH ? shape->depth : EXPERT_POOL_GUESS_DEPTH;
}

static int open_parts(struct routing_replay *replay, const struct replay_options *options, struct error *err)
{
    const struct clock_options clock = {
        .architecture = options->architecture,
        .card = options->card,
        .kv_format = CARD_FORMAT_F16,
        .max_tokens = options->max_rows,
        .max_sequences = options->max_rows,
        .max_context = options->position + 1,
        .pool_slots = options->n_slots,
        .pool_dealt_as = options->dealt_as,
        .guesses = options->guesses ? guess_depth(options->shape) : 0,
    };
    const struct plan_stage all = {.end_layer = options->architecture->n_layers};
    replay->model_layer = memory_array(replay->shape.n_layers, sizeof *replay->model_layer);
    replay->trace_layer = memory_array(options->architecture->n_layers, sizeof *replay->trace_layer);
    replay->misses = memory_array(replay->shape.n_layers, sizeof *replay->misses);
    replay->sequences = memory_array(options->max_rows, sizeof *replay->sequences);
    replay->choices = memory_array((size_t)(1 + guess_depth(options->shape)) * options->max_rows * replay->shape.n_used,
                                   sizeof *replay->choices);
    if (!replay->model_layer || !replay->trace_layer || !replay->misses || !replay->sequences || !replay->choices)
        return error_set(err, ERROR_NO_MEMORY, "no host memory for a replay of %u rows", options->max_rows);
    for (uint32_t i = 0; i < options->max_rows; i++)
        replay->sequences[i] =
            (struct shape_sequence){.first_position = options->position, .n_tokens = 1, .n_logit_rows = 1};
    int status = match_layers(replay, err);
    if (status == 0) status = plan_clock_open(&clock, &all, &replay->clock, err);
    return status == 0 && options->n_slots > 0 ? open_stream(replay, options, err) : status;
}

int routing_replay_open(const struct replay_options *options, struct routing_replay **out, struct error *err)
{
    struct routing_replay *replay = memory_array(1, sizeof *replay);
    if (!replay) return error_set(err, ERROR_NO_MEMORY, "no host memory for a replay");
    *replay = (struct routing_replay){.architecture = options->architecture,
                                      .shape = *options->shape,
                                      .position = options->position,
                                      .max_rows = options->max_rows};
    int status = open_parts(replay, options, err);
    if (status < 0)
        routing_replay_close(replay);
    else
        *out = replay;
    return status;
}

void routing_replay_close(struct routing_replay *replay)
{
    if (!replay) return;
    if (replay->stream) (void)card_set_agent(plan_clock_card(replay->clock), NULL, NULL);
    expert_stream_close(replay->stream);
    plan_clock_close(replay->clock);
    free(replay->model_layer);
    free(replay->trace_layer);
    free(replay->misses);
    free(replay->sequences);
    free(replay->choices);
    free(replay);
}

/* ---- steps ---- */

int routing_replay_step(struct routing_replay *replay, const struct routing_step *step, struct error *err)
{
    struct clock_step took;
    if (step->n_rows > replay->max_rows)
        return error_set(err, ERROR_TOO_LARGE, "a step of %u rows, the replay has room for %u", step->n_rows,
                         replay->max_rows);
    replay->step = step;
    int status = plan_clock_step(replay->clock, replay->sequences, step->n_rows, &took, err);
    if (status < 0) return status;
    if (replay->stream) expert_stream_settle(replay->stream);
    struct replay_sums *sums = &replay->sums;
    sums->ps += took.ps;
    sums->steps++;
    sums->tokens += step->n_rows;
    sums->weight_bytes += took.weight_bytes;
    sums->kv_bytes += took.kv_bytes;
    sums->link_busy_ps += took.used.busy_ps[TIMELINE_HOST_TO_CARD];
    sums->stall_ps += took.used.waits_ps;
    return 0;
}

void routing_replay_layer(struct routing_replay *replay, uint32_t layer, struct experts_traffic *traffic)
{
    *traffic = (struct experts_traffic){0};
    if (replay->stream) expert_stream_count(replay->stream, replay->model_layer[layer], traffic);
}

void routing_replay_sum(struct routing_replay *replay, struct replay_sums *sums)
{
    *sums = replay->sums;
    for (uint32_t layer = 0; layer < replay->shape.n_layers; layer++) {
        struct experts_traffic traffic;
        routing_replay_layer(replay, layer, &traffic);
        sums->traffic.hits += traffic.hits;
        sums->traffic.misses += traffic.misses;
        sums->traffic.ahead += traffic.ahead;
        sums->traffic.ahead_used += traffic.ahead_used;
        sums->traffic.bytes += traffic.bytes;
        sums->traffic.used_bytes += traffic.used_bytes;
        sums->traffic.wasted_bytes += traffic.wasted_bytes;
        sums->traffic.stall_ps += traffic.stall_ps;
    }
}

const uint32_t *routing_replay_misses(const struct routing_replay *replay) { return replay->misses; }

uint64_t routing_replay_expert_bytes(const struct routing_replay *replay)
{
    const struct expert_pool *pool = plan_clock_pool(replay->clock);
    return pool ? expert_pool_bytes(pool, replay->model_layer[0]) : 0;
}

struct card *routing_replay_card(struct routing_replay *replay) { return plan_clock_card(replay->clock); }
