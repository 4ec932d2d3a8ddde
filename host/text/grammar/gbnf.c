/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GBNF, as llama.cpp documents it (grammars/README.md): name ::= alternatives of sequences of "texts", [classes], ., names and
 * (groups), each with *, +, ?, {m}, {m,}, {m,n} behind it; # starts a comment. A rule ends where its line does, but
 * inside parentheses and after | it goes on. The rule "root" is the answer.
 */
#include "host/text/grammar/char_class.h"
#include "host/text/grammar/compiled.h"
#include "host/text/quote.h"
#include "host/text/utf8.h"

#include <jansson.h>
#include <string.h>

struct gbnf {
    struct tree *tree;
    const uint8_t *text;
    size_t length, at;
    unsigned depth;
    json_t *names; /* name: number of the rule */
};

static uint32_t alternatives(struct gbnf *g);

static uint32_t refuse(struct gbnf *g, int code, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < g->at && i < g->length; i++) {
        column++;
        if (g->text[i] != '\n') continue;
        line++;
        column = 1;
    }
    return tree_fail(g->tree, code, "grammar, line %zu, column %zu: %s", line, column, what);
}

static bool at_end(const struct gbnf *g) { return g->at >= g->length || tree_failed(g->tree); }
static bool sees(const struct gbnf *g, char c) { return !at_end(g) && g->text[g->at] == (uint8_t)c; }

static bool takes(struct gbnf *g, const char *word)
{
    size_t n = strlen(word);
    if (tree_failed(g->tree) || g->length - g->at < n || memcmp(g->text + g->at, word, n) != 0) return false;
    g->at += n;
    return true;
}

/* Spaces and comments; lines only where a rule may go on. */
static void skip_space(struct gbnf *g, bool lines)
{
    for (; !at_end(g); g->at++) {
        uint8_t c = g->text[g->at];
        if (c == '#') {
            while (g->at < g->length && g->text[g->at] != '\n') g->at++;
            if (!lines || g->at >= g->length) return;
        } else if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r'))) {
            return;
        }
    }
}

static bool is_name(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* The rule of the name at the place; the name is not empty. */
static uint32_t named_rule(struct gbnf *g)
{
    char key[81];
    size_t begin = g->at;
    while (!at_end(g) && is_name(g->text[g->at])) g->at++;
    size_t n = g->at - begin;
    if (n >= sizeof key) return refuse(g, ERROR_TOO_LARGE, "the name is longer than 80 characters");
    memcpy(key, g->text + begin, n);
    key[n] = '\0';
    const json_t *known = json_object_get(g->names, key);
    if (known) return (uint32_t)json_integer_value(known);
    uint32_t rule = tree_rule(g->tree, key, n);
    if (json_object_set_new(g->names, key, json_integer(rule)) < 0)
        return tree_fail(g->tree, ERROR_NO_MEMORY, "no memory for a grammar");
    return rule;
}

static uint32_t hex_digits(struct gbnf *g, unsigned n)
{
    uint32_t code = 0;
    for (unsigned i = 0; i < n; i++) {
        uint8_t c = at_end(g) ? 0 : g->text[g->at];
        uint32_t digit = c >= '0' && c <= '9'   ? c - (uint32_t)'0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10u
                                                : 16;
        if (digit == 16) return refuse(g, ERROR_BAD_ARGUMENT, "a hexadecimal digit is missing");
        code = code * 16 + digit;
        g->at++;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return refuse(g, ERROR_BAD_ARGUMENT, "the code is no character's");
    return code;
}

static uint32_t next_code(struct gbnf *g)
{
    unsigned length;
    if (at_end(g)) return refuse(g, ERROR_BAD_ARGUMENT, "the grammar ends in the middle of a rule");
    if (!takes(g, "\\")) {
        if (utf8_scan(g->text + g->at, g->length - g->at, &length) != UTF8_CHARACTER)
            return refuse(g, ERROR_BAD_ARGUMENT, "this is not UTF-8");
        uint32_t code = utf8_decode(g->text + g->at, length);
        g->at += length;
        return code;
    }
    if (takes(g, "x")) return hex_digits(g, 2);
    if (takes(g, "u")) return hex_digits(g, 4);
    if (takes(g, "U")) return hex_digits(g, 8);
    static const char letters[] = "n\nr\rt\t\\\\\"\"[[]]--^^//''";
    uint8_t c = at_end(g) ? 0 : g->text[g->at++];
    for (size_t i = 0; letters[i]; i += 2)
        if ((uint8_t)letters[i] == c) return (uint8_t)letters[i + 1];
    return refuse(g, ERROR_BAD_ARGUMENT, "unknown escape");
}

static uint32_t text_of(struct gbnf *g)
{
    uint32_t node = tree_sequence(g->tree);
    size_t begin = g->at;
    while (!sees(g, '"') && !at_end(g)) {
        if (!sees(g, '\\') && g->text[g->at] < 0x80) {
            g->at++;
            continue;
        }
        tree_add(g->tree, node, tree_text(g->tree, (const char *)g->text + begin, g->at - begin));
        tree_add(g->tree, node, class_node_of_one(g->tree, next_code(g), false));
        begin = g->at;
    }
    if (tree_failed(g->tree)) return 0;
    tree_add(g->tree, node, tree_text(g->tree, (const char *)g->text + begin, g->at - begin));
    return takes(g, "\"") ? node : refuse(g, ERROR_BAD_ARGUMENT, "the text has no end");
}

static uint32_t class_of(struct gbnf *g)
{
    struct char_class set = {0};
    bool negated = takes(g, "^");
    while (!sees(g, ']') && !at_end(g)) {
        uint32_t first = next_code(g), last = first;
        if (sees(g, '-') && g->at + 1 < g->length && g->text[g->at + 1] != ']') {
            g->at++;
            last = next_code(g);
            if (last < first) return refuse(g, ERROR_BAD_ARGUMENT, "the range is out of order");
        }
        class_add(&set, first, last);
    }
    if (!takes(g, "]")) return refuse(g, ERROR_BAD_ARGUMENT, "] is missing");
    class_normalize(&set);
    if (negated) class_negate(&set);
    return class_node(g->tree, &set, false);
}

static uint32_t any_character(struct gbnf *g)
{
    struct char_class set = {.ranges = {{0, 0x10FFFF}}, .n = 1};
    class_normalize(&set);
    return class_node(g->tree, &set, false);
}

static uint32_t group(struct gbnf *g)
{
    if (++g->depth > TREE_MOST_DEPTH) return refuse(g, ERROR_TOO_LARGE, "groups are nested too deep");
    uint32_t node = alternatives(g);
    g->depth--;
    return takes(g, ")") ? node : refuse(g, ERROR_BAD_ARGUMENT, ") is missing");
}

static bool number(struct gbnf *g, uint32_t *value)
{
    size_t begin = g->at;
    uint64_t n = 0;
    for (; !at_end(g) && g->text[g->at] >= '0' && g->text[g->at] <= '9'; g->at++) {
        n = n * 10 + (g->text[g->at] - '0');
        if (n > UINT32_MAX - 1) n = UINT32_MAX - 1;
    }
    *value = (uint32_t)n;
    return g->at > begin;
}

static uint32_t counted(struct gbnf *g, uint32_t node)
{
    uint32_t min = 0, max;
    bool has_min = number(g, &min);
    max = min;
    if (takes(g, ",")) {
        if (!number(g, &max)) max = TREE_UNLIMITED;
    } else if (!has_min) {
        return refuse(g, ERROR_BAD_ARGUMENT, "a number is missing");
    }
    if (!takes(g, "}")) return refuse(g, ERROR_BAD_ARGUMENT, "} is missing");
    return tree_repeat(g->tree, node, min, max);
}

/* An element of a sequence with what repeats it; 0 where there is none, and nothing is taken then. */
static bool element(struct gbnf *g, uint32_t parent)
{
    uint32_t node;
    if (takes(g, "\"")) {
        node = text_of(g);
    } else if (takes(g, "[")) {
        node = class_of(g);
    } else if (takes(g, "(")) {
        node = group(g);
    } else if (takes(g, ".")) {
        node = any_character(g);
    } else if (!at_end(g) && is_name(g->text[g->at])) {
        node = tree_call(g->tree, named_rule(g));
    } else {
        return false;
    }
    for (unsigned n = 0; n < TREE_MOST_DEPTH && !tree_failed(g->tree); n++) {
        skip_space(g, g->depth > 0);
        if (takes(g, "*"))
            node = tree_repeat(g->tree, node, 0, TREE_UNLIMITED);
        else if (takes(g, "+"))
            node = tree_repeat(g->tree, node, 1, TREE_UNLIMITED);
        else if (takes(g, "?"))
            node = tree_repeat(g->tree, node, 0, 1);
        else if (takes(g, "{"))
            node = counted(g, node);
        else
            break;
    }
    tree_add(g->tree, parent, node);
    return true;
}

/* A bar may stand on a line of its own; other lines end the rule outside of parentheses. */
static bool takes_bar(struct gbnf *g)
{
    size_t before = g->at;
    skip_space(g, true);
    if (takes(g, "|")) return true;
    if (g->depth == 0) g->at = before;
    return false;
}

static uint32_t alternatives(struct gbnf *g)
{
    uint32_t node = tree_choice(g->tree);
    do {
        uint32_t sequence = tree_sequence(g->tree);
        skip_space(g, true);
        while (element(g, sequence)) skip_space(g, g->depth > 0);
        tree_add(g->tree, node, sequence);
    } while (takes_bar(g));
    return node;
}

static void definition(struct gbnf *g)
{
    if (!is_name(g->text[g->at])) {
        refuse(g, ERROR_BAD_ARGUMENT, "the name of a rule is expected here");
        return;
    }
    uint32_t rule = named_rule(g);
    skip_space(g, false);
    if (!takes(g, "::=")) {
        refuse(g, ERROR_BAD_ARGUMENT, "::= is expected here");
        return;
    }
    uint32_t node = alternatives(g);
    if (tree_failed(g->tree)) return;
    if (g->at < g->length && g->text[g->at] != '\n' && g->text[g->at] != '\r') {
        refuse(g, ERROR_BAD_ARGUMENT, "this is no part of a rule");
        return;
    }
    if (g->tree->rules[rule].root)
        refuse(g, ERROR_BAD_ARGUMENT, "the rule before this place is defined twice");
    else
        g->tree->rules[rule].root = node;
}

void gbnf_read(struct tree *tree, const char *text, size_t length)
{
    struct gbnf g = {.tree = tree, .text = (const uint8_t *)text, .length = length, .names = json_object()};
    if (!g.names) {
        tree_fail(tree, ERROR_NO_MEMORY, "no memory for a grammar");
        return;
    }
    for (skip_space(&g, true); !at_end(&g); skip_space(&g, true)) definition(&g);
    const json_t *root = json_object_get(g.names, "root");
    if (!root)
        tree_fail(tree, ERROR_BAD_ARGUMENT, "the grammar has no rule root");
    else
        tree->root = (uint32_t)json_integer_value(root);
    json_decref(g.names);
}

void choice_read(struct tree *tree, const char *text, size_t length)
{
    json_error_t problem;
    size_t i;
    json_t *list = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem), *item;
    uint32_t node = tree_choice(tree);
    tree->root = tree_rule(tree, "the choices", 11);
    if (!json_is_array(list) || json_array_size(list) == 0)
        tree_fail(tree, ERROR_BAD_ARGUMENT, "choices are a list of at least one string");
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item) || json_string_length(item) == 0)
            tree_fail(tree, ERROR_BAD_ARGUMENT, "choice %zu is not a string of at least one character", i + 1);
        else
            tree_add(tree, node, tree_text(tree, json_string_value(item), json_string_length(item)));
    }
    if (!tree_failed(tree)) tree->rules[tree->root].root = node;
    json_decref(list);
}
