/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/json_out.h"
#include "host/base/memory.h"
#include "host/text/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void json_out_free(struct json_out *out)
{
    free(out->bytes);
    *out = (struct json_out){0};
}

void json_out_clear(struct json_out *out)
{
    out->length = 0;
    out->failed = false;
}

/* Room for `more` further bytes. */
static bool reserve(struct json_out *out, size_t more)
{
    if (out->failed) return false;
    if (more <= out->capacity - out->length) return true;
    size_t need, capacity = out->capacity ? out->capacity : 256;
    if (__builtin_add_overflow(out->length, more, &need) || need > SIZE_MAX / 2) {
        out->failed = true;
        return false;
    }
    while (capacity < need) capacity *= 2;
    char *bytes = memory_grow(out->bytes, capacity, 1);
    if (!bytes) {
        out->failed = true;
        return false;
    }
    out->bytes = bytes;
    out->capacity = capacity;
    return true;
}

void json_out_raw(struct json_out *out, const char *bytes, size_t length)
{
    if (length == 0 || !reserve(out, length)) return;
    memcpy(out->bytes + out->length, bytes, length);
    out->length += length;
}

void json_out_text(struct json_out *out, const char *text) { json_out_raw(out, text, strlen(text)); }

void json_out_format(struct json_out *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0 || !reserve(out, (size_t)length + 1)) {
        out->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(out->bytes + out->length, (size_t)length + 1, format, args);
    va_end(args);
    out->length += (size_t)length;
}

static void put_escape(struct json_out *out, unsigned char c)
{
    switch (c) {
    case '"': json_out_text(out, "\\\""); break;
    case '\\': json_out_text(out, "\\\\"); break;
    case '\n': json_out_text(out, "\\n"); break;
    case '\r': json_out_text(out, "\\r"); break;
    case '\t': json_out_text(out, "\\t"); break;
    default: json_out_format(out, "\\u%04x", c);
    }
}

void json_out_string(struct json_out *out, const char *bytes, size_t length)
{
    const uint8_t *at = (const uint8_t *)bytes;
    size_t start = 0, i = 0;
    json_out_text(out, "\"");
    while (i < length) {
        unsigned char c = at[i];
        unsigned n = 1;
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        enum utf8_kind kind = utf8_scan(at + i, length - i, &n);
        bool plain = kind == UTF8_CHARACTER && n > 1;
        if (plain) {
            i += n;
            continue;
        }
        json_out_raw(out, bytes + start, i - start);
        if (kind == UTF8_CHARACTER) {
            put_escape(out, c);
        } else {
            json_out_text(out, UTF8_REPLACEMENT);
            if (kind == UTF8_UNFINISHED) n = (unsigned)(length - i);
        }
        i += n;
        start = i;
    }
    json_out_raw(out, bytes + start, length - start);
    json_out_text(out, "\"");
}
