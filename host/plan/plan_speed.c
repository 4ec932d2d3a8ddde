/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding; prompts are in plan_prefill.c. */
#include "host/plan/plan_speed.h"

#include "host/base/memory.h"
#include "host/plan/plan_stage.h"

#include <stdio.h>
#include <string.h>

void plan_speed_close(struct plan_speed *speed)
{
    for (uint32_t i = 0; i < speed->n_stages; i++) plan_clock_close(speed->stages[i].clock);
    free(speed->stages);
    *speed = (struct plan_speed){0};
}

bool plan_stage_same(const struct architecture *architecture, const struct plan_stage *a, const struct plan_stage *b)
{
    uint32_t n = a->end_layer - a->first_layer, last = architecture->n_layers;
    if (n != b->end_layer - b->first_layer || a->expert_slots != b->expert_slots) return false;
    if ((a->end_layer == last) != (b->end_layer == last)) return false;
    return memcmp(&architecture->layers[a->first_layer], &architecture->layers[b->first_layer],
                  n * sizeof *architecture->layers) == 0;
}

int plan_stage_clock(struct plan_speed *speed, const struct plan_stage *stage, struct plan_clock **out,
                     struct error *err)
{
    for (uint32_t i = 0; i < speed->n_stages; i++) {
        if (!plan_stage_same(speed->options.architecture, &speed->stages[i].stage, stage)) continue;
        *out = speed->stages[i].clock;
        return 0;
    }
    struct stage_clock *grown = memory_grow(speed->stages, (size_t)speed->n_stages + 1, sizeof *grown);
    if (!grown) return error_set(err, ERROR_NO_MEMORY, "no host memory for the clocks of a plan");
    speed->stages = grown;
    struct stage_clock *place = &grown[speed->n_stages];
    place->stage = *stage;
    int status = plan_clock_open(&speed->options, stage, &place->clock, err);
    if (status < 0) return status;
    speed->n_stages++;
    *out = place->clock;
    return 0;
}

/* What the cards did in a round, one time for each stage; and the longest of them. */
struct round {
    uint64_t sum_ps, longest_ps;
    struct clock_step total, longest;
};

static void add_step(struct clock_step *sum, const struct clock_step *step)
{
    sum->ps += step->ps;
    sum->weight_bytes += step->weight_bytes;
    sum->kv_bytes += step->kv_bytes;
    sum->streamed_bytes += step->streamed_bytes;
    for (unsigned i = 0; i < TIMELINE_RESOURCES; i++) sum->used.busy_ps[i] += step->used.busy_ps[i];
    for (unsigned i = 0; i < TIMELINE_ENERGIES; i++) sum->used.energy_nj[i] += step->used.energy_nj[i];
    for (unsigned i = 0; i < CARD_MAX_BANKS; i++) {
        sum->used.channel_busy_ps[i] += step->used.channel_busy_ps[i];
        sum->used.channel_bytes[i] += step->used.channel_bytes[i];
    }
}

/* One step of n_sequences on every stage; the step before it finds the card as every later one does. */
static int run_round(struct plan_speed *speed, const struct memory_layout *layout, uint32_t n_sequences, uint32_t depth,
                     struct round *round, struct error *err)
{
    struct shape_sequence *sequences = memory_array(n_sequences, sizeof *sequences);
    const struct plan_stage *before = NULL;
    struct clock_step step = {0};
    int status = sequences ? 0 : error_set(err, ERROR_NO_MEMORY, "no host memory for %u sequences", n_sequences);
    *round = (struct round){0};
    for (uint32_t i = 0; i < layout->n_stages && status == 0; i++) {
        const struct plan_stage *stage = &layout->stages[i];
        struct plan_clock *clock;
        bool again = before && plan_stage_same(speed->options.architecture, before, stage);
        if (!again) status = plan_stage_clock(speed, stage, &clock, err);
        for (uint32_t pass = 0; pass < 2 && status == 0 && !again; pass++) {
            for (uint32_t s = 0; s < n_sequences; s++) sequences[s] = (struct shape_sequence){depth + pass, 1, 1};
            status = plan_clock_step(clock, sequences, n_sequences, &step, err);
        }
        if (status < 0) break;
        before = stage;
        round->sum_ps += step.ps;
        add_step(&round->total, &step);
        if (step.ps > round->longest_ps) {
            round->longest_ps = step.ps;
            round->longest = step;
        }
    }
    free(sequences);
    return status;
}

static void add_share(struct plan_decode *out, const char *name, double share)
{
    if (out->n_used == PLAN_RESOURCES) return;
    struct plan_share *place = &out->used[out->n_used];
    snprintf(place->name, sizeof place->name, "%s", name);
    place->share = share > 1 ? 1 : share;
    if (share > out->used[out->limit].share) out->limit = out->n_used;
    out->n_used++;
}

/* Mean over the channels of each class, then the units. busy: of `ps` of time. */
static void share_time(const struct plan_speed *speed, const struct card_usage *busy, double ps,
                       struct plan_decode *out)
{
    unsigned bank = 0;
    out->n_used = out->limit = 0;
    for (unsigned c = 0; c < speed->memory.n_classes; c++) {
        double sum = 0;
        for (unsigned i = 0; i < speed->memory.banks[c] && bank < CARD_MAX_BANKS; i++, bank++)
            sum += (double)busy->channel_busy_ps[bank];
        add_share(out, speed->memory.class_name[c], sum / speed->memory.banks[c] / ps);
    }
    static const struct {
        unsigned resource;
        const char *name;
    } units[] = {{TIMELINE_MATMUL, "matmul array"},      {TIMELINE_ATTENTION, "attention unit"},
                 {TIMELINE_VECTOR, "vector unit"},       {TIMELINE_DISPATCH, "dispatcher"},
                 {TIMELINE_HOST_TO_CARD, "DMA to card"}, {TIMELINE_CARD_TO_HOST, "DMA to host"},
                 {TIMELINE_HOST, "host thread"}};
    for (unsigned i = 0; i < sizeof units / sizeof units[0]; i++)
        add_share(out, units[i].name, (double)busy->busy_ps[units[i].resource] / ps);
}

double plan_stage_joules(const struct plan_speed *speed, const struct clock_step *total, double rounds, double seconds,
                         double joules[TIMELINE_ENERGIES])
{
    double sum = 0, counted = (double)total->ps * 1e-12;
    for (unsigned k = 0; k < TIMELINE_ENERGIES; k++) {
        double nj = (double)total->used.energy_nj[k];
        if (k == TIMELINE_ENERGY_STATIC || k == TIMELINE_ENERGY_HOST)
            joules[k] = nj * 1e-9 / counted * seconds * (k == TIMELINE_ENERGY_STATIC ? speed->cards : 1);
        else
            joules[k] = nj * 1e-9 * rounds;
        sum += joules[k];
    }
    return sum;
}

static void describe_round(const struct plan_speed *speed, const struct round *round, uint32_t groups,
                           struct plan_decode *out)
{
    uint64_t piped = groups * round->longest_ps;
    uint64_t ps = groups == 1 || piped < round->sum_ps ? round->sum_ps : piped;
    double seconds = (double)ps * 1e-12, joules[TIMELINE_ENERGIES];
    double sum = plan_stage_joules(speed, &round->total, groups, seconds, joules);
    out->step_ps = ps;
    out->tokens_per_s = out->batch / seconds;
    out->host_j_per_token = joules[TIMELINE_ENERGY_HOST] / out->batch;
    out->host_watts = joules[TIMELINE_ENERGY_HOST] / seconds;
    out->j_per_token = (sum - joules[TIMELINE_ENERGY_HOST]) / out->batch;
    out->watts = (sum - joules[TIMELINE_ENERGY_HOST]) / seconds;
    out->eur_per_million = sum / out->batch * 1e6 / 3.6e6 * speed->eur_per_kwh;
    out->weight_bytes = (double)round->total.weight_bytes * groups;
    out->kv_bytes = (double)round->total.kv_bytes * groups;
    out->streamed_bytes = (double)round->total.streamed_bytes * groups;
    share_time(speed, groups == 1 ? &round->total.used : &round->longest.used, (double)ps / groups, out);
    out->n_energy = TIMELINE_ENERGIES;
    for (unsigned k = 0; k < TIMELINE_ENERGIES; k++) {
        snprintf(out->energy[k].name, sizeof out->energy[k].name, "%s", timeline_energy_name(k));
        out->energy[k].share = joules[k] / sum;
    }
}

int plan_speed_decode(struct plan_speed *speed, const struct memory_layout *layout, uint32_t depth,
                      struct plan_decode *out, struct error *err)
{
    struct round round;
    struct plan_decode in_groups = *out;
    int status = run_round(speed, layout, out->batch, depth, &round, err);
    if (status < 0) return status;
    describe_round(speed, &round, 1, out);
    uint32_t groups = layout->n_stages < out->batch ? layout->n_stages : out->batch;
    if (groups < 2) return 0;
    status = run_round(speed, layout, (out->batch + groups - 1) / groups, depth, &round, err);
    if (status < 0) return status;
    describe_round(speed, &round, groups, &in_groups);
    if (in_groups.tokens_per_s > out->tokens_per_s) *out = in_groups;
    return 0;
}
