/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One field of a request at a time. Every function returns 1 and sets *out if the field is there, 0 if it is absent or
 * null (*out unchanged), and -1 with *error filled if it has a wrong type or is out of range.
 */
#ifndef SLUICE_SERVE_REQUEST_FIELDS_H
#define SLUICE_SERVE_REQUEST_FIELDS_H

#include "host/serve/api_error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

int field_bool(const json_t *object, const char *name, bool *out, struct api_error *error);
int field_text(const json_t *object, const char *name, const char **out, struct api_error *error);
int field_integer(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *out,
                  struct api_error *error);
/* open_min: min itself is not allowed. */
int field_number(const json_t *object, const char *name, double min, double max, bool open_min, float *out,
                 struct api_error *error);

/* Refuses `name` with "expected X, but got Y". Returns -1. */
int field_wrong_type(const char *name, const char *expected, const json_t *got, struct api_error *error);

/* Refuses what is known and not served: 0, or -1 with *error filled. `what` completes "... is not supported". */
int field_unsupported(const char *name, const char *what, struct api_error *error);

#endif
