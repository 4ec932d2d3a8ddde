/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/progress.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 40
#define PATIENCE_SECONDS 1.0

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_start(struct progress *progress, const char *label, bool quiet)
{
    *progress = (struct progress){.label = label, .percent = -1, .started_at = seconds_now()};
    progress->enabled = !quiet && isatty(STDERR_FILENO);
}

/* A command that blocks SIGINT to handle it later still lets the user give up while a model loads. */
static bool interrupted(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGINT) == 1;
}

int progress_update(void *context, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    if (interrupted()) return 1;
    int percent = total > 0 ? (int)(100.0 * (double)done / (double)total) : 100;
    if (!progress->enabled || percent == progress->percent) return 0;
    if (!progress->shown && seconds_now() - progress->started_at < PATIENCE_SECONDS) return 0;
    progress->shown = true;
    progress->percent = percent;
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i * 100 < percent * BAR_WIDTH ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %3d%%", progress->label, bar, percent);
    fflush(stderr);
    return 0;
}

void progress_end(struct progress *progress)
{
    if (progress->shown) fputs("\r\033[K", stderr);
    progress->shown = false;
}
