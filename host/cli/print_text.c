/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/print_text.h"

#include "host/text/utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t print_text(const char *text, size_t length, size_t most, const char *escaped)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t at = 0;
    while (at < length && at < most) {
        unsigned n;
        bool character = utf8_scan(bytes + at, length - at, &n) == UTF8_CHARACTER;
        uint32_t code = character ? utf8_decode(bytes + at, n) : 0;
        if (!character) n = 1;
        if (code == '\n') {
            fputs("\\n", stdout);
        } else if (code > 0 && code < 0x80 && strchr(escaped, (int)code)) {
            printf("\\%c", (int)code);
        } else if (!character || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            for (unsigned i = 0; i < n; i++) printf("\\x%02x", bytes[at + i]);
        } else {
            fwrite(bytes + at, 1, n, stdout);
        }
        at += n;
    }
    return at;
}
