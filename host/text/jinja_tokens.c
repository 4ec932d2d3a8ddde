/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens inside a tag: names, literals, operators. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_parse.h"

#include <stdlib.h>
#include <string.h>

static char peek(const struct jinja_lexer *lexer, size_t ahead)
{
    return ahead < lexer->length - lexer->at ? lexer->source[lexer->at + ahead] : '\0';
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Behind the digits (with single underscores between them) that start at `at`; at itself if there is none. */
static size_t digits(const struct jinja_lexer *lexer, size_t at)
{
    size_t end = at;
    while (end < lexer->length) {
        if (is_digit(lexer->source[end]))
            end++;
        else if (lexer->source[end] == '_' && end > at && end + 1 < lexer->length && is_digit(lexer->source[end + 1]))
            end += 2;
        else
            break;
    }
    return end;
}

/* Behind the float that starts at `at`, or at itself if no float starts there. */
static size_t float_end(const struct jinja_lexer *lexer, size_t at)
{
    const char *source = lexer->source;
    size_t end = digits(lexer, at), fraction = end;
    if (at > 0 && source[at - 1] == '.') return at; /* x.1.5 is two subscripts */
    if (end + 1 < lexer->length && source[end] == '.') {
        fraction = digits(lexer, end + 1);
        if (fraction == end + 1) fraction = end;
    }
    if (fraction < lexer->length && (source[fraction] == 'e' || source[fraction] == 'E')) {
        size_t exponent = fraction + 1;
        if (exponent < lexer->length && (source[exponent] == '+' || source[exponent] == '-')) exponent++;
        if (digits(lexer, exponent) > exponent) return digits(lexer, exponent);
    }
    return fraction > end ? fraction : at;
}

static int digit_value(char c)
{
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

static void lex_integer(struct jinja_lexer *lexer)
{
    size_t start = lexer->at, at = start;
    int base = 10;
    char mark = (char)(peek(lexer, 1) | 0x20);
    if (peek(lexer, 0) == '0' && (mark == 'x' || mark == 'o' || mark == 'b')) {
        int wanted = mark == 'x' ? 16 : mark == 'o' ? 8 : 2;
        size_t first = start + 2 + (peek(lexer, 2) == '_');
        if (first < lexer->length && digit_value(lexer->source[first]) < wanted) {
            base = wanted;
            at = first;
        }
    }
    bool zero = base == 10 && lexer->source[at] == '0';
    int64_t value = 0;
    for (; at < lexer->length; at++) {
        char c = lexer->source[at];
        if (c == '_' && at + 1 < lexer->length && digit_value(lexer->source[at + 1]) < base) continue;
        int digit = digit_value(c);
        if (digit >= base || (zero && digit != 0)) break;
        if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value)) {
            jinja_raise(lexer->run, "an integer does not fit into 64 bits");
            return;
        }
    }
    jinja_lexer_push(lexer, TOKEN_INTEGER, start, at, jinja_int(value));
    lexer->at = at;
}

static void lex_float(struct jinja_lexer *lexer, size_t end)
{
    char text[400];
    size_t n = 0;
    for (size_t i = lexer->at; i < end && n + 1 < sizeof text; i++) {
        if (lexer->source[i] != '_') text[n++] = lexer->source[i];
    }
    text[n] = '\0';
    jinja_lexer_push(lexer, TOKEN_FLOAT, lexer->at, end, jinja_float(strtod(text, NULL)));
    lexer->at = end;
}

/* One escape of a string literal, as Python has them. at: behind the backslash. Returns where it ends. */
static size_t unescape(struct jinja_lexer *lexer, size_t at, size_t end, struct jinja_builder *to)
{
    static const char names[] = "\\'\"abfnrtv", values[] = "\\'\"\a\b\f\n\r\t\v";
    const char *source = lexer->source;
    char c = source[at];
    const char *named = c ? strchr(names, c) : NULL;
    size_t want = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t code = 0;
    if (c == '\n') return at + 1;
    if (named) {
        jinja_put(lexer->run, to, &values[named - names], 1);
        return at + 1;
    }
    if (c >= '0' && c <= '7') {
        size_t i = at;
        for (; i < end && i < at + 3 && source[i] >= '0' && source[i] <= '7'; i++)
            code = code * 8 + (uint32_t)(source[i] - '0');
        jinja_put_char(lexer->run, to, code);
        return i;
    }
    if (want == 0) {
        jinja_put_text(lexer->run, to, "\\");
        return at;
    }
    for (size_t i = 1; i <= want; i++) {
        int digit = at + i < end ? digit_value(source[at + i]) : 99;
        if (digit > 15) code = 0x110000;
        if (digit > 15) break;
        code = code * 16 + (uint32_t)digit;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        jinja_raise(lexer->run, "a string has an escape that is no character");
    else
        jinja_put_char(lexer->run, to, code);
    return at + 1 + want;
}

static void lex_string(struct jinja_lexer *lexer)
{
    char mark = peek(lexer, 0);
    size_t start = lexer->at, end = start + 1;
    bool escapes = false;
    for (; end < lexer->length && lexer->source[end] != mark; end++) {
        if (lexer->source[end] != '\\') continue;
        escapes = true;
        end++;
    }
    if (end >= lexer->length) {
        jinja_raise(lexer->run, "a string has no end");
        return;
    }
    struct jinja_value value;
    if (escapes) {
        struct jinja_builder text = {0};
        size_t at = start + 1;
        while (at < end && jinja_step(lexer->run, 1)) {
            const char *backslash = memchr(lexer->source + at, '\\', end - at);
            size_t plain = backslash ? (size_t)(backslash - lexer->source) : end;
            jinja_put(lexer->run, &text, lexer->source + at, plain - at);
            at = backslash ? unescape(lexer, plain + 1, end, &text) : end;
        }
        value = jinja_built(lexer->run, &text);
    } else {
        value = jinja_string(lexer->run, lexer->source + start + 1, end - start - 1);
    }
    jinja_lexer_push(lexer, TOKEN_STRING, start, end + 1, value);
    lexer->at = end + 1;
}

static bool lex_name(struct jinja_lexer *lexer)
{
    size_t end = lexer->at;
    while (end < lexer->length) {
        unsigned n;
        if (!jinja_character_is(jinja_character(lexer->source + end, lexer->length - end, &n), JINJA_WORD)) break;
        end += n;
    }
    if (end == lexer->at) return false;
    struct jinja_value name = jinja_string(lexer->run, lexer->source + lexer->at, end - lexer->at);
    jinja_lexer_push(lexer, TOKEN_NAME, lexer->at, end, name);
    lexer->at = end;
    return true;
}

/* An operator; brackets are kept on a stack, so that the }} of a dict in a dict does not end the tag. */
static void lex_operator(struct jinja_lexer *lexer, char *stack, unsigned *depth)
{
    static const char *const twos[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = peek(lexer, 0);
    size_t n = 0;
    for (size_t i = 0; i < sizeof twos / sizeof twos[0]; i++) {
        if (c == twos[i][0] && peek(lexer, 1) == twos[i][1]) n = 2;
    }
    if (n == 0 && c && strchr("+-/*%~[](){}><=.:|,;", c)) n = 1;
    if (n == 0) {
        jinja_raise(lexer->run, "unexpected character '%c'", c);
        return;
    }
    if (strchr("([{", c)) {
        if (*depth == JINJA_MAX_NESTING) return jinja_raise_limit(lexer->run, "nesting of brackets");
        stack[(*depth)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c)) {
        if (*depth == 0) return jinja_raise(lexer->run, "unexpected '%c'", c);
        if (stack[--*depth] != c) return jinja_raise(lexer->run, "unexpected '%c', expected '%c'", c, stack[*depth]);
    }
    jinja_lexer_push(lexer, TOKEN_OPERATOR, lexer->at, lexer->at + n, jinja_none());
    lexer->at += n;
}

/* The end mark, with what it takes of the space behind it; false if it does not stand here. */
static bool lex_end(struct jinja_lexer *lexer, enum jinja_token_kind end)
{
    const char *mark = end == TOKEN_BLOCK_END ? "%}" : "}}";
    char sign = peek(lexer, 0);
    bool signed_mark = sign == '-' || (sign == '+' && end == TOKEN_BLOCK_END);
    size_t skip = signed_mark ? 1 : 0;
    if (peek(lexer, skip) != mark[0] || peek(lexer, skip + 1) != mark[1]) return false;
    size_t start = lexer->at;
    lexer->at += skip + 2;
    jinja_lexer_push(lexer, end, start, lexer->at, jinja_none());
    if (sign == '-') {
        const char *rest = lexer->source + lexer->at;
        size_t length = lexer->length - lexer->at;
        jinja_trim(&rest, &length, true, false);
        lexer->at = (size_t)(rest - lexer->source);
    } else if (sign != '+' && end == TOKEN_BLOCK_END && peek(lexer, 0) == '\n') {
        lexer->at++;
    }
    return true;
}

void jinja_lex_expression(struct jinja_lexer *lexer, enum jinja_token_kind end)
{
    char stack[JINJA_MAX_NESTING];
    unsigned depth = 0;
    while (lexer->at < lexer->length && jinja_step(lexer->run, 1)) {
        unsigned n;
        char c = peek(lexer, 0);
        jinja_lexer_place(lexer, lexer->at);
        if (depth == 0 && lex_end(lexer, end)) return;
        if (jinja_character_is(jinja_character(lexer->source + lexer->at, lexer->length - lexer->at, &n),
                               JINJA_SPACE)) {
            lexer->at += n;
            continue;
        }
        size_t number_end = is_digit(c) ? float_end(lexer, lexer->at) : lexer->at;
        if (number_end > lexer->at)
            lex_float(lexer, number_end);
        else if (is_digit(c))
            lex_integer(lexer);
        else if (c == '\'' || c == '"')
            lex_string(lexer);
        else if (!lex_name(lexer))
            lex_operator(lexer, stack, &depth);
    }
}
