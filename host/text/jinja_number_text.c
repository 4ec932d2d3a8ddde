/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/jinja_number_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t characters(const struct jinja_builder *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->length; i++) n += ((unsigned char)text->bytes[i] & 0xc0) != 0x80;
    return n;
}

void jinja_put_field(struct jinja_run *run, struct jinja_builder *to, const struct jinja_builder *head,
                     const struct jinja_builder *body, int64_t width, char align, const char *fill, size_t fill_length)
{
    size_t length = characters(head) + characters(body);
    size_t missing = width > 0 && (size_t)width > length ? (size_t)width - length : 0;
    size_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
    if (align == '=') jinja_put(run, to, head->bytes, head->length);
    jinja_put_repeated(run, to, fill, fill_length, before);
    if (align != '=') jinja_put(run, to, head->bytes, head->length);
    jinja_put(run, to, body->bytes, body->length);
    jinja_put_repeated(run, to, fill, fill_length, missing - before);
}

/* Digits with a separator between groups from the right; what follows them (".5", "e+10") as it is. */
static void put_grouped(struct jinja_run *run, struct jinja_builder *to, const char *digits, char separator,
                        size_t group)
{
    size_t whole = strspn(digits, "0123456789abcdefABCDEF");
    if (!separator) whole = 0;
    for (size_t i = 0; i < whole; i++) {
        if (i > 0 && (whole - i) % group == 0) jinja_put(run, to, &separator, 1);
        jinja_put(run, to, digits + i, 1);
    }
    jinja_put_text(run, to, digits + whole);
}

static void put_sign(struct jinja_run *run, struct jinja_builder *head, bool negative, char sign)
{
    if (negative)
        jinja_put_text(run, head, "-");
    else if (sign == '+' || sign == ' ')
        jinja_put(run, head, &sign, 1);
}

static void integer_text(struct jinja_run *run, int64_t integer, const struct jinja_number_style *style,
                         struct jinja_builder *head, struct jinja_builder *body)
{
    char text[70], prefix[3] = {'0', style->type, '\0'};
    unsigned base = style->type == 'b'                         ? 2
                    : style->type == 'o'                       ? 8
                    : style->type == 'x' || style->type == 'X' ? 16
                                                               : 10;
    uint64_t left = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    size_t at = sizeof text - 1;
    text[at] = '\0';
    do {
        text[--at] = (style->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[left % base];
        left /= base;
    } while (left);
    put_sign(run, head, integer < 0, style->sign);
    if (style->alternate && base != 10) jinja_put_text(run, head, prefix);
    put_grouped(run, body, text + at, style->grouping, base == 10 ? 3 : 4);
}

/* %g of Python's '' type: like repr, with at least one digit behind the point. */
static void general_text(char *out, size_t size, double number, int precision)
{
    char text[JINJA_MAX_PRECISION + 340];
    snprintf(text, sizeof text, "%.*e", precision - 1, number);
    int exponent = 0;
    const char *mark = strchr(text, 'e');
    if (mark) exponent = (int)strtol(mark + 1, NULL, 10);
    snprintf(out, size, "%.*g", precision, number);
    if (strcspn(out, ".e") == strlen(out) && exponent < precision) {
        size_t n = strlen(out);
        snprintf(out + n, size - n, ".0");
    }
}

static void float_text(struct jinja_run *run, double number, const struct jinja_number_style *style,
                       struct jinja_builder *head, struct jinja_builder *body)
{
    char text[JINJA_MAX_PRECISION + 340], pattern[16];
    int precision = style->precision < 0 ? 6 : (int)style->precision;
    bool upper = style->type == 'E' || style->type == 'F' || style->type == 'G';
    put_sign(run, head, signbit(number) && !isnan(number), style->sign);
    number = fabs(number);
    if (!isfinite(number)) {
        jinja_put_text(run, body, isnan(number) ? (upper ? "NAN" : "nan") : upper ? "INF" : "inf");
        if (style->type == '%') jinja_put_text(run, body, "%");
        return;
    }
    if (style->type == 0 && style->precision < 0) {
        struct jinja_builder shortest = {0};
        jinja_put_float(run, &shortest, number);
        jinja_put(run, &shortest, "", 1);
        if (!jinja_failed(run)) put_grouped(run, body, shortest.bytes, style->grouping, 3);
        return;
    }
    if (style->type == 0) {
        general_text(text, sizeof text, number, precision ? precision : 1);
    } else {
        char type = style->type == '%' ? 'f' : style->type == 'n' ? 'g' : style->type;
        snprintf(pattern, sizeof pattern, style->alternate ? "%%#.*%c" : "%%.*%c", type);
        /* pattern is one of a few: the type was checked */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof text, pattern, precision, style->type == '%' ? number * 100 : number);
#pragma GCC diagnostic pop
    }
    put_grouped(run, body, text, style->grouping, 3);
    if (style->type == '%') jinja_put_text(run, body, "%");
}

void jinja_number_text(struct jinja_run *run, struct jinja_value number, const struct jinja_number_style *style,
                       struct jinja_builder *head, struct jinja_builder *body)
{
    bool whole = style->type && strchr("dboxX", style->type);
    if (style->precision > JINJA_MAX_PRECISION)
        jinja_raise(run, "a precision above %d", JINJA_MAX_PRECISION);
    else if (whole || (jinja_is_integer(number) && (style->type == 0 || style->type == 'n')))
        integer_text(run, jinja_integer_of(number), style, head, body);
    else
        float_text(run, jinja_number_of(number), style, head, body);
}
