/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/vector_clones.h"
#include "sim/clock_state.h"

#define LANES 16u /* channels that are charged together */

static inline uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }
static inline uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

void clock_channels_open(struct clock_channels *channels, const struct sim_rates *rates)
{
    uint64_t slowest = 1;
    for (unsigned c = 0; c < rates->channels; c++) {
        const struct sim_channel_rates *rate = &rates->channel[c];
        channels->stream_q[c] = rate->stream_q;
        channels->scatter_q[c] = rate->scatter_q;
        channels->cap[c] = rate->cap;
        channels->latency[c] = rate->latency;
        slowest = larger(slowest, larger(rate->stream_q, rate->scatter_q));
    }
    channels->few_bytes = sim_few(slowest);
}

/* ---- traffic ---- */

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
    /* Tiles that go around once each, and those that are left, from `first` on to the last bank and on from the first one. */
    const uint32_t base = card_first_bank(first, banks), behind = base + banks;
    const uint64_t rounds = clock_divided(n, banks), each = rounds * bytes, left = n - rounds * banks;
    const uint32_t end = left < behind - first ? first + (uint32_t)left : behind;
    const uint32_t around = base + (uint32_t)left - (end - first);
    if (each || around > base)
        widen(traffic, base, behind);
    else if (left)
        widen(traffic, first, end);
    for (uint32_t b = base; each && b < behind; b++) traffic->bytes[b] += each;
    for (uint32_t b = first; b < end; b++) traffic->bytes[b] += bytes;
    for (uint32_t b = base; b < around; b++) traffic->bytes[b] += bytes;
}

unsigned clock_stretches(struct sim_clock *clock, enum clock_use use, struct clock_stretch *stretch)
{
    struct clock_traffic *traffic = &clock->traffic;
    const uint64_t *rate = use == CLOCK_DEMAND ? clock->channels.scatter_q : clock->channels.stream_q;
    unsigned n = 0;
    uint64_t bytes = 0, q = 0; /* of the last stretch */
    for (unsigned c = traffic->from; c < traffic->to; c++) {
        const uint64_t more = traffic->bytes[c];
        if (more == 0) continue;
        traffic->bytes[c] = 0;
        if (more == bytes && rate[c] == q && stretch[n - 1].to == c) {
            stretch[n - 1].to = c + 1;
            continue;
        }
        bytes = more;
        q = rate[c];
        stretch[n++] = (struct clock_stretch){c, c + 1, bytes, sim_rate(bytes, q)};
    }
    traffic->from = traffic->to = 0;
    return n;
}

/* ---- copies beside it ---- */

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
    for (unsigned c = 0; c < PROFILE_CHANNELS; c++) clock->channels.ahead_experts[c] = 0;
}

/* ---- work ---- */

/* From when on a channel may work. */
struct job {
    uint64_t router_ended, begin;
};

/* The latest end of a channel that had work left, 0 if none had; and of one that had read nothing ahead, with its latency. */
struct reach {
    uint64_t end, waited;
};

/*
 * Idle time until `begin` is time in which the channel reads ahead, as far as there is room. Then it does the work, less what was
 * done ahead.
 */
static void work_channel(struct clock_channels *channels, unsigned c, enum clock_use use, struct job job,
                         const struct clock_stretch *stretch, struct reach *reach)
{
    const uint64_t work = stretch->work;
    const uint64_t free = channels->busy_until[c], start = larger(free, job.begin),
                   from = larger(free, job.router_ended);
    uint64_t ahead = smaller(channels->ahead[c] + (start - free), channels->cap[c]);
    uint64_t experts = smaller(channels->ahead_experts[c] + (larger(from, job.begin) - from), ahead);
    const uint64_t done = use == CLOCK_DEMAND ? 0 : smaller(work, use == CLOCK_STATIC ? ahead : experts);
    const uint64_t left = work - done;
    ahead -= done;
    if (use == CLOCK_EXPERTS) experts -= done;
    channels->ahead[c] = ahead;
    channels->ahead_experts[c] = smaller(experts, ahead);
    channels->busy_until[c] = start + left;
    channels->busy[c] += work;
    channels->bytes[c] += stretch->bytes;
    if (left == 0) return;
    reach->end = larger(reach->end, start + left);
    if (left == work) reach->waited = larger(reach->waited, start + left + channels->latency[c]);
}

/* ---- the same for many channels ---- */

/* No branches in what follows: vector units take its loops over LANES channels as they are. */
#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t mask(bool is_set) { return -(uint64_t)is_set; }
INLINE uint64_t pick(uint64_t mask_of_a, uint64_t a, uint64_t b) { return (a & mask_of_a) | (b & ~mask_of_a); }

/* A reach for each lane. */
struct reaches {
    uint64_t end[LANES], waited[LANES];
};

/* Channels from `first` on; those without work are left alone. */
INLINE void work_lanes(struct clock_channels *channels, unsigned first, enum clock_use use, struct job job,
                       const uint64_t bytes[LANES], const uint64_t work[LANES], struct reaches *reaches)
{
    const uint64_t is_static = mask(use == CLOCK_STATIC), is_experts = mask(use == CLOCK_EXPERTS);
    uint64_t *busy_until = &channels->busy_until[first], *ahead_of = &channels->ahead[first],
             *ahead_experts = &channels->ahead_experts[first], *busy = &channels->busy[first],
             *all_bytes = &channels->bytes[first];
    const uint64_t *cap = &channels->cap[first], *latency = &channels->latency[first];
    for (unsigned k = 0; k < LANES; k++) {
        const uint64_t is_in = mask(work[k] != 0);
        const uint64_t free = busy_until[k], start = larger(free, job.begin), read = larger(free, job.router_ended);
        uint64_t ahead = smaller(ahead_of[k] + (start - free), cap[k]);
        uint64_t experts = smaller(ahead_experts[k] + (larger(read, job.begin) - read), ahead);
        const uint64_t done = smaller(work[k], (ahead & is_static) | (experts & is_experts));
        const uint64_t left = work[k] - done, end = start + left;
        ahead -= done;
        experts = smaller(experts - (done & is_experts), ahead);
        ahead_of[k] = pick(is_in, ahead, ahead_of[k]);
        ahead_experts[k] = pick(is_in, experts, ahead_experts[k]);
        busy_until[k] = pick(is_in, end, free);
        busy[k] += work[k];
        all_bytes[k] += bytes[k];
        reaches->end[k] = larger(reaches->end[k], end & mask(left != 0));
        reaches->waited[k] = larger(reaches->waited[k], (end + latency[k]) & is_in & mask(left == work[k]));
    }
}

INLINE struct reach reach_of(const struct reaches *reaches)
{
    struct reach reach = {0};
    for (unsigned k = 0; k < LANES; k++) {
        reach.end = larger(reach.end, reaches->end[k]);
        reach.waited = larger(reach.waited, reaches->waited[k]);
    }
    return reach;
}

/* Stretches, which ascend. */
VECTOR_CLONES static struct reach work_stretches(struct clock_channels *channels, enum clock_use use, struct job job,
                                                 const struct clock_stretch *stretch, unsigned n)
{
    struct reaches reaches = {0};
    for (unsigned first = stretch->from / LANES * LANES; first < stretch[n - 1].to; first += LANES) {
        uint64_t bytes[LANES] = {0}, work[LANES] = {0};
        for (unsigned i = 0; i < n; i++) {
            const uint64_t from = stretch[i].from, to = stretch[i].to, more = stretch[i].bytes,
                           longer = stretch[i].work;
            for (uint64_t k = 0; k < LANES; k++) {
                const uint64_t is_in = mask((first + k >= from) & (first + k < to));
                bytes[k] |= more & is_in;
                work[k] |= longer & is_in;
            }
        }
        work_lanes(channels, first, use, job, bytes, work, &reaches);
    }
    return reach_of(&reaches);
}

/* The traffic, which is cleared. */
VECTOR_CLONES static struct reach work_traffic(struct clock_channels *channels, enum clock_use use, struct job job,
                                               struct clock_traffic *traffic)
{
    const uint64_t *rates = use == CLOCK_DEMAND ? channels->scatter_q : channels->stream_q;
    struct reaches reaches = {0};
    for (unsigned first = traffic->from / LANES * LANES; first < traffic->to; first += LANES) {
        const uint64_t *rate = &rates[first];
        uint64_t bytes[LANES], work[LANES], all = 0;
        for (unsigned k = 0; k < LANES; k++) {
            bytes[k] = traffic->bytes[first + k];
            all |= bytes[k];
        }
        if (all <= channels->few_bytes)
            for (unsigned k = 0; k < LANES; k++) work[k] = sim_rate_of_few(bytes[k], rate[k]);
        else
            for (unsigned k = 0; k < LANES; k++) work[k] = sim_rate(bytes[k], rate[k]);
        for (unsigned k = 0; k < LANES; k++) traffic->bytes[first + k] = 0;
        work_lanes(channels, first, use, job, bytes, work, &reaches);
    }
    traffic->from = traffic->to = 0;
    return reach_of(&reaches);
}

/* ---- events ---- */

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

/* Channel by channel, with what it did before `begin` and from then on. */
static struct reach work_traced(struct sim_clock *clock, enum clock_use use, struct job job,
                                const struct clock_stretch *stretch, unsigned n)
{
    struct clock_channels *channels = &clock->channels;
    struct reach reach = {0};
    for (unsigned i = 0; i < n; i++) {
        for (uint32_t c = stretch[i].from; c < stretch[i].to; c++) {
            const uint64_t free = channels->busy_until[c], start = larger(free, job.begin),
                           room = channels->cap[c] - channels->ahead[c];
            work_channel(channels, c, use, job, &stretch[i], &reach);
            if (start > free && room)
                trace(clock, c, (struct clock_span){free, free + smaller(start - free, room)}, 0, 0);
            trace(clock, c, (struct clock_span){start, channels->busy_until[c]}, stretch[i].work, stretch[i].bytes);
        }
    }
    return reach;
}

/* ---- moving ---- */

static uint64_t end_of(const struct sim_clock *clock, uint64_t begin, struct reach reach)
{
    const uint64_t end = larger(begin, larger(reach.end, reach.waited));
    return reach.end ? end + stolen(clock, begin, end) : end;
}

uint64_t clock_move(struct sim_clock *clock, enum clock_use use, const struct clock_stretch *stretch, unsigned n,
                    uint64_t begin)
{
    const struct job job = {.router_ended = clock->router_ended, .begin = begin};
    struct reach reach = {0};
    if (clock->sink.event)
        reach = work_traced(clock, use, job, stretch, n);
    else if (n == 1 && stretch->to == stretch->from + 1) /* a vector */
        work_channel(&clock->channels, stretch->from, use, job, stretch, &reach);
    else
        reach = work_stretches(&clock->channels, use, job, stretch, n);
    return end_of(clock, begin, reach);
}

uint64_t clock_move_traffic(struct sim_clock *clock, enum clock_use use, uint64_t begin)
{
    const struct job job = {.router_ended = clock->router_ended, .begin = begin};
    struct clock_stretch stretch[PROFILE_CHANNELS];
    if (!clock->sink.event && clock->traffic.to - clock->traffic.from > 1)
        return end_of(clock, begin, work_traffic(&clock->channels, use, job, &clock->traffic));
    const unsigned n = clock_stretches(clock, use, stretch);
    return n ? clock_move(clock, use, stretch, n, begin) : begin;
}
