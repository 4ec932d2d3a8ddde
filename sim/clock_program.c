/* SPDX-License-Identifier: Apache-2.0 */
/* What the clock charges for a descriptor. */
#include "sim/clock_state.h"
#include "sim/expert_set.h"

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* ---- when ---- */

/* Adds what is kept of the charge to the traffic. */
static void add_stretches(struct clock_traffic *traffic, const struct clock_stretch *stretch, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        for (uint32_t c = stretch[i].from; c < stretch[i].to; c++) clock_add_bytes(traffic, c, stretch[i].bytes);
}

/* The memory's part of the descriptor, from begin on; experts since their ROUTER ended. */
static uint64_t move(struct sim_clock *clock, const struct clock_charge *charge, const struct clock_note *note,
                     uint64_t begin)
{
    const struct clock_stretch *demand = charge->stretch + charge->n_static;
    uint64_t end = begin;
    if (charge->n_static) end = clock_move(clock, CLOCK_STATIC, charge->stretch, charge->n_static, begin);
    if (note && charge->d.opcode == CARD_OP_EXPERT_MATMUL) {
        clock_add_experts(clock, &charge->d, note);
        end = larger(end, clock_move_traffic(clock, CLOCK_EXPERTS, begin));
    } else if (note) {
        clock_add_tiles(&clock->traffic, note->first, note->banks, note->n, note->bytes);
        add_stretches(&clock->traffic, demand, charge->n_demand);
        return larger(end, clock_move_traffic(clock, CLOCK_DEMAND, begin));
    }
    return charge->n_demand ? larger(end, clock_move(clock, CLOCK_DEMAND, demand, charge->n_demand, begin)) : end;
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
    struct expert_set met;
    uint32_t n = 0;
    expert_set_clear(&met, d->param[1]);
    for (uint64_t i = 0; i < uses && experts; i++) {
        const uint32_t expert = choice ? choice[i].expert : (uint32_t)i;
        if (expert == CARD_NO_EXPERT || !expert_set_add(&met, expert)) continue;
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

/* AWAIT reads slots again and again until the last one, PER_CHOICE: as many as it asks for, is there. Nothing passes it. */
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

/* When the descriptor may begin that the dispatcher has come to: with its unit, and behind those that it depends on. */
static uint64_t begin_of(const struct sim_clock *clock, const struct clock_charge *charge)
{
    /* A matrix's activations are loaded while the words of the one before go by. */
    const struct clock_flights *flights = &clock->flights;
    const uint64_t free = clock->unit_free[charge->unit];
    uint64_t begin = larger(clock->dispatched, clock->begun);
    begin = larger(begin, free > charge->lead ? free - charge->lead : 0);
    begin = larger(begin, flights->end[flights->next % CLOCK_FLIGHTS]); /* the oldest one's place is needed */
    for (unsigned before = charge->before; before; before &= before - 1)
        begin = larger(begin, flights->end[(flights->next - 1 - (unsigned)__builtin_ctz(before)) % CLOCK_FLIGHTS]);
    return begin;
}

static void trace_descriptor(struct sim_clock *clock, const struct clock_charge *charge, const struct clock_note *note,
                             const struct sim_step *step, struct clock_span span, uint64_t busy)
{
    /* The dispatcher has its time in the event of the program. */
    trace_operation(clock, charge->unit, span.begin, span.end, charge->unit == TIMELINE_DISPATCH ? 0 : busy);
    if (charge->d.opcode == CARD_OP_EXPERT_MATMUL) trace_experts(clock, step, note->work.experts, span.begin, span.end);
}

/* step: NULL if it is not at hand. */
static void charge_descriptor(struct sim_clock *clock, unsigned descriptor, const struct card_descriptor *d,
                              const struct card_descriptor *e, const struct clock_note *note,
                              const struct sim_step *step)
{
    const struct clock_charge *charge = clock_charge_of(clock, descriptor, d, e, note);
    struct clock_flights *flights = &clock->flights;
    const unsigned unit = charge->unit;
    const uint64_t dispatch = e ? 2 * clock->rates.dispatch : clock->rates.dispatch;
    clock->dispatched += dispatch;
    clock->busy[TIMELINE_DISPATCH] += dispatch;
    const uint64_t begin = begin_of(clock, charge), computed = begin + charge->computed;
    if (clock->sink.event) clock->at = event_of(clock, step, descriptor);
    const uint64_t moved = move(clock, charge, note, begin);
    const uint64_t end = larger(d->opcode == CARD_OP_AWAIT ? await(clock, step, begin) : computed, moved);
    flights->flight[flights->next % CLOCK_FLIGHTS] = &charge->flight;
    flights->end[flights->next++ % CLOCK_FLIGHTS] = end;
    flights->n++;
    clock->begun = begin;
    clock->unit_free[unit] = charge->tail ? larger(computed - charge->tail, moved) : end;
    clock->ended = larger(clock->ended, end);
    const uint64_t from = larger(begin, clock->unit_ended[unit]), busy = computed > from ? computed - from : 0;
    clock->unit_ended[unit] = larger(end, clock->unit_ended[unit]);
    clock->busy[unit] += busy;
    *(unit == TIMELINE_MATMUL ? &clock->macs : &clock->float_adds) += charge->adds;
    clock->on_chip_bytes += charge->activation_bytes + charge->weight_bytes;
    if (d->opcode == CARD_OP_ROUTER) clock_chosen(clock, end);
    /* What comes next may be passed over, this time or the last: who waits for whom is found anew. */
    if (d->opcode == CARD_OP_AWAIT && d->param[3] != 0) clock->changed = CLOCK_FLIGHTS;
    if (d->opcode == CARD_OP_PUBLISH) clock_published(clock, d->dst, end);
    if (clock->sink.event)
        trace_descriptor(clock, charge, note, step, (struct clock_span){from, larger(from, end)}, busy);
}

void clock_catch_up(struct sim_clock *clock, const struct sim_step *step)
{
    const struct clock_note *note = clock->note, *end = note + clock->n_notes;
    const unsigned last = step ? clock->past - (step->e ? 2 : 1) : clock->past;
    while (clock->charged < clock->past) {
        const unsigned i = clock->charged;
        const struct sim_step *at_hand = i == last ? step : NULL;
        const struct card_descriptor *d = at_hand ? step->d : &clock->program[i], *e = card_extension(d);
        const bool is_noted = note < end && note->descriptor == i;
        clock->charged += e ? 2 : 1;
        charge_descriptor(clock, i, d, e, is_noted ? note : NULL, at_hand);
        note += is_noted;
    }
    clock->n_notes = 0;
}

void sim_clock_pass_over(struct sim_clock *clock, unsigned next)
{
    clock->charged = clock->past = next; /* the AWAIT before it was charged as it ran */
}

void sim_clock_run(struct sim_clock *clock, const struct sim_step *step, const struct sim_work *work,
                   unsigned descriptor)
{
    const unsigned opcode = step->d->opcode;
    if (opcode == CARD_OP_EXPERT_MATMUL || clock_has_pages(opcode)) {
        struct clock_note *note = &clock->note[clock->n_notes++];
        note->descriptor = descriptor;
        note->work = *work;
        if (opcode == CARD_OP_EXPERT_MATMUL)
            clock_note_experts(note, step);
        else
            clock_note_pages(note, step);
    }
    clock->past = descriptor + (step->e ? 2 : 1);
    if (opcode == CARD_OP_AWAIT || opcode == CARD_OP_PUBLISH || clock->n_notes == CLOCK_NOTES || clock->sink.event)
        clock_catch_up(clock, step);
}
