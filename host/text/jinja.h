/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chat templates: Jinja as its documentation (jinja.palletsprojects.com, 3.1) and Hugging Face's chat templates have it:
 * sandboxed and immutable, trim_blocks, lstrip_blocks, loop controls, `generation` blocks, `tojson` as json.dumps,
 * `raise_exception` and `strftime_now`. A template is foreign: steps, depth, memory and output are bounded, and
 * what it does wrong is an error with line and column.
 */
#ifndef SLUICE_TEXT_JINJA_H
#define SLUICE_TEXT_JINJA_H

#include "host/text/tokenizer.h"

#include <jansson.h>

struct jinja_template; /* opaque; immutable once made, may be rendered by several threads */

struct jinja_now {
    int year, month, day, hour, minute, second, microsecond; /* month and day from 1 */
};

/* The local time. */
void jinja_now_local(struct jinja_now *now);

/* "2026-01-15", "2026-01-15T12:00:00" with fraction and zone allowed and the zone ignored. ERROR_BAD_ARGUMENT. */
int jinja_now_parse(const char *iso, struct jinja_now *now, struct error *err);

/*
 * Parses length bytes of source, which need not outlive the call. ERROR_BAD_ARGUMENT with line and column.
 * *out is the caller's: jinja_template_free.
 */
int jinja_template_open(const char *source, size_t length, struct jinja_template **out, struct error *err);
void jinja_template_free(struct jinja_template *template); /* NULL is allowed */

/*
 * Appends to out what the template writes for variables (a JSON object, borrowed for the call; as a template may not
 * change what it is given, it stays as it is). now: for strftime_now; NULL is the local time. On error out is as
 * before: ERROR_BAD_ARGUMENT for what Jinja raises, ERROR_TOO_LARGE for steps, depth, memory and output.
 */
int jinja_render(const struct jinja_template *template, const json_t *variables, const struct jinja_now *now,
                 struct text *out, struct error *err);

#endif
