/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar on stderr, for loads that take longer than a second; on a terminal only. */
#ifndef SLUICE_CLI_PROGRESS_H
#define SLUICE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *label; /* borrowed */
    bool enabled;      /* stderr is a terminal and nobody asked for quiet */
    bool shown;
    int percent; /* shown last */
    double started_at;
};

void progress_start(struct progress *progress, const char *label, bool quiet);

/* A model_progress function; context is the struct progress. Non-zero (stop) if SIGINT is blocked and pending. */
int progress_update(void *context, uint64_t done, uint64_t total);

/* Takes the bar off the screen. */
void progress_end(struct progress *progress);

double seconds_now(void); /* monotonic */

#endif
