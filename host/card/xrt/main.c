/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice-xrt: the process of a card behind XRT. card_xrt.c starts it with shared memory at XRT_SHARED_FD; by hand it does
 * nothing. XRT may end its process (a device that is gone, under emulation) or kill its process group: this is a session of
 * its own.
 */
#include "host/card/xrt/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct xrt_shared *map_shared(size_t *bytes)
{
    struct stat file;
    if (fstat(XRT_SHARED_FD, &file) != 0 || file.st_size < (off_t)sizeof(struct xrt_shared)) return NULL;
    *bytes = (size_t)file.st_size;
    void *map = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, XRT_SHARED_FD, 0);
    return map == MAP_FAILED ? NULL : map;
}

static void say(struct xrt_shared *shared, int rc, const struct error *err)
{
    shared->error = rc;
    snprintf(shared->text, sizeof shared->text, "%.*s", (int)sizeof shared->text - 1, err->text);
    atomic_store(&shared->state, rc ? XRT_FAILED : XRT_READY);
    xrt_bell_ring(&shared->answers);
}

static int start_threads(struct worker *worker, struct error *err)
{
    static void *(*const entry[])(void *) = {worker_copies_to_card, worker_copies_from_card, worker_runs,
                                             worker_watchdog};
    pthread_t thread;
    for (unsigned i = 0; i < sizeof entry / sizeof *entry; i++) {
        if (pthread_create(&thread, NULL, entry[i], worker) != 0)
            return error_set(err, ERROR_NO_MEMORY, "XRT: no thread: %s", strerror(errno));
        pthread_detach(thread);
    }
    return 0;
}

/* Returns when the server has closed the card, or is gone. */
static void wait_for_the_end(void)
{
    char byte;
    ssize_t got;
    do got = read(XRT_LIFE_FD, &byte, 1);
    while (got > 0 || (got < 0 && errno == EINTR));
}

static bool is_idle(const struct xrt_shared *shared)
{
    for (unsigned i = 0; i < XRT_RINGS; i++) {
        if (atomic_load(&shared->ring[i].completed) != atomic_load(&shared->ring[i].submitted)) return false;
    }
    return true;
}

int main(void)
{
    static struct worker worker; /* large */
    struct error err = {0};
    size_t bytes;
    worker.shared = map_shared(&bytes);
    if (!worker.shared || worker.shared->version != XRT_SHARED_VERSION || worker.shared->bytes != bytes) {
        fputs("sluice-xrt is of another build than sluice, or was not started by it for --card xrt\n", stderr);
        return 2;
    }
    worker.memory = (uint8_t *)worker.shared;
    int rc = worker_open(&worker, &err);
    if (!rc) rc = start_threads(&worker, &err);
    say(worker.shared, rc, &err);
    if (rc) _exit(1);
    wait_for_the_end();
    if (is_idle(worker.shared) && !worker_hung(&worker)) worker_close(&worker);
    _exit(0); /* XRT's threads, and a run that hangs, go with the process */
}
