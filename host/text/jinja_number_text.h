/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as text, for str.format and for %. */
#ifndef SLUICE_TEXT_JINJA_NUMBER_TEXT_H
#define SLUICE_TEXT_JINJA_NUMBER_TEXT_H

#include "host/text/jinja_value.h"

#define JINJA_MAX_PRECISION 400

struct jinja_number_style {
    char type;         /* d b o x X e E f F g G % or 0 */
    char sign;         /* '+', ' ' or '-' (only of negative numbers) */
    char grouping;     /* ',' or '_' or 0 */
    bool alternate;    /* # */
    int64_t precision; /* -1: none */
};

/* Sign and prefix to head, digits to body. Errors: a type that does not go with the value, a precision beyond the limit. */
void jinja_number_text(struct jinja_run *run, struct jinja_value number, const struct jinja_number_style *style,
                       struct jinja_builder *head, struct jinja_builder *body);

/* head and body in a field of width characters. align: '<', '>', '^' or '='. */
void jinja_put_field(struct jinja_run *run, struct jinja_builder *to, const struct jinja_builder *head,
                     const struct jinja_builder *body, int64_t width, char align, const char *fill, size_t fill_length);

#endif
