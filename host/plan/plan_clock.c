/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/plan_clock.h"

#include "host/base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STAGING_BUFFERS 8u
#define LARGEST_PART                                                                                                   \
    8u /* memory is shared out as the profile's banks are: its smallest has an eighth of the mean, or more */

struct plan_clock {
    struct clock_options options;
    struct plan_stage stage;
    struct card *card;
    struct shape_program *program;
    unsigned n_banks;
    uint8_t *results; /* owned: what the host reads after a step */
    uint64_t results_bytes;
    card_addr staging[STAGING_BUFFERS]; /* where missing experts land, in a bank each; none without expert slots */
    unsigned n_staging;
    double owed;             /* of an expert that is missing by expectation; carried from layer to layer */
    uint64_t streamed_bytes; /* so far */
};

/* Card memory is address space here: room for the layers, whatever the card has. Banks are equal, and some hold more. */
static int count_room(const struct clock_options *options, const struct shape_options *shape, uint64_t *out,
                      struct error *err)
{
    struct shape_bytes bytes;
    int status = shape_bytes(options->architecture, shape, &bytes, err);
    if (status < 0) return status;
    uint64_t pages = (shape->max_context + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS;
    uint64_t dealt = bytes.attention + bytes.ffn + bytes.shared_experts + bytes.experts + bytes.routers + bytes.output +
                     bytes.vectors + bytes.tables + shape->max_sequences * (pages * bytes.kv_page + bytes.state);
    uint64_t in_one = bytes.step + bytes.tables + bytes.expert + ((uint64_t)64 << 20);
    *out = LARGEST_PART * (dealt + dealt / 8 + CARD_MAX_BANKS * in_one);
    return 0;
}

static int open_card(struct plan_clock *clock, uint64_t memory_bytes, struct error *err)
{
    const struct clock_options *o = &clock->options;
    char spec[4096];
    int length =
        snprintf(spec, sizeof spec, "sim:%s%s%s,timing", o->card, o->host ? ",host=" : "", o->host ? o->host : "");
    if (length < 0 || (size_t)length >= sizeof spec)
        return error_set(err, ERROR_BAD_ARGUMENT, "the names of card and host are longer than %zu characters",
                         sizeof spec);
    const struct card_options options = {.threads = 1, .memory_bytes = memory_bytes};
    int status = card_open(spec, &options, &clock->card, err);
    if (status < 0) return status;
    struct card_info info;
    card_describe(clock->card, &info);
    clock->n_banks = info.n_banks;
    return 0;
}

/* One expert is one copy: a list of places on the card, dealt over its banks, costs the link as much as one place. */
static int open_staging(struct plan_clock *clock, struct error *err)
{
    const struct architecture *architecture = clock->options.architecture;
    uint64_t most = 0;
    for (uint32_t i = clock->stage.first_layer; i < clock->stage.end_layer; i++) {
        struct shape_experts experts;
        shape_layer_experts(&architecture->layers[i], architecture->d_model, &experts);
        if (experts.one_bytes > most) most = experts.one_bytes;
    }
    unsigned n = clock->n_banks < STAGING_BUFFERS ? clock->n_banks : STAGING_BUFFERS;
    if (clock->stage.expert_slots == 0 || most == 0) return 0;
    for (int status; clock->n_staging < n; clock->n_staging++) {
        unsigned bank = clock->n_staging * clock->n_banks / n;
        status = card_alloc(clock->card, bank, most, &clock->staging[clock->n_staging], err);
        if (status < 0) return status;
    }
    return 0;
}

int plan_clock_open(const struct clock_options *options, const struct plan_stage *stage, struct plan_clock **out,
                    struct error *err)
{
    struct plan_clock *clock = memory_array(1, sizeof *clock);
    if (!clock) return error_set(err, ERROR_NO_MEMORY, "no host memory for a card's clock");
    *clock = (struct plan_clock){.options = *options, .stage = *stage};
    const struct shape_options shape = {
        .first_layer = stage->first_layer,
        .end_layer = stage->end_layer,
        .kv_format = options->kv_format,
        .expert_slots = stage->expert_slots,
        .pool_slots = options->pool_slots,
        .pool_dealt_as = options->pool_dealt_as,
        .guesses = options->guesses,
        .max_tokens = options->max_tokens,
        .max_logit_rows = options->max_sequences,
        .max_sequences = options->max_sequences,
        .max_context = options->max_context,
    };
    uint64_t memory_bytes = 0;
    int status = count_room(options, &shape, &memory_bytes, err);
    if (status == 0) status = open_card(clock, memory_bytes, err);
    if (status == 0) status = shape_program_open(options->architecture, &shape, clock->card, &clock->program, err);
    if (status == 0) status = open_staging(clock, err);
    if (status < 0) {
        plan_clock_close(clock);
        return status;
    }
    *out = clock;
    return 0;
}

void plan_clock_close(struct plan_clock *clock)
{
    if (!clock) return;
    shape_program_close(clock->program);
    card_close(clock->card);
    free(clock);
}

struct card *plan_clock_card(struct plan_clock *clock) { return clock->card; }

const struct expert_pool *plan_clock_pool(const struct plan_clock *clock) { return shape_program_pool(clock->program); }

/* Experts of a layer that the host brings for so many tokens: expectation, made whole by carrying what is left. */
static uint32_t missing_experts(struct plan_clock *clock, const struct ffn_shape *ffn, uint32_t n_tokens)
{
    clock->owed += memory_plan_misses(ffn->experts, ffn->experts_used, clock->stage.expert_slots, n_tokens);
    double whole = floor(clock->owed);
    clock->owed -= whole;
    return (uint32_t)whole;
}

/* Waits as long as NVMe takes beyond what the link takes anyway. */
static int wait_for_nvme(struct plan_clock *clock, uint64_t bytes, uint64_t began, struct error *err)
{
    uint64_t now, rate = clock->options.nvme_bytes_per_s;
    if (rate == 0 || bytes == 0) return 0;
    int status = card_now(clock->card, &now, err);
    if (status < 0) return status;
    uint64_t takes = (uint64_t)ceil((double)bytes * 1e12 / (double)rate);
    return now - began < takes ? card_spend(clock->card, takes - (now - began), err) : 0;
}

/* Where the layer's PUBLISH puts the choice; 0 if nothing is published. */
static card_addr find_mailbox(const struct shape_step *step, const struct shape_layer_mark *mark)
{
    for (unsigned i = mark->first; i < mark->end; i++)
        if (step->program[i].opcode == CARD_OP_PUBLISH) return step->program[i].dst;
    return 0;
}

/* The missing experts to the card, one behind the other on the link; waits for all. */
static int write_experts(struct plan_clock *clock, uint32_t missing, uint64_t bytes, struct error *err)
{
    card_event done = 0;
    uint64_t began = 0;
    int status = card_now(clock->card, &began, err);
    for (uint32_t i = 0; i < missing && status == 0; i++)
        status = card_write(clock->card, clock->staging[i % clock->n_staging], NULL, bytes, NULL, 0, &done, err);
    if (status == 0 && missing > 0) status = card_wait(clock->card, done, 0, err);
    clock->streamed_bytes += missing * bytes;
    return status < 0 ? status : wait_for_nvme(clock, missing * bytes, began, err);
}

/* The layer's choice to the host, the missing experts to the card. */
static int bring_experts(struct plan_clock *clock, const struct shape_step *step, const struct shape_layer_mark *mark,
                         uint32_t n_tokens, struct error *err)
{
    const struct architecture *architecture = clock->options.architecture;
    const struct architecture_layer *layer = &architecture->layers[mark->layer];
    struct shape_experts experts;
    shape_layer_experts(layer, architecture->d_model, &experts);
    card_addr mailbox = find_mailbox(step, mark);
    uint64_t choice_bytes = 64 + (uint64_t)n_tokens * layer->ffn.experts_used * sizeof(struct card_choice);
    int status = 0;
    if (mailbox != 0) status = card_read(clock->card, NULL, mailbox, choice_bytes, NULL, 0, NULL, err);
    uint32_t missing = missing_experts(clock, &layer->ffn, n_tokens);
    return status < 0 ? status : write_experts(clock, missing, experts.one_bytes, err);
}

/* The program in pieces, each up to where a layer needs its experts. */
static int run_in_pieces(struct plan_clock *clock, const struct shape_step *step, uint32_t n_tokens, card_event written,
                         card_event *done, struct error *err)
{
    unsigned from = 0;
    int status = 0;
    for (uint32_t i = 0; i < step->n_marks && status == 0; i++) {
        const struct shape_layer_mark *mark = &step->marks[i];
        if (mark->experts >= mark->end) continue;
        status = card_submit(clock->card, step->program + from, mark->experts - from, &written, 1, done, err);
        if (status == 0) status = card_wait(clock->card, *done, 0, err);
        if (status == 0) status = bring_experts(clock, step, mark, n_tokens, err);
        from = mark->experts;
    }
    if (status < 0 || from == step->n_descriptors) return status;
    return card_submit(clock->card, step->program + from, step->n_descriptors - from, &written, 1, done, err);
}

/* As model_step does it. */
static int run(struct plan_clock *clock, const struct shape_step *step, uint32_t n_tokens, struct error *err)
{
    struct card *card = clock->card;
    card_event written = 0, computed = 0, read = 0;
    int status = card_write(card, step->input_address, step->inputs, step->input_bytes, NULL, 0, &written, err);
    if (status == 0 && clock->stage.expert_slots == 0)
        status = card_submit(card, step->program, step->n_descriptors, &written, 1, &computed, err);
    else if (status == 0)
        status = run_in_pieces(clock, step, n_tokens, written, &computed, err);
    if (status == 0 && step->output_bytes > 0)
        status = card_read(card, NULL, step->output_address, step->output_bytes, &computed, 1, &read, err);
    card_event last = read ? read : computed ? computed : written; /* after an error too: what runs uses the inputs */
    int waited = card_wait(card, last, 0, status < 0 ? NULL : err);
    return status < 0 ? status : waited;
}

static void subtract(struct card_usage *used, const struct card_usage *before)
{
    used->now_ps -= before->now_ps;
    used->waits_ps -= before->waits_ps;
    for (unsigned i = 0; i < TIMELINE_RESOURCES; i++) used->busy_ps[i] -= before->busy_ps[i];
    for (unsigned i = 0; i < TIMELINE_ENERGIES; i++) used->energy_nj[i] -= before->energy_nj[i];
    for (unsigned i = 0; i < CARD_MAX_BANKS; i++) {
        used->channel_busy_ps[i] -= before->channel_busy_ps[i];
        used->channel_bytes[i] -= before->channel_bytes[i];
    }
}

int plan_clock_step(struct plan_clock *clock, const struct shape_sequence *sequences, uint32_t n_sequences,
                    struct clock_step *out, struct error *err)
{
    struct card_usage before;
    struct card_counters counted, counters;
    struct shape_step step;
    uint32_t n_tokens = 0;
    for (uint32_t i = 0; i < n_sequences; i++) n_tokens += sequences[i].n_tokens;
    uint64_t streamed = clock->streamed_bytes;
    card_count(clock->card, &counted);
    int status = card_measure(clock->card, &before, err);
    if (status == 0) status = shape_program_plan(clock->program, sequences, n_sequences, &step, err);
    if (status == 0) status = run(clock, &step, n_tokens, err);
    if (status == 0) status = card_measure(clock->card, &out->used, err);
    if (status < 0) return status;
    subtract(&out->used, &before);
    card_count(clock->card, &counters);
    out->ps = out->used.now_ps;
    out->weight_bytes = counters.weight_bytes - counted.weight_bytes;
    out->kv_bytes = counters.kv_bytes - counted.kv_bytes;
    out->streamed_bytes = clock->streamed_bytes - streamed;
    return 0;
}
