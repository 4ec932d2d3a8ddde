/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a JSON text a member stands: jansson tells lines of syntax errors only. */
#ifndef SLUICE_BITSTREAMS_JSON_LINE_H
#define SLUICE_BITSTREAMS_JSON_LINE_H

#include <stddef.h>

/*
 * The line, from 1, of the key at the end of path ("memory[0].latency.value") in text, which is valid JSON (jansson has taken
 * it); of the last part of path that is there, for what is missing. Keys with escapes are not found.
 */
unsigned json_line(const char *text, size_t n_bytes, const char *path);

#endif
