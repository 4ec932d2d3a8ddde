/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice-xrt-device: the process that XRT's emulation takes for a card. XRT starts it (hw_emu by the script in the xclbin,
 * sw_emu as its device model) with USER and EMULATION_SOCKETID, which name the socket, and XCL_EMULATION_MODE.
 *
 *   --card NAME           profile whose virtual time runs are charged (SLUICE_XRT_CARD; u55c)
 *   SLUICE_XRT_ENGINE     fast, or hls: the code of kernels/hls
 *   SLUICE_XRT_THREADS    compute threads (0: one per core)
 *   SLUICE_XRT_REPORT     a file: runs and virtual time, one line of JSON when the card closes
 *   SLUICE_XRT_HANG_AT, SLUICE_XRT_DIE_AT
 *                         the run, counted from 1, that never ends, or in which the process kills itself: for tests
 *   SLUICE_XRT_STALL_AT   the copy, counted from 1 in what XRT cuts them to, that is never answered: for tests
 */
#include "sim/xrt/device.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CARD_BYTES (UINT64_C(1) << 37) /* of addresses: more than any card of a profile has */
#define SECONDS_TO_CONNECT 60u

static uint64_t number_of(const char *name)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

static int refuse(const struct error *err)
{
    fprintf(stderr, "sluice-xrt-device: %s\n", err->text);
    return 1;
}

/* XRT's own choice of names; without USER it ignores the id. */
static void socket_path(const char *prefix, char *path, size_t size)
{
    const char *user = getenv("USER"), *id = getenv("EMULATION_SOCKETID");
    if (user && id)
        snprintf(path, size, "/tmp/%s/%s%s", user, prefix, id);
    else
        snprintf(path, size, "/tmp/%s%s", prefix, id ? id : "xcl_sock");
}

static void report(struct engine_unit *unit, const char *card)
{
    const char *path = getenv("SLUICE_XRT_REPORT");
    uint64_t runs, virtual_ps;
    FILE *out = path ? fopen(path, "ae") : NULL;
    if (!out) return;
    engine_unit_count(unit, &runs, &virtual_ps);
    fprintf(out, "{\"card\":\"%s\",\"runs\":%" PRIu64 ",\"virtual_us\":%.3f}\n", card, runs, (double)virtual_ps * 1e-6);
    fclose(out);
}

static int serve(struct device *device, const struct engine_unit_settings *settings, struct error *err)
{
    char path[256];
    struct wire side = {.socket = -1}; /* hw_emu waits for us here; nothing is said */
    device->space.bytes = CARD_BYTES;
    device->space.base =
        mmap(NULL, CARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (device->space.base == MAP_FAILED) return error_set(err, ERROR_NO_MEMORY, "card memory: %s", strerror(errno));
    socket_path("", path, sizeof path);
    int rc = engine_unit_open(settings, &device->space, &device->unit, err);
    if (!rc) rc = wire_open(path, SECONDS_TO_CONNECT, &device->wire, err);
    if (!rc && device->hw_emu) {
        socket_path("D2X_unix_sock_", path, sizeof path);
        rc = wire_open(path, SECONDS_TO_CONNECT, &side, err);
    }
    if (!rc) rc = device_serve(device, err);
    if (device->unit) report(device->unit, settings->card ? settings->card : "");
    wire_close(&side);
    wire_close(&device->wire);
    return rc;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    const char *mode = getenv("XCL_EMULATION_MODE"), *engine = getenv("SLUICE_XRT_ENGINE");
    struct engine_unit_settings settings = {
        .card = getenv("SLUICE_XRT_CARD"),
        .hls = engine && strcmp(engine, "hls") == 0,
        .threads = (unsigned)number_of("SLUICE_XRT_THREADS"),
        .hang_at_run = number_of("SLUICE_XRT_HANG_AT"),
        .die_at_run = number_of("SLUICE_XRT_DIE_AT"),
    };
    if (argc == 3 && strcmp(argv[1], "--card") == 0) settings.card = argv[2];
    if (!settings.card) settings.card = "u55c";
    struct device device = {.wire.socket = -1,
                            .hw_emu = mode && strcmp(mode, "hw_emu") == 0,
                            .stall_at_copy = number_of("SLUICE_XRT_STALL_AT")};
    signal(SIGPIPE, SIG_IGN);
    const int rc = serve(&device, &settings, &err);
    if (rc) return refuse(&err);
    return 0; /* what runs is abandoned with the process: the host has closed the card */
}
