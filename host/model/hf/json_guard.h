/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of a stranger: bounded in size and depth before the parser sees it, and no key twice. */
#ifndef SLUICE_MODEL_HF_JSON_GUARD_H
#define SLUICE_MODEL_HF_JSON_GUARD_H

#include "host/base/error.h"

#include <jansson.h>
#include <stddef.h>

/* An object of n_bytes, nested no deeper than max_depth. *out is the caller's: json_decref. name is for messages. */
int json_guard_parse(const char *bytes, size_t n_bytes, unsigned max_depth, const char *name, json_t **out,
                     struct error *err);

/* The same of a file of at most max_bytes. ERROR_NOT_FOUND if there is none. */
int json_guard_read(const char *path, size_t max_bytes, unsigned max_depth, json_t **out, struct error *err);

#endif
