/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/utf8.h"

#include <string.h>

enum utf8_kind utf8_scan(const uint8_t *bytes, size_t n, unsigned *length)
{
    uint8_t lead = bytes[0];
    *length = 1;
    if (lead < 0x80) return UTF8_CHARACTER;
    if (lead < 0xc2 || lead > 0xf4) return UTF8_BROKEN;

    unsigned whole = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    /* The second byte is what keeps overlong forms (E0, F0), surrogates (ED) and too large values (F4) out. */
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (unsigned i = 1; i < whole; i++) {
        if (i >= n) return UTF8_UNFINISHED;
        if (bytes[i] < low || bytes[i] > high) return UTF8_BROKEN;
        low = 0x80;
        high = 0xbf;
        *length = i + 1;
    }
    return UTF8_CHARACTER;
}

size_t utf8_valid_prefix(const uint8_t *bytes, size_t n)
{
    size_t position = 0;
    while (position < n) {
        uint64_t eight;
        if (n - position >= sizeof eight) {
            memcpy(&eight, bytes + position, sizeof eight);
            if (!(eight & 0x8080808080808080u)) {
                position += sizeof eight;
                continue;
            }
        }
        unsigned length;
        if (utf8_scan(bytes + position, n - position, &length) != UTF8_CHARACTER) break;
        position += length;
    }
    return position;
}

uint32_t utf8_decode(const uint8_t *bytes, unsigned length)
{
    if (length == 1) return bytes[0];
    uint32_t code_point = bytes[0] & (0x7fu >> length);
    for (unsigned i = 1; i < length; i++) code_point = code_point << 6 | (bytes[i] & 0x3fu);
    return code_point;
}
