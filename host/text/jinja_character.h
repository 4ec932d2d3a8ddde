/* SPDX-License-Identifier: Apache-2.0 */
/* Characters as Python's str sees them. Unicode properties come from PCRE2, case from a table made of Unicode's data. */
#ifndef SLUICE_TEXT_JINJA_CHARACTER_H
#define SLUICE_TEXT_JINJA_CHARACTER_H

#include "host/text/jinja_value.h"

enum jinja_class {
    JINJA_SPACE,     /* str.isspace */
    JINJA_PRINTABLE, /* str.isprintable */
    JINJA_ALPHA,     /* str.isalpha */
    JINJA_DECIMAL,   /* str.isdecimal */
    JINJA_DIGIT,     /* str.isdigit */
    JINJA_NUMERIC,   /* str.isnumeric */
    JINJA_WORD,      /* \w of Python's re */
    JINJA_UPPER,     /* Python's Py_UNICODE_ISUPPER, Other_Uppercase included */
    JINJA_LOWER,
    JINJA_TITLE,     /* titlecase letters: neither upper nor lower */
    JINJA_IGNORABLE, /* what the rule of the final sigma looks past */
};

/* The character at bytes (n > 0 bytes follow); *length is its bytes. Broken bytes are U+FFFD, one at a time. */
uint32_t jinja_character(const char *bytes, size_t n, unsigned *length);
bool jinja_character_is(uint32_t c, enum jinja_class class);

enum jinja_case { JINJA_TO_UPPER, JINJA_TO_LOWER, JINJA_TO_TITLE, JINJA_TO_FOLDED };
/* Full case mapping of one character without context; out has room for three. Returns how many. */
unsigned jinja_character_case(uint32_t c, enum jinja_case to, uint32_t out[3]);

/* Spaces of text[0..length) taken off the ends that are asked for. */
void jinja_trim(const char **text, size_t *length, bool left, bool right);

#endif
