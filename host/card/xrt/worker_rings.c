/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/xrt/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SPINS 300 /* some microseconds: where cores are scarce, who spins keeps the other from working */

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

struct xrt_command *worker_next(struct worker *worker, unsigned ring, uint64_t number, unsigned milliseconds)
{
    struct xrt_ring *at = &worker->shared->ring[ring];
    for (int i = 0; i < (milliseconds ? SPINS : 1); i++) {
        if (atomic_load(&at->submitted) >= number) return &at->command[number % XRT_PLACES];
        pause_briefly();
    }
    const uint32_t heard = atomic_load(&at->bell);
    if (milliseconds && atomic_load(&at->submitted) < number) xrt_bell_wait(&at->bell, heard, milliseconds);
    return atomic_load(&at->submitted) >= number ? &at->command[number % XRT_PLACES] : NULL;
}

int worker_look_after(struct worker *worker, const struct xrt_command *command, struct error *err)
{
    for (uint32_t i = 0; i < command->n_after && i < XRT_AFTER; i++) {
        const struct xrt_ticket after = command->after[i];
        if (after.ring >= XRT_RINGS) continue;
        if (atomic_load(&worker->shared->ring[after.ring].completed) < after.number) return ERROR_BUSY;
        if (atomic_load(&worker->outcome[after.ring][after.number % WORKER_OUTCOMES]) != 0)
            return error_set(err, ERROR_CARD, "what this was to follow failed");
    }
    return 0;
}

void worker_wait_after(struct worker *worker, unsigned ring, const struct xrt_command *command)
{
    _Atomic uint32_t *bell = &worker->shared->ring[ring].bell;
    atomic_store(&worker->waits[ring], true);
    const uint32_t heard = atomic_load(bell);
    if (worker_look_after(worker, command, NULL) == ERROR_BUSY) xrt_bell_wait(bell, heard, 100);
    atomic_store(&worker->waits[ring], false);
}

void worker_complete(struct worker *worker, unsigned ring, uint64_t number, int rc, const struct error *error)
{
    struct xrt_ring *at = &worker->shared->ring[ring];
    struct xrt_command *command = &at->command[number % XRT_PLACES];
    command->error = rc;
    command->text[0] = 0;
    if (rc) snprintf(command->text, sizeof command->text, "%.*s", (int)sizeof command->text - 1, error->text);
    /* What the engine says of its run counts for those that follow; the server makes a message of it. */
    if (!rc && command->status.status != 0) rc = ERROR_CARD;
    atomic_store(&worker->outcome[ring][number % WORKER_OUTCOMES], rc);
    atomic_store(&at->completed, number);
    /* Always counted, so that nobody falls asleep over it; who waits for a later one is not woken. */
    atomic_fetch_add(&worker->shared->answers, 1);
    const uint64_t wanted = atomic_load(&worker->shared->wanted);
    const struct xrt_ticket ticket = {.ring = ring, .number = number};
    if (wanted == 0 || rc || (wanted % XRT_RINGS == ring && wanted <= xrt_ticket_code(ticket)))
        xrt_bell_ring(&worker->shared->answers);
    for (unsigned other = 0; other < XRT_RINGS; other++) {
        if (atomic_load(&worker->waits[other])) xrt_bell_ring(&worker->shared->ring[other].bell);
    }
}
