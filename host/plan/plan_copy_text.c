/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/plan_make.h"
#include "host/text/utf8.h"

#include <string.h>

void plan_copy_text(char *to, size_t size, const char *from)
{
    size_t length = strnlen(from, size - 1), used = 0;
    for (size_t at = 0; at < length;) {
        unsigned n;
        bool whole = utf8_scan((const uint8_t *)from + at, length - at, &n) == UTF8_CHARACTER;
        bool shown = whole && (n > 1 || ((unsigned char)from[at] >= 0x20 && from[at] != 0x7f));
        if (shown)
            memcpy(to + used, from + at, n);
        else
            to[used] = '?';
        used += shown ? n : 1;
        at += n;
    }
    to[used] = '\0';
}
