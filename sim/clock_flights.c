/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/clock_state.h"

/* A dealt operand is taken as the same stretch of all its banks: more than it has by less than two tiles. */
static void find_range(struct clock_range *range, const struct card_operand *operand)
{
    const uint32_t bank = CARD_ADDR_BANK(operand->address);
    range->from = CARD_ADDR_OFFSET(operand->address);
    if (operand->banks <= 1) {
        range->banks = UINT64_C(1) << bank % 64;
        range->to = range->from + operand->bytes;
        return;
    }
    range->banks = UINT64_MAX >> (64 - operand->banks);
    range->to = range->from + clock_divided(operand->bytes, operand->banks) + 2 * operand->tile_bytes;
}

void clock_flight_of(struct clock_flight *flight, const struct sim_step *step)
{
    const struct card_operand *operand = step->operand;
    unsigned n = 0;
    if (operand[CARD_DST].field) find_range(&flight->range[n++], &operand[CARD_DST]);
    if (step->e && operand[CARD_E_DST].field) find_range(&flight->range[n++], &operand[CARD_E_DST]);
    flight->n_writes = n;
    for (unsigned p = CARD_SRC; p <= CARD_AUX; p++)
        if (operand[p].field) find_range(&flight->range[n++], &operand[p]);
    for (unsigned p = CARD_E_SRC; step->e && p <= CARD_E_AUX; p++)
        if (operand[p].field) find_range(&flight->range[n++], &operand[p]);
    flight->n = n;
}

static bool overlap(const struct clock_range *a, const struct clock_range *b)
{
    return (a->banks & b->banks) && a->from < b->to && b->from < a->to;
}

/* One of them writes what the other reads or writes. */
static bool depend(const struct clock_flight *earlier, const struct clock_flight *later)
{
    for (unsigned i = 0; i < earlier->n; i++) {
        const unsigned n = i < earlier->n_writes ? later->n : later->n_writes;
        for (unsigned k = 0; k < n; k++)
            if (overlap(&earlier->range[i], &later->range[k])) return true;
    }
    return false;
}

unsigned clock_flights_before(const struct clock_flights *flights, const struct clock_flight *flight)
{
    unsigned before = 0;
    for (unsigned i = 1; i < CLOCK_FLIGHTS && i <= flights->n; i++)
        if (depend(flights->flight[(flights->next - i) % CLOCK_FLIGHTS], flight)) before |= 1u << (i - 1);
    return before;
}
