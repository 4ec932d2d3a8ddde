/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 as Unicode defines it (Table 3-7, "Well-Formed UTF-8 Byte Sequences"): no overlong forms, no surrogates,
 * nothing above U+10FFFF.
 */
#ifndef SLUICE_TEXT_UTF8_H
#define SLUICE_TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>

enum utf8_kind {
    UTF8_CHARACTER,  /* *length bytes are one character */
    UTF8_BROKEN,     /* *length bytes can never become a character: a maximal subpart, so one U+FFFD */
    UTF8_UNFINISHED, /* all the bytes are the start of a character that has not ended */
};

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* What stands at the start of bytes[0..n), n > 0. *length is 1..4. */
enum utf8_kind utf8_scan(const uint8_t *bytes, size_t n, unsigned *length);

/* Length in bytes of the longest prefix that is whole, valid characters. */
size_t utf8_valid_prefix(const uint8_t *bytes, size_t n);

/* Bytes of the character that a valid lead byte begins. */
static inline unsigned utf8_length(uint8_t lead) { return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }

/* The code point of the valid character of length bytes. */
uint32_t utf8_decode(const uint8_t *bytes, unsigned length);

#endif
