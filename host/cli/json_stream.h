/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON array that is written while a program runs, in bounded memory, and is whole at every moment: each block goes to
 * the file with the end of the array behind it, and the next block writes over that end. So the file parses after an
 * error, a full disk or a signal; on a pipe, which cannot go back, the end comes last.
 */
#ifndef SLUICE_CLI_JSON_STREAM_H
#define SLUICE_CLI_JSON_STREAM_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_STREAM_BLOCK 65536u

struct json_stream {
    int fd;
    bool goes_back;          /* a regular file */
    bool is_new;             /* the file was not there before */
    bool begun, any;         /* begin was written; an element was */
    int error_number;        /* of the first failure, after which nothing more is written; 0: none */
    const char *path;        /* borrowed */
    const char *begin, *end; /* what comes before the first element and after the last; borrowed */
    uint64_t n_committed;    /* bytes in the file before the end */
    size_t used;
    char block[JSON_STREAM_BLOCK];
};

/*
 * Opens path for writing, and writes nothing yet. What is there already is to be written over if it begins as begin does:
 * a file that somebody named by mistake stays as it is (ERROR_BAD_ARGUMENT). begin and end are short, and borrowed.
 */
int json_stream_open(const char *path, const char *begin, const char *end, struct json_stream *stream,
                     struct error *err);

/* Empties the file and writes begin and end. */
int json_stream_begin(struct json_stream *stream, struct error *err);

/* Adds one element of length bytes, less than a quarter of a block. A failure is told by json_stream_close. */
void json_stream_add(struct json_stream *stream, const char *element, size_t length);

/*
 * Writes what is left. An error names the file; nothing that was whole before is lost. A stream that never began leaves
 * the file as it was.
 */
int json_stream_close(struct json_stream *stream, struct error *err);

#endif
