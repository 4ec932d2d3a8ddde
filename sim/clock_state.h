/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the clock share. */
#ifndef SLUICE_SIM_CLOCK_STATE_H
#define SLUICE_SIM_CLOCK_STATE_H

#include "sim/clock.h"
#include "sim/cost.h"
#include "sim/link_model.h"
#include "sim/rates.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* ---- descriptors at work ---- */

/* Bytes [from, to) of each bank whose bit is set. */
struct clock_range {
    uint64_t banks, from, to;
};

#define CLOCK_FLIGHTS 8 /* descriptors at work at once, a power of two */

struct clock_flight {
    unsigned n_writes, n; /* ranges: those written, then those read */
    struct clock_range range[CARD_PLACES];
};

/* Ranges of the step's operands, those written first. */
void clock_flight_of(struct clock_flight *flight, const struct sim_step *step);

struct clock_flights {
    uint64_t end[CLOCK_FLIGHTS];
    struct clock_flight flight[CLOCK_FLIGHTS];
    unsigned next; /* place of the next one, taken modulo */
};

/* When `flight`, the last one, which may begin at `begin` otherwise, may begin for those at work. */
uint64_t clock_flights_begin(const struct clock_flights *flights, const struct clock_flight *flight, uint64_t begin);

/* ---- memory channels ---- */

/* One cache line: a matrix goes through all of them. */
struct clock_channel {
    uint64_t busy_until;
    uint64_t ahead;                    /* of its work, what was done ahead of its use */
    uint64_t ahead_experts;            /* of that, since the last ROUTER ended: what may be an expert's */
    uint64_t busy, bytes;              /* in all */
    uint64_t stream_q, scatter_q, cap; /* as in sim_channel_rates */
};

enum clock_use {
    CLOCK_STATIC,  /* weights that are known when the program begins */
    CLOCK_EXPERTS, /* weights that are known when the ROUTER has ended */
    CLOCK_DEMAND,  /* nothing was done ahead */
};

/* What one descriptor moves, channel by channel; none: nothing outside channels [from, to). */
struct clock_traffic {
    unsigned from, to;
    uint64_t bytes[PROFILE_CHANNELS];
};

/* ---- the host's second thread ---- */

#define CLOCK_MAILBOXES 256u /* powers of two */
#define CLOCK_SLOTS 4096u

struct clock_stamp {
    card_addr address;
    uint64_t at;
};

/* ---- the clock ---- */

struct clock_pending {
    uint64_t event, end;
};

struct clock_span {
    uint64_t begin, end;
};

struct sim_clock {
    struct sim_rates rates;
    struct timeline_sink sink;
    pthread_mutex_t sink_lock; /* of calls to it */
    uint64_t now;              /* the host's thread */

    /* Copies, and what tells the two threads apart. */
    pthread_mutex_t lock; /* of what is here, down to slot */
    struct link link;
    struct clock_span copying[2];  /* the last stretch of copies without a gap, each direction */
    bool running;                  /* between begin and end: copies are the second thread's */
    uint64_t second_now;           /* that thread */
    struct clock_pending *pending; /* ends that lie ahead of now, by event */
    size_t n_pending, pending_capacity;
    uint64_t link_bytes, link_busy[2];
    struct clock_stamp mailbox[CLOCK_MAILBOXES], slot[CLOCK_SLOTS];

    /* Programs; of the thread that runs them. */
    uint64_t programs;
    uint64_t event;                          /* of the one that runs */
    uint64_t launched;                       /* it began */
    uint64_t engine_free;                    /* the last one ended */
    uint64_t dispatched;                     /* the dispatcher has come so far */
    uint64_t begun;                          /* the last descriptor */
    uint64_t ended;                          /* the latest end so far */
    uint64_t router_ended;                   /* UINT64_MAX: no ROUTER yet in this program */
    uint64_t unit_free[TIMELINE_RESOURCES];  /* takes the next one */
    uint64_t unit_ended[TIMELINE_RESOURCES]; /* the last one's result was there */
    uint32_t *layer;                         /* of each descriptor, while events are asked for */
    unsigned n_layers_known, layer_capacity;
    struct clock_span steals[2]; /* copying, as of the program's begin or the last AWAIT */
    struct clock_flights flights;
    _Alignas(64) struct clock_channel channel[PROFILE_CHANNELS];
    struct clock_traffic traffic; /* zeros between two uses */
    struct timeline_event at;     /* the descriptor that is charged, for its events */

    /* Sums. */
    uint64_t busy[TIMELINE_RESOURCES], waits;
    uint64_t dispatched_before; /* busy of the dispatcher before this program */
    uint64_t macs, float_adds, on_chip_bytes;
};

/*
 * The channels' work for the traffic, which may begin at `begin`: its end, the wait for the first word included unless it was
 * read ahead. Clears the traffic.
 */
uint64_t clock_move(struct sim_clock *clock, enum clock_use use, uint64_t begin);

/* A ROUTER ended: from now on its experts can be read ahead, and no others. */
void clock_chosen(struct sim_clock *clock, uint64_t end);

/* Adds bytes of one channel; n tiles or pages of `bytes` each, of what is dealt over `banks` (0 or 1: one), from `first` on. */
void clock_add_bytes(struct clock_traffic *traffic, unsigned channel, uint64_t bytes);
void clock_add_tiles(struct clock_traffic *traffic, uint32_t first, uint32_t banks, uint64_t n, uint64_t bytes);

/* ---- clock_mailbox.c ---- */

/* A PUBLISH wrote the mailbox at this time. */
void clock_published(struct sim_clock *clock, card_addr mailbox, uint64_t end);

/* When the slots of the step's choices were written, PER_CHOICE: the first of them; `begin` at least. Its dst is written. */
uint64_t clock_slots_written(struct sim_clock *clock, const struct sim_step *step, uint64_t begin);

/*
 * Whether a copy of the second thread costs anything, and from when on: a read of a mailbox's word does once after each
 * PUBLISH, and not before that, as how often it was read in vain depends on this machine.
 */
bool clock_second_begin(struct sim_clock *clock, enum sim_clock_copy direction, card_addr address, uint64_t bytes,
                        uint64_t *begin);
/* It has ended. */
void clock_second_end(struct sim_clock *clock, enum sim_clock_copy direction, card_addr address, uint64_t bytes,
                      uint64_t end);

/* ---- clock_layers.c ---- */

/*
 * Finds the layers of a program, for its events: a program does not name them. Every ATTENTION or SCAN is a layer's, which
 * begins with the last NORM before it over the width that the program's first NORM has; behind the last layer's own NORMs,
 * of which it has as many as the one before it, nothing is of a layer. Without memory none is known.
 */
void clock_find_layers(struct sim_clock *clock, const struct card_descriptor *program, unsigned n);

static inline uint32_t clock_layer(const struct sim_clock *clock, unsigned descriptor)
{
    return descriptor < clock->n_layers_known ? clock->layer[descriptor] : TIMELINE_UNKNOWN;
}

/* ---- events ---- */

/* Both threads have events. */
static inline void clock_event(struct sim_clock *clock, const struct timeline_event *event)
{
    if (!clock->sink.event) return;
    pthread_mutex_lock(&clock->sink_lock);
    clock->sink.event(clock->sink.context, event);
    pthread_mutex_unlock(&clock->sink_lock);
}

#endif
