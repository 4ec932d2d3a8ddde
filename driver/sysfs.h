/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of the kernel's file trees: one short text a file. What is not there reads as empty. */
#ifndef SLUICE_DRIVER_SYSFS_H
#define SLUICE_DRIVER_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The first line of a file without its newline, cut at size. False, and an empty text, if it cannot be read (errno says why) or
 * is no plain file: opening never waits.
 */
bool sysfs_read(const char *path, char *out, size_t size);

/* The whole file as text, cut at size: for attributes with a line each, and for /proc. */
bool sysfs_read_all(const char *path, char *out, size_t size);

/* A number in decimal, or in hex after 0x. False, *out untouched, if the text is no number. */
bool sysfs_read_i64(const char *path, int64_t *out);

/* Last part of a symbolic link's target: "xocl" for .../driver. False if it is no link. */
bool sysfs_read_link(const char *path, char *out, size_t size);

/* Writes text to a file that is there, in one piece. False: errno says why. */
bool sysfs_write(const char *path, const char *text);

/* snprintf that says whether all fitted. */
bool sysfs_path(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
