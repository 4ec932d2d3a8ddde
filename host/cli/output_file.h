/* SPDX-License-Identifier: Apache-2.0 */
/* A file that appears under its name only when it is whole: written without a name (or beside), then renamed. */
#ifndef SLUICE_CLI_OUTPUT_FILE_H
#define SLUICE_CLI_OUTPUT_FILE_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stdio.h>

struct output_file {
    FILE *stream;
    const char *path; /* borrowed */
    bool unnamed;     /* has no name until it is committed: nothing is left of it if the process dies */
    char *aside;      /* its name beside path, owned; NULL: none yet, or written in place (stdout, a device, a pipe) */
};

/* "-" is stdout. On error *file is {0}. */
int output_file_open(const char *path, struct output_file *file, struct error *err);

/* Flushes to the disk and renames. On error nothing is left under either name that was not there before. */
int output_file_commit(struct output_file *file, struct error *err);

/* Removes what was written unless it was committed; allowed after commit and on {0}. */
void output_file_close(struct output_file *file);

#endif
