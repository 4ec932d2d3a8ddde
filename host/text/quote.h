/* SPDX-License-Identifier: Apache-2.0 */
/* Text of a foreign file inside an error message: short, and without anything that a terminal acts on. */
#ifndef SLUICE_TEXT_QUOTE_H
#define SLUICE_TEXT_QUOTE_H

#include <stddef.h>

struct quote {
    char text[100];
};

/* The bytes with control characters and broken UTF-8 as \xNN, cut ("...") where they are too long. */
struct quote quote(const char *bytes, size_t length);

#endif
