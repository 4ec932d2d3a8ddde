/* SPDX-License-Identifier: Apache-2.0 */
/* str() and repr() of every value. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Python's repr(float): the shortest digits that read back as the same number, with an exponent below 1e-4 and from 1e16. */
void jinja_put_float(struct jinja_run *run, struct jinja_builder *to, double number)
{
    char digits[40], text[64];
    if (isnan(number)) return jinja_put_text(run, to, "nan");
    if (isinf(number)) return jinja_put_text(run, to, number < 0 ? "-inf" : "inf");
    int precision = 0;
    do {
        snprintf(digits, sizeof digits, "%.*e", precision, number);
    } while (strtod(digits, NULL) != number && ++precision < 17);
    int exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16) {
        *strchr(digits, 'e') = '\0';
        snprintf(text, sizeof text, "%se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
    } else {
        snprintf(text, sizeof text, "%.*f", precision > exponent ? precision - exponent : 1, number);
    }
    jinja_put_text(run, to, text);
}

static void put_quoted(struct jinja_run *run, struct jinja_builder *to, const struct jinja_string *string)
{
    const char *bytes = string->bytes;
    bool single = string->length && memchr(bytes, '\'', string->length);
    char mark = single && !memchr(bytes, '"', string->length) ? '"' : '\'';
    jinja_put(run, to, &mark, 1);
    for (size_t i = 0; i < string->length && jinja_step(run, 1);) {
        unsigned n;
        uint32_t c = jinja_character(bytes + i, string->length - i, &n);
        char escape[16] = "";
        if (c == (uint32_t)mark || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c < 0x20 || (c >= 0x7f && c < 0x100 && !jinja_character_is(c, JINJA_PRINTABLE)))
            snprintf(escape, sizeof escape, "\\x%02x", c);
        else if (c >= 0x100 && !jinja_character_is(c, JINJA_PRINTABLE))
            snprintf(escape, sizeof escape, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        if (*escape)
            jinja_put_text(run, to, escape);
        else
            jinja_put(run, to, bytes + i, n);
        i += n;
    }
    jinja_put(run, to, &mark, 1);
}

static void put_items(struct jinja_run *run, struct jinja_builder *to, struct jinja_value list)
{
    bool is_tuple = list.kind == JINJA_TUPLE;
    jinja_put_text(run, to, is_tuple ? "(" : "[");
    for (size_t i = 0; i < list.list->count && !jinja_failed(run); i++) {
        if (i > 0) jinja_put_text(run, to, ", ");
        jinja_put_repr(run, to, list.list->items[i]);
    }
    if (is_tuple && list.list->count == 1) jinja_put_text(run, to, ",");
    jinja_put_text(run, to, is_tuple ? ")" : "]");
}

static void put_entries(struct jinja_run *run, struct jinja_builder *to, const struct jinja_dict *dict)
{
    jinja_put_text(run, to, "{");
    for (size_t i = 0; i < dict->count && !jinja_failed(run); i++) {
        if (i > 0) jinja_put_text(run, to, ", ");
        jinja_put_repr(run, to, dict->entries[i].key);
        jinja_put_text(run, to, ": ");
        jinja_put_repr(run, to, dict->entries[i].value);
    }
    jinja_put_text(run, to, "}");
}

static void put_view(struct jinja_run *run, struct jinja_builder *to, struct jinja_value view)
{
    struct jinja_value list = jinja_to_list(run, view);
    if (jinja_failed(run)) return;
    jinja_put_text(run, to, jinja_type_name(view));
    jinja_put_text(run, to, "(");
    jinja_put_repr(run, to, list);
    jinja_put_text(run, to, ")");
}

static void put_range(struct jinja_run *run, struct jinja_builder *to, const struct jinja_range *range)
{
    char text[100];
    if (range->step == 1)
        snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ")", range->start, range->stop);
    else
        snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")", range->start, range->stop,
                 range->step);
    jinja_put_text(run, to, text);
}

/* What Python prints with an address, without it. */
static void put_object(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value)
{
    jinja_put_text(run, to, "<");
    if (value.kind == JINJA_FUNCTION || value.kind == JINJA_METHOD) {
        const struct jinja_function *function = value.kind == JINJA_METHOD ? value.method->function : value.function;
        jinja_put_text(run, to, value.kind == JINJA_METHOD ? "built-in method " : "function ");
        jinja_put_text(run, to, function->name);
    } else {
        jinja_put_text(run, to, jinja_type_name(value));
        jinja_put_text(run, to, " object");
    }
    jinja_put_text(run, to, ">");
}

static void put_other(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value)
{
    char text[80];
    switch (value.kind) {
    case JINJA_LIST:
    case JINJA_TUPLE: put_items(run, to, value); break;
    case JINJA_DICT: put_entries(run, to, value.dict); break;
    case JINJA_VIEW: put_view(run, to, value); break;
    case JINJA_RANGE: put_range(run, to, value.range); break;
    case JINJA_NAMESPACE:
        jinja_put_text(run, to, "<Namespace ");
        put_entries(run, to, value.dict);
        jinja_put_text(run, to, ">");
        break;
    case JINJA_MACRO: jinja_put_macro(run, to, value.macro); break;
    case JINJA_LOOP: {
        int64_t length = jinja_loop_length(run, value.loop);
        snprintf(text, sizeof text, "<LoopContext %zu/%" PRId64 ">", jinja_loop_index(value.loop), length);
        jinja_put_text(run, to, text);
        break;
    }
    default: put_object(run, to, value); break;
    }
}

void jinja_put_repr(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value)
{
    char text[32];
    if (!jinja_enter(run)) goto done;
    switch (value.kind) {
    case JINJA_UNDEFINED: jinja_put_text(run, to, "Undefined"); break;
    case JINJA_MISSING:
    case JINJA_NONE: jinja_put_text(run, to, "None"); break;
    case JINJA_BOOL: jinja_put_text(run, to, value.boolean ? "True" : "False"); break;
    case JINJA_INT:
        snprintf(text, sizeof text, "%" PRId64, value.integer);
        jinja_put_text(run, to, text);
        break;
    case JINJA_FLOAT: jinja_put_float(run, to, value.number); break;
    case JINJA_STRING:
        if (value.safe) jinja_put_text(run, to, "Markup(");
        put_quoted(run, to, value.string);
        if (value.safe) jinja_put_text(run, to, ")");
        break;
    default: put_other(run, to, value); break;
    }
done:
    jinja_leave(run);
}

void jinja_put_str(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value)
{
    if (value.kind == JINJA_STRING)
        jinja_put(run, to, value.string->bytes, value.string->length);
    else if (value.kind != JINJA_UNDEFINED)
        jinja_put_repr(run, to, value);
}

struct jinja_value jinja_str(struct jinja_run *run, struct jinja_value value)
{
    struct jinja_builder text = {0};
    if (value.kind == JINJA_STRING) return jinja_mark(value, false);
    jinja_put_str(run, &text, value);
    return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &text);
}

struct jinja_value jinja_repr(struct jinja_run *run, struct jinja_value value)
{
    struct jinja_builder text = {0};
    jinja_put_repr(run, &text, value);
    return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &text);
}

struct jinja_value jinja_ascii(struct jinja_run *run, struct jinja_value string)
{
    struct jinja_builder out = {0};
    for (size_t i = 0; !jinja_failed(run) && i < string.string->length;) {
        unsigned n;
        char escape[16];
        uint32_t c = jinja_character(string.string->bytes + i, string.string->length - i, &n);
        snprintf(escape, sizeof escape,
                 c < 0x80      ? "%c"
                 : c < 0x100   ? "\\x%02x"
                 : c < 0x10000 ? "\\u%04x"
                               : "\\U%08x",
                 c);
        jinja_put_text(run, &out, escape);
        i += n;
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &out);
}
