/* SPDX-License-Identifier: Apache-2.0 */
/* format % values, as Python's str has it. */
#include "host/text/jinja_eval.h"
#include "host/text/jinja_number_text.h"

#include <math.h>
#include <string.h>

struct percent {
    struct jinja_run *run;
    const char *at, *end;
    bool safe;
    struct jinja_value values;
    size_t used; /* of a tuple, or of one value */
    struct jinja_builder out;
};

struct conversion {
    bool left, plus, space, zero, alternate;
    int64_t width, precision;
    char type;
};

static struct jinja_value next_value(struct percent *p)
{
    bool tuple = p->values.kind == JINJA_TUPLE;
    size_t count = tuple ? p->values.list->count : 1;
    if (p->used >= count) {
        jinja_raise(p->run, "not enough arguments for format string");
        return jinja_nothing();
    }
    p->used++;
    return tuple ? p->values.list->items[p->used - 1] : p->values;
}

static bool is_mapping(struct jinja_value value)
{
    return value.kind == JINJA_DICT || value.kind == JINJA_LIST || value.kind == JINJA_UNDEFINED;
}

/* (name) behind the %: the value it names. */
static struct jinja_value named_value(struct percent *p)
{
    const char *start = ++p->at;
    unsigned depth = 1;
    for (; p->at < p->end; p->at++) {
        if (*p->at == '(') depth++;
        if (*p->at == ')' && --depth == 0) break;
    }
    if (p->at == p->end) {
        jinja_raise(p->run, "incomplete format key");
        return jinja_nothing();
    }
    struct jinja_value name = jinja_string(p->run, start, (size_t)(p->at++ - start));
    if (jinja_failed(p->run)) return jinja_nothing();
    if (p->values.kind != JINJA_DICT) {
        jinja_raise(p->run, "format requires a mapping");
        return jinja_nothing();
    }
    const struct jinja_value *found = jinja_dict_find(p->run, p->values.dict, name);
    if (!found) jinja_raise(p->run, "format: there is no '%s'", jinja_shown(name).text);
    return found ? *found : jinja_nothing();
}

/* A width or precision: digits, or * for the next value. */
static int64_t number(struct percent *p)
{
    int64_t n = 0;
    if (p->at < p->end && *p->at == '*') {
        p->at++;
        struct jinja_value value = next_value(p);
        if (!jinja_failed(p->run) && !jinja_is_integer(value)) jinja_raise(p->run, "* wants int");
        return jinja_failed(p->run) ? 0 : jinja_integer_of(value);
    }
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
        if (n < INT32_MAX) n = n * 10 + (*p->at - '0');
    }
    return n;
}

static struct conversion parse_conversion(struct percent *p)
{
    struct conversion c = {.precision = -1};
    for (; p->at < p->end; p->at++) {
        if (*p->at == '-')
            c.left = true;
        else if (*p->at == '+')
            c.plus = true;
        else if (*p->at == ' ')
            c.space = true;
        else if (*p->at == '0')
            c.zero = true;
        else if (*p->at == '#')
            c.alternate = true;
        else
            break;
    }
    c.width = number(p);
    if (c.width < 0) {
        c.left = true;
        c.width = c.width == INT64_MIN ? INT64_MAX : -c.width;
    }
    if (p->at < p->end && *p->at == '.') {
        p->at++;
        c.precision = number(p);
        if (c.precision < 0) c.precision = 0;
    }
    while (p->at < p->end && strchr("hlL", *p->at) && *p->at) p->at++;
    if (p->at == p->end)
        jinja_raise(p->run, "incomplete format");
    else
        c.type = *p->at++;
    return c;
}

static void cut(struct jinja_run *run, struct jinja_builder *text, int64_t characters)
{
    struct jinja_value string = jinja_built(run, text);
    if (jinja_failed(run) || (int64_t)string.string->characters <= characters) return;
    text->length = jinja_byte_of(string.string, (size_t)characters);
}

static void put_text(struct percent *p, struct jinja_value value, const struct conversion *c)
{
    struct jinja_builder text = {0}, none = {0};
    if (c->type != 's') value = jinja_repr(p->run, value);
    if (c->type == 'a') value = jinja_ascii(p->run, value);
    if (p->safe && !(value.kind == JINJA_STRING && value.safe)) value = jinja_escape(p->run, value);
    jinja_put_str(p->run, &text, value);
    if (c->precision >= 0) cut(p->run, &text, c->precision);
    jinja_put_field(p->run, &p->out, &none, &text, c->width, c->left ? '<' : '>', " ", 1);
}

static void put_number(struct percent *p, struct jinja_value value, const struct conversion *c)
{
    struct jinja_builder head = {0}, body = {0};
    char type = c->type == 'i' || c->type == 'u' ? 'd' : c->type;
    bool whole = strchr("doxX", type) != NULL;
    if (!jinja_is_number(value) || (whole && type != 'd' && value.kind == JINJA_FLOAT)) {
        jinja_raise(p->run, "%%%c format: a number is required, not %s", c->type, jinja_type_name(value));
        return;
    }
    if (whole && value.kind == JINJA_FLOAT) {
        if (!isfinite(value.number) || fabs(value.number) >= 0x1p63)
            jinja_raise(p->run, "a float does not fit into 64 bits");
        else
            value = jinja_int((int64_t)value.number);
    }
    if (jinja_failed(p->run)) return;
    struct jinja_number_style style = {type,
                                       c->plus    ? '+'
                                       : c->space ? ' '
                                                  : '-',
                                       0, c->alternate, whole ? -1 : c->precision};
    jinja_number_text(p->run, value, &style, &head, &body);
    if (whole && c->precision > (int64_t)body.length) {
        struct jinja_builder digits = {0};
        jinja_put_repeated(p->run, &digits, "0", 1, (size_t)c->precision - body.length);
        jinja_put(p->run, &digits, body.bytes, body.length);
        body = digits;
    }
    bool zero = c->zero && !c->left;
    jinja_put_field(p->run, &p->out, &head, &body, c->width, c->left ? '<' : zero ? '=' : '>', zero ? "0" : " ", 1);
}

static void put_character(struct percent *p, struct jinja_value value, const struct conversion *c)
{
    struct jinja_builder text = {0}, none = {0};
    int64_t code = jinja_is_integer(value) ? jinja_integer_of(value) : -1;
    if (value.kind == JINJA_STRING && value.string->characters == 1)
        jinja_put_str(p->run, &text, value);
    else if (code >= 0 && code < 0x110000 && !(code >= 0xd800 && code < 0xe000))
        jinja_put_char(p->run, &text, (uint32_t)code);
    else
        jinja_raise(p->run, "%%c requires int or char");
    jinja_put_field(p->run, &p->out, &none, &text, c->width, c->left ? '<' : '>', " ", 1);
}

static void convert(struct percent *p)
{
    struct jinja_value value = {.kind = JINJA_MISSING};
    if (p->at < p->end && *p->at == '(') value = named_value(p);
    if (jinja_failed(p->run)) return;
    struct conversion c = parse_conversion(p);
    if (jinja_failed(p->run)) return;
    if (c.type == '%') {
        jinja_put(p->run, &p->out, "%", 1);
        return;
    }
    if (!jinja_given(value)) value = next_value(p);
    if (jinja_failed(p->run)) return;
    if (c.type == 's' || c.type == 'r' || c.type == 'a')
        put_text(p, value, &c);
    else if (c.type == 'c')
        put_character(p, value, &c);
    else if (c.type && strchr("diuoxXeEfFgG", c.type))
        put_number(p, value, &c);
    else
        jinja_raise(p->run, "unsupported format character");
}

struct jinja_value jinja_percent(struct jinja_run *run, struct jinja_value format, struct jinja_value values)
{
    struct percent p = {.run = run,
                        .at = format.string->bytes,
                        .end = format.string->bytes + format.string->length,
                        .safe = format.safe,
                        .values = values};
    while (p.at < p.end && jinja_step(run, 1)) {
        const char *mark = memchr(p.at, '%', (size_t)(p.end - p.at));
        jinja_put(run, &p.out, p.at, (size_t)((mark ? mark : p.end) - p.at));
        p.at = mark ? mark + 1 : p.end;
        if (!mark) break;
        convert(&p);
    }
    size_t count = values.kind == JINJA_TUPLE                         ? values.list->count
                   : is_mapping(values) || values.kind == JINJA_RANGE ? 0
                                                                      : 1;
    if (!jinja_failed(run) && p.used < count) jinja_raise(run, "not all arguments converted during string formatting");
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &p.out), format.safe);
}
