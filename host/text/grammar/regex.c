/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/regex.h"
#include "host/text/grammar/char_class.h"
#include "host/text/grammar/compiled.h"
#include "host/text/quote.h"
#include "host/text/utf8.h"

#include <string.h>

struct regex {
    struct tree *tree;
    const uint8_t *text;
    size_t length, at;
    unsigned depth;
    bool in_json, search;
};

static uint32_t choice(struct regex *r);

static uint32_t refuse(struct regex *r, int code, const char *what)
{
    struct quote pattern = quote((const char *)r->text, r->length);
    return tree_fail(r->tree, code, "pattern \"%s\", byte %zu: %s", pattern.text, r->at + 1, what);
}

static bool at_end(const struct regex *r) { return r->at >= r->length || tree_failed(r->tree); }
static bool sees(const struct regex *r, char c) { return !at_end(r) && r->text[r->at] == (uint8_t)c; }

static bool takes(struct regex *r, const char *word)
{
    size_t n = strlen(word);
    if (tree_failed(r->tree) || r->length - r->at < n || memcmp(r->text + r->at, word, n) != 0) return false;
    r->at += n;
    return true;
}

/* The next character, which is valid UTF-8. */
static uint32_t next_code(struct regex *r)
{
    unsigned length;
    if (at_end(r)) return 0;
    if (utf8_scan(r->text + r->at, r->length - r->at, &length) != UTF8_CHARACTER) {
        refuse(r, ERROR_BAD_ARGUMENT, "it is not UTF-8");
        return 0;
    }
    uint32_t code = utf8_decode(r->text + r->at, length);
    r->at += length;
    return code;
}

/* ---- classes ---- */

static void add_spaces(struct char_class *set, bool wide)
{
    static const struct code_range spaces[] = {{9, 13},          {32, 32},         {0xA0, 0xA0},
                                               {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
                                               {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) class_add(set, spaces[i].first, spaces[i].last);
    if (!wide) return;
    class_add(set, 0x1C, 0x1F); /* to Python */
    class_add(set, 0x85, 0x85);
    class_add(set, 0xFEFF, 0xFEFF); /* to ECMAScript */
}

/*
 * What \d and the like stand for. Languages differ beyond ASCII, so there is what is in the class in all of them, and
 * (wide, which a negation needs) all that may be in it in some.
 */
static void add_named(struct char_class *set, char name, bool wide)
{
    if (name == 'D' || name == 'W' || name == 'S') {
        struct char_class other = {0};
        add_named(&other, (char)(name - 'A' + 'a'), !wide);
        class_normalize(&other);
        class_negate(&other);
        class_add_all(set, &other);
        return;
    }
    if (name == 's') {
        add_spaces(set, wide);
        return;
    }
    class_add(set, '0', '9');
    if (name == 'd') {
        if (wide) class_add(set, 0x660, 0x10FFFF); /* the first digit beyond ASCII */
        return;
    }
    class_add(set, 'A', 'Z');
    class_add(set, '_', '_');
    class_add(set, 'a', 'z');
    if (wide) class_add(set, 0x80, 0x10FFFF);
}

static uint32_t hex_digits(struct regex *r, unsigned n)
{
    uint32_t code = 0;
    for (unsigned i = 0; i < n; i++) {
        uint8_t c = at_end(r) ? 0 : r->text[r->at];
        uint32_t digit = c >= '0' && c <= '9'   ? c - (uint32_t)'0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10u
                                                : 16;
        if (digit == 16) return refuse(r, ERROR_BAD_ARGUMENT, "a hexadecimal digit is missing");
        code = code * 16 + digit;
        r->at++;
    }
    return code;
}

static uint32_t unicode_escape(struct regex *r)
{
    uint32_t code = 0;
    if (!takes(r, "{")) {
        code = hex_digits(r, 4);
        if (code >= 0xD800 && code < 0xDC00 && takes(r, "\\u")) {
            uint32_t low = hex_digits(r, 4);
            if (low >= 0xDC00 && low < 0xE000) return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            code = 0xD800;
        }
    } else {
        while (!sees(r, '}') && !at_end(r) && code <= 0x10FFFF) code = code * 16 + hex_digits(r, 1);
        if (!takes(r, "}")) return refuse(r, ERROR_BAD_ARGUMENT, "} is missing after \\u{");
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return refuse(r, ERROR_BAD_ARGUMENT, "the code is no character's");
    return code;
}

/* After a backslash: a named class is added to *set and 'true' returned; else *code is the character. */
static bool escaped(struct regex *r, struct char_class *set, bool wide, uint32_t *code)
{
    static const char plain[] = "nrtfv0";
    static const uint32_t codes[] = {'\n', '\r', '\t', '\f', '\v', 0};
    *code = next_code(r);
    const char *found;
    if (*code == 0) {
        refuse(r, ERROR_BAD_ARGUMENT, "nothing follows the backslash");
    } else if (*code < 128 && strchr("dDwWsS", (int)*code)) {
        add_named(set, (char)*code, wide);
        return true;
    } else if (*code < 128 && (found = strchr(plain, (int)*code)) != NULL) {
        *code = codes[found - plain];
        if (*code == 0 && !at_end(r) && r->text[r->at] >= '0' && r->text[r->at] <= '9')
            refuse(r, ERROR_UNSUPPORTED, "octal escapes are not supported");
    } else if (*code == 'x') {
        *code = hex_digits(r, 2);
    } else if (*code == 'u') {
        *code = unicode_escape(r);
    } else if (*code >= '1' && *code <= '9') {
        refuse(r, ERROR_UNSUPPORTED, "back-references are not supported");
    } else if (*code == 'b' || *code == 'B') {
        refuse(r, ERROR_UNSUPPORTED, "word boundaries (\\b, \\B) are not supported");
    } else if (*code == 'p' || *code == 'P') {
        refuse(r, ERROR_UNSUPPORTED, "Unicode properties (\\p) are not supported");
    } else if ((*code >= 'a' && *code <= 'z') || (*code >= 'A' && *code <= 'Z')) {
        refuse(r, ERROR_UNSUPPORTED, "this escape is not supported");
    }
    return false;
}

/* One member of a class: true if it was a named class, which has been added. */
static bool class_member(struct regex *r, struct char_class *set, bool wide, uint32_t *code)
{
    if (!takes(r, "\\")) {
        *code = next_code(r);
        return false;
    }
    if (takes(r, "b")) {
        *code = '\b';
        return false;
    }
    return escaped(r, set, wide, code);
}

static uint32_t class_of(struct regex *r)
{
    struct char_class set = {0};
    bool negated = takes(r, "^");
    while (!sees(r, ']') && !at_end(r)) {
        uint32_t first = 0, last = 0;
        bool named = class_member(r, &set, negated, &first);
        bool range = !named && sees(r, '-') && r->at + 1 < r->length && r->text[r->at + 1] != ']';
        if (named) continue;
        last = first;
        if (range) {
            r->at++;
            if (class_member(r, &set, negated, &last))
                return refuse(r, ERROR_BAD_ARGUMENT, "a range ends with a class");
            if (last < first) return refuse(r, ERROR_BAD_ARGUMENT, "the range is out of order");
        }
        class_add(&set, first, last);
    }
    if (!takes(r, "]")) return refuse(r, ERROR_BAD_ARGUMENT, "] is missing");
    class_normalize(&set);
    if (negated) class_negate(&set);
    return class_node(r->tree, &set, r->in_json);
}

static uint32_t dot(struct regex *r)
{
    struct char_class set = {.ranges = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}, .n = 3};
    class_negate(&set);
    return class_node(r->tree, &set, r->in_json);
}

static uint32_t any_text(struct regex *r)
{
    struct char_class set = {.ranges = {{0, 0x10FFFF}}, .n = 1};
    class_normalize(&set);
    return tree_repeat(r->tree, class_node(r->tree, &set, r->in_json), 0, TREE_UNLIMITED);
}

/* ---- groups and repeats ---- */

static uint32_t group(struct regex *r)
{
    if (takes(r, "?:")) {
        /* a group that is not counted is a group */
    } else if (takes(r, "?=") || takes(r, "?!") || takes(r, "?<=") || takes(r, "?<!")) {
        return refuse(r, ERROR_UNSUPPORTED, "look-around is not supported");
    } else if (takes(r, "?P<") || takes(r, "?<")) {
        while (!sees(r, '>') && !at_end(r)) r->at++;
        if (!takes(r, ">")) return refuse(r, ERROR_BAD_ARGUMENT, "> is missing after the group's name");
    } else if (sees(r, '?')) {
        return refuse(r, ERROR_UNSUPPORTED, "groups of this kind are not supported");
    }
    if (++r->depth > TREE_MOST_DEPTH) return refuse(r, ERROR_TOO_LARGE, "groups are nested too deep");
    bool search = r->search;
    r->search = false;
    uint32_t node = choice(r);
    r->search = search;
    r->depth--;
    if (!takes(r, ")")) return refuse(r, ERROR_BAD_ARGUMENT, ") is missing");
    return node;
}

static uint32_t atom(struct regex *r)
{
    if (takes(r, "(")) return group(r);
    if (takes(r, "[")) return class_of(r);
    if (takes(r, ".")) return dot(r);
    if (sees(r, '^') || sees(r, '$'))
        return refuse(r, ERROR_UNSUPPORTED,
                      "^ and $ are supported only at the ends of the pattern or its alternatives");
    if (sees(r, '*') || sees(r, '+') || sees(r, '?'))
        return refuse(r, ERROR_BAD_ARGUMENT, "there is nothing to repeat");
    if (takes(r, "\\")) {
        struct char_class set = {0};
        uint32_t code;
        if (!escaped(r, &set, false, &code)) return class_node_of_one(r->tree, code, r->in_json);
        class_normalize(&set);
        return class_node(r->tree, &set, r->in_json);
    }
    uint32_t code = next_code(r);
    return tree_failed(r->tree) ? 0 : class_node_of_one(r->tree, code, r->in_json);
}

static bool number(const struct regex *r, size_t *at, uint32_t *value)
{
    size_t begin = *at;
    uint64_t n = 0;
    while (*at < r->length && r->text[*at] >= '0' && r->text[*at] <= '9') {
        n = n * 10 + (r->text[(*at)++] - '0');
        if (n > UINT32_MAX - 1) n = UINT32_MAX - 1;
    }
    *value = (uint32_t)n;
    return *at > begin;
}

/* {m}, {m,} or {m,n} at the place; other braces are characters. */
static bool counts(struct regex *r, uint32_t *min, uint32_t *max)
{
    size_t at = r->at + 1;
    if (!sees(r, '{') || !number(r, &at, min)) return false;
    *max = *min;
    if (at < r->length && r->text[at] == ',') {
        at++;
        if (!number(r, &at, max)) *max = TREE_UNLIMITED;
    }
    if (at >= r->length || r->text[at] != '}') return false;
    r->at = at + 1;
    return true;
}

static uint32_t repeated(struct regex *r)
{
    uint32_t node = atom(r), min, max;
    for (unsigned n = 0; !tree_failed(r->tree); n++) {
        if (takes(r, "*")) {
            min = 0, max = TREE_UNLIMITED;
        } else if (takes(r, "+")) {
            min = 1, max = TREE_UNLIMITED;
        } else if (takes(r, "?")) {
            min = 0, max = 1;
        } else if (!counts(r, &min, &max)) {
            return node;
        }
        if (n > 0) return refuse(r, ERROR_BAD_ARGUMENT, "a repeat of a repeat (put the first into a group)");
        takes(r, "?"); /* lazy: the same texts match */
        node = tree_repeat(r->tree, node, min, max);
    }
    return 0;
}

static uint32_t alternative(struct regex *r)
{
    uint32_t node = tree_sequence(r->tree);
    bool top = r->depth == 0;
    bool starts = top && takes(r, "^"), ends = false;
    if (r->search && !starts) tree_add(r->tree, node, any_text(r));
    while (!at_end(r) && !sees(r, '|') && !sees(r, ')')) {
        size_t next = r->at + 1;
        if (top && sees(r, '$') && (next == r->length || r->text[next] == '|')) {
            r->at++;
            ends = true;
            break;
        }
        tree_add(r->tree, node, repeated(r));
    }
    if (r->search && !ends) tree_add(r->tree, node, any_text(r));
    return node;
}

static uint32_t choice(struct regex *r)
{
    uint32_t node = tree_choice(r->tree);
    do tree_add(r->tree, node, alternative(r));
    while (takes(r, "|"));
    return node;
}

static uint32_t read_pattern(struct tree *tree, const char *pattern, size_t length, bool in_json, bool search)
{
    struct regex r = {
        .tree = tree, .text = (const uint8_t *)pattern, .length = length, .in_json = in_json, .search = search};
    uint32_t node = choice(&r);
    if (tree_failed(tree)) return 0;
    return r.at == length ? node : refuse(&r, ERROR_BAD_ARGUMENT, ") without (");
}

uint32_t regex_tree(struct tree *tree, const char *pattern, size_t length)
{
    return read_pattern(tree, pattern, length, false, false);
}

uint32_t regex_tree_found(struct tree *tree, const char *pattern, size_t length, bool in_json)
{
    return read_pattern(tree, pattern, length, in_json, true);
}

void regex_read(struct tree *tree, const char *text, size_t length)
{
    tree->root = tree_rule(tree, "the pattern", 11);
    uint32_t node = regex_tree(tree, text, length);
    if (!tree_failed(tree)) tree->rules[tree->root].root = node;
}
