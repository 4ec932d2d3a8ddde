/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/byte_level.h"
#include "host/text/utf8.h"

/*
 * Bytes that print in Latin-1 are the character of the same number; the other 68 (0-32, 127-160, 173) are the characters from
 * U+0100 on, in order.
 */
static uint32_t character_of_byte(unsigned byte)
{
    if (byte <= 32) return 0x100 + byte;
    if (byte >= 127 && byte <= 160) return 0x100 + 33 + (byte - 127);
    if (byte == 173) return 0x100 + 67;
    return byte;
}

int byte_level_byte(uint32_t character)
{
    if (character >= 0x100 + 68) return -1;
    if (character == 0x100 + 67) return 173;
    if (character >= 0x100 + 33) return (int)(character - 0x100 - 33 + 127);
    if (character >= 0x100) return (int)(character - 0x100);
    return character_of_byte(character) == character ? (int)character : -1;
}

char *byte_level_put(char *out, unsigned byte)
{
    uint32_t character = character_of_byte(byte);
    if (character < 0x80) {
        *out++ = (char)character;
    } else {
        *out++ = (char)(0xc0 | character >> 6);
        *out++ = (char)(0x80 | (character & 0x3f));
    }
    return out;
}

int byte_level_write(const char *text, size_t length, struct text *out, struct error *err)
{
    if (length > SIZE_MAX / 4) return error_set(err, ERROR_TOO_LARGE, "text: too long for memory");
    int status = text_reserve(out, 2 * length, err);
    if (status) return status;
    char *end = out->bytes + out->length;
    for (size_t i = 0; i < length; i++) end = byte_level_put(end, (uint8_t)text[i]);
    *end = '\0';
    out->length = (size_t)(end - out->bytes);
    return 0;
}

int byte_level_read(const char *token_text, size_t length, struct text *out, struct error *err)
{
    size_t before = out->length;
    for (size_t i = 0; i < length;) {
        unsigned n;
        const uint8_t *at = (const uint8_t *)token_text + i;
        bool character = utf8_scan(at, length - i, &n) == UTF8_CHARACTER;
        int byte = character ? byte_level_byte(utf8_decode(at, n)) : -1;
        if (byte < 0) {
            out->length = before;
            return text_append(out, token_text, length, err);
        }
        char one = (char)byte;
        int status = text_append(out, &one, 1, err);
        if (status) return status;
        i += n;
    }
    return 0;
}
