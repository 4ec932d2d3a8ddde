/* SPDX-License-Identifier: Apache-2.0 */
/* What the clock charges for a descriptor. */
#include "sim/clock_state.h"
#include "sim/seen.h"

#include <string.h>

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Results that are in use at once: each has this part of the on-chip memory for activations. */
enum { LIVE_RESULTS = 4 };

/* ---- what it moves ---- */

#define BIT(place) (1u << (place))

/* Places of vectors that are weights: known when the program begins. */
static unsigned static_places(unsigned opcode)
{
    switch (opcode) {
    case CARD_OP_NORM:
    case CARD_OP_DECAY: return BIT(CARD_WEIGHT) | BIT(CARD_AUX);
    case CARD_OP_MATMUL:
    case CARD_OP_ROUTER: return BIT(CARD_AUX);
    case CARD_OP_ROPE: return BIT(CARD_WEIGHT);
    case CARD_OP_CONV: return BIT(CARD_WEIGHT) | BIT(CARD_E_SRC);
    case CARD_OP_ATTENTION: return BIT(CARD_E_SRC) | BIT(CARD_E_WEIGHT);
    default: return 0;
    }
}

/* Places of activations. */
static unsigned activation_places(unsigned opcode)
{
    const unsigned both = BIT(CARD_DST) | BIT(CARD_SRC);
    switch (opcode) {
    case CARD_OP_GLU:
    case CARD_OP_ADD:
    case CARD_OP_SCALE: return both | BIT(CARD_WEIGHT);
    case CARD_OP_KV_WRITE: return BIT(CARD_SRC) | BIT(CARD_WEIGHT);
    case CARD_OP_SCAN: return both | BIT(CARD_WEIGHT) | BIT(CARD_E_SRC) | BIT(CARD_E_WEIGHT) | BIT(CARD_E_AUX);
    case CARD_OP_INDEX: return both | BIT(CARD_E_SRC);
    case CARD_OP_GATHER: return BIT(CARD_DST);
    case CARD_OP_AWAIT: return 0;
    default: return both;
    }
}

static void add_operand(struct clock_traffic *traffic, const struct card_operand *operand)
{
    clock_add_bytes(traffic, CARD_ADDR_BANK(operand->address), operand->bytes);
}

static void add_static_vectors(struct sim_clock *clock, const struct sim_step *step)
{
    const unsigned places = static_places(step->d->opcode), n = step->e ? CARD_PLACES : CARD_E_DST;
    for (unsigned p = CARD_WEIGHT; places >> p && p < n; p++)
        if (places & BIT(p) && step->operand[p].field) add_operand(&clock->traffic, &step->operand[p]);
}

static void add_activations(struct sim_clock *clock, const struct sim_step *step)
{
    const unsigned places = activation_places(step->d->opcode), n = step->e ? CARD_PLACES : CARD_E_DST;
    const uint64_t on_chip = clock->rates.card.engine.activation_bytes / LIVE_RESULTS;
    for (unsigned p = 0; places >> p && p < n; p++) {
        const struct card_operand *operand = &step->operand[p];
        if (!(places & BIT(p)) || !operand->field) continue;
        if (operand->bytes > on_chip)
            add_operand(&clock->traffic, operand);
        else
            clock->on_chip_bytes += operand->bytes;
    }
    if (step->d->opcode == CARD_OP_GATHER) /* the rows that it takes */
        clock_add_bytes(&clock->traffic, CARD_ADDR_BANK(step->d->src), (uint64_t)step->d->tokens * step->d->cols * 4);
}

/* Times that weights are read: each time for as many tokens as a word meets while it is on chip. */
static uint64_t passes(const struct sim_clock *clock, uint64_t tokens)
{
    const uint64_t each = clock->rates.card.engine.tokens_per_pass;
    return tokens <= each ? 1 : (tokens + each - 1) / each;
}

/* A matrix at `address`, dealt over `banks`. */
static void add_matrix(struct sim_clock *clock, const struct card_descriptor *d, card_addr address, uint32_t banks,
                       uint64_t times)
{
    if (d->format == CARD_FORMAT_F32 && banks <= 1) {
        clock_add_bytes(&clock->traffic, CARD_ADDR_BANK(address), (uint64_t)d->rows * d->cols * 4 * times);
        return;
    }
    const uint64_t tiles = card_round_up(d->rows, CARD_TILE_ROWS) / CARD_TILE_ROWS;
    clock_add_tiles(&clock->traffic, CARD_ADDR_BANK(address), banks, tiles,
                    card_tile_bytes(d->format, d->cols) * times);
}

/* The matrices of the experts in use, each as often as the rows need that chose it, taken to be spread evenly. */
static void add_experts(struct sim_clock *clock, const struct sim_step *step, const struct sim_work *work)
{
    const struct card_descriptor *d = step->d;
    const struct card_choice *choice = step->aux;
    const card_addr *slot = step->weight;
    const uint64_t rows = (uint64_t)d->tokens * d->param[0];
    const uint64_t times = work->experts ? passes(clock, (work->rows + work->experts - 1) / work->experts) : 0;
    uint64_t seen[1024]; /* 65536 experts, the most that a slot table has */
    if (choice) memset(seen, 0, ((size_t)d->param[1] + 63) / 64 * sizeof *seen);
    for (uint64_t i = 0; i < (choice ? rows : d->param[1]); i++) {
        const uint32_t expert = choice ? choice[i].expert : (uint32_t)i;
        const uint64_t bit = UINT64_C(1) << expert % 64;
        if (expert == CARD_NO_EXPERT) continue;
        if (choice && seen[expert / 64] & bit) continue;
        if (choice) seen[expert / 64] |= bit;
        add_matrix(clock, d, slot[expert], d->param[2], times);
    }
}

/*
 * Pages of KV_WRITE, ATTENTION and INDEX. A dealt pool's pages are taken to follow each other from that of the first
 * token's first position: as many channels work as there are pages, and all of them alike when there are many.
 */
static void add_pages(struct sim_clock *clock, const struct sim_step *step, uint64_t bytes)
{
    const struct card_descriptor *d = step->d;
    const struct card_operand *pool = &step->operand[d->opcode == CARD_OP_KV_WRITE ? CARD_DST : CARD_WEIGHT];
    const uint32_t bank = CARD_ADDR_BANK(pool->address);
    if (bytes == 0) return;
    if (pool->banks <= 1) {
        clock_add_bytes(&clock->traffic, bank, bytes);
        return;
    }
    const struct card_batch_token *token = sim_step_batch(step);
    struct seen seen = seen_by(step, 0);
    uint32_t page = d->opcode == CARD_OP_KV_WRITE ? token->position / CARD_PAGE_TOKENS : seen_page(&seen);
    if (page == NO_PAGE) page = 0;
    const uint32_t number = page == 0 && seen_page(&seen) == NO_PAGE && d->opcode != CARD_OP_KV_WRITE
                                ? 0
                                : sim_step_pages(step)[token->first_page + page];
    const uint64_t page_bytes = card_pool_page_bytes(d, step->e), pages = (bytes + page_bytes - 1) / page_bytes;
    const uint64_t used = pages < pool->banks ? pages : pool->banks;
    clock_add_tiles(&clock->traffic, card_tile_bank(bank, number, pool->banks), pool->banks, used,
                    (bytes + used - 1) / used);
}

/* ---- when ---- */

/* The memory's part of the step, from begin on; experts since their ROUTER ended. */
static uint64_t move(struct sim_clock *clock, const struct sim_step *step, const struct sim_work *work, uint64_t begin)
{
    const struct card_descriptor *d = step->d;
    uint64_t end = begin;
    if (d->opcode == CARD_OP_MATMUL) {
        const uint64_t times = d->format == CARD_FORMAT_F32 ? 1 : passes(clock, d->tokens);
        add_matrix(clock, d, d->weight, d->param[0], times);
        clock->on_chip_bytes += work->weight_bytes;
    }
    add_static_vectors(clock, step);
    if (clock->traffic.to) end = clock_move(clock, CLOCK_STATIC, begin);
    switch (d->opcode) {
    case CARD_OP_EXPERT_MATMUL:
        add_experts(clock, step, work);
        clock->on_chip_bytes += work->weight_bytes;
        end = larger(end, clock_move(clock, CLOCK_EXPERTS, begin));
        break;
    case CARD_OP_KV_WRITE:
    case CARD_OP_ATTENTION:
    case CARD_OP_INDEX: add_pages(clock, step, work->kv_bytes); break;
    case CARD_OP_SCAN:
    case CARD_OP_CONV: clock_add_bytes(&clock->traffic, CARD_ADDR_BANK(step->e->dst), work->kv_bytes); break;
    default: break;
    }
    add_activations(clock, step);
    return clock->traffic.to ? larger(end, clock_move(clock, CLOCK_DEMAND, begin)) : end;
}

static void trace_operation(struct sim_clock *clock, unsigned unit, uint64_t begin, uint64_t end, uint64_t busy)
{
    struct timeline_event event = clock->at;
    event.resource = unit;
    event.kind = event.opcode == CARD_OP_AWAIT ? TIMELINE_WAIT : TIMELINE_OPERATION;
    event.begin = begin;
    event.end = end;
    event.busy = busy;
    clock_event(clock, &event);
}

/* One event for each expert in use, of its share of the time, in order of their numbers' first choice. */
static void trace_experts(struct sim_clock *clock, const struct sim_step *step, uint32_t experts, uint64_t begin,
                          uint64_t end)
{
    const struct card_descriptor *d = step->d;
    const struct card_choice *choice = step->aux;
    const uint64_t uses = choice ? (uint64_t)d->tokens * d->param[0] : d->param[1];
    uint64_t seen[1024] = {0};
    uint32_t n = 0;
    for (uint64_t i = 0; i < uses && experts; i++) {
        const uint32_t expert = choice ? choice[i].expert : (uint32_t)i;
        const uint64_t bit = UINT64_C(1) << expert % 64;
        if (expert == CARD_NO_EXPERT) continue;
        if (seen[expert / 64] & bit) continue;
        seen[expert / 64] |= bit;
        struct timeline_event event = clock->at;
        event.resource = TIMELINE_MATMUL;
        event.kind = TIMELINE_EXPERT;
        event.begin = begin + (end - begin) / experts * n;
        event.end = begin + (end - begin) / experts * (n + 1);
        event.bytes = card_matrix_bytes(d->format, d->rows, d->cols);
        event.expert = expert;
        event.address = ((const card_addr *)step->weight)[expert];
        clock_event(clock, &event);
        n++;
    }
}

/* AWAIT reads slots again and again until the last one, PER_CHOICE: the first one, is there. Nothing passes it. */
static uint64_t await(struct sim_clock *clock, const struct sim_step *step, uint64_t begin)
{
    const struct sim_rates *rates = &clock->rates;
    const uint64_t poll = rates->channel[0].latency + rates->dispatch + 1,
                   written = clock_slots_written(clock, step, begin);
    const uint64_t polls = (written - begin + poll - 1) / poll + 1;
    if (written > begin) clock->waits += written - begin;
    clock->dispatched = larger(clock->dispatched, begin + polls * poll);
    return begin + polls * poll;
}

static struct timeline_event event_of(const struct sim_clock *clock, const struct sim_step *step, unsigned descriptor)
{
    return (struct timeline_event){.opcode = step->d->opcode,
                                   .program = clock->programs,
                                   .descriptor = descriptor,
                                   .tokens = step->d->tokens,
                                   .layer = clock_layer(clock, descriptor),
                                   .expert = TIMELINE_UNKNOWN,
                                   .address = step->weight ? step->d->weight : step->d->dst};
}

void sim_clock_run(struct sim_clock *clock, const struct sim_step *step, const struct sim_work *work,
                   unsigned descriptor)
{
    const struct card_descriptor *d = step->d;
    const unsigned place = clock->flights.next++ % CLOCK_FLIGHTS;
    struct clock_flight *flight = &clock->flights.flight[place];
    const struct sim_cost cost = sim_cost_of(&clock->rates.card.engine, step, work);
    const uint64_t dispatch = step->e ? 2 * clock->rates.dispatch : clock->rates.dispatch;
    clock->dispatched += dispatch;
    clock->busy[TIMELINE_DISPATCH] += dispatch;
    /* A matrix's activations are loaded while the words of the one before go by. */
    const uint64_t lead = sim_cycles(&clock->rates, cost.lead), free = clock->unit_free[cost.unit];
    uint64_t begin = larger(larger(clock->dispatched, clock->begun), free > lead ? free - lead : 0);
    begin = larger(begin, clock->flights.end[place]); /* the oldest one's place is needed */
    clock_flight_of(flight, step);
    begin = clock_flights_begin(&clock->flights, flight, begin);
    if (clock->sink.event) clock->at = event_of(clock, step, descriptor);
    const uint64_t computed = begin + sim_cycles(&clock->rates, cost.cycles);
    const uint64_t moved = move(clock, step, work, begin);
    const uint64_t end = larger(d->opcode == CARD_OP_AWAIT ? await(clock, step, begin) : computed, moved);
    clock->flights.end[place] = end;
    clock->begun = begin;
    clock->unit_free[cost.unit] = cost.tail ? larger(computed - sim_cycles(&clock->rates, cost.tail), moved) : end;
    clock->ended = larger(clock->ended, end);
    const uint64_t from = larger(begin, clock->unit_ended[cost.unit]), busy = computed > from ? computed - from : 0;
    clock->unit_ended[cost.unit] = larger(end, clock->unit_ended[cost.unit]);
    clock->busy[cost.unit] += busy;
    clock->macs += cost.unit == TIMELINE_MATMUL ? work->multiply_adds : 0;
    clock->float_adds += cost.float_adds;
    if (d->opcode == CARD_OP_ROUTER) clock_chosen(clock, end);
    if (d->opcode == CARD_OP_PUBLISH) clock_published(clock, d->dst, end);
    if (!clock->sink.event) return;
    /* The dispatcher has its time in the event of the program. */
    trace_operation(clock, cost.unit, from, larger(from, end), cost.unit == TIMELINE_DISPATCH ? 0 : busy);
    if (d->opcode == CARD_OP_EXPERT_MATMUL) trace_experts(clock, step, work->experts, from, larger(from, end));
}
