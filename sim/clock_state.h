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

/* The last ones of the program that runs. Those of a program before it have ended when it begins. */
struct clock_flights {
    uint64_t end[CLOCK_FLIGHTS];
    const struct clock_flight *flight[CLOCK_FLIGHTS];
    unsigned next; /* place of the next one, taken modulo */
    unsigned n;    /* of this program so far */
};

/* Of those at work, which the last one, `flight`, waits for: bit i for the one i + 1 before it. */
unsigned clock_flights_before(const struct clock_flights *flights, const struct clock_flight *flight);

/* ---- memory channels ---- */

/* Side by side, as vector units take them: a matrix goes through all. */
struct clock_channels {
    _Alignas(64) uint64_t busy_until[PROFILE_CHANNELS];
    uint64_t ahead[PROFILE_CHANNELS];         /* of its work, what was done ahead of its use */
    uint64_t ahead_experts[PROFILE_CHANNELS]; /* of that, since the last ROUTER ended: what may be an expert's */
    uint64_t cap[PROFILE_CHANNELS], latency[PROFILE_CHANNELS]; /* these as in sim_channel_rates */
    uint64_t stream_q[PROFILE_CHANNELS], scatter_q[PROFILE_CHANNELS];
    uint64_t busy[PROFILE_CHANNELS], bytes[PROFILE_CHANNELS]; /* in all */
    uint64_t few_bytes;                                       /* sim_few of every rate */
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

/* Banks are mostly a power of two, and divisions slow. */
static inline uint64_t clock_divided(uint64_t n, uint32_t banks)
{
    return banks & (banks - 1) ? n / banks : n >> __builtin_ctz(banks);
}

/* Channels [from, to) that move as much, in as long. */
struct clock_stretch {
    uint32_t from, to;
    uint64_t bytes, work;
};

/* ---- what a descriptor costs whenever it comes ---- */

/*
 * Stretches of one descriptor: a matrix goes round its banks and on, which makes three; each vector beside it lies in one bank
 * and divides one of them, or is one; and where another kind of memory begins, its rate is another.
 */
#define CLOCK_STRETCHES (3 + 2 * CARD_PLACES + PROFILE_MEMORIES)

/*
 * Most of what is charged for a descriptor depends on nothing but itself, and the programs of a model's steps are mostly
 * the same: it is kept by place in the program and found again as long as the same descriptor stands there.
 */
struct clock_charge {
    _Alignas(64) struct card_descriptor d; /* opcode 0: nothing is kept */
    /* A cache line with what every descriptor has. */
    uint64_t found; /* positions or experts of the work that the cost is for */
    uint64_t computed, lead, tail;
    uint64_t adds;                           /* macs of the matmul array, float_adds of other units */
    uint64_t weight_bytes, activation_bytes; /* on chip */
    uint8_t unit, before;                    /* the latter as of clock_flights_before */
    uint8_t n_static, n_demand;
    /* The rest. */
    struct clock_stretch stretch[CLOCK_STRETCHES]; /* of weights, then of what is read and written at work */
    struct card_descriptor e;
    struct clock_flight flight;
};

/* Those of one program. */
struct clock_charges {
    struct clock_charge *charge; /* owned */
    unsigned capacity, n, tokens;
    uint64_t used; /* by the program of this number */
};
#define CLOCK_PROGRAMS 4 /* kept: prompts, decoding, a drafting model */

/*
 * What tables said about a descriptor when it ran. Times are found later, of many descriptors at once, as the host's next
 * step, an AWAIT or a PUBLISH ask for them: what was between would have the clock's state out of the cache each time.
 */
struct clock_note {
    unsigned descriptor;
    struct sim_work work;
    /* Of pages and states: n of so many bytes, as of clock_add_tiles. */
    uint32_t first, banks;
    uint64_t n, bytes;
    /* Of experts: how many matrices start in each bank whose bit is set. */
    uint64_t starts;
    uint32_t start[PROFILE_CHANNELS];
};
#define CLOCK_NOTES 64

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
    uint64_t answered;             /* it had, the PUBLISH before the last one */
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
    struct clock_channels channels;
    struct clock_traffic traffic;                        /* zeros between two uses */
    struct clock_charges kept[CLOCK_PROGRAMS], *charges; /* the latter: of the program that runs */
    unsigned changed;                                    /* that many more may wait for one that was not there before */
    const struct card_descriptor *program;               /* borrowed until its end */
    unsigned charged, past;                              /* indexes behind the last descriptor charged, and run */
    struct clock_note note[CLOCK_NOTES];                 /* of those between, where tables say something */
    unsigned n_notes;
    struct timeline_event at; /* the descriptor that is charged, for its events */

    /* Sums. */
    uint64_t busy[TIMELINE_RESOURCES], waits, elsewhere;
    uint64_t dispatched_before; /* busy of the dispatcher before this program */
    uint64_t macs, float_adds, on_chip_bytes;
};

/* ---- clock_channels.c ---- */

/* Of channels that are zero but for their rates. */
void clock_channels_open(struct clock_channels *channels, const struct sim_rates *rates);

/* What the traffic is, which it clears: at most PROFILE_CHANNELS stretches, which ascend. */
unsigned clock_stretches(struct sim_clock *clock, enum clock_use use, struct clock_stretch *stretch);

/*
 * The channels' work for n > 0 stretches, which ascend and may begin at `begin`: its end, the wait for the first word
 * included unless it was read ahead.
 */
uint64_t clock_move(struct sim_clock *clock, enum clock_use use, const struct clock_stretch *stretch, unsigned n,
                    uint64_t begin);

/* The same for what the traffic is, which it clears. */
uint64_t clock_move_traffic(struct sim_clock *clock, enum clock_use use, uint64_t begin);

/* A ROUTER ended: from now on its experts can be read ahead, and no others. */
void clock_chosen(struct sim_clock *clock, uint64_t end);

/*
 * Adds bytes of one channel; n tiles or pages of `bytes` each, of what is dealt over `banks` (0 or 1: one), from `first` on.
 */
void clock_add_bytes(struct clock_traffic *traffic, unsigned channel, uint64_t bytes);
void clock_add_tiles(struct clock_traffic *traffic, uint32_t first, uint32_t banks, uint64_t n, uint64_t bytes);

/* ---- clock_traffic.c: what a descriptor moves, added to clock->traffic ---- */

/* Weights that are known when the program begins. */
void clock_add_weights(struct sim_clock *clock, const struct sim_step *step);

/* Activations that do not fit on chip; the bytes of those that do. */
uint64_t clock_add_activations(struct sim_clock *clock, const struct sim_step *step);

/* Whether the opcode moves pages or states, and so many that tables say it. */
bool clock_has_pages(unsigned opcode);

/* What the step's tables say of its pages or states, or of its experts, into the note, which has its work. */
void clock_note_pages(struct clock_note *note, const struct sim_step *step);
void clock_note_experts(struct clock_note *note, const struct sim_step *step);

/* Experts as noted. */
void clock_add_experts(struct sim_clock *clock, const struct card_descriptor *d, const struct clock_note *note);

/* ---- clock_charge.c ---- */

/* Before a program: finds what is kept of one like it, or makes room. ERROR_NO_MEMORY. After it. */
int clock_charges_begin(struct sim_clock *clock, const struct card_descriptor *program, unsigned n, struct error *err);
void clock_charges_end(struct sim_clock *clock);
void clock_charges_close(struct sim_clock *clock);

/* Of descriptor d, with extension e or NULL, which is the next of clock->flights; note: NULL if no table says anything. */
const struct clock_charge *clock_charge_of(struct sim_clock *clock, unsigned descriptor,
                                           const struct card_descriptor *d, const struct card_descriptor *e,
                                           const struct clock_note *note);

/* ---- clock_program.c ---- */

/* Charges every descriptor that has run. step: the last one, if it is at hand; events need it, and AWAIT. */
void clock_catch_up(struct sim_clock *clock, const struct sim_step *step);

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
