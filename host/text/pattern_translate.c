/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Oniguruma's patterns (doc/RE of kkos/oniguruma, Ruby syntax, UTF-8) as PCRE2 reads them. Most is the same. Not the same: classes
 * of characters (Unicode 16 by unicode_classes.h, where PCRE2 of Debian 12 has 14; \s \d \w \h), sets inside sets and their
 * intersections, and the flag m, which is PCRE2's s.
 */
#include "host/text/pattern.h"
#include "host/text/quote.h"
#include "host/text/unicode_classes.h"
#include "host/text/utf8.h"

#include <string.h>
#include <strings.h>

#define MAX_DEPTH 32
#define N_CLASSES (sizeof unicode_classes / sizeof unicode_classes[0])

struct reader {
    const char *at, *end;
    unsigned depth;
    struct error *err;
};

/* A set of characters: what may stand inside one pair of brackets, and what has to be an alternative beside them. */
struct set {
    struct text members, others; /* others: "|[^...]|(?:...)" */
};

static void set_free(struct set *set)
{
    text_free(&set->members);
    text_free(&set->others);
}

static int add(struct text *out, const char *text, struct error *err)
{
    return text_append(out, text, strlen(text), err);
}

static int fail(struct reader *in, const char *what) { return error_set(in->err, ERROR_BAD_FILE, "pattern: %s", what); }

static const char *members_of(const char *name, size_t length)
{
    static const struct {
        const char *name, *members;
    } more[] = {
        {"Any", "\\x{0}-\\x{10ffff}"}, {"Ascii", "\\x{0}-\\x{7f}"}, {"xdigit", "0-9a-fA-F"}, {"hex", "0-9a-fA-F"},
        {"blank", "\\t\\p{Zs}"},       {"cntrl", "\\p{Cc}"},        {"Cs", "\\p{Cs}"}};
    static const char *const aliases[][2] = {
        {"Letter", "L"},        {"Mark", "M"},         {"Number", "N"},         {"Punctuation", "P"},
        {"Symbol", "S"},        {"Separator", "Z"},    {"Alphabetic", "alpha"}, {"White_Space", "space"},
        {"Uppercase", "upper"}, {"Lowercase", "lower"}};
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strlen(aliases[i][0]) == length && strncasecmp(aliases[i][0], name, length) == 0)
            return members_of(aliases[i][1], strlen(aliases[i][1]));
    for (size_t i = 0; i < N_CLASSES; i++)
        if (strlen(unicode_classes[i].name) == length && strncasecmp(unicode_classes[i].name, name, length) == 0)
            return unicode_classes[i].members;
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (strlen(more[i].name) == length && strncasecmp(more[i].name, name, length) == 0) return more[i].members;
    return NULL;
}

/* What no assigned letter, mark, number, sign or space is: PCRE2's own \p{C} is that of an older Unicode. */
static bool is_other(const char *name, size_t length) { return length == 1 && (name[0] == 'C' || name[0] == 'c'); }

static int put_other(struct text *out, bool negated, struct error *err)
{
    int status = add(out, negated ? "[" : "[^", err);
    for (size_t i = 0; !status && i < 5; i++) {
        char name[2] = {"LMNPS"[i], '\0'};
        status = add(out, members_of(name, 1), err);
    }
    return status ? status : add(out, "\\p{Z}]", err);
}

/* Puts a class: among the members if it is not negated, else as an alternative. */
static int set_class(struct set *set, const char *members, bool negated, struct error *err)
{
    if (!negated) return add(&set->members, members, err);
    int status = add(&set->others, "|[^", err);
    if (!status) status = add(&set->others, members, err);
    return status ? status : add(&set->others, "]", err);
}

/* The escape's class, if it is one: the cursor goes behind it. 1, 0 if it is another escape, or an error. */
static int read_class_escape(struct reader *in, struct set *set)
{
    char c = in->at + 1 < in->end ? in->at[1] : '\0';
    static const char *const letters[][2] = {{"sS", "space"}, {"dD", "digit"}, {"wW", "word"}, {"hH", "hex"}};
    for (size_t i = 0; i < 4; i++) {
        if (c == '\0' || !strchr(letters[i][0], c)) continue;
        in->at += 2;
        int status = set_class(set, members_of(letters[i][1], strlen(letters[i][1])), c == letters[i][0][1], in->err);
        return status ? status : 1;
    }
    if ((c != 'p' && c != 'P') || in->end - in->at < 4 || in->at[2] != '{') return 0;
    const char *name = in->at + 3, *close = memchr(name, '}', (size_t)(in->end - name));
    if (!close) return fail(in, "\\p{ without }");
    bool negated = c == 'P';
    if (*name == '^') {
        negated = !negated;
        name++;
    }
    size_t length = (size_t)(close - name);
    in->at = close + 1;
    int status;
    if (is_other(name, length)) {
        status = add(&set->others, "|", in->err);
        if (!status) status = put_other(&set->others, negated, in->err);
    } else {
        const char *members = members_of(name, length);
        if (!members)
            return error_set(in->err, ERROR_UNSUPPORTED, "pattern: the class \\p{%s} is not supported",
                             quote(name, length).text);
        status = set_class(set, members, negated, in->err);
    }
    return status ? status : 1;
}

/* An escape that is no class: a character. */
static int copy_escape(struct reader *in, struct text *out, bool in_set)
{
    if (in->end - in->at < 2) return fail(in, "ends with a backslash");
    unsigned char c = (unsigned char)in->at[1];
    int status;
    if (c == 'u' && in->end - in->at >= 6) {
        status = add(out, "\\x{", in->err);
        if (!status) status = text_append(out, in->at + 2, 4, in->err);
        if (!status) status = add(out, "}", in->err);
        in->at += 6;
        return status;
    }
    if (c >= 0x80) { /* an escaped character of several bytes is itself */
        in->at++;
        return 0;
    }
    if (in_set && c == 'b') {
        status = add(out, "\\x{8}", in->err);
    } else {
        if (in_set && strchr("BAzZGRXKkg", c)) return fail(in, "an escape inside brackets that is no character");
        status = text_append(out, in->at, 2, in->err);
    }
    in->at += 2;
    return status;
}

/* The set as an expression for one character. */
static int put_set(const struct set *set, bool negated, struct text *out, struct error *err)
{
    bool plain = set->others.length == 0;
    int status;
    if (plain && set->members.length == 0) return add(out, negated ? "(?s:.)" : "(?!)", err);
    if (negated && !plain) {
        status = add(out, "(?:(?!", err);
        if (!status) status = text_append(out, set->others.bytes + 1, set->others.length - 1, err);
        if (!status) status = add(out, set->members.length ? ")[^" : ")(?s:.", err);
        if (!status && set->members.length) status = text_append(out, set->members.bytes, set->members.length, err);
        return status ? status : add(out, set->members.length ? "])" : "))", err);
    }
    status = add(out, plain ? "" : "(?:", err);
    if (!status && set->members.length) {
        status = add(out, negated ? "[^" : "[", err);
        if (!status) status = text_append(out, set->members.bytes, set->members.length, err);
        if (!status) status = add(out, "]", err);
    }
    if (!status && !plain) {
        size_t skipped = set->members.length ? 0 : 1; /* the first bar */
        status = text_append(out, set->others.bytes + skipped, set->others.length - skipped, err);
    }
    return status || plain ? status : add(out, ")", err);
}

static int read_set(struct reader *in, struct text *out);

/* [:alpha:] or [:^alpha:] */
static int read_posix(struct reader *in, struct set *set)
{
    const char *name = in->at + 2;
    bool negated = name < in->end && *name == '^';
    name += negated;
    const char *colon = memchr(name, ':', (size_t)(in->end - name));
    if (!colon || colon + 1 >= in->end || colon[1] != ']') return fail(in, "[: without :]");
    in->at = colon + 2;
    size_t length = (size_t)(colon - name);
    if (length == 5 && memcmp(name, "alnum", 5) == 0) {
        int status =
            negated ? fail(in, "[:^alnum:] is not supported") : add(&set->members, members_of("alpha", 5), in->err);
        return status ? status : add(&set->members, members_of("digit", 5), in->err);
    }
    const char *members = members_of(name, length);
    if (!members)
        return error_set(in->err, ERROR_UNSUPPORTED, "pattern: the class [:%s:] is not supported",
                         quote(name, length).text);
    return set_class(set, members, negated, in->err);
}

static int read_item(struct reader *in, struct set *set, bool *after_class)
{
    *after_class = false;
    if (*in->at == '\\') {
        int got = read_class_escape(in, set);
        if (got) {
            *after_class = true;
            return got < 0 ? got : 0;
        }
        return copy_escape(in, &set->members, true);
    }
    if (*in->at == '[') {
        *after_class = true;
        if (in->end - in->at > 1 && in->at[1] == ':') return read_posix(in, set);
        int status = add(&set->others, "|", in->err);
        return status ? status : read_set(in, &set->others);
    }
    return text_append(&set->members, in->at++, 1, in->err);
}

/* What stands up to the bracket's end or the next &&. */
static int read_union(struct reader *in, struct set *set, bool is_first)
{
    bool after_class = false;
    for (int status = 0; in->at < in->end; is_first = false) {
        if (*in->at == ']' && !is_first) return 0;
        if (in->end - in->at > 1 && in->at[0] == '&' && in->at[1] == '&') return 0;
        bool hyphen = *in->at == '-' && (is_first || after_class || (in->end - in->at > 1 && in->at[1] == ']'));
        if (hyphen || *in->at == ']') { /* stands for itself here */
            status = add(&set->members, hyphen ? "\\-" : "\\]", in->err);
            in->at++;
            after_class = false;
        } else {
            status = read_item(in, set, &after_class);
        }
        if (status) return status;
    }
    return fail(in, "[ without ]");
}

/* From the bracket on: an expression for one character, appended to out. */
static int read_set(struct reader *in, struct text *out)
{
    if (++in->depth > MAX_DEPTH) return fail(in, "brackets are nested too deep");
    struct text both = {0};
    in->at++;
    bool negated = in->at < in->end && *in->at == '^', is_first = true;
    in->at += negated;
    int status = 0;
    unsigned n = 0;
    struct set set = {0};
    for (;;) {
        status = read_union(in, &set, is_first);
        if (status) break;
        is_first = false;
        bool more = *in->at == '&';
        if (!more && n == 0) {
            status = put_set(&set, negated, out, in->err);
            in->at++;
            break;
        }
        /* All but the last operand are looked at first. */
        status = add(&both, more ? "(?=" : "", in->err);
        if (!status) status = put_set(&set, false, &both, in->err);
        if (!status && more) status = add(&both, ")", in->err);
        set_free(&set);
        in->at += more ? 2 : 1;
        n++;
        if (status || more) {
            if (status) break;
            continue;
        }
        status = add(out, negated ? "(?:(?!" : "(?:", in->err);
        if (!status) status = text_append(out, both.bytes, both.length, in->err);
        if (!status) status = add(out, negated ? ")(?s:.))" : ")", in->err);
        break;
    }
    set_free(&set);
    text_free(&both);
    in->depth--;
    return status;
}

/* "(?" and flags: Oniguruma's m lets the dot match line ends. */
static int copy_flags(struct reader *in, struct text *out)
{
    int status = text_append(out, in->at, 2, in->err);
    in->at += 2;
    const char *flags = in->at;
    while (flags < in->end && strchr("imx-", *flags) && *flags) flags++;
    if (flags == in->end || (*flags != ':' && *flags != ')')) return status;
    for (; !status && in->at < flags; in->at++)
        status = add(out, (char[2]){*in->at == 'm' ? 's' : *in->at, '\0'}, in->err);
    return status;
}

static int copy_class_escape(struct reader *in, struct text *out)
{
    struct set set = {0};
    int status = read_class_escape(in, &set);
    if (status == 1) {
        status = put_set(&set, false, out, in->err);
        if (!status) status = 1;
    }
    set_free(&set);
    return status;
}

int pattern_translate(const char *source, size_t length, struct text *out, struct error *err)
{
    if (utf8_valid_prefix((const uint8_t *)source, length) != length)
        return error_set(err, ERROR_BAD_FILE, "pattern: is not UTF-8");
    struct reader in = {source, source + length, 0, err};
    int status = text_append(out, "", 0, err);
    while (!status && in.at < in.end) {
        if (*in.at == '\\') {
            status = copy_class_escape(&in, out);
            if (status == 0) status = copy_escape(&in, out, false);
            if (status == 1) status = 0;
        } else if (*in.at == '[') {
            status = read_set(&in, out);
        } else if (*in.at == '(' && in.end - in.at > 1 && in.at[1] == '?') {
            status = copy_flags(&in, out);
        } else {
            status = text_append(out, in.at++, 1, err);
        }
    }
    return status;
}
