/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/clock_stream.h"

#include "sim/clock_state.h"

#define MAILBOX_READ 4096u /* of a mailbox comes with its first word */

static const struct sim_clock_order no_order;

void sim_clock_answer(struct sim_clock *clock, card_addr mailbox, uint64_t n_choices)
{
    const uint64_t bytes = CARD_WORD_BYTES + n_choices * sizeof(struct card_choice);
    (void)sim_clock_copy(clock, SIM_CLOCK_READ, &no_order, mailbox, sizeof(uint32_t), NULL);
    if (bytes > MAILBOX_READ)
        (void)sim_clock_copy(clock, SIM_CLOCK_READ, &no_order, mailbox + MAILBOX_READ, bytes - MAILBOX_READ, NULL);
    pthread_mutex_lock(&clock->lock);
    clock->second_now += clock->rates.host.decision_ps;
    pthread_mutex_unlock(&clock->lock);
}

void sim_clock_stream(struct sim_clock *clock, card_addr address, uint64_t bytes, const card_addr *entries, unsigned n)
{
    pthread_mutex_lock(&clock->lock);
    const uint64_t now = clock->second_now;
    pthread_mutex_unlock(&clock->lock);
    (void)sim_clock_copy(clock, SIM_CLOCK_WRITE, &no_order, address, bytes, NULL);
    pthread_mutex_lock(&clock->lock);
    const uint64_t end = clock->second_now;
    for (unsigned i = 0; i < n; i++) clock_second_end(clock, SIM_CLOCK_WRITE, entries[i], sizeof(card_addr), end);
    clock->second_now = now;
    pthread_mutex_unlock(&clock->lock);
}
