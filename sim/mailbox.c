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

/* Who brings the expert may need this core: yielding is not enough where others of another priority are at work. */
static void give_way(uint64_t waited_us)
{
    const struct timespec moment = {.tv_nsec = 20000};
    if (waited_us < 200)
        sched_yield();
    else
        nanosleep(&moment, NULL);
}

/* What an AWAIT waits for. */
struct wait {
    const struct card_choice *choices;
    uint64_t n;
    const card_addr *slots;
    const struct card_agent *agent;
    uint64_t start, limit; /* microseconds */
};

static bool has_slot(const struct wait *wait, uint64_t choice)
{
    const uint32_t expert = wait->choices[choice].expert;
    return expert == CARD_NO_EXPERT || __atomic_load_n(&wait->slots[expert], __ATOMIC_ACQUIRE) != CARD_NO_SLOT;
}

/* The expert has no slot. 0: it may still come, and who brings it has had this core. */
static int stay(const struct wait *wait, uint32_t expert, struct error *err)
{
    const uint64_t waited = now_us() - wait->start;
    const bool late = waited >= wait->limit;
    if (wait->agent->missing && wait->agent->missing(wait->agent->context, expert, late, err)) return ERROR_CARD;
    if (late) return error_set(err, ERROR_CARD, "expert %u: no slot after %" PRIu64 " microseconds", expert, waited);
    give_way(waited);
    return 0;
}

static int await_all(const struct wait *wait, struct error *err)
{
    for (uint64_t i = 0;;) {
        while (i < wait->n && has_slot(wait, i)) i++;
        if (i == wait->n) return 0;
        if (stay(wait, wait->choices[i].expert, err)) return ERROR_CARD;
    }
}

/* Those that have a slot now to taken, the others behind them; whether they are enough, and an expert of the others. */
static bool take(const struct wait *wait, uint32_t share, struct card_choice *taken, uint32_t *left)
{
    const struct card_choice none = {.expert = CARD_NO_EXPERT};
    uint64_t n = 0, asked = 0;
    *left = CARD_NO_EXPERT;
    for (uint64_t i = 0; i < wait->n; i++) {
        const struct card_choice choice = wait->choices[i];
        const bool asks = choice.expert != CARD_NO_EXPERT, there = asks && has_slot(wait, i);
        taken[i] = there ? choice : none;
        taken[wait->n + i] = asks && !there ? choice : none;
        n += there;
        asked += asks;
        if (asks && !there && *left == CARD_NO_EXPERT) *left = choice.expert;
    }
    return n >= card_await_least(asked, share);
}

static int await_some(const struct wait *wait, uint32_t share, struct card_choice *taken, struct error *err)
{
    uint32_t left;
    while (!take(wait, share, taken, &left))
        if (stay(wait, left, err)) return ERROR_CARD;
    return 0;
}

int sim_await(const struct sim_step *step, const struct card_agent *agent, bool is_taken, struct error *err)
{
    const struct card_descriptor *d = step->d;
    const struct wait wait = {
        .choices = is_taken ? step->dst : step->aux,
        .n = (uint64_t)d->tokens * d->param[0],
        .slots = step->weight,
        .agent = agent,
        .start = now_us(),
        .limit = d->param[2],
    };
    if (is_taken || !(d->flags & CARD_FLAG_PER_CHOICE)) return await_all(&wait, err);
    return await_some(&wait, d->rows, step->dst, err);
}

unsigned sim_passed_over(const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    const struct card_choice *choice = step->aux;
    for (uint64_t i = 0; i < (uint64_t)d->tokens * d->param[0]; i++)
        if (choice[i].expert != CARD_NO_EXPERT) return 0;
    return d->param[3];
}
