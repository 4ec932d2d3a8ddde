/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/xrt/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

int worker_copy(struct worker *worker, unsigned ring, uint64_t number, const struct xrt_command *command,
                struct error *err)
{
    const enum xclBOSyncDirection way =
        command->work == XRT_TO_CARD ? XCL_BO_SYNC_BO_TO_DEVICE : XCL_BO_SYNC_BO_FROM_DEVICE;
    if (worker_hung(worker)) return error_set(err, ERROR_CARD, "%s", worker->why_hung);
    if (command->bank >= worker->shared->n_banks) return error_set(err, ERROR_INTERNAL, "XRT: bank %u", command->bank);
    worker_watch_begin(worker, ring, number, command->limit_us);
    errno = 0;
    const int failed = worker->xrt.xrtBOSync(worker->bank[command->bank], way, command->bytes, command->offset);
    const int why = errno;
    worker_watch_end(worker, ring);
    if (!failed) return 0;
    error_set(err, ERROR_CARD, "XRT: a copy of %" PRIu64 " bytes %s bank %u failed: %s", command->bytes,
              command->work == XRT_TO_CARD ? "to" : "from", command->bank, strerror(why));
    xrt_api_explain(&worker->xrt, worker->device, err);
    return ERROR_CARD;
}

static void serve(struct worker *worker, unsigned ring)
{
    for (uint64_t number = 1;; number++) {
        struct error err = {0};
        const struct xrt_command *command;
        while (!(command = worker_next(worker, ring, number, 1000))) continue;
        int rc;
        while ((rc = worker_look_after(worker, command, &err)) == ERROR_BUSY) worker_wait_after(worker, ring, command);
        if (!rc) rc = worker_copy(worker, ring, number, command, &err);
        worker_complete(worker, ring, number, rc, &err);
    }
}

void *worker_copies_to_card(void *worker)
{
    serve(worker, XRT_TO_CARD);
    return NULL;
}

void *worker_copies_from_card(void *worker)
{
    serve(worker, XRT_FROM_CARD);
    return NULL;
}
