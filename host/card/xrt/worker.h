/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that holds XRT for a card (sluice-xrt): it ends when XRT does, and the server does not. Three threads, one for
 * each ring of xrt_shared.h; copies and runs are XRT's, and go on side by side where the card lets them. A fourth looks after
 * the three: what they ask of XRT may never end.
 */
#ifndef SLUICE_CARD_XRT_WORKER_H
#define SLUICE_CARD_XRT_WORKER_H

#include "host/card/xrt/xrt_api.h"
#include "host/card/xrt_shared.h"

#include <stdbool.h>

#define WORKER_RUNS 4u        /* run objects: programs that XRT holds at once */
#define WORKER_OUTCOMES 1024u /* of each ring, kept for those that follow */
#define STATUS_BYTES 4096u    /* of a run's block, before its program */

/* A run object and its block of card memory: status, then program. */
struct worker_run {
    xrtRunHandle handle;
    xrtBufferHandle block, status, program;
    uint8_t *map; /* of the block */
};

enum worker_state { WORKER_WELL, WORKER_FALLING, WORKER_HUNG }; /* FALLING: why_hung is being written */
#define WORKER_WAY_OUT " ms (reload it: restart sluice; if that does not help, `xbutil reset`)"

/* What a ring's thread asks of XRT now. */
struct worker_watch {
    _Atomic uint64_t calls; /* begun and ended: odd while one is on */
    _Atomic uint64_t number, limit_us;
};

struct worker {
    struct xrt_shared *shared;
    uint8_t *memory; /* the same */
    struct xrt_api xrt;
    xrtDeviceHandle device;
    xrtKernelHandle kernel;
    xrtBufferHandle bank[XRT_BANKS], extents;
    uint8_t *extents_map;
    struct worker_run run[WORKER_RUNS];
    _Atomic bool waits[XRT_RINGS];                       /* this ring's thread waits for another ring */
    _Atomic int32_t outcome[XRT_RINGS][WORKER_OUTCOMES]; /* enum error_code of command number % WORKER_OUTCOMES */
    struct worker_watch watch[XRT_RINGS];
    _Atomic unsigned state; /* enum worker_state; HUNG: nothing is started any more */
    char why_hung[400];
};

/* Opens device, bitstream and engine, and takes its memory. What was opened before an error goes with the process. */
int worker_open(struct worker *worker, struct error *err);
void worker_close(struct worker *worker);

/* Threads. Each ends only with the process. */
void *worker_copies_to_card(void *worker);
void *worker_copies_from_card(void *worker);
void *worker_runs(void *worker);
void *worker_watchdog(void *worker);

/*
 * Around calls of XRT for command `number`, by the ring's thread. Who is in them for longer than the limit (0: for ever) loses the
 * ring to the watchdog, and does not return from worker_watch_end.
 */
void worker_watch_begin(struct worker *worker, unsigned ring, uint64_t number, uint64_t limit_us);
void worker_watch_end(struct worker *worker, unsigned ring);

/* The card does not answer any more: the first reason is kept in why_hung. */
void worker_hangs(struct worker *worker, const struct error *err);
static inline bool worker_hung(const struct worker *worker) { return atomic_load(&worker->state) == WORKER_HUNG; }

/* A copy, which may take long: command `number` of a ring, whose thread calls. */
int worker_copy(struct worker *worker, unsigned ring, uint64_t number, const struct xrt_command *command,
                struct error *err);

/* The command, once it is there; NULL after some milliseconds. */
struct xrt_command *worker_next(struct worker *worker, unsigned ring, uint64_t number, unsigned milliseconds);

/* What it has to follow: ERROR_BUSY is not over yet, ERROR_CARD with a message has failed. */
int worker_look_after(struct worker *worker, const struct xrt_command *command, struct error *err);
void worker_wait_after(struct worker *worker, unsigned ring, const struct xrt_command *command);

/* Writes the outcome and says it. */
void worker_complete(struct worker *worker, unsigned ring, uint64_t number, int rc, const struct error *error);

#endif
