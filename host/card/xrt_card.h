/* SPDX-License-Identifier: Apache-2.0 */
/* A card behind XRT: commands given to its process (xrt_process.h), and what is known of those that are not over. */
#ifndef SLUICE_CARD_XRT_CARD_H
#define SLUICE_CARD_XRT_CARD_H

#include "host/card/card_backend.h"
#include "host/card/xrt_bitstream.h"
#include "host/card/xrt_process.h"

#include <pthread.h>

#define XRT_OPEN_EVENTS (XRT_RINGS * XRT_PLACES)

/* What the server remembers of the command in a place. */
struct xrt_piece {
    card_event event;
    unsigned work;     /* as the command's */
    bool last;         /* of its event */
    uint64_t from, to; /* bytes of the bank, of a copy */
    unsigned bank;
    void *dst;                   /* of a copy from the card */
    unsigned descriptors, base;  /* of a run; base: the program's descriptors before it */
    card_event after[XRT_AFTER]; /* events that it follows and that were not over */
    unsigned n_after;
};

/* An event that is not over, and its last command so far. */
struct xrt_open_event {
    card_event event;
    struct xrt_ticket last;
};

/* cause: events one of which made it fail, which may be known only later. */
struct xrt_failure {
    card_event event;
    struct error error;
    card_event cause[XRT_AFTER];
    unsigned n_causes;
};

struct xrt_card {
    struct card_backend base;
    pthread_mutex_t lock;
    const struct card_extents *extents;
    struct xrt_process process;
    struct xrt_request request; /* xclbin: owned */
    struct xrt_settings settings;
    struct card_options options; /* device: not kept */
    char name[64];
    uint64_t watchdog_us; /* of a program without work; 0: none */
    struct xrt_piece piece[XRT_RINGS][XRT_PLACES];
    uint64_t read[XRT_RINGS]; /* command numbers that are completed and read */
    struct xrt_open_event open[XRT_OPEN_EVENTS];
    unsigned n_open, sleepers;   /* sleepers: threads that wait without the lock */
    struct xrt_failure *failure; /* sorted by event */
    size_t n_failures, failures_capacity;
    struct card_agent agent;
    struct card_counters done;
    uint64_t streamed;      /* stream writes so far */
    uint64_t *extents_sent; /* the table that the card has, as pairs of words */
    uint32_t n_extents_sent;
    bool has_extents;
};

static inline struct xrt_card *xrt_card_of(struct card_backend *backend) { return (struct xrt_card *)(void *)backend; }

/*
 * All with the lock held, which waiting gives up for a while. xrt_prepare: the place of a ring's next command, once it is
 * free, with the commands that `order` names to follow, also in *piece; NULL: *err says why. xrt_push hands it over.
 */
struct xrt_command *xrt_prepare(struct xrt_card *card, unsigned ring, const struct card_order *order,
                                struct xrt_piece *piece, struct error *err);
void xrt_push(struct xrt_card *card, unsigned ring, const struct xrt_piece *piece);

/* Whether nothing is in the ring of runs; whether a call is to follow the last thing there. */
bool xrt_runs_are_idle(const struct xrt_card *card);
bool xrt_follows_runs(struct xrt_card *card, const struct card_order *order);

/* Waits until no command uses bytes [from, to) of the bank's window. */
int xrt_settle_range(struct xrt_card *card, unsigned bank, uint64_t from, uint64_t to, struct error *err);

/* As card_wait; without the event's being known it is over. */
int xrt_wait(struct xrt_card *card, card_event event, unsigned timeout_ms, struct error *err);

/* Ends all events that are open: the process has gone or goes. */
void xrt_abandon(struct xrt_card *card, const struct error *why);

/* What a run's status says: 0, or ERROR_CARD. base: descriptors of the program before those of the run. */
int xrt_status_error(const struct engine_status *status, unsigned base, struct error *err);

/* card_submit, and a copy: pieces of one event. */
int xrt_submit(struct xrt_card *card, const struct card_order *order, const struct card_descriptor *program,
               unsigned n_descriptors, struct error *err);
int xrt_copy(struct xrt_card *card, const struct card_order *order, card_addr address, void *dst, const void *src,
             size_t bytes, struct error *err);

#endif
