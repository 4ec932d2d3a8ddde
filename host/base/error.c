/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Names and strings of foreign files reach messages; a message is one line that does nothing to a terminal. */
static void tidy(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at; at++) {
        bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0; /* U+0080 to U+009F in UTF-8 */
        if (*at < 0x20 || *at == 0x7f) *at = '?';
        if (c1) at[0] = at[1] = '?';
    }
}

int error_set(struct error *err, int code, const char *format, ...)
{
    if (!err) return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    err->detail = 0;
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    tidy(err->text);
    return code;
}

int error_prefix(struct error *err, const char *format, ...)
{
    if (!err) return ERROR_INTERNAL;
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    size_t used = strlen(err->text), room = sizeof err->text - used;
    size_t wanted = strlen(old) + 3;
    if (room > wanted) room = wanted;
    if (room > 3) {
        memcpy(err->text + used, ": ", 2);
        memcpy(err->text + used + 2, old, room - 3);
        err->text[used + room - 1] = '\0';
    }
    tidy(err->text);
    return err->code;
}

const char *error_name(int code)
{
    switch (code) {
    case ERROR_NONE: return "no error";
#define ERROR_CASE(name, value, text)                                                                                  \
    case name: return text;
        ERROR_CODES(ERROR_CASE)
#undef ERROR_CASE
    default: return "unknown error";
    }
}
