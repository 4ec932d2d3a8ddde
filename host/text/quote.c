/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/quote.h"
#include "host/text/utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct quote quote(const char *bytes, size_t length)
{
    struct quote out;
    const uint8_t *at = (const uint8_t *)bytes;
    size_t used = 0;
    /* A character takes four bytes at most as it is, and four for each of its bytes if it is escaped. */
    while (length && used + 4 * 4 + sizeof "..." <= sizeof out.text) {
        unsigned n;
        bool shown = utf8_scan(at, length, &n) == UTF8_CHARACTER;
        uint32_t code = shown ? utf8_decode(at, n) : 0;
        if (!shown) n = 1;
        if (shown && code >= 0x20 && !(code >= 0x7f && code < 0xa0)) {
            memcpy(out.text + used, at, n);
            used += n;
        } else {
            for (unsigned i = 0; i < n; i++)
                used += (size_t)snprintf(out.text + used, sizeof out.text - used, "\\x%02x", at[i]);
        }
        at += n;
        length -= n;
    }
    memcpy(out.text + used, length ? "..." : "", length ? sizeof "..." : 1);
    return out;
}
