/* SPDX-License-Identifier: Apache-2.0 */
/* str.format: fields, conversions and the format specification mini-language. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"
#include "host/text/jinja_number_text.h"

#include <string.h>

struct spec {
    char fill[4], align; /* 0: the type's own */
    unsigned fill_length;
    bool zero;
    int64_t width;
    struct jinja_number_style number;
};

static int64_t read_number(const char **at, const char *end)
{
    int64_t n = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        if (n < INT32_MAX) n = n * 10 + (**at - '0');
    }
    return n;
}

static bool is_align(const char *at, const char *end) { return at < end && *at && strchr("<>^=", *at); }

static bool take(const char **at, const char *end, char c)
{
    if (*at >= end || **at != c) return false;
    (*at)++;
    return true;
}

/* [[fill]align][sign][#][0][width][grouping][.precision][type] */
static bool parse_spec(const struct jinja_string *text, struct spec *out)
{
    const char *at = text->bytes, *end = at + text->length;
    unsigned n = 1;
    *out = (struct spec){.fill = " ", .fill_length = 1, .width = 0, .number = {.precision = -1, .sign = '-'}};
    if (at < end) jinja_character(at, (size_t)(end - at), &n);
    if (is_align(at + n, end)) {
        memcpy(out->fill, at, n);
        out->fill_length = n;
        out->align = at[n];
        at += n + 1;
    } else if (is_align(at, end)) {
        out->align = *at++;
    }
    if (at < end && (*at == '+' || *at == '-' || *at == ' ')) out->number.sign = *at++;
    out->number.alternate = take(&at, end, '#');
    out->zero = take(&at, end, '0');
    if (out->zero && !out->align) {
        out->align = '=';
        out->fill[0] = '0';
    }
    out->width = read_number(&at, end);
    if (at < end && (*at == ',' || *at == '_')) out->number.grouping = *at++;
    if (take(&at, end, '.')) {
        if (at >= end || *at < '0' || *at > '9') return false;
        out->number.precision = read_number(&at, end);
    }
    if (at < end) out->number.type = *at++;
    return at == end;
}

static void put_string(struct jinja_run *run, struct jinja_builder *to, const struct jinja_string *s,
                       const struct spec *spec)
{
    struct jinja_builder text = {0}, none = {0};
    size_t length = s->length;
    if (spec->number.precision >= 0) length = jinja_byte_of(s, (size_t)spec->number.precision);
    if (spec->align == '=' && !spec->zero) jinja_raise(run, "'=' alignment not allowed in string format specifier");
    jinja_put(run, &text, s->bytes, length);
    jinja_put_field(run, to, &none, &text, spec->width, spec->align && spec->align != '=' ? spec->align : '<',
                    spec->fill, spec->fill_length);
}

void jinja_put_formatted(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value,
                         const struct jinja_string *text)
{
    struct spec spec;
    struct jinja_builder head = {0}, body = {0};
    if (text->length == 0) return jinja_put_str(run, to, value);
    bool understood = parse_spec(text, &spec);
    char type = spec.number.type;
    if (!understood || (value.kind != JINJA_STRING && !jinja_is_number(value)))
        return jinja_raise(run, "unsupported format string passed to %s.__format__", jinja_type_name(value));
    bool fits = value.kind == JINJA_STRING  ? !type || type == 's'
                : value.kind == JINJA_FLOAT ? !type || strchr("eEfFgGn%", type)
                                            : !type || strchr("dboxXncEeFfGg%", type);
    if (!fits)
        return jinja_raise(run, "Unknown format code '%c' for object of type '%s'", type, jinja_type_name(value));
    if (value.kind == JINJA_STRING) return put_string(run, to, value.string, &spec);
    bool as_integer = jinja_is_integer(value) && (!type || strchr("dboxXnc", type));
    if (as_integer && spec.number.precision >= 0)
        return jinja_raise(run, "Precision not allowed in integer format specifier");
    if (type == 'c') {
        int64_t code = jinja_integer_of(value);
        if (code < 0 || code > 0x10ffff) return jinja_raise(run, "%%c arg not in range(0x110000)");
        jinja_put_char(run, &body, (uint32_t)code);
    } else {
        jinja_number_text(run, value, &spec.number, &head, &body);
    }
    jinja_put_field(run, to, &head, &body, spec.width, spec.align ? spec.align : '>', spec.fill, spec.fill_length);
}

struct formatter {
    struct jinja_run *run;
    const struct jinja_args *args;
    bool safe;
    size_t next; /* automatic numbering */
    bool automatic, manual;
};

static bool all_digits(const char *bytes, size_t length)
{
    size_t i = 0;
    while (i < length && bytes[i] >= '0' && bytes[i] <= '9') i++;
    return length > 0 && i == length;
}

static struct jinja_value first_of_field(struct formatter *f, const char *name, size_t length)
{
    size_t index = f->next;
    if (length == 0) {
        f->automatic = true;
        f->next++;
    } else if (all_digits(name, length)) {
        const char *at = name;
        f->manual = true;
        index = (size_t)read_number(&at, name + length);
    } else {
        struct jinja_value key = jinja_string(f->run, name, length);
        for (size_t i = 0; i < f->args->n_named; i++) {
            if (!jinja_failed(f->run) && jinja_equal(f->run, f->args->names[i], key)) return f->args->named[i];
        }
        if (!jinja_failed(f->run)) jinja_raise(f->run, "format: there is no '%s'", jinja_shown(key).text);
        return jinja_nothing();
    }
    if (f->automatic && f->manual)
        jinja_raise(f->run, "cannot switch between automatic field numbering and manual field specification");
    else if (index < f->args->count)
        return f->args->positional[index];
    else
        jinja_raise(f->run, "Replacement index %zu out of range for positional args tuple", index);
    return jinja_nothing();
}

/* name, then .attribute and [item] */
static struct jinja_value field_value(struct formatter *f, const char *at, const char *end)
{
    size_t n = 0;
    while (at + n < end && at[n] != '.' && at[n] != '[') n++;
    struct jinja_value value = first_of_field(f, at, n);
    for (at += n; at < end && !jinja_failed(f->run); at += n) {
        bool item = *at++ == '[';
        for (n = 0; at + n < end && (item ? at[n] != ']' : at[n] != '.' && at[n] != '['); n++) continue;
        if (n == 0 || (item && at + n == end)) {
            jinja_raise(f->run, "Empty attribute in format string");
            break;
        }
        struct jinja_value name = jinja_string(f->run, at, n);
        if (jinja_failed(f->run)) break;
        const char *digits = at;
        if (item && all_digits(at, n)) name = jinja_int(read_number(&digits, at + n));
        value = item ? jinja_item(f->run, value, name) : jinja_attribute(f->run, value, name);
        n += item;
    }
    return jinja_failed(f->run) ? jinja_nothing() : value;
}

static struct jinja_value format_range(struct formatter *f, const char *at, const char *end, unsigned depth);

/* {field!conversion:spec} without its braces. */
static void put_field(struct formatter *f, struct jinja_builder *out, const char *at, const char *end, unsigned depth)
{
    struct jinja_run *run = f->run;
    const char *mark = at;
    char conversion = 0;
    bool in_item = false;
    for (; mark < end && (in_item || (*mark != '!' && *mark != ':')); mark++) {
        if (*mark == '[') in_item = true;
        if (*mark == ']') in_item = false;
    }
    struct jinja_value value = field_value(f, at, mark);
    if (mark < end && *mark == '!') {
        conversion = mark + 1 < end ? mark[1] : ' ';
        mark += 2;
        if (!strchr("rsa", conversion) || mark > end || (mark < end && *mark != ':'))
            jinja_raise(run, "a conversion is !r, !s or !a");
    }
    if (jinja_failed(run)) return;
    if (conversion == 's') value = jinja_str(run, value);
    if (conversion == 'r' || conversion == 'a') value = jinja_repr(run, value);
    if (conversion == 'a') value = jinja_ascii(run, value);
    struct jinja_value spec = mark < end ? format_range(f, mark + 1, end, depth + 1) : jinja_string(run, "", 0);
    if (jinja_failed(run)) return;
    if (!f->safe || (value.kind == JINJA_STRING && value.safe))
        return jinja_put_formatted(run, out, value, spec.string);
    struct jinja_builder text = {0};
    jinja_put_formatted(run, &text, value, spec.string);
    struct jinja_value plain = jinja_failed(run) ? jinja_nothing() : jinja_built(run, &text);
    jinja_put_escaped(run, out, plain);
}

static struct jinja_value format_range(struct formatter *f, const char *at, const char *end, unsigned depth)
{
    struct jinja_builder out = {0};
    if (depth > 2) jinja_raise(f->run, "Max string recursion exceeded");
    while (at < end && jinja_step(f->run, 1)) {
        char c = *at++;
        bool twice = at < end && *at == c;
        if (c != '{' && c != '}') {
            jinja_put(f->run, &out, &c, 1);
            continue;
        }
        if (twice && depth == 0) {
            jinja_put(f->run, &out, &c, 1);
            at++;
            continue;
        }
        const char *start = at;
        unsigned open = 1;
        for (; c == '{' && at < end; at++) {
            if (*at == '{') open++;
            if (*at == '}' && --open == 0) break;
        }
        if (c == '}' || open)
            jinja_raise(f->run,
                        c == '}' ? "Single '}' encountered in format string" : "expected '}' before end of string");
        else
            put_field(f, &out, start, at++, depth);
    }
    return jinja_failed(f->run) ? jinja_nothing() : jinja_built(f->run, &out);
}

struct jinja_value jinja_format_text(struct jinja_run *run, const struct jinja_string *format, bool safe,
                                     const struct jinja_args *args)
{
    struct formatter f = {.run = run, .args = args, .safe = safe};
    return jinja_mark(format_range(&f, format->bytes, format->bytes + format->length, 0), safe);
}
