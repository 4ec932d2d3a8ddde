/* SPDX-License-Identifier: Apache-2.0 */
/* AWAIT: the slot table is read again and again until the host has put the experts there. */
#include "kernels/hls/hls_engine.h"
#include "kernels/hls/hls_memory.h"

/*
 * Polls that make a microsecond. The engine has no clock but its own: a poll reads one slot, and a read by a port takes
 * 75 cycles at 300 MHz or more (64 of latency, as HLS_PORT says, and the loop's own), so four take a microsecond at
 * least. Memory that answers later makes the wait longer, never shorter.
 */
#define POLLS_A_MICROSECOND 4ull

/* A port that somebody else writes: nothing read before may stand for what is there now. */
static uint64_t slot_at(const volatile struct hls_word *port, uint64_t offset)
{
    HLS_INLINE
    const struct hls_word word = port[offset / CARD_WORD_BYTES];
    const uint32_t l = (uint32_t)(offset / 4 % HLS_LANES); /* even: slot tables lie at multiples of 8 */
    return (uint64_t)word.lane[l + 1] << 32 | word.lane[l];
}

static uint64_t poll_slot(HLS_BANKS, card_addr at)
{
    HLS_NO_INLINE
    switch (CARD_ADDR_BANK(at)) {
    case 0: return slot_at(bank0, CARD_ADDR_OFFSET(at));
    case 1: return slot_at(bank1, CARD_ADDR_OFFSET(at));
    case 2: return slot_at(bank2, CARD_ADDR_OFFSET(at));
    default: return slot_at(bank3, CARD_ADDR_OFFSET(at));
    }
}

/* Whether the slot is filled before the polls run out; takes those that it needs off them. One look is free. */
static int await_slot(HLS_BANKS, card_addr at, uint64_t *polls)
{
    const uint64_t most = *polls;
    int there = 0;
await_polls:
    for (uint64_t i = 0; i <= most && !there; i++) {
        HLS_TRIPS(1, 4000000)
        there = poll_slot(HLS_BANK_ARGS, at) != CARD_NO_SLOT;
        *polls = most - i;
    }
    return there;
}

static struct hls_fault await_all(HLS_BANKS, const struct hls_step *step, uint32_t *asked)
{
    HLS_NO_INLINE
    struct hls_word choice[HLS_WINDOW / 8];
    struct hls_fault fault = {HLS_OK, 0, 0};
    const uint32_t choices = step->tokens * step->param[0];
    uint64_t polls = POLLS_A_MICROSECOND * step->param[2];
await_windows:
    for (uint32_t base = 0; base < choices && fault.status == HLS_OK; base += HLS_WINDOW) {
        HLS_TRIPS(1, 16384)
        const uint32_t count = hls_min(choices - base, HLS_WINDOW);
        hls_load(HLS_BANK_ARGS, step->aux + 8ull * base, 2 * count, choice);
    await_choices:
        for (uint32_t i = 0; i < count && fault.status == HLS_OK; i++) {
            HLS_TRIPS(1, 64)
            const uint32_t expert = choice[i / 8].lane[i % 8 * 2];
            const struct hls_fault late = {HLS_AWAIT, base + i, expert};
            if (expert != CARD_NO_EXPERT) {
                *asked = *asked + 1;
                if (!await_slot(HLS_BANK_ARGS, step->weight + 8ull * expert, &polls)) fault = late;
            }
        }
    }
    return fault;
}

/* What one look over the choices has found: how many ask for an expert, have a slot, have none; the first of the last. */
struct look {
    uint32_t asked, there, left;
    struct hls_fault late;
};

/* Sorts the choices of a window: each into both lists of the result, one of which gets its expert and the other none. */
static void take_window(HLS_BANKS, const struct hls_step *step, uint32_t base, uint32_t count, struct look *look)
{
    HLS_NO_INLINE
    struct hls_word choice[HLS_WINDOW / 8], there[HLS_WINDOW / 8], left[HLS_WINDOW / 8];
    const uint64_t all = 8ull * step->tokens * step->param[0];
    hls_load(HLS_BANK_ARGS, step->aux + 8ull * base, 2 * count, choice);
sort_choices:
    for (uint32_t i = 0; i < count; i++) {
        HLS_TRIPS(1, 64)
        const uint32_t w = i / 8, l = i % 8 * 2, expert = choice[w].lane[l], weight = choice[w].lane[l + 1];
        const struct hls_fault late = {HLS_AWAIT, base + i, expert};
        const int asks = expert != CARD_NO_EXPERT;
        const int has_slot = asks && poll_slot(HLS_BANK_ARGS, step->weight + 8ull * expert) != CARD_NO_SLOT;
        if (asks && !has_slot && look->left == 0) look->late = late;
        look->asked += asks ? 1u : 0u;
        look->there += has_slot ? 1u : 0u;
        look->left += asks && !has_slot ? 1u : 0u;
        there[w].lane[l] = has_slot ? expert : CARD_NO_EXPERT;
        there[w].lane[l + 1] = has_slot ? weight : 0u;
        left[w].lane[l] = has_slot ? CARD_NO_EXPERT : expert;
        left[w].lane[l + 1] = asks && !has_slot ? weight : 0u;
    }
    hls_store(HLS_BANK_ARGS, step->dst + 8ull * base, 2 * count, there);
    hls_store(HLS_BANK_ARGS, step->dst + all + 8ull * base, 2 * count, left);
}

static struct hls_fault await_some(HLS_BANKS, const struct hls_step *step, uint32_t *asked)
{
    HLS_NO_INLINE
    const uint32_t choices = step->tokens * step->param[0];
    uint64_t polls = POLLS_A_MICROSECOND * step->param[2];
    struct look look = {1, 0, 1, {HLS_OK, 0, 0}};
await_looks:
    for (uint32_t i = 0; look.there < card_await_least(look.asked, step->rows) && (i == 0 || polls != 0); i = 1) {
        HLS_TRIPS(1, 4000000)
        look.asked = look.there = look.left = 0;
    look_windows:
        for (uint32_t base = 0; base < choices; base += HLS_WINDOW) {
            HLS_TRIPS(1, 16384)
            take_window(HLS_BANK_ARGS, step, base, hls_min(choices - base, HLS_WINDOW), &look);
        }
        polls -= polls < choices ? polls : choices;
    }
    *asked = look.asked;
    if (look.there < card_await_least(look.asked, step->rows)) return look.late;
    const struct hls_fault none = {HLS_OK, 0, 0};
    return none;
}

struct hls_fault hls_await(HLS_BANKS, const struct hls_step *step, uint32_t *asked)
{
    HLS_NO_INLINE
    *asked = 0;
    if ((step->flags & CARD_FLAG_PER_CHOICE) != 0) return await_some(HLS_BANK_ARGS, step, asked);
    return await_all(HLS_BANK_ARGS, step, asked);
}
