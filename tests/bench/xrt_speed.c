/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process between sluice and XRT costs: the same work by `--card xrt` and by XRT's C API alone, in turn, and the
 * ratio of their medians and of their best rounds. Run by sim/xrt/emulate.sh: xrt_speed [rounds]
 *   to card, from card   64 MiB from and to memory of the caller
 *   steps                a write of 16 KiB, a program of 200 small descriptors, a read of 64 KiB, one after the other
 */
#include "host/base/map_file.h"
#include "host/card/card.h"
#include "host/card/xrt/xrt_api.h"
#include "sim/engine_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BULK (UINT64_C(64) << 20)
#define IN_BYTES 16384u
#define OUT_BYTES 65536u
#define DESCRIPTORS 200u
#define STEPS 20 /* a round, by turns one of each */
#define MAX_ROUNDS 101
#define MAX_SAMPLES (MAX_ROUNDS * STEPS)
#define OFFSET 4096u /* of allocations in a bank: as card.h gives them */

enum measure { TO_CARD, FROM_CARD, STEP, MEASURES };
static const char *const names[MEASURES] = {"to_card", "from_card", "steps"};

struct bare {
    struct xrt_api xrt;
    xrtDeviceHandle device;
    xrtKernelHandle kernel;
    xrtBufferHandle bank[4], program, extents, status;
    uint8_t *bank_map[4], *program_map, *extents_map, *status_map;
    xrtRunHandle run;
    struct map_file xclbin;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void need(int good, const char *what)
{
    if (good) return;
    fprintf(stderr, "xrt_speed: %s\n", what);
    exit(1);
}

static void make_program(struct card_descriptor *program, card_addr in, card_addr out)
{
    for (unsigned i = 0; i < DESCRIPTORS; i++)
        program[i] = (struct card_descriptor){
            .opcode = CARD_OP_SCALE, .tokens = 1, .cols = 512, .dst = out, .src = in, .param = {0x40000000u}};
}

/* ---- XRT alone ---- */

static xrtBufferHandle bare_buffer(struct bare *bare, int argument, size_t bytes, uint8_t **map)
{
    const int group = bare->xrt.xrtKernelArgGroupId(bare->kernel, argument);
    xrtBufferHandle buffer = bare->xrt.xrtBOAlloc(bare->device, bytes, XRT_BO_FLAGS_NONE, (xrtMemoryGroup)group);
    need(buffer && (*map = bare->xrt.xrtBOMap(buffer)), "a buffer");
    return buffer;
}

static void bare_open(struct bare *bare)
{
    struct error err = {0};
    xuid_t uuid;
    const char *path = getenv("SLUICE_BITSTREAM");
    need(path && map_file_open(path, &bare->xclbin, &err) == 0, "SLUICE_BITSTREAM (sim/xrt/emulate.sh sets it)");
    need(xrt_api_open(&bare->xrt, &err) == 0, err.text);
    need((bare->device = bare->xrt.xrtDeviceOpen(0)) != NULL, "device");
    need(bare->xrt.xrtDeviceLoadXclbin(bare->device, (const void *)bare->xclbin.bytes) == 0, "bitstream");
    need(bare->xrt.xrtDeviceGetXclbinUUID(bare->device, uuid) == 0, "UUID");
    need((bare->kernel = bare->xrt.xrtPLKernelOpenExclusive(bare->device, uuid, "sluice_engine")) != NULL, "kernel");
    for (int b = 0; b < 4; b++)
        bare->bank[b] = bare_buffer(bare, 5 + b, BULK + 2 * OFFSET + OUT_BYTES, &bare->bank_map[b]);
    bare->program = bare_buffer(bare, 0, DESCRIPTORS * sizeof(struct card_descriptor), &bare->program_map);
    bare->extents = bare_buffer(bare, 2, 4096, &bare->extents_map);
    bare->status = bare_buffer(bare, 4, 4096, &bare->status_map);
    const uint64_t extent[2] = {CARD_ADDR(1, OFFSET), IN_BYTES + OUT_BYTES};
    memcpy(bare->extents_map, extent, sizeof extent);
    need(bare->xrt.xrtBOSync(bare->extents, XCL_BO_SYNC_BO_TO_DEVICE, 4096, 0) == 0, "a copy");
    bare->run = bare->xrt.xrtRunOpen(bare->kernel);
    need(bare->run && bare->xrt.xrtRunSetArg(bare->run, 0, bare->program) == 0 &&
             bare->xrt.xrtRunSetArg(bare->run, 1, DESCRIPTORS) == 0 &&
             bare->xrt.xrtRunSetArg(bare->run, 2, bare->extents) == 0 &&
             bare->xrt.xrtRunSetArg(bare->run, 3, 1u) == 0 && bare->xrt.xrtRunSetArg(bare->run, 4, bare->status) == 0,
         "arguments");
    for (int b = 0; b < 4; b++) need(bare->xrt.xrtRunSetArg(bare->run, 5 + b, bare->bank[b]) == 0, "arguments");
}

static void bare_sync(struct bare *bare, xrtBufferHandle buffer, enum xclBOSyncDirection way, size_t bytes, size_t at)
{
    need(bare->xrt.xrtBOSync(buffer, way, bytes, at) == 0, "a copy");
}

static void bare_step(struct bare *bare, const struct card_descriptor *program, const uint8_t *in, uint8_t *out)
{
    memcpy(bare->bank_map[1] + OFFSET, in, IN_BYTES);
    bare_sync(bare, bare->bank[1], XCL_BO_SYNC_BO_TO_DEVICE, IN_BYTES, OFFSET);
    memcpy(bare->program_map, program, DESCRIPTORS * sizeof *program);
    bare_sync(bare, bare->program, XCL_BO_SYNC_BO_TO_DEVICE, DESCRIPTORS * sizeof *program, 0);
    need(bare->xrt.xrtRunStart(bare->run) == 0, "a run");
    while (bare->xrt.xrtRunState(bare->run) != ERT_CMD_STATE_COMPLETED) (void)bare->xrt.xrtRunWaitFor(bare->run, 1000);
    bare_sync(bare, bare->status, XCL_BO_SYNC_BO_FROM_DEVICE, sizeof(struct engine_status), 0);
    need(((struct engine_status *)(void *)bare->status_map)->status == 0, "a run's status");
    bare_sync(bare, bare->bank[1], XCL_BO_SYNC_BO_FROM_DEVICE, OUT_BYTES, OFFSET + IN_BYTES);
    memcpy(out, bare->bank_map[1] + OFFSET + IN_BYTES, OUT_BYTES);
}

static void bare_bulk(struct bare *bare, uint8_t *bulk, double seconds[MEASURES])
{
    double start = now();
    memcpy(bare->bank_map[0] + OFFSET, bulk, BULK);
    bare_sync(bare, bare->bank[0], XCL_BO_SYNC_BO_TO_DEVICE, BULK, OFFSET);
    seconds[TO_CARD] = now() - start;
    start = now();
    bare_sync(bare, bare->bank[0], XCL_BO_SYNC_BO_FROM_DEVICE, BULK, OFFSET);
    memcpy(bulk, bare->bank_map[0] + OFFSET, BULK);
    seconds[FROM_CARD] = now() - start;
}

/* ---- the backend ---- */

struct backend {
    struct card *card;
    card_addr bulk, in, out;
};

static void backend_open(struct backend *backend)
{
    struct error err = {0};
    need(card_open("xrt", NULL, &backend->card, &err) == 0, err.text);
    need(card_alloc(backend->card, 0, BULK, &backend->bulk, &err) == 0, err.text);
    need(card_alloc(backend->card, 1, IN_BYTES, &backend->in, &err) == 0, err.text);
    need(card_alloc(backend->card, 1, OUT_BYTES, &backend->out, &err) == 0, err.text);
}

static void backend_bulk(struct backend *backend, uint8_t *bulk, double seconds[MEASURES])
{
    struct error err = {0};
    double start = now();
    need(card_write(backend->card, backend->bulk, bulk, BULK, NULL, 0, NULL, &err) == 0, err.text);
    seconds[TO_CARD] = now() - start;
    start = now();
    need(card_read(backend->card, bulk, backend->bulk, BULK, NULL, 0, NULL, &err) == 0, err.text);
    seconds[FROM_CARD] = now() - start;
}

static void backend_step(struct backend *backend, const struct card_descriptor *program, const uint8_t *in,
                         uint8_t *out)
{
    struct card *card = backend->card;
    struct error err = {0};
    card_event written, ran, read;
    int rc = card_write(card, backend->in, in, IN_BYTES, NULL, 0, &written, &err);
    if (!rc) rc = card_submit(card, program, DESCRIPTORS, &written, 1, &ran, &err);
    if (!rc) rc = card_read(card, out, backend->out, OUT_BYTES, &ran, 1, &read, &err);
    if (!rc) rc = card_wait(card, read, 0, &err);
    need(rc == 0, err.text);
}

/* ---- both ---- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_size);
    return values[n / 2];
}

struct samples {
    double bare[MEASURES][MAX_SAMPLES], backend[MEASURES][MAX_SAMPLES];
};

static void measure(struct bare *bare, struct backend *backend, int rounds, uint8_t *bulk, struct samples *samples)
{
    struct card_descriptor ours[DESCRIPTORS], theirs[DESCRIPTORS];
    double one[MEASURES], other[MEASURES];
    make_program(ours, backend->in, backend->out);
    make_program(theirs, CARD_ADDR(1, OFFSET), CARD_ADDR(1, OFFSET + IN_BYTES));
    for (int r = -1; r < rounds; r++) { /* the first is for caches and first touches */
        const int at = r < 0 ? 0 : r;
        bare_bulk(bare, bulk, one);
        backend_bulk(backend, bulk, other);
        for (int m = TO_CARD; m <= FROM_CARD; m++) samples->bare[m][at] = one[m], samples->backend[m][at] = other[m];
        for (int i = 0; i < STEPS; i++) {
            double start = now();
            bare_step(bare, theirs, bulk, bulk + IN_BYTES);
            samples->bare[STEP][at * STEPS + i] = now() - start;
            start = now();
            backend_step(backend, ours, bulk, bulk + IN_BYTES);
            samples->backend[STEP][at * STEPS + i] = now() - start;
        }
    }
}

static void print_result(struct samples *samples, int measure, int n)
{
    const char *mode = getenv("XCL_EMULATION_MODE");
    const double alone = median(samples->bare[measure], n), through = median(samples->backend[measure], n);
    const double best = samples->bare[measure][0] / samples->backend[measure][0]; /* sorted by now */
    const double work = measure == STEP ? 1 : (double)BULK / 1e6;
    printf("{\"name\":\"xrt %s\",\"mode\":\"%s\",\"unit\":\"%s\",\"bare\":%.1f,\"backend\":%.1f,\"ratio\":%.3f,"
           "\"best_ratio\":%.3f}\n",
           names[measure], mode ? mode : "card", measure == STEP ? "steps/s" : "MB/s", work / alone, work / through,
           alone / through, best);
}

int main(int argc, char **argv)
{
    static struct samples samples;
    static struct bare bare;
    struct backend backend;
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 21;
    if (rounds < 1 || rounds > MAX_ROUNDS) rounds = MAX_ROUNDS;
    uint8_t *bulk = calloc(BULK, 1);
    need(bulk != NULL, "memory");
    backend_open(&backend);
    bare_open(&bare);
    measure(&bare, &backend, rounds, bulk, &samples);
    for (int m = 0; m < MEASURES; m++) print_result(&samples, m, m == STEP ? rounds * STEPS : rounds);
    card_close(backend.card);
    free(bulk);
    fflush(stdout);
    _exit(0); /* XRT ends with the process */
}
