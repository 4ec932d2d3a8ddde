/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/xrt/card_address.h"
#include "host/card/xrt/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define USUAL_XRT "/opt/xilinx/xrt"

/* Arguments of sluice_engine: bitstreams/simulator_bitstream.h. */
enum { ARGUMENT_PROGRAM, ARGUMENT_DESCRIPTORS, ARGUMENT_EXTENTS, ARGUMENT_N_EXTENTS, ARGUMENT_STATUS, ARGUMENT_BANKS };

static int failed(const struct worker *worker, int code, const char *what, const char *way_out, struct error *err)
{
    error_set(err, code, "XRT card %u: %s: %s (%s)", worker->shared->device, what,
              errno ? strerror(errno) : "XRT gives no reason", way_out);
    xrt_api_explain(&worker->xrt, worker->device, err);
    return code;
}

/* XRT ends its process if it is not told where it is. */
static int find_installation(struct error *err)
{
    if (getenv("XILINX_XRT")) return 0;
    if (access(USUAL_XRT "/lib/libxrt_core.so.2", R_OK) == 0 && setenv("XILINX_XRT", USUAL_XRT, 0) == 0) return 0;
    return error_set(err, ERROR_NOT_FOUND,
                     "XRT is not set up: XILINX_XRT must name its folder, whose lib has libxrt_core.so.2 "
                     "(. " USUAL_XRT "/setup.sh)");
}

static int open_device(struct worker *worker, struct error *err)
{
    int rc = find_installation(err);
    if (rc) return rc;
    errno = 0;
    worker->device = worker->xrt.xrtDeviceOpen(worker->shared->device);
    if (worker->device) {
        xrt_api_find_errors(&worker->xrt);
        card_address_find("/proc/self/fd", "/sys", worker->shared->address, sizeof worker->shared->address);
        return 0;
    }
    if (errno == EACCES || errno == EPERM)
        return failed(worker, ERROR_NOT_FOUND, "no permission", "add this user to the group of /dev/dri/renderD*", err);
    if (errno == EBUSY) return failed(worker, ERROR_BUSY, "in use", "end the process that uses it", err);
    return failed(worker, ERROR_NOT_FOUND, "no such card",
                  "`sluice cards` lists those that are there, `sluice doctor` looks for what is missing", err);
}

static int load(struct worker *worker, struct error *err)
{
    const void *xclbin = worker->memory + worker->shared->xclbin_at;
    xuid_t uuid;
    errno = 0;
    if (worker->xrt.xrtDeviceLoadXclbin(worker->device, xclbin) != 0) {
        if (errno == EBUSY || errno == EPERM)
            return failed(worker, ERROR_BUSY, "the bitstream cannot be loaded",
                          "another process uses the card with another one: end it", err);
        return failed(worker, ERROR_CARD, "the bitstream cannot be loaded",
                      "is it for this card and its shell? `sluice bitstream inspect` and `sluice doctor` say both",
                      err);
    }
    if (worker->xrt.xrtDeviceGetXclbinUUID(worker->device, uuid) != 0)
        return failed(worker, ERROR_CARD, "the loaded bitstream cannot be named", "load it again", err);
    errno = 0;
    worker->kernel = worker->xrt.xrtPLKernelOpenExclusive(worker->device, uuid, "sluice_engine");
    if (worker->kernel) return 0;
    if (errno == EBUSY)
        return failed(worker, ERROR_BUSY, "its engine is in use", "end the other process that uses it", err);
    return failed(worker, ERROR_CARD, "the bitstream has no kernel sluice_engine that can be opened",
                  "it is not one of Sluice's", err);
}

/* A window on each bank: pages of the shared memory that XRT copies from and to. */
static int take_banks(struct worker *worker, struct error *err)
{
    struct xrt_shared *shared = worker->shared;
    for (uint32_t b = 0; b < shared->n_banks; b++) {
        const int group = worker->xrt.xrtKernelArgGroupId(worker->kernel, (int)(ARGUMENT_BANKS + b));
        errno = 0;
        if (group >= 0)
            worker->bank[b] =
                worker->xrt.xrtBOAllocUserPtr(worker->device, worker->memory + shared->bank_at[b],
                                              shared->bank_bytes[b], XRT_BO_FLAGS_NONE, (xrtMemoryGroup)group);
        if (worker->bank[b]) continue;
        char what[96];
        (void)error_set(err, ERROR_NO_MEMORY, "%" PRIu64 " MiB of bank %u", shared->bank_bytes[b] >> 20, b);
        memcpy(what, err->text, sizeof what - 1);
        what[sizeof what - 1] = 0;
        return failed(worker, ERROR_NO_MEMORY, what,
                      "XRT pins as much host memory: raise memlock (ulimit -l), or ask for less with --card-memory",
                      err);
    }
    return 0;
}

static xrtBufferHandle take_buffer(struct worker *worker, int argument, size_t bytes, uint8_t **map, struct error *err)
{
    const int group = worker->xrt.xrtKernelArgGroupId(worker->kernel, argument);
    errno = 0;
    xrtBufferHandle buffer =
        group < 0 ? NULL : worker->xrt.xrtBOAlloc(worker->device, bytes, XRT_BO_FLAGS_NONE, (xrtMemoryGroup)group);
    *map = buffer ? worker->xrt.xrtBOMap(buffer) : NULL;
    if (!*map) failed(worker, ERROR_NO_MEMORY, "no memory for programs", "ask for less with --card-memory", err);
    return *map ? buffer : NULL;
}

static int make_run(struct worker *worker, struct worker_run *run, struct error *err)
{
    const struct xrt_api *xrt = &worker->xrt;
    run->block = take_buffer(worker, ARGUMENT_PROGRAM, STATUS_BYTES + XRT_PROGRAM_BYTES, &run->map, err);
    if (!run->block) return ERROR_NO_MEMORY;
    errno = 0;
    run->status = xrt->xrtBOSubAlloc(run->block, STATUS_BYTES, 0);
    run->program = xrt->xrtBOSubAlloc(run->block, XRT_PROGRAM_BYTES, STATUS_BYTES);
    run->handle = run->status && run->program ? xrt->xrtRunOpen(worker->kernel) : NULL;
    if (!run->handle) return failed(worker, ERROR_CARD, "no run of the engine", "reset the card", err);
    int rc = xrt->xrtRunSetArg(run->handle, ARGUMENT_PROGRAM, run->program);
    if (!rc) rc = xrt->xrtRunSetArg(run->handle, ARGUMENT_EXTENTS, worker->extents);
    if (!rc) rc = xrt->xrtRunSetArg(run->handle, ARGUMENT_STATUS, run->status);
    for (uint32_t b = 0; b < worker->shared->n_banks && !rc; b++)
        rc = xrt->xrtRunSetArg(run->handle, (int)(ARGUMENT_BANKS + b), worker->bank[b]);
    return rc ? failed(worker, ERROR_CARD, "the engine does not take its arguments", "its bitstream is of another ABI",
                       err)
              : 0;
}

int worker_open(struct worker *worker, struct error *err)
{
    int rc = xrt_api_open(&worker->xrt, err);
    if (!rc) rc = open_device(worker, err);
    if (!rc) rc = load(worker, err);
    if (!rc) rc = take_banks(worker, err);
    if (rc) return rc;
    worker->extents = take_buffer(worker, ARGUMENT_EXTENTS, XRT_EXTENTS_BYTES, &worker->extents_map, err);
    if (!worker->extents) return ERROR_NO_MEMORY;
    for (unsigned i = 0; i < WORKER_RUNS && !rc; i++) rc = make_run(worker, &worker->run[i], err);
    return rc;
}

void worker_close(struct worker *worker)
{
    const struct xrt_api *xrt = &worker->xrt;
    for (unsigned i = 0; i < WORKER_RUNS; i++) {
        xrt->xrtRunClose(worker->run[i].handle);
        xrt->xrtBOFree(worker->run[i].status);
        xrt->xrtBOFree(worker->run[i].program);
        xrt->xrtBOFree(worker->run[i].block);
    }
    xrt->xrtBOFree(worker->extents);
    for (uint32_t b = 0; b < worker->shared->n_banks; b++) xrt->xrtBOFree(worker->bank[b]);
    xrt->xrtKernelClose(worker->kernel);
    xrt->xrtDeviceClose(worker->device);
}
