/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUBLISH and AWAIT in virtual time. What the second thread does in real time between its polls does not count: it learns
 * of a PUBLISH by the read that finds it, which is charged as one copy from the PUBLISH's end on; reads in vain cost
 * nothing. Times are kept by address in tables without chains: an address that falls on another's place takes it, and
 * the one that lost it counts as written long ago.
 */
#include "sim/clock_state.h"

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Mailboxes are multiples of 64, slots of 8: Knuth's multiplicative hash of what is left (TAOCP 3, 6.4). */
static unsigned place(card_addr address, unsigned shift, unsigned places)
{
    return (unsigned)((address >> shift) * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (places - 1);
}

static uint64_t stamp(const struct clock_stamp *stamp_of, card_addr address)
{
    return stamp_of->address == address ? stamp_of->at : 0;
}

void clock_published(struct sim_clock *clock, card_addr mailbox, uint64_t end)
{
    pthread_mutex_lock(&clock->lock);
    clock->mailbox[place(mailbox, 6, CLOCK_MAILBOXES)] = (struct clock_stamp){mailbox, end};
    pthread_mutex_unlock(&clock->lock);
}

/* When the choice's entry was written; 0 for none. */
static uint64_t entry_written(const struct sim_clock *clock, const struct sim_step *step, uint64_t choice)
{
    const uint32_t expert = ((const struct card_choice *)step->aux)[choice].expert;
    const card_addr entry = step->d->weight + (uint64_t)expert * sizeof(card_addr);
    return expert == CARD_NO_EXPERT ? 0 : stamp(&clock->slot[place(entry, 3, CLOCK_SLOTS)], entry);
}

/* PER_CHOICE: when as many of the choices' entries were written as it waits for, `now` at least. */
static uint64_t enough_written(const struct sim_clock *clock, const struct sim_step *step, uint64_t now)
{
    const uint64_t n = (uint64_t)step->d->tokens * step->d->param[0];
    const struct card_choice *choice = step->aux;
    for (;;) {
        uint64_t asked = 0, there = 0, next = UINT64_MAX;
        for (uint64_t i = 0; i < n; i++) {
            const uint64_t at = entry_written(clock, step, i);
            if (choice[i].expert == CARD_NO_EXPERT) continue;
            asked++;
            there += at <= now;
            if (at > now && at < next) next = at;
        }
        if (there >= card_await_least(asked, step->d->rows)) return now;
        now = next; /* there is one: not all are there */
    }
}

/* PER_CHOICE: those that are there at `now` to dst, the others behind them; when the last of those that are was written. */
static uint64_t take_written(const struct sim_clock *clock, const struct sim_step *step, uint64_t now)
{
    const uint64_t n = (uint64_t)step->d->tokens * step->d->param[0];
    const struct card_choice *choice = step->aux, none = {.expert = CARD_NO_EXPERT};
    struct card_choice *taken = step->dst;
    uint64_t last = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t at = entry_written(clock, step, i);
        const bool asks = choice[i].expert != CARD_NO_EXPERT;
        taken[i] = asks && at <= now ? choice[i] : none;
        taken[n + i] = at <= now ? none : choice[i];
        if (at <= now) last = larger(last, at);
    }
    return last;
}

uint64_t clock_slots_written(struct sim_clock *clock, const struct sim_step *step, uint64_t begin)
{
    const struct card_descriptor *d = step->d;
    uint64_t last = 0;
    pthread_mutex_lock(&clock->lock);
    if (d->flags & CARD_FLAG_PER_CHOICE) {
        begin = enough_written(clock, step, begin);
        last = take_written(clock, step, begin);
    } else {
        for (uint64_t i = 0; i < (uint64_t)d->tokens * d->param[0]; i++)
            last = larger(last, entry_written(clock, step, i));
    }
    begin = larger(begin, last);
    /* Nothing of them can be read ahead before it is there. */
    if (last > clock->router_ended) clock_chosen(clock, last);
    clock->steals[0] = clock->copying[0];
    clock->steals[1] = clock->copying[1];
    pthread_mutex_unlock(&clock->lock);
    return begin;
}

bool clock_second_begin(struct sim_clock *clock, enum sim_clock_copy direction, card_addr address, uint64_t bytes,
                        uint64_t *begin)
{
    *begin = clock->second_now;
    if (direction != SIM_CLOCK_READ || bytes != sizeof(uint32_t)) return true;
    struct clock_stamp *published = &clock->mailbox[place(address, 6, CLOCK_MAILBOXES)];
    if (published->address != address || published->at == 0) return false;
    *begin = larger(*begin, published->at);
    published->at = 0;
    return true;
}

void clock_second_end(struct sim_clock *clock, enum sim_clock_copy direction, card_addr address, uint64_t bytes,
                      uint64_t end)
{
    clock->second_now = end;
    if (direction == SIM_CLOCK_WRITE && bytes == sizeof(card_addr))
        clock->slot[place(address, 3, CLOCK_SLOTS)] = (struct clock_stamp){address, end};
}
