/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole file mapped read-only. The mapping is private, so the program can never change the file; somebody who
 * truncates a mapped file makes its pages vanish, which read as zeros then (map_guard.h): model files are replaced by rename,
 * never in place.
 */
#ifndef SLUICE_BASE_MAP_FILE_H
#define SLUICE_BASE_MAP_FILE_H

#include "host/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct map_file {
    const uint8_t *bytes; /* valid until map_file_close; NULL: nothing is mapped */
    size_t size;
    unsigned guard; /* of map_guard.h */
};

/*
 * Maps path. ERROR_NOT_FOUND if there is no such file, ERROR_BAD_FILE if it is empty or no regular file, else ERROR_IO;
 * the text names path. On error *map is {0}. Never blocks on a FIFO.
 */
int map_file_open(const char *path, struct map_file *map, struct error *err);
/* The same, and *fd is the file's descriptor, which the caller closes; -1 on error. */
int map_file_open_kept(const char *path, struct map_file *map, int *fd, struct error *err);
void map_file_close(struct map_file *map); /* leaves {0}; a second call does nothing */

/* 0, or ERROR_IO that names path if something of the file was gone when it was read: what was read cannot be trusted then. */
int map_file_check(const struct map_file *map, const char *path, struct error *err);

/* The whole pages in this range of the mapping leave this process's memory; reading them again brings them back. */
void map_file_forget(const struct map_file *map, const uint8_t *bytes, size_t n_bytes);

#endif
