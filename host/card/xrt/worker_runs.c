/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs: a program goes into the block of a free run object while XRT still has others, and is started behind them. The
 * oldest is polled for a while, then waited for; one that does not end in its time is reported, and the card with it.
 */
#include "host/card/xrt/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/prctl.h>

#define POLL_US 20u /* before sleeping: a launch and its end on a card take some 30 */
#define SLICE_MS 2u /* of a sleep, after which new commands are looked for */
/* XRT's emulation asks the device by some 50 messages a run: who looks more often takes the cores that they need. */
#define EMULATION_SLICE_NS 60000

struct runs {
    struct worker *worker;
    uint64_t next, oldest; /* command numbers: [oldest, next) are XRT's */
    uint64_t since_us;     /* when the oldest became the first in line */
    uint32_t n_extents;
};

static struct worker_run *run_of(const struct runs *runs, uint64_t number)
{
    return &runs->worker->run[number % WORKER_RUNS];
}

static int xrt_failed(const struct runs *runs, const char *what, struct error *err)
{
    error_set(err, ERROR_CARD, "XRT: %s failed: %s", what, strerror(errno));
    xrt_api_explain(&runs->worker->xrt, runs->worker->device, err);
    return ERROR_CARD;
}

/* The table of allocations. Nothing may run that reads the one before. */
static int send_extents(struct runs *runs, const struct xrt_command *command, uint64_t number, struct error *err)
{
    struct worker *worker = runs->worker;
    const size_t bytes = command->n_extents * (size_t)16;
    const uint64_t place = number % XRT_PLACES;
    memcpy(worker->extents_map, worker->memory + worker->shared->extents_at + place * XRT_EXTENTS_BYTES, bytes);
    runs->n_extents = command->n_extents;
    if (bytes && worker->xrt.xrtBOSync(worker->extents, XCL_BO_SYNC_BO_TO_DEVICE, bytes, 0) != 0)
        return xrt_failed(runs, "a copy of the table of allocations", err);
    return 0;
}

static int launch(struct runs *runs, const struct xrt_command *command, uint64_t number, struct error *err)
{
    struct worker *worker = runs->worker;
    struct worker_run *run = run_of(runs, number);
    const size_t bytes = command->n_descriptors * sizeof(struct card_descriptor);
    if (command->n_descriptors > XRT_DESCRIPTORS || command->n_extents > XRT_EXTENTS)
        return error_set(err, ERROR_INTERNAL, "XRT: a program of %u descriptors", command->n_descriptors);
    int rc = command->new_extents ? send_extents(runs, command, number, err) : 0;
    if (rc) return rc;
    /* Until the engine says otherwise the run has failed. */
    memset(run->map, 0xff, sizeof(uint32_t));
    memset(run->map + sizeof(uint32_t), 0, sizeof(struct engine_status) - sizeof(uint32_t));
    memcpy(run->map + STATUS_BYTES,
           worker->memory + worker->shared->programs_at + number % XRT_PLACES * XRT_PROGRAM_BYTES, bytes);
    errno = 0;
    if (worker->xrt.xrtBOSync(run->block, XCL_BO_SYNC_BO_TO_DEVICE, STATUS_BYTES + bytes, 0) != 0)
        return xrt_failed(runs, "a copy of the program", err);
    if (worker->xrt.xrtRunSetArg(run->handle, 1, command->n_descriptors) != 0 ||
        worker->xrt.xrtRunSetArg(run->handle, 3, runs->n_extents) != 0 || worker->xrt.xrtRunStart(run->handle) != 0)
        return xrt_failed(runs, "the start of the engine", err);
    return 0;
}

static int launch_watched(struct runs *runs, const struct xrt_command *command, uint64_t number, struct error *err)
{
    if (worker_hung(runs->worker)) return error_set(err, ERROR_CARD, "%s", runs->worker->why_hung);
    worker_watch_begin(runs->worker, XRT_RUNS, number, command->limit_us);
    const int rc = launch(runs, command, number, err);
    worker_watch_end(runs->worker, XRT_RUNS);
    return rc;
}

static void complete(struct runs *runs, int rc, const struct error *err)
{
    worker_complete(runs->worker, XRT_RUNS, runs->oldest++, rc, err);
    runs->since_us = xrt_now_us();
}

/* The status of a run that XRT says is over. */
static int read_status(struct runs *runs, struct xrt_command *command, struct error *err)
{
    struct worker *worker = runs->worker;
    struct worker_run *run = run_of(runs, runs->oldest);
    worker_watch_begin(worker, XRT_RUNS, runs->oldest, command->limit_us);
    errno = 0;
    const int failed = worker->xrt.xrtBOSync(run->block, XCL_BO_SYNC_BO_FROM_DEVICE, sizeof command->status, 0) != 0
                           ? xrt_failed(runs, "a copy of the run's status", err)
                           : 0;
    worker_watch_end(worker, XRT_RUNS);
    if (failed) return failed;
    memcpy(&command->status, run->map, sizeof command->status);
    command->status.text[sizeof command->status.text - 1] = 0;
    return 0;
}

static void report_hang(struct runs *runs, uint64_t waited_us, struct error *err)
{
    struct worker *worker = runs->worker;
    error_set(err, ERROR_CARD, "the card hangs: the engine has not ended a program after %" PRIu64 WORKER_WAY_OUT,
              waited_us / 1000);
    xrt_api_explain(&worker->xrt, worker->device, err);
    worker_hangs(worker, err);
}

/* Whether the run's state is a last one; *rc and *err if not a good one. */
static bool is_over(struct runs *runs, enum ert_cmd_state state, int *rc, struct error *err)
{
    switch (state) {
    case ERT_CMD_STATE_COMPLETED: return true;
    case ERT_CMD_STATE_ERROR:
    case ERT_CMD_STATE_ABORT:
    case ERT_CMD_STATE_NORESPONSE:
    case ERT_CMD_STATE_TIMEOUT:
        *rc = error_set(err, ERROR_CARD, "XRT: the engine's run ended in state %d", (int)state);
        xrt_api_explain(&runs->worker->xrt, runs->worker->device, err);
        return true;
    default: return false;
    }
}

/* XRT's emulation does not know when a wait's time is over: there the state is looked at again and again. */
static void sleep_a_slice(struct worker *worker, xrtRunHandle handle)
{
    if (worker->shared->emulation)
        nanosleep(&(struct timespec){.tv_nsec = EMULATION_SLICE_NS}, NULL);
    else
        (void)worker->xrt.xrtRunWaitFor(handle, SLICE_MS);
}

/* Waits for the oldest run: a bounded poll, then a slice of sleep. */
static void wait_for_oldest(struct runs *runs)
{
    struct worker *worker = runs->worker;
    struct error err = {0};
    int rc = 0;
    struct xrt_command *command = &worker->shared->ring[XRT_RUNS].command[runs->oldest % XRT_PLACES];
    xrtRunHandle handle = run_of(runs, runs->oldest)->handle;
    if (worker_hung(worker)) { /* what waits behind a run that hangs */
        complete(runs, error_set(&err, ERROR_CARD, "%s", worker->why_hung), &err);
        return;
    }
    const uint64_t start = xrt_now_us(), poll_us = worker->shared->emulation ? 0 : POLL_US;
    bool over = is_over(runs, worker->xrt.xrtRunState(handle), &rc, &err);
    while (!over && xrt_now_us() - start < poll_us) {
        over = is_over(runs, worker->xrt.xrtRunState(handle), &rc, &err);
    }
    if (!over) {
        sleep_a_slice(worker, handle);
        over = is_over(runs, worker->xrt.xrtRunState(handle), &rc, &err);
    }
    const uint64_t waited = xrt_now_us() - runs->since_us;
    if (over) {
        if (!rc) rc = read_status(runs, command, &err);
        complete(runs, rc, &err);
    } else if (command->limit_us && waited > command->limit_us) {
        report_hang(runs, waited, &err);
        complete(runs, ERROR_CARD, &err);
    }
}

/* Starts the next command if it may be started now. False: it may not, or there is none. */
static bool start_next(struct runs *runs)
{
    struct worker *worker = runs->worker;
    const bool idle = runs->oldest == runs->next;
    struct error err = {0};
    if (runs->next - runs->oldest == WORKER_RUNS) return false;
    struct xrt_command *command = worker_next(worker, XRT_RUNS, runs->next, idle ? 1000 : 0);
    if (!command || (!idle && (command->new_extents || command->work != XRT_RUNS))) return false;
    int rc = worker_look_after(worker, command, &err);
    if (rc == ERROR_BUSY && idle) worker_wait_after(worker, XRT_RUNS, command);
    if (rc == ERROR_BUSY || (rc && !idle)) return false; /* outcomes are told in order */
    const bool copies = command->work != XRT_RUNS;
    if (!rc)
        rc = copies ? worker_copy(worker, XRT_RUNS, runs->next, command, &err)
                    : launch_watched(runs, command, runs->next, &err);
    if (rc && !idle) {
        while (runs->oldest < runs->next) wait_for_oldest(runs);
    }
    if (idle) runs->since_us = xrt_now_us();
    runs->next++;
    if (rc || copies) complete(runs, rc, &err);
    return true;
}

void *worker_runs(void *context)
{
    struct runs runs = {.worker = context, .next = 1, .oldest = 1};
    (void)prctl(PR_SET_TIMERSLACK, 1000); /* ns, of this thread: its sleeps are shorter than the usual slack */
    for (;;) {
        while (start_next(&runs)) continue;
        if (runs.oldest < runs.next) wait_for_oldest(&runs);
    }
}
