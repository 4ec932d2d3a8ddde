/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/character.h"
#include "host/text/unicode_classes.h"

#include <stddef.h>

static bool in_ranges(const struct unicode_range *ranges, size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && ranges[low].first <= c;
}
#define IN(ranges, c) in_ranges(ranges, sizeof(ranges) / sizeof(ranges)[0], c)

bool character_is_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

bool character_is_punctuation(uint32_t c) { return IN(unicode_punctuation, c); }
bool character_is_control(uint32_t c) { return IN(unicode_control, c); }
bool character_is_accent(uint32_t c) { return c >= 0x300 && IN(unicode_accents, c); }
bool character_is_nonspacing(uint32_t c) { return c >= 0x300 && IN(unicode_nonspacing, c); }
bool character_is_digit(uint32_t c) { return IN(unicode_digits, c); }
bool character_is_formless(uint32_t c) { return IN(unicode_formless, c); }
bool character_is_word(uint32_t c) { return IN(unicode_word, c); }

bool character_is_ideograph(uint32_t c)
{
    static const struct unicode_range ideographs[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                                      {0x20000, 0x2a6df}, {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf},
                                                      {0x2f800, 0x2fa1f}};
    return c >= 0x3400 && IN(ideographs, c);
}

uint32_t character_lower(uint32_t c)
{
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    size_t low = 0, high = sizeof unicode_lower / sizeof unicode_lower[0], n = high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (unicode_lower[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n || unicode_lower[low].first > c || (c - unicode_lower[low].first) % unicode_lower[low].step) return c;
    return (uint32_t)((int32_t)c + unicode_lower[low].difference);
}
