/* SPDX-License-Identifier: Apache-2.0 */
/* Filters that make or change numbers. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Python's int(text, base): spaces around, a sign, single underscores, a prefix that fits the base. */
static bool text_to_int(const struct jinja_string *s, int64_t base, int64_t *out)
{
    char digits[80];
    size_t n = 0, length = s->length;
    const char *at = s->bytes;
    jinja_trim(&at, &length, true, true);
    bool negative = length && *at == '-';
    if (length && (*at == '-' || *at == '+')) {
        at++;
        length--;
    }
    char mark = length > 2 && at[0] == '0' ? (char)(at[1] | 0x20) : 0;
    int64_t prefixed = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (prefixed && (base == prefixed || base == 0)) {
        base = prefixed;
        at += 2;
        length -= 2;
    }
    if (base == 0) base = 10;
    for (size_t i = 0; i < length; i++) {
        bool inner = i > 0 && i + 1 < length && at[i - 1] != '_';
        if (at[i] == '_' && (inner || (prefixed && i == 0 && length > 1))) continue;
        bool alnum = (at[i] >= '0' && at[i] <= '9') || ((at[i] | 0x20) >= 'a' && (at[i] | 0x20) <= 'z');
        if (!alnum || n + 1 >= sizeof digits) return false;
        digits[n++] = at[i];
    }
    if (n == 0 || base < 2 || base > 36) return false;
    digits[n] = '\0';
    char *end;
    errno = 0;
    uint64_t value = strtoull(digits, &end, (int)base);
    if (*end || errno || value > (uint64_t)INT64_MAX) return false;
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static bool text_to_float(const struct jinja_string *s, double *out)
{
    char text[400];
    size_t n = 0, length = s->length;
    const char *at = s->bytes;
    jinja_trim(&at, &length, true, true);
    for (size_t i = 0; i < length; i++) {
        bool digit_before = i > 0 && at[i - 1] >= '0' && at[i - 1] <= '9';
        bool digit_behind = i + 1 < length && at[i + 1] >= '0' && at[i + 1] <= '9';
        if (at[i] == '_' && digit_before && digit_behind) continue;
        if (n + 1 >= sizeof text || !at[i] || strchr("_xXpP(", at[i])) return false;
        text[n++] = at[i];
    }
    text[n] = '\0';
    char *end;
    *out = strtod(text, &end);
    return n > 0 && *end == '\0';
}

static struct jinja_value float_to_int(double number, struct jinja_value otherwise)
{
    if (!isfinite(number) || fabs(number) >= 0x1p63) return otherwise;
    return jinja_int((int64_t)number);
}

static struct jinja_value to_int(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value self = call->self, otherwise = jinja_given(call->arg[0]) ? call->arg[0] : jinja_int(0);
    int64_t base = jinja_arg_integer(run, call->arg[1], 10), integer;
    double number;
    if (self.kind == JINJA_UNDEFINED) jinja_raise_undefined(run, self);
    if (jinja_failed(run)) return jinja_nothing();
    if (jinja_is_integer(self)) return jinja_int(jinja_integer_of(self));
    if (self.kind == JINJA_FLOAT) return float_to_int(self.number, otherwise);
    if (self.kind != JINJA_STRING) return otherwise;
    if (text_to_int(self.string, base, &integer)) return jinja_int(integer);
    return text_to_float(self.string, &number) ? float_to_int(number, otherwise) : otherwise;
}

static struct jinja_value to_float(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value self = call->self, otherwise = jinja_given(call->arg[0]) ? call->arg[0] : jinja_float(0);
    double number;
    if (self.kind == JINJA_UNDEFINED) jinja_raise_undefined(run, self);
    if (jinja_is_number(self)) return jinja_float(jinja_number_of(self));
    return self.kind == JINJA_STRING && text_to_float(self.string, &number) ? jinja_float(number) : otherwise;
}

static bool needs_number(struct jinja_run *run, struct jinja_value value, const char *what)
{
    if (jinja_is_number(value)) return true;
    if (value.kind == JINJA_UNDEFINED)
        jinja_raise_undefined(run, value);
    else
        jinja_raise(run, "bad operand type for %s: '%s'", what, jinja_type_name(value));
    return false;
}

static struct jinja_value absolute(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value self = call->self;
    if (!needs_number(run, self, "abs()")) return jinja_nothing();
    if (self.kind == JINJA_FLOAT) return jinja_float(fabs(self.number));
    int64_t integer = jinja_integer_of(self);
    return integer < 0 ? jinja_operate(run, "-", jinja_int(0), jinja_int(integer)) : jinja_int(integer);
}

/* Python's round(number, digits): to even in halves that are exact in binary. */
static double round_common(double number, int64_t digits)
{
    char text[800];
    if (!isfinite(number) || digits > 320) return number;
    if (digits >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)digits, number);
        return strtod(text, NULL);
    }
    if (digits < -308) return copysign(0, number);
    double scale = pow(10, (double)-digits);
    return rint(number / scale) * scale;
}

static struct jinja_value round_integer(int64_t number, int64_t digits)
{
    int64_t scale = 1;
    if (digits >= 0) return jinja_int(number);
    if (digits < -18) return jinja_int(0);
    for (int64_t i = 0; i < -digits; i++) scale *= 10;
    int64_t rest = number % scale, down = number - rest;
    if (rest < 0) {
        rest += scale;
        down -= scale;
    }
    bool up = rest > scale - rest || (rest == scale - rest && (down / scale) % 2 != 0);
    return jinja_int(up ? down + scale : down);
}

static struct jinja_value round_number(struct jinja_run *run, struct jinja_call *call)
{
    int64_t digits = jinja_arg_integer(run, call->arg[0], 0);
    struct jinja_value method = call->arg[1];
    bool up = jinja_string_is(method, "ceil"), down = jinja_string_is(method, "floor");
    if (jinja_given(method) && !up && !down && !jinja_string_is(method, "common"))
        jinja_raise(run, "method must be common, ceil or floor");
    if (jinja_failed(run) || !needs_number(run, call->self, "round()")) return jinja_nothing();
    if (!up && !down && jinja_is_integer(call->self)) return round_integer(jinja_integer_of(call->self), digits);
    double number = jinja_number_of(call->self), scale = pow(10, (double)digits);
    if (!up && !down) return jinja_float(round_common(number, digits));
    if (!isfinite(number * scale)) {
        jinja_raise(run, "cannot convert this float to integer");
        return jinja_nothing();
    }
    return jinja_float(((up ? ceil(number * scale) : floor(number * scale)) + 0.0) / scale); /* Python's has no -0 */
}

static struct jinja_value sum(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value total = jinja_given(call->arg[1]) ? call->arg[1] : jinja_int(0), item;
    struct jinja_walk walk;
    if (total.kind == JINJA_STRING) jinja_raise(run, "sum() can't sum strings");
    if (!jinja_walk_start(run, call->self, &walk)) return jinja_nothing();
    while (jinja_walk_next(run, &walk, &item)) {
        if (jinja_given_not_none(call->arg[0]))
            item = jinja_by_attribute(run, item, call->arg[0], (struct jinja_value){.kind = JINJA_MISSING});
        if (!jinja_failed(run)) total = jinja_operate(run, "+", total, item);
    }
    return jinja_failed(run) ? jinja_nothing() : total;
}

static struct jinja_value filesizeformat(struct jinja_run *run, struct jinja_call *call)
{
    static const char *const decimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
    static const char *const binary[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
    bool is_binary = jinja_arg_true(call->arg[0], false);
    double base = is_binary ? 1024 : 1000, bytes, unit = base;
    char text[400];
    if (call->self.kind == JINJA_STRING ? !text_to_float(call->self.string, &bytes) : !jinja_is_number(call->self)) {
        jinja_raise(run, "filesizeformat needs a number");
        return jinja_nothing();
    }
    if (call->self.kind != JINJA_STRING) bytes = jinja_number_of(call->self);
    if (bytes == 1) return jinja_text(run, "1 Byte");
    if (bytes < base) {
        snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes) + 0.0);
        return jinja_text(run, text);
    }
    size_t i = 0;
    for (; i < 7 && bytes >= unit * base; i++) unit *= base;
    snprintf(text, sizeof text, "%.1f %s", bytes / unit, is_binary ? binary[i] : decimal[i]);
    return jinja_text(run, text);
}

const struct jinja_function jinja_number_filters[] = {
    {"int", to_int, "default,base", 0},
    {"float", to_float, "default", 0},
    {"abs", absolute, "/", 0},
    {"round", round_number, "precision,method", 0},
    {"sum", sum, "attribute,start", 0},
    {"filesizeformat", filesizeformat, "binary", 0},
    {NULL, NULL, NULL, 0},
};
