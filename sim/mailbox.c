/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/mailbox.h"

#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <time.h>

void sim_publish(const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    uint8_t *mailbox = step->dst;
    memcpy(mailbox + CARD_WORD_BYTES, step->src, (size_t)d->tokens * d->rows * sizeof(struct card_choice));
    __atomic_store_n((uint32_t *)(void *)mailbox, d->param[0], __ATOMIC_RELEASE);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static card_addr slot_of(const struct sim_step *step, uint64_t choice)
{
    const card_addr *slot = step->weight;
    return __atomic_load_n(&slot[((const struct card_choice *)step->aux)[choice].expert], __ATOMIC_ACQUIRE);
}

/* 0: it may still come. */
static int ask(const struct card_agent *agent, uint32_t expert, bool late, struct error *err)
{
    return agent->missing && agent->missing(agent->context, expert, late, err) ? ERROR_CARD : 0;
}

int sim_await(const struct sim_step *step, const struct card_agent *agent, struct error *err)
{
    const uint64_t choices = (uint64_t)step->d->tokens * step->d->param[0], limit = step->d->param[2];
    const uint64_t start = now_us();
    uint64_t i = 0;
    for (;;) {
        while (i < choices && slot_of(step, i) != CARD_NO_SLOT) i++;
        if (i == choices) return 0;
        const uint32_t expert = ((const struct card_choice *)step->aux)[i].expert;
        const uint64_t waited = now_us() - start;
        if (ask(agent, expert, waited >= limit, err)) return ERROR_CARD;
        if (waited >= limit) {
            return error_set(err, ERROR_CARD, "expert %u: no slot after %" PRIu64 " microseconds", expert, waited);
        }
        sched_yield(); /* who brings the expert may need this core */
    }
}
