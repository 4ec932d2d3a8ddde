/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/reply_json.h"

#include <string.h>

enum state {
    VALUE,        /* any value */
    VALUE_OR_END, /* after [ */
    KEY_OR_END,   /* after { */
    KEY,
    KEY_STRING, /* inside a key */
    COLON,
    AFTER, /* a value: a comma or an end */
    STRING,
    ESCAPE,
    KEY_ESCAPE,
    HEX,
    KEY_HEX,
    LITERAL,
    MINUS,
    ZERO,
    INTEGER,
    POINT,
    FRACTION,
    EXPONENT,
    EXPONENT_SIGN,
    EXPONENT_DIGIT,
};

void json_scan_start(struct json_scan *scan) { *scan = (struct json_scan){.state = VALUE}; }

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static enum json_scan_result go(struct json_scan *scan, enum state state)
{
    scan->state = (uint8_t)state;
    return JSON_SCAN_MORE;
}

static enum json_scan_result value_done(struct json_scan *scan)
{
    scan->state = AFTER;
    return scan->depth ? JSON_SCAN_MORE : JSON_SCAN_DONE;
}

static enum json_scan_result push(struct json_scan *scan, bool object)
{
    if (scan->depth == JSON_SCAN_DEPTH) return JSON_SCAN_BAD;
    scan->in_object[scan->depth++] = object;
    return go(scan, object ? KEY_OR_END : VALUE_OR_END);
}

static enum json_scan_result pop(struct json_scan *scan, bool object)
{
    if (!scan->depth || scan->in_object[scan->depth - 1] != object) return JSON_SCAN_BAD;
    scan->depth--;
    return value_done(scan);
}

static enum json_scan_result start_value(struct json_scan *scan, char c)
{
    switch (c) {
    case '{': return push(scan, true);
    case '[': return push(scan, false);
    case '"': return go(scan, STRING);
    case '-': return go(scan, MINUS);
    case '0': return go(scan, ZERO);
    case 't': scan->literal = "rue"; return go(scan, LITERAL);
    case 'f': scan->literal = "alse"; return go(scan, LITERAL);
    case 'n': scan->literal = "ull"; return go(scan, LITERAL);
    default: return is_digit(c) ? go(scan, INTEGER) : JSON_SCAN_BAD;
    }
}

static enum json_scan_result after_value(struct json_scan *scan, char c)
{
    if (is_space(c)) return JSON_SCAN_MORE;
    if (c == '}' || c == ']') return pop(scan, c == '}');
    if (c != ',' || !scan->depth) return JSON_SCAN_BAD;
    return go(scan, scan->in_object[scan->depth - 1] ? KEY : VALUE);
}

static enum json_scan_result in_string(struct json_scan *scan, char c, bool key)
{
    if (c == '\\') return go(scan, key ? KEY_ESCAPE : ESCAPE);
    if ((unsigned char)c < 0x20) return JSON_SCAN_BAD;
    if (c != '"') return JSON_SCAN_MORE;
    return key ? go(scan, COLON) : value_done(scan);
}

static enum json_scan_result in_escape(struct json_scan *scan, char c, bool key)
{
    if (c == 'u') {
        scan->hex = 4;
        return go(scan, key ? KEY_HEX : HEX);
    }
    return c && strchr("\"\\/bfnrt", c) ? go(scan, key ? KEY_STRING : STRING) : JSON_SCAN_BAD;
}

static enum json_scan_result in_hex(struct json_scan *scan, char c, bool key)
{
    if (!is_digit(c) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'f')) return JSON_SCAN_BAD;
    if (--scan->hex == 0) scan->state = key ? KEY_STRING : STRING;
    return JSON_SCAN_MORE;
}

/* The byte after a number: it ends the number and counts for what is around it. */
static enum json_scan_result after_number(struct json_scan *scan, char c)
{
    scan->state = AFTER;
    return scan->depth ? after_value(scan, c) : JSON_SCAN_DONE_BEFORE;
}

static enum json_scan_result in_number(struct json_scan *scan, char c)
{
    bool exponent = c == 'e' || c == 'E';
    switch (scan->state) {
    case MINUS:
        if (!is_digit(c)) return JSON_SCAN_BAD;
        return go(scan, c == '0' ? ZERO : INTEGER);
    case ZERO:
    case INTEGER:
        if (is_digit(c)) return scan->state == INTEGER ? JSON_SCAN_MORE : JSON_SCAN_BAD;
        if (c == '.') return go(scan, POINT);
        return exponent ? go(scan, EXPONENT) : after_number(scan, c);
    case POINT: return is_digit(c) ? go(scan, FRACTION) : JSON_SCAN_BAD;
    case FRACTION:
        if (is_digit(c)) return JSON_SCAN_MORE;
        return exponent ? go(scan, EXPONENT) : after_number(scan, c);
    case EXPONENT:
        if (c == '+' || c == '-') return go(scan, EXPONENT_SIGN);
        return is_digit(c) ? go(scan, EXPONENT_DIGIT) : JSON_SCAN_BAD;
    case EXPONENT_SIGN: return is_digit(c) ? go(scan, EXPONENT_DIGIT) : JSON_SCAN_BAD;
    default: return is_digit(c) ? JSON_SCAN_MORE : after_number(scan, c);
    }
}

enum json_scan_result json_scan_byte(struct json_scan *scan, char c)
{
    switch (scan->state) {
    case VALUE: return is_space(c) ? JSON_SCAN_MORE : start_value(scan, c);
    case VALUE_OR_END:
        if (is_space(c)) return JSON_SCAN_MORE;
        return c == ']' ? pop(scan, false) : start_value(scan, c);
    case KEY_OR_END:
        if (c == '}') return pop(scan, true);
        /* fall through */
    case KEY:
        if (is_space(c)) return JSON_SCAN_MORE;
        return c == '"' ? go(scan, KEY_STRING) : JSON_SCAN_BAD;
    case COLON:
        if (is_space(c)) return JSON_SCAN_MORE;
        return c == ':' ? go(scan, VALUE) : JSON_SCAN_BAD;
    case AFTER: return after_value(scan, c);
    case STRING:
    case KEY_STRING: return in_string(scan, c, scan->state == KEY_STRING);
    case ESCAPE:
    case KEY_ESCAPE: return in_escape(scan, c, scan->state == KEY_ESCAPE);
    case HEX:
    case KEY_HEX: return in_hex(scan, c, scan->state == KEY_HEX);
    case LITERAL:
        if (c != *scan->literal) return JSON_SCAN_BAD;
        return *++scan->literal ? JSON_SCAN_MORE : value_done(scan);
    default: return in_number(scan, c);
    }
}
