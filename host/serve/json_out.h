/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON written piece by piece into a growing buffer. Failure is sticky: write everything, then look at failed once.
 */
#ifndef SLUICE_SERVE_JSON_OUT_H
#define SLUICE_SERVE_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>

struct json_out {
    char *bytes; /* owned: json_out_free; not terminated */
    size_t length, capacity;
    bool failed; /* out of memory: bytes is not to be used */
};

void json_out_free(struct json_out *out);  /* leaves it empty and usable */
void json_out_clear(struct json_out *out); /* empty again, the memory kept */

/* As they are. */
void json_out_raw(struct json_out *out, const char *bytes, size_t length);
void json_out_text(struct json_out *out, const char *text);
void json_out_format(struct json_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD, so the result is always valid JSON. */
void json_out_string(struct json_out *out, const char *bytes, size_t length);

#endif
