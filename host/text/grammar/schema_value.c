/* SPDX-License-Identifier: Apache-2.0 */
/* JSON without a schema: what all schemas are made of. */
#include "host/text/grammar/compiled.h"
#include "host/text/grammar/schema.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Nothing, one space, or a line and its indentation: enough for every usual layout, and not without end. */
uint32_t schema_space(struct schema *s)
{
    struct char_class blanks = {.ranges = {{'\t', '\t'}, {' ', ' '}}, .n = 2};
    uint32_t indentation = tree_repeat(s->tree, class_node(s->tree, &blanks, false), 0, 20);
    uint32_t line = tree_then(s->tree, tree_word(s->tree, "\n"), indentation);
    return tree_repeat(s->tree, tree_or(s->tree, tree_word(s->tree, " "), line), 0, 1);
}

uint32_t schema_mark(struct schema *s, const char *mark)
{
    uint32_t node = tree_sequence(s->tree);
    bool before = strchr(",}]", mark[0]) != NULL, after = strchr(",:{[", mark[0]) != NULL;
    if (before) tree_add(s->tree, node, schema_space(s));
    tree_add(s->tree, node, tree_word(s->tree, mark));
    if (after) tree_add(s->tree, node, schema_space(s));
    return node;
}

static void hex(struct schema *s, uint32_t node, uint32_t first_low, uint32_t last_low, unsigned n)
{
    struct char_class digits = {.ranges = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}, .n = 3};
    struct char_class first = {.ranges = {{first_low, last_low}}, .n = 1};
    if (first_low >= 'a') class_add(&first, first_low - 'a' + 'A', last_low - 'a' + 'A');
    class_normalize(&first);
    tree_add(s->tree, node, class_node(s->tree, &first, false));
    if (n > 1) tree_add(s->tree, node, tree_repeat(s->tree, class_node(s->tree, &digits, false), n - 1, n - 1));
}

/* \uXXXX: of no surrogate, or of a pair. */
static uint32_t unicode_escape(struct schema *s)
{
    uint32_t node = tree_sequence(s->tree), codes = tree_choice(s->tree);
    static const uint32_t leads[][2] = {{'0', '9'}, {'a', 'c'}, {'e', 'f'}};
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++) {
        uint32_t code = tree_sequence(s->tree);
        hex(s, code, leads[i][0], leads[i][1], 4);
        tree_add(s->tree, codes, code);
    }
    uint32_t low = tree_sequence(s->tree), pair = tree_sequence(s->tree), high = tree_choice(s->tree);
    hex(s, low, 'd', 'd', 1);
    hex(s, low, '0', '7', 3);
    tree_add(s->tree, codes, low);
    hex(s, pair, 'd', 'd', 1);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t part = tree_sequence(s->tree);
        hex(s, part, i ? 'a' : '8', i ? 'b' : '9', 3);
        tree_add(s->tree, high, part);
    }
    tree_add(s->tree, pair, high);
    tree_add(s->tree, pair, tree_word(s->tree, "\\u"));
    hex(s, pair, 'd', 'd', 1);
    hex(s, pair, 'c', 'f', 3);
    tree_add(s->tree, codes, pair);
    tree_add(s->tree, node, tree_word(s->tree, "\\u"));
    tree_add(s->tree, node, codes);
    return node;
}

uint32_t schema_character(struct schema *s)
{
    if (s->character == SCHEMA_NO_RULE) {
        struct char_class plain = {.ranges = {{' ', '!'}, {'#', '['}, {']', 0x10FFFF}}, .n = 3};
        struct char_class letters = {.n = 0};
        uint32_t node = tree_choice(s->tree);
        s->character = tree_rule(s->tree, "a character", 11);
        class_normalize(&plain);
        for (const char *c = "\"\\/bfnrt"; *c; c++) class_add(&letters, (uint8_t)*c, (uint8_t)*c);
        class_normalize(&letters);
        tree_add(s->tree, node, class_node(s->tree, &plain, false));
        tree_add(s->tree, node, tree_then(s->tree, tree_word(s->tree, "\\"), class_node(s->tree, &letters, false)));
        tree_add(s->tree, node, unicode_escape(s));
        if (!tree_failed(s->tree)) s->tree->rules[s->character].root = node;
    }
    return tree_call(s->tree, s->character);
}

uint32_t schema_any_string(struct schema *s)
{
    if (s->string == SCHEMA_NO_RULE) {
        s->string = tree_rule(s->tree, "a string", 8);
        uint32_t node = tree_sequence(s->tree);
        tree_add(s->tree, node, tree_word(s->tree, "\""));
        tree_add(s->tree, node, tree_repeat(s->tree, schema_character(s), 0, TREE_UNLIMITED));
        tree_add(s->tree, node, tree_word(s->tree, "\""));
        if (!tree_failed(s->tree)) s->tree->rules[s->string].root = node;
    }
    return tree_call(s->tree, s->string);
}

uint32_t schema_any_number(struct schema *s, bool integer)
{
    static const struct code_range digits[] = {{'0', '9'}}, leads[] = {{'1', '9'}}, signs[] = {{'+', '+'}, {'-', '-'}};
    static const struct code_range e[] = {{'E', 'E'}, {'e', 'e'}};
    struct tree *t = s->tree;
    uint32_t node = tree_sequence(t);
    uint32_t more = tree_repeat(t, tree_class(t, digits, 1), 0, 14);
    tree_add(t, node, tree_repeat(t, tree_word(t, "-"), 0, 1));
    tree_add(t, node, tree_or(t, tree_word(t, "0"), tree_then(t, tree_class(t, leads, 1), more)));
    if (integer) return node;
    uint32_t fraction = tree_then(t, tree_word(t, "."), tree_repeat(t, tree_class(t, digits, 1), 1, 15));
    uint32_t exponent = tree_sequence(t);
    tree_add(t, exponent, tree_class(t, e, 2));
    tree_add(t, exponent, tree_repeat(t, tree_class(t, signs, 2), 0, 1));
    tree_add(t, exponent, tree_repeat(t, tree_class(t, digits, 1), 1, 2));
    tree_add(t, node, tree_repeat(t, fraction, 0, 1));
    tree_add(t, node, tree_repeat(t, exponent, 0, 1));
    return node;
}

uint32_t schema_list(struct schema *s, uint32_t rule, uint32_t min, uint32_t max)
{
    struct tree *t = s->tree;
    if (max == 0) return tree_text(t, "", 0);
    uint32_t next = tree_then(t, schema_mark(s, ","), tree_call(t, rule));
    uint32_t others = tree_repeat(t, next, min > 0 ? min - 1 : 0, max == TREE_UNLIMITED ? max : max - 1);
    uint32_t list = tree_then(t, tree_call(t, rule), others);
    return min > 0 ? list : tree_repeat(t, list, 0, 1);
}

uint32_t schema_any_array(struct schema *s)
{
    if (s->array == SCHEMA_NO_RULE) {
        s->array = tree_rule(s->tree, "an array", 8);
        uint32_t value = s->value == SCHEMA_NO_RULE ? (schema_any_value(s), s->value) : s->value;
        uint32_t node = tree_sequence(s->tree);
        tree_add(s->tree, node, schema_mark(s, "["));
        tree_add(s->tree, node, schema_list(s, value, 0, TREE_UNLIMITED));
        tree_add(s->tree, node, schema_mark(s, "]"));
        if (!tree_failed(s->tree)) s->tree->rules[s->array].root = node;
    }
    return tree_call(s->tree, s->array);
}

uint32_t schema_any_object(struct schema *s)
{
    if (s->object == SCHEMA_NO_RULE) {
        s->object = tree_rule(s->tree, "an object", 9);
        s->pair = tree_rule(s->tree, "a property", 10);
        uint32_t pair = tree_sequence(s->tree), node = tree_sequence(s->tree);
        tree_add(s->tree, pair, schema_any_string(s));
        tree_add(s->tree, pair, schema_mark(s, ":"));
        tree_add(s->tree, pair, schema_any_value(s));
        tree_add(s->tree, node, schema_mark(s, "{"));
        tree_add(s->tree, node, schema_list(s, s->pair, 0, TREE_UNLIMITED));
        tree_add(s->tree, node, schema_mark(s, "}"));
        if (tree_failed(s->tree)) return 0;
        s->tree->rules[s->pair].root = pair;
        s->tree->rules[s->object].root = node;
    }
    return tree_call(s->tree, s->object);
}

uint32_t schema_any_value(struct schema *s)
{
    if (s->value == SCHEMA_NO_RULE) {
        s->value = tree_rule(s->tree, "a value", 7);
        uint32_t node = tree_choice(s->tree);
        tree_add(s->tree, node, schema_any_object(s));
        tree_add(s->tree, node, schema_any_array(s));
        tree_add(s->tree, node, schema_any_string(s));
        tree_add(s->tree, node, schema_any_number(s, false));
        tree_add(s->tree, node, tree_word(s->tree, "true"));
        tree_add(s->tree, node, tree_word(s->tree, "false"));
        tree_add(s->tree, node, tree_word(s->tree, "null"));
        if (!tree_failed(s->tree)) s->tree->rules[s->value].root = node;
    }
    return tree_call(s->tree, s->value);
}

uint32_t schema_literal(struct schema *s, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) return tree_fail(s->tree, ERROR_NO_MEMORY, "no memory for a schema");
    uint32_t node = tree_word(s->tree, text);
    free(text);
    const double number = json_is_real(value) ? json_real_value(value) : 0.5;
    if (number >= -1e15 && number <= 1e15 && number >= floor(number) && number <= floor(number)) {
        char whole[32];
        snprintf(whole, sizeof whole, "%.0f", number);
        node = tree_or(s->tree, node, tree_word(s->tree, whole)); /* 2.0 is 2 */
    }
    return node;
}

void json_object_read(struct tree *tree)
{
    struct schema s = {.tree = tree,
                       .character = SCHEMA_NO_RULE,
                       .string = SCHEMA_NO_RULE,
                       .value = SCHEMA_NO_RULE,
                       .object = SCHEMA_NO_RULE,
                       .array = SCHEMA_NO_RULE,
                       .pair = SCHEMA_NO_RULE};
    schema_any_object(&s);
    tree->root = s.object;
}
