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

uint64_t clock_slots_written(struct sim_clock *clock, const struct sim_step *step, uint64_t begin)
{
    const struct card_descriptor *d = step->d;
    const struct card_choice *choice = step->aux;
    pthread_mutex_lock(&clock->lock);
    for (uint64_t i = 0; i < (uint64_t)d->tokens * d->param[0]; i++) {
        const card_addr entry = d->weight + choice[i].expert * sizeof(card_addr);
        begin = larger(begin, stamp(&clock->slot[place(entry, 3, CLOCK_SLOTS)], entry));
    }
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
