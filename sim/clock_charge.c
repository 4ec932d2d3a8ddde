/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/clock_state.h"

#include <stdlib.h>
#include <string.h>

#define AHEAD 4u /* charges that are on their way from memory while one is worked on */

/* ---- programs ---- */

/* Those of a program like this one, or else those that have not been used for longest. */
static struct clock_charges *find_charges(struct sim_clock *clock, unsigned n, unsigned tokens)
{
    struct clock_charges *oldest = &clock->kept[0];
    for (unsigned i = 0; i < CLOCK_PROGRAMS; i++) {
        struct clock_charges *kept = &clock->kept[i];
        if (kept->n == n && kept->tokens == tokens) return kept;
        if (kept->used < oldest->used) oldest = kept;
    }
    return oldest;
}

/* Nothing is known of n descriptors. */
static int clear(struct clock_charges *charges, unsigned n, struct error *err)
{
    charges->n = 0;
    if (charges->capacity < n) {
        free(charges->charge);
        charges->capacity = 0;
        charges->charge = aligned_alloc(64, (size_t)n * sizeof *charges->charge);
        if (!charges->charge) return error_set(err, ERROR_NO_MEMORY, "virtual clock: no memory for a program");
        charges->capacity = n;
    }
    for (unsigned i = 0; i < n; i++) charges->charge[i].d = (struct card_descriptor){0};
    charges->n = n;
    return 0;
}

int clock_charges_begin(struct sim_clock *clock, const struct card_descriptor *program, unsigned n, struct error *err)
{
    const unsigned tokens = n ? program[0].tokens : 0;
    struct clock_charges *charges = find_charges(clock, n, tokens);
    if (charges->n != n) {
        int rc = clear(charges, n, err);
        if (rc) return rc;
    }
    charges->tokens = tokens;
    charges->used = clock->programs + 1;
    clock->charges = charges;
    clock->program = program;
    clock->charged = clock->past = clock->n_notes = 0;
    clock->changed = clock->flights.n = 0;
    return 0;
}

void clock_charges_end(struct sim_clock *clock)
{
    /* Of a program that failed on its way, what each waits for is known for a part only. */
    if (clock->past != clock->charges->n) clock->charges->n = 0;
}

void clock_charges_close(struct sim_clock *clock)
{
    for (unsigned i = 0; i < CLOCK_PROGRAMS; i++) free(clock->kept[i].charge);
}

/* ---- descriptors ---- */

static uint64_t word(const struct card_descriptor *d, unsigned i)
{
    uint64_t value;
    memcpy(&value, (const char *)d + i * sizeof value, sizeof value);
    return value;
}

static bool same(const struct card_descriptor *a, const struct card_descriptor *b)
{
    _Static_assert(sizeof *a == 8 * sizeof(uint64_t), "all words are compared");
    return ((word(a, 0) ^ word(b, 0)) | (word(a, 1) ^ word(b, 1)) | (word(a, 2) ^ word(b, 2)) |
            (word(a, 3) ^ word(b, 3)) | (word(a, 4) ^ word(b, 4)) | (word(a, 5) ^ word(b, 5)) |
            (word(a, 6) ^ word(b, 6)) | (word(a, 7) ^ word(b, 7))) == 0;
}

/* What of the work depends on tables and changes the cost: positions of one kind of descriptor, experts and rows of another. */
static uint64_t found_in_tables(const struct sim_work *work)
{
    return work->positions + work->experts + (work->rows << 20);
}

static void find_cost(const struct sim_rates *rates, struct clock_charge *charge, const struct sim_step *step,
                      const struct sim_work *work)
{
    const struct sim_cost cost = sim_cost_of(&rates->card.engine, step, work);
    charge->found = found_in_tables(work);
    charge->unit = (uint8_t)cost.unit;
    charge->computed = sim_cycles(rates, cost.cycles);
    charge->lead = sim_cycles(rates, cost.lead);
    charge->tail = sim_cycles(rates, cost.tail);
    charge->adds = cost.unit == TIMELINE_MATMUL ? work->multiply_adds : cost.float_adds;
    charge->weight_bytes = work->weight_bytes;
}

static void find_traffic(struct sim_clock *clock, struct clock_charge *charge, const struct sim_step *step)
{
    struct clock_stretch stretch[PROFILE_CHANNELS];
    clock_add_weights(clock, step);
    unsigned n = clock_stretches(clock, CLOCK_STATIC, stretch);
    memcpy(charge->stretch, stretch, n * sizeof *stretch);
    charge->n_static = (uint8_t)n;
    charge->activation_bytes = clock_add_activations(clock, step);
    n = clock_stretches(clock, CLOCK_DEMAND, stretch);
    memcpy(charge->stretch + charge->n_static, stretch, n * sizeof *stretch);
    charge->n_demand = (uint8_t)n;
}

static void make(struct sim_clock *clock, struct clock_charge *charge, const struct card_descriptor *d,
                 const struct card_descriptor *e, const struct clock_note *note)
{
    struct sim_step step = {.d = d, .e = e}; /* no more of it is asked for where no table is read */
    card_find_operands(d, e, step.operand);
    const struct sim_work work = note ? note->work : sim_work_of(&step);
    charge->d = *d;
    if (e) charge->e = *e;
    find_cost(&clock->rates, charge, &step, &work);
    find_traffic(clock, charge, &step);
    clock_flight_of(&charge->flight, &step);
}

static void ask_for(const struct clock_charge *charge)
{
    for (unsigned line = 0; line < 3; line++) __builtin_prefetch((const char *)charge + (size_t)line * 64);
}

const struct clock_charge *clock_charge_of(struct sim_clock *clock, unsigned descriptor,
                                           const struct card_descriptor *d, const struct card_descriptor *e,
                                           const struct clock_note *note)
{
    struct clock_charge *charge = &clock->charges->charge[descriptor];
    if (descriptor + AHEAD < clock->charges->n) ask_for(charge + AHEAD);
    if (!same(&charge->d, d) || (e && !same(&charge->e, e))) {
        make(clock, charge, d, e, note);
        clock->changed = CLOCK_FLIGHTS; /* this one and those that may wait for it */
    } else if (note && charge->found != found_in_tables(&note->work)) {
        const struct sim_step step = {.d = d, .e = e};
        find_cost(&clock->rates, charge, &step, &note->work);
    }
    if (clock->changed) {
        charge->before = (uint8_t)clock_flights_before(&clock->flights, &charge->flight);
        clock->changed--;
    }
    return charge;
}
