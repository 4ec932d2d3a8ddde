/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/clock.h"

#include "host/base/memory.h"
#include "sim/clock_state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

int sim_clock_open(const struct card_profile *card, const struct host_profile *host, struct sim_clock **out,
                   struct error *err)
{
    struct sim_clock *clock = aligned_alloc(64, card_round_up(sizeof *clock, 64));
    if (!clock) return error_set(err, ERROR_NO_MEMORY, "virtual clock: no memory");
    memset(clock, 0, sizeof *clock);
    sim_rates_of(&clock->rates, card, host);
    clock_channels_open(&clock->channels, &clock->rates);
    clock->router_ended = UINT64_MAX;
    pthread_mutex_init(&clock->lock, NULL);
    pthread_mutex_init(&clock->sink_lock, NULL);
    *out = clock;
    return 0;
}

void sim_clock_close(struct sim_clock *clock)
{
    if (!clock) return;
    pthread_mutex_destroy(&clock->lock);
    pthread_mutex_destroy(&clock->sink_lock);
    free(clock->pending);
    free(clock->layer);
    clock_charges_close(clock);
    free(clock);
}

void sim_clock_trace(struct sim_clock *clock, const struct timeline_sink *sink)
{
    clock->sink = sink ? *sink : (struct timeline_sink){0};
}

/* ---- the host's thread ---- */

uint64_t sim_clock_now(const struct sim_clock *clock) { return clock->now; }

static void trace_host(struct sim_clock *clock, uint64_t begin, uint64_t end, unsigned kind)
{
    const struct timeline_event event = {.resource = TIMELINE_HOST,
                                         .kind = kind,
                                         .begin = begin,
                                         .end = end,
                                         .busy = kind == TIMELINE_HOST_WORK ? end - begin : 0,
                                         .program = clock->programs,
                                         .descriptor = TIMELINE_UNKNOWN,
                                         .layer = TIMELINE_UNKNOWN,
                                         .expert = TIMELINE_UNKNOWN};
    clock_event(clock, &event);
}

static void host_works(struct sim_clock *clock, uint64_t ps)
{
    clock->now += ps;
    clock->busy[TIMELINE_HOST] += ps;
    if (ps) trace_host(clock, clock->now - ps, clock->now, TIMELINE_HOST_WORK);
}

int sim_clock_spend(struct sim_clock *clock, uint64_t ps, struct error *err)
{
    if (ps > INT64_MAX - clock->now)
        return error_set(err, ERROR_TOO_LARGE, "virtual clock: %" PRIu64 " ps more than it counts", ps);
    host_works(clock, ps);
    return 0;
}

/* Until when the card has work that the host gave it. */
static uint64_t work_ends(const struct sim_clock *clock)
{
    uint64_t end = larger(clock->now, clock->engine_free);
    for (size_t i = 0; i < clock->n_pending; i++) end = larger(end, clock->pending[i].end);
    return end;
}

int sim_clock_idle(struct sim_clock *clock, uint64_t until_ps, struct error *err)
{
    if (until_ps > INT64_MAX)
        return error_set(err, ERROR_TOO_LARGE, "virtual clock: %" PRIu64 " ps are more than it counts", until_ps);
    if (until_ps <= clock->now) return 0;
    const uint64_t begin = work_ends(clock);
    clock->now = until_ps;
    if (begin >= until_ps) return 0;
    clock->elsewhere += until_ps - begin;
    trace_host(clock, begin, until_ps, TIMELINE_ELSEWHERE);
    return 0;
}

/* ---- events ---- */

static const struct clock_pending *find_pending(const struct sim_clock *clock, uint64_t event)
{
    size_t low = 0, high = clock->n_pending;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (clock->pending[middle].event < event)
            low = middle + 1;
        else
            high = middle;
    }
    return low < clock->n_pending && clock->pending[low].event == event ? &clock->pending[low] : NULL;
}

uint64_t sim_clock_event_end(const struct sim_clock *clock, uint64_t event)
{
    const struct clock_pending *pending = find_pending(clock, event);
    return pending ? pending->end : 0;
}

/* When what the order names has ended. */
static uint64_t order_end(const struct sim_clock *clock, const struct sim_clock_order *order)
{
    uint64_t end = 0;
    for (unsigned i = 0; i < order->n_after; i++) end = larger(end, sim_clock_event_end(clock, order->after[i]));
    return end;
}

/* Room for one more end: those that the host has passed go first. */
static int reserve_pending(struct sim_clock *clock, struct error *err)
{
    if (clock->n_pending < clock->pending_capacity) return 0;
    size_t kept = 0;
    for (size_t i = 0; i < clock->n_pending; i++)
        if (clock->pending[i].end > clock->now) clock->pending[kept++] = clock->pending[i];
    clock->n_pending = kept;
    if (kept * 2 <= clock->pending_capacity && clock->pending_capacity) return 0;
    const size_t capacity = clock->pending_capacity ? clock->pending_capacity * 2 : 64;
    struct clock_pending *grown = memory_grow(clock->pending, capacity, sizeof *grown);
    if (!grown) return error_set(err, ERROR_NO_MEMORY, "virtual clock: no memory for events");
    clock->pending = grown;
    clock->pending_capacity = capacity;
    return 0;
}

static void keep_pending(struct sim_clock *clock, uint64_t event, uint64_t end)
{
    clock->pending[clock->n_pending++] = (struct clock_pending){event, end};
}

void sim_clock_wait(struct sim_clock *clock, uint64_t event)
{
    /* The second thread's calls leave no end behind: their time is its own. */
    pthread_mutex_lock(&clock->lock);
    if (!clock->running) clock->now = larger(clock->now, sim_clock_event_end(clock, event));
    pthread_mutex_unlock(&clock->lock);
}

/* ---- copies ---- */

static void trace_copy(struct sim_clock *clock, enum sim_clock_copy direction, card_addr address, uint64_t bytes,
                       struct clock_span span, unsigned kind)
{
    const struct timeline_event event = {
        .resource = direction == SIM_CLOCK_WRITE ? TIMELINE_HOST_TO_CARD : TIMELINE_CARD_TO_HOST,
        .kind = kind,
        .begin = span.begin,
        .end = span.end,
        .busy = span.end - span.begin,
        .bytes = bytes,
        .program = clock->programs,
        .descriptor = TIMELINE_UNKNOWN,
        .layer = TIMELINE_UNKNOWN,
        .expert = TIMELINE_UNKNOWN,
        .address = address,
    };
    clock_event(clock, &event);
}

/* Occupies the link from `ready` on; its end. */
static uint64_t copy(struct sim_clock *clock, enum sim_clock_copy direction, card_addr address, uint64_t bytes,
                     uint64_t ready, unsigned kind)
{
    const unsigned way = direction == SIM_CLOCK_WRITE ? 0 : 1;
    struct clock_span span;
    link_occupy(&clock->link, &clock->rates.host, way ? LINK_CARD_TO_HOST : LINK_HOST_TO_CARD, ready, bytes,
                &span.begin, &span.end);
    if (span.begin > clock->copying[way].end) clock->copying[way].begin = span.begin;
    clock->copying[way].end = span.end;
    clock->link_bytes += bytes;
    clock->link_busy[way] += span.end - span.begin;
    trace_copy(clock, direction, address, bytes, span, kind);
    return span.end;
}

int sim_clock_copy(struct sim_clock *clock, enum sim_clock_copy direction, const struct sim_clock_order *order,
                   card_addr address, uint64_t bytes, struct error *err)
{
    const unsigned kind = direction == SIM_CLOCK_WRITE ? TIMELINE_WRITE : TIMELINE_READ;
    int rc = 0;
    pthread_mutex_lock(&clock->lock);
    if (clock->running) {
        uint64_t ready;
        if (clock_second_begin(clock, direction, address, bytes, &ready))
            clock_second_end(clock, direction, address, bytes, copy(clock, direction, address, bytes, ready, kind));
    } else {
        rc = reserve_pending(clock, err);
        if (!rc) {
            const uint64_t ready = larger(clock->now, order_end(clock, order));
            keep_pending(clock, order->event, copy(clock, direction, address, bytes, ready, kind));
        }
    }
    pthread_mutex_unlock(&clock->lock);
    return rc;
}

/* ---- programs ---- */

/*
 * When a program whose descriptors and events are there at `ready` begins: it is launched when the host can, and follows
 * the one before without the host if it was queued behind it.
 */
static uint64_t launch(const struct sim_clock *clock, uint64_t ready)
{
    const struct host_profile *host = &clock->rates.host;
    if (clock->engine_free > ready)
        return clock->engine_free + (clock->programs > host->launch_commands ? host->launch_again_ps : host->launch_ps);
    return ready + link_launches_ps(host, 1);
}

int sim_clock_begin(struct sim_clock *clock, const struct sim_clock_order *order, const struct card_descriptor *program,
                    unsigned n_descriptors, struct error *err)
{
    int rc = clock_charges_begin(clock, program, n_descriptors, err);
    if (rc) return rc;
    if (clock->sink.event) clock_find_layers(clock, program, n_descriptors);
    pthread_mutex_lock(&clock->lock);
    rc = reserve_pending(clock, err);
    if (rc) {
        pthread_mutex_unlock(&clock->lock);
        return rc;
    }
    clock->programs++;
    clock->dispatched_before = clock->busy[TIMELINE_DISPATCH];
    clock->event = order->event;
    host_works(clock, clock->rates.host.decision_ps);
    const uint64_t copied = copy(clock, SIM_CLOCK_WRITE, 0, (uint64_t)n_descriptors * sizeof(struct card_descriptor),
                                 clock->now, TIMELINE_PROGRAM);
    clock->launched = launch(clock, larger(copied, order_end(clock, order)));
    clock->second_now = larger(clock->second_now, clock->now);
    clock->steals[0] = clock->copying[0];
    clock->steals[1] = clock->copying[1];
    clock->running = true;
    pthread_mutex_unlock(&clock->lock);
    const uint64_t fetched = clock->launched + sim_cycles(&clock->rates, clock->rates.card.engine.fetch_cycles);
    clock->dispatched = clock->begun = clock->ended = fetched;
    clock->router_ended = UINT64_MAX;
    for (unsigned c = 0; c < clock->rates.channels; c++) {
        clock->channels.busy_until[c] = larger(clock->channels.busy_until[c], fetched);
        clock->channels.ahead[c] = clock->channels.ahead_experts[c] = 0;
    }
    return 0;
}

void sim_clock_end(struct sim_clock *clock)
{
    clock_catch_up(clock, NULL);
    clock_charges_end(clock);
    clock->engine_free = clock->ended;
    pthread_mutex_lock(&clock->lock);
    clock->running = false;
    keep_pending(clock, clock->event, clock->ended);
    pthread_mutex_unlock(&clock->lock);
    const struct timeline_event event = {.resource = TIMELINE_DISPATCH,
                                         .kind = TIMELINE_PROGRAM,
                                         .begin = clock->launched,
                                         .end = clock->ended,
                                         .busy = clock->busy[TIMELINE_DISPATCH] - clock->dispatched_before,
                                         .program = clock->programs,
                                         .descriptor = TIMELINE_UNKNOWN,
                                         .layer = TIMELINE_UNKNOWN,
                                         .expert = TIMELINE_UNKNOWN};
    clock_event(clock, &event);
}

/* ---- what it was ---- */

static uint64_t nanojoules(uint64_t n, uint64_t each_fj)
{
    return (uint64_t)((unsigned __int128)n * each_fj / 1000000);
}

static uint64_t divided(unsigned __int128 a, uint64_t b) { return (uint64_t)(a / b); }

void sim_clock_measure(const struct sim_clock *clock, struct sim_clock_usage *usage)
{
    const struct sim_rates *rates = &clock->rates;
    const struct card_energy *energy = &rates->card.energy;
    *usage = (struct sim_clock_usage){
        .now = clock->now, .waits = clock->waits, .elsewhere = clock->elsewhere, .channels = rates->channels};
    usage->clock_hz = rates->card.port.clock_mhz * UINT64_C(1000000);
    usage->host_to_card = rates->host.host_to_card_bytes_per_s;
    usage->card_to_host = rates->host.card_to_host_bytes_per_s;
    usage->cycles = divided((unsigned __int128)clock->now * rates->card.port.clock_mhz, 1000000);
    for (unsigned r = 0; r < TIMELINE_RESOURCES; r++) usage->busy[r] = clock->busy[r];
    usage->busy[TIMELINE_HOST_TO_CARD] = clock->link_busy[0];
    usage->busy[TIMELINE_CARD_TO_HOST] = clock->link_busy[1];
    for (unsigned c = 0; c < rates->channels; c++) {
        usage->channel_busy[c] = clock->channels.busy[c];
        usage->channel_bytes[c] = clock->channels.bytes[c];
        usage->channel_peak[c] = rates->channel[c].peak_bytes_per_s;
        usage->busy[TIMELINE_MEMORY] += clock->channels.busy[c];
        usage->energy_nj[TIMELINE_ENERGY_MEMORY] += nanojoules(clock->channels.bytes[c], rates->channel[c].byte_fj);
    }
    /* A milliwatt is a femtojoule a picosecond. */
    usage->energy_nj[TIMELINE_ENERGY_STATIC] = nanojoules(clock->now, energy->static_mw);
    usage->energy_nj[TIMELINE_ENERGY_HOST] = nanojoules(clock->now, rates->host.idle_mw);
    usage->energy_nj[TIMELINE_ENERGY_MATMUL] = nanojoules(clock->macs, energy->mac_fj);
    usage->energy_nj[TIMELINE_ENERGY_UNITS] = nanojoules(clock->float_adds, energy->float_fj);
    usage->energy_nj[TIMELINE_ENERGY_ON_CHIP] = nanojoules(clock->on_chip_bytes, energy->on_chip_fj_per_byte);
    usage->energy_nj[TIMELINE_ENERGY_LINK] = nanojoules(clock->link_bytes, energy->link_fj_per_byte);
}
