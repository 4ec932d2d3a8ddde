/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/xrt_process.h"

#include "host/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PROGRAM "sluice-xrt"
#define FIRST_FD 10 /* above those that the process gets */
#define OPEN_SECONDS 120u
#define CLOSE_MS 5000u
#define KILLED_MS 10000u /* a process that its driver holds does not even end then: it is left behind */
#define PAGE UINT64_C(4096)

extern char **environ;

/* ---- shared memory ---- */

static uint64_t take(uint64_t *at, uint64_t bytes)
{
    const uint64_t start = *at;
    *at += (bytes + PAGE - 1) / PAGE * PAGE;
    return start;
}

static struct xrt_shared layout_of(const struct xrt_request *request)
{
    uint64_t at = 0;
    struct xrt_shared shared = {.version = XRT_SHARED_VERSION,
                                .device = request->device,
                                .n_banks = request->n_banks,
                                .emulation = request->emulation,
                                .xclbin_bytes = request->n_xclbin};
    take(&at, sizeof shared);
    shared.programs_at = take(&at, XRT_PLACES * XRT_PROGRAM_BYTES);
    shared.extents_at = take(&at, XRT_PLACES * XRT_EXTENTS_BYTES);
    shared.xclbin_at = take(&at, request->n_xclbin);
    for (unsigned b = 0; b < request->n_banks; b++) {
        shared.bank_bytes[b] = request->bank[b].bytes;
        shared.bank_at[b] = take(&at, request->bank[b].bytes);
    }
    shared.bytes = at;
    return shared;
}

/* A copy of fd that none of the process's own numbers can be; fd is closed. */
static int move_up(int fd)
{
    const int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
    if (fd >= 0) close(fd);
    return moved;
}

static int make_shared(struct xrt_process *process, const struct xrt_request *request, int *memory, struct error *err)
{
    static const char what[] = "XRT card %u: %s: %s";
    struct xrt_shared *layout = malloc(sizeof *layout); /* too large for a stack */
    if (!layout) return error_set(err, ERROR_NO_MEMORY, what, request->device, "memory to share", "none left");
    *layout = layout_of(request);
    const uint64_t bytes = layout->bytes;
    *memory = move_up(memfd_create(PROGRAM, MFD_CLOEXEC));
    void *map = MAP_FAILED;
    if (*memory >= 0 && ftruncate(*memory, (off_t)bytes) == 0)
        map = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, *memory, 0);
    if (map == MAP_FAILED) {
        free(layout);
        return error_set(err, ERROR_NO_MEMORY,
                         "XRT card %u: %" PRIu64 " MiB of memory to share: %s (ask for less with --card-memory)",
                         request->device, bytes >> 20, strerror(errno));
    }
    process->shared = map;
    memcpy(map, layout, sizeof *layout);
    memcpy((uint8_t *)map + layout->xclbin_at, request->xclbin, request->n_xclbin);
    free(layout);
    return 0;
}

/* ---- starting ---- */

/* Beside the program that runs, or the folder above: where the build puts tests. */
static int find_program(char *path, size_t size, struct error *err)
{
    const char *named = getenv("SLUICE_XRT_PROCESS");
    char self[3072];
    if (named) {
        snprintf(path, size, "%s", named);
        return 0;
    }
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    for (unsigned up = 0; up < 2; up++) {
        char *slash = strrchr(self, '/');
        if (!slash) break;
        *slash = 0;
        snprintf(path, size, "%s/%s", self, PROGRAM);
        if (access(path, X_OK) == 0) return 0;
    }
    return error_set(err, ERROR_NOT_FOUND, "%s is not beside sluice (it belongs there; SLUICE_XRT_PROCESS may name it)",
                     PROGRAM);
}

static int spawn(struct xrt_process *process, const char *path, const int fd[3], struct error *err)
{
    char *const argv[] = {(char[]){PROGRAM}, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, standard;
    sigemptyset(&none);
    sigemptyset(&standard);
    sigaddset(&standard, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &standard);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fd[2], 1);
    posix_spawn_file_actions_adddup2(&actions, fd[2], 2);
    posix_spawn_file_actions_adddup2(&actions, fd[0], XRT_SHARED_FD);
    posix_spawn_file_actions_adddup2(&actions, fd[1], XRT_LIFE_FD);
    const int rc = posix_spawn(&process->pid, path, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == 0) return 0;
    process->pid = 0;
    return error_set(err, ERROR_IO, "%s: %s", path, strerror(rc));
}

static int start(struct xrt_process *process, int memory, struct error *err)
{
    char path[4096];
    int ends[2] = {-1, -1};
    int rc = find_program(path, sizeof path, err);
    if (rc) return rc;
    process->log = move_up(memfd_create(PROGRAM "-log", MFD_CLOEXEC));
    if (process->log >= 0) (void)fcntl(process->log, F_SETFL, O_APPEND);
    if (process->log < 0 || pipe2(ends, O_CLOEXEC) != 0)
        return error_set(err, ERROR_IO, "%s: %s", PROGRAM, strerror(errno));
    ends[0] = move_up(ends[0]);
    process->life = move_up(ends[1]);
    const int fd[3] = {memory, ends[0], process->log};
    rc = ends[0] < 0 || process->life < 0 ? error_set(err, ERROR_IO, "%s: %s", PROGRAM, strerror(errno))
                                          : spawn(process, path, fd, err);
    if (ends[0] >= 0) close(ends[0]);
    return rc;
}

static void last_words(const struct xrt_process *process, char *text, size_t size);

/* XRT ended its process before the card was open. */
static int say_broken(const struct xrt_process *process, struct error *err)
{
    char words[200];
    last_words(process, words, sizeof words);
    return error_set(err, ERROR_CARD,
                     "XRT card %u: XRT gave up when it opened it: %s (`sluice doctor` looks for the reason)",
                     process->device, words[0] ? words : "no word of why");
}

static int wait_until_open(struct xrt_process *process, struct error *err)
{
    struct xrt_shared *shared = process->shared;
    const uint64_t end = xrt_now_us() + OPEN_SECONDS * UINT64_C(1000000);
    for (;;) {
        const uint32_t heard = atomic_load(&shared->answers);
        const uint32_t state = atomic_load(&shared->state);
        shared->text[sizeof shared->text - 1] = 0;
        if (state == XRT_READY) return 0;
        if (state == XRT_FAILED)
            return error_set(err, shared->error < 0 ? shared->error : ERROR_CARD, "%s", shared->text);
        int rc = xrt_process_check(process, err);
        if (rc && atomic_load(&shared->state) == XRT_STARTING) return say_broken(process, err);
        if (rc) continue; /* it has said why before it ended */
        if (xrt_now_us() > end)
            return error_set(err, ERROR_TIMEOUT,
                             "XRT card %u: not open after %u s (`xbutil reset`, or restart the machine)",
                             process->device, OPEN_SECONDS);
        xrt_bell_wait(&shared->answers, heard, 20);
    }
}

int xrt_process_open(const struct xrt_request *request, struct xrt_process *out, struct error *err)
{
    int memory = -1;
    *out = (struct xrt_process){.life = -1, .log = -1, .device = request->device};
    int rc = make_shared(out, request, &memory, err);
    if (!rc) rc = start(out, memory, err);
    if (memory >= 0) close(memory);
    if (!rc) rc = wait_until_open(out, err);
    if (rc) xrt_process_close(out);
    return rc;
}

/* ---- the end ---- */

/* Whether it has ended; *status as waitpid gives it. */
static bool has_ended(struct xrt_process *process, int *status)
{
    pid_t got;
    *status = 0;
    do got = waitpid(process->pid, status, WNOHANG);
    while (got < 0 && errno == EINTR);
    if (got == 0) return false;
    process->pid = 0; /* got < 0: somebody else has waited for it */
    return true;
}

void xrt_process_close(struct xrt_process *process)
{
    int status;
    if (process->life >= 0) close(process->life); /* which tells it to end */
    for (unsigned ms = 0; ms < KILLED_MS && process->pid && !has_ended(process, &status); ms++) {
        if (ms == CLOSE_MS) (void)kill(-process->pid, SIGKILL);
        (void)poll(NULL, 0, 1);
    }
    if (process->log >= 0) close(process->log);
    if (process->shared) munmap(process->shared, (size_t)process->shared->bytes);
    *process = (struct xrt_process){.life = -1, .log = -1};
}

/* What it printed last, without the line's end; "" if nothing. */
static void last_words(const struct xrt_process *process, char *text, size_t size)
{
    char tail[1024];
    const off_t end = lseek(process->log, 0, SEEK_END);
    const off_t from = end > (off_t)sizeof tail - 1 ? end - (off_t)sizeof tail + 1 : 0;
    const ssize_t n = pread(process->log, tail, sizeof tail - 1, from);
    tail[n > 0 ? n : 0] = 0;
    for (size_t used = strlen(tail); used > 0 && tail[used - 1] == '\n';) tail[--used] = 0;
    const char *line = strrchr(tail, '\n');
    snprintf(text, size, "%s", line ? line + 1 : tail);
}

int xrt_process_check(struct xrt_process *process, struct error *err)
{
    int status = 0;
    char words[160], how[48];
    if (process->death.code) return error_set(err, process->death.code, "%s", process->death.text);
    if (process->pid && !has_ended(process, &status)) return 0;
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "was ended by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "has ended with status %d", WEXITSTATUS(status));
    last_words(process, words, sizeof words);
    error_set(&process->death, ERROR_CARD,
              "XRT card %u is lost: its process %s%s%s (what was in the card is gone: restart sluice; `sluice doctor` "
              "looks at the card)",
              process->device, how, words[0] ? ": " : "", words);
    return error_set(err, process->death.code, "%s", process->death.text);
}
