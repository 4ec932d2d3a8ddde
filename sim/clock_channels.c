/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/clock_state.h"

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void widen(struct clock_traffic *traffic, unsigned from, unsigned to)
{
    if (traffic->to == 0) traffic->from = from;
    if (from < traffic->from) traffic->from = from;
    if (to > traffic->to) traffic->to = to;
}

void clock_add_bytes(struct clock_traffic *traffic, unsigned channel, uint64_t bytes)
{
    widen(traffic, channel, channel + 1);
    traffic->bytes[channel] += bytes;
}

void clock_add_tiles(struct clock_traffic *traffic, uint32_t first, uint32_t banks, uint64_t n, uint64_t bytes)
{
    if (banks <= 1) {
        clock_add_bytes(traffic, first, n * bytes);
        return;
    }
    /* Tiles that go around once each, and those that are left, from `first` on to the last bank and on from bank 0. */
    const uint64_t each = n < banks ? 0 : n / banks * bytes, left = n < banks ? n : n % banks;
    const uint32_t end = left < banks - first ? first + (uint32_t)left : banks;
    const uint32_t around = (uint32_t)left - (end - first);
    if (each || around)
        widen(traffic, 0, banks);
    else if (left)
        widen(traffic, first, end);
    for (uint32_t b = 0; each && b < banks; b++) traffic->bytes[b] += each;
    for (uint32_t b = first; b < end; b++) traffic->bytes[b] += bytes;
    for (uint32_t b = 0; b < around; b++) traffic->bytes[b] += bytes;
}

static void trace(struct sim_clock *clock, unsigned channel, struct clock_span span, uint64_t busy, uint64_t bytes)
{
    struct timeline_event event = clock->at;
    event.resource = TIMELINE_MEMORY;
    event.kind = TIMELINE_TRAFFIC;
    event.channel = channel;
    event.begin = span.begin;
    event.end = span.end;
    event.busy = busy;
    event.bytes = bytes;
    if (busy == 0) event.opcode = 0;
    clock_event(clock, &event);
}

static uint64_t common(struct clock_span a, uint64_t begin, uint64_t end)
{
    const uint64_t from = larger(a.begin, begin), to = smaller(a.end, end);
    return to > from ? to - from : 0;
}

/* What copies take of every channel's time between begin and end. */
static uint64_t stolen(const struct sim_clock *clock, uint64_t begin, uint64_t end)
{
    const uint64_t copying = common(clock->steals[0], begin, end) + common(clock->steals[1], begin, end);
    return copying ? sim_rate(copying, clock->rates.link_share_q) : 0;
}

void clock_chosen(struct sim_clock *clock, uint64_t end)
{
    clock->router_ended = end;
    for (unsigned c = 0; c < clock->rates.channels; c++) clock->channel[c].ahead_experts = 0;
}

/*
 * Idle time until `begin` is time in which the channel reads ahead, as far as there is room. Then it does `work`, less what was
 * done ahead; the rest.
 */
static inline uint64_t work_channel(struct clock_channel *channel, enum clock_use use, uint64_t router_ended,
                                    uint64_t begin, uint64_t work)
{
    const uint64_t free = channel->busy_until, idle = begin > free ? begin - free : 0,
                   from = larger(free, router_ended);
    uint64_t ahead = smaller(channel->ahead + idle, channel->cap);
    uint64_t experts = smaller(channel->ahead_experts + (begin > from ? begin - from : 0), ahead);
    const uint64_t done = use == CLOCK_DEMAND ? 0 : smaller(work, use == CLOCK_STATIC ? ahead : experts);
    ahead -= done;
    if (use == CLOCK_EXPERTS) experts -= done;
    channel->ahead = ahead;
    channel->ahead_experts = smaller(experts, ahead);
    channel->busy_until = free + idle + (work - done);
    channel->busy += work;
    return work - done;
}

/* One channel before and after its part. */
static void trace_change(struct sim_clock *clock, unsigned c, const struct clock_channel *before,
                         const struct clock_channel *after, uint64_t begin)
{
    const uint64_t work = after->busy - before->busy, bytes = after->bytes - before->bytes;
    const uint64_t room = before->cap - before->ahead, free = before->busy_until;
    const uint64_t idle = begin > free ? begin - free : 0;
    if (idle && room) trace(clock, c, (struct clock_span){free, free + smaller(idle, room)}, 0, 0);
    trace(clock, c, (struct clock_span){larger(free, begin), after->busy_until}, work, bytes);
}

static inline uint64_t move_all(struct sim_clock *clock, enum clock_use use, bool traced, uint64_t begin)
{
    struct clock_traffic *traffic = &clock->traffic;
    const uint64_t router_ended = clock->router_ended;
    uint64_t end = begin, waited = begin, rest = 0;
    uint64_t bytes = 0, q = 0, work = 0; /* of the channel before: mostly the same */
    for (unsigned c = traffic->from; c < traffic->to; c++) {
        if (traffic->bytes[c] == 0) continue;
        struct clock_channel *channel = &clock->channel[c];
        struct clock_channel before;
        if (traced) before = *channel;
        const uint64_t rate = use == CLOCK_DEMAND ? channel->scatter_q : channel->stream_q;
        if (traffic->bytes[c] != bytes || rate != q) work = sim_rate(bytes = traffic->bytes[c], q = rate);
        traffic->bytes[c] = 0;
        channel->bytes += bytes;
        const uint64_t left = work_channel(channel, use, router_ended, begin, work);
        if (traced) trace_change(clock, c, &before, channel, begin);
        if (left == 0) continue;
        rest |= left;
        end = larger(end, channel->busy_until);
        if (left == work) waited = larger(waited, channel->busy_until + clock->rates.channel[c].latency);
    }
    traffic->from = traffic->to = 0;
    end = larger(end, waited);
    return rest ? end + stolen(clock, begin, end) : end;
}

uint64_t clock_move(struct sim_clock *clock, enum clock_use use, uint64_t begin)
{
    if (clock->sink.event) return move_all(clock, use, true, begin);
    switch (use) { /* one loop each */
    case CLOCK_STATIC: return move_all(clock, CLOCK_STATIC, false, begin);
    case CLOCK_EXPERTS: return move_all(clock, CLOCK_EXPERTS, false, begin);
    default: return move_all(clock, CLOCK_DEMAND, false, begin);
    }
}
