/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that has called XRT for a command may never come back. This one looks after them: who is too long in a call has
 * its ring taken over, where all commands fail from then on with the reason. Time is counted by this thread's own turns, so that a
 * process that was stopped for a while takes nobody for lost.
 */
#include "host/card/xrt/worker.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define TURN_US UINT64_C(50000)
#define TURN_TAKEN_US UINT64_C(2000) /* of a card that has failed: its commands are to be answered */

void worker_watch_begin(struct worker *worker, unsigned ring, uint64_t number, uint64_t limit_us)
{
    struct worker_watch *watch = &worker->watch[ring];
    atomic_store(&watch->number, number);
    atomic_store(&watch->limit_us, limit_us);
    atomic_fetch_add(&watch->calls, 1);
}

void worker_watch_end(struct worker *worker, unsigned ring)
{
    struct worker_watch *watch = &worker->watch[ring];
    uint64_t own = atomic_load(&watch->calls) | 1;
    if (atomic_compare_exchange_strong(&watch->calls, &own, own + 1)) return;
    for (;;) (void)pause(); /* the ring is no longer this thread's */
}

void worker_hangs(struct worker *worker, const struct error *err)
{
    unsigned none = WORKER_WELL;
    if (!atomic_compare_exchange_strong(&worker->state, &none, WORKER_FALLING)) return;
    memcpy(worker->why_hung, err->text, sizeof worker->why_hung - 1);
    atomic_store(&worker->state, WORKER_HUNG);
}

/* What a thread is at in one call, as the watchdog has seen it. */
struct sighting {
    uint64_t call, waited_us;
    bool taken;
};

static void report(struct worker *worker, unsigned ring, uint64_t number, uint64_t waited_us)
{
    const struct xrt_command *command = &worker->shared->ring[ring].command[number % XRT_PLACES];
    const uint64_t ms = waited_us / 1000;
    struct error err = {0};
    if (command->work == XRT_RUNS)
        error_set(&err, ERROR_CARD, "the card hangs: it has not taken a program after %" PRIu64 WORKER_WAY_OUT, ms);
    else
        error_set(&err, ERROR_CARD,
                  "the card hangs: a copy of %" PRIu64 " bytes %s bank %u has not ended after %" PRIu64 WORKER_WAY_OUT,
                  command->bytes, command->work == XRT_TO_CARD ? "to" : "from", command->bank, ms);
    worker_hangs(worker, &err);
}

/* Whether the ring's thread is too long in one call; the ring is taken from it then. */
static bool is_late(struct worker *worker, unsigned ring, uint64_t turn_us, struct sighting *seen)
{
    struct worker_watch *watch = &worker->watch[ring];
    uint64_t call = atomic_load(&watch->calls);
    if (!(call & 1) || call != seen->call) {
        *seen = (struct sighting){.call = call};
        return false;
    }
    const uint64_t number = atomic_load(&watch->number), limit_us = atomic_load(&watch->limit_us);
    seen->waited_us += turn_us;
    if (limit_us == 0 || seen->waited_us < limit_us) return false;
    if (!atomic_compare_exchange_strong(&watch->calls, &call, call + 1)) return false; /* it has come back just now */
    report(worker, ring, number, seen->waited_us);
    return true;
}

/* Answers what is in a ring that was taken over. */
static void answer(struct worker *worker, unsigned ring)
{
    struct xrt_ring *at = &worker->shared->ring[ring];
    struct error err = {0};
    while (!worker_hung(worker)) usleep(TURN_TAKEN_US); /* another thread is about to say why */
    error_set(&err, ERROR_CARD, "%s", worker->why_hung);
    for (uint64_t next = atomic_load(&at->completed) + 1; next <= atomic_load(&at->submitted); next++)
        worker_complete(worker, ring, next, ERROR_CARD, &err);
}

void *worker_watchdog(void *context)
{
    struct worker *worker = context;
    struct sighting seen[XRT_RINGS] = {{0}};
    for (bool any = false;;) {
        const uint64_t turn_us = any ? TURN_TAKEN_US : TURN_US;
        usleep((useconds_t)turn_us);
        for (unsigned ring = 0; ring < XRT_RINGS; ring++) {
            if (!seen[ring].taken) seen[ring].taken = is_late(worker, ring, turn_us, &seen[ring]);
            if (seen[ring].taken) answer(worker, ring);
            any = any || seen[ring].taken;
        }
    }
}
