/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/structure.h"
#include "host/text/grammar/compiled.h"

#include <string.h>

#define MOST_PARTS 32u

struct structure {
    struct tree *tree;
    const struct grammar_vocabulary *vocabulary;
    unsigned depth;
};

static uint32_t node_of(struct structure *st, const json_t *json);

static uint32_t refuse(struct structure *st, const char *what)
{
    return tree_fail(st->tree, ERROR_BAD_ARGUMENT, "structure: %s", what);
}

uint32_t structure_text(struct tree *tree, const struct grammar_vocabulary *vocabulary, const char *text, size_t length)
{
    struct control_name name;
    size_t at = 0;
    uint32_t node = tree_sequence(tree);
    while (grammar_find_marker(vocabulary, text, length, at, &name)) {
        uint8_t bytes[MARKER_BYTES];
        grammar_marker(name.id, bytes);
        tree_add(tree, node, tree_text(tree, text + at, name.start - at));
        tree_add(tree, node, tree_text(tree, (const char *)bytes, sizeof bytes));
        at = name.start + name.length;
    }
    tree_add(tree, node, tree_text(tree, text + at, length - at));
    return node;
}

uint32_t structure_any_text(struct tree *tree)
{
    struct char_class any = {.ranges = {{0, 0x10FFFF}}, .n = 1};
    class_normalize(&any);
    return tree_repeat(tree, class_node(tree, &any, false), 0, TREE_UNLIMITED);
}

/* Texts with one of the parts in them. */
static uint32_t containing(struct tree *tree, const char *const *parts, size_t n)
{
    uint32_t node = tree_sequence(tree), choice = tree_choice(tree);
    for (size_t i = 0; i < n; i++) tree_add(tree, choice, tree_word(tree, parts[i]));
    tree_add(tree, node, structure_any_text(tree));
    tree_add(tree, node, choice);
    tree_add(tree, node, structure_any_text(tree));
    return node;
}

uint32_t structure_free(struct tree *tree, const char *const *parts, size_t n)
{
    uint32_t any = structure_any_text(tree);
    return n > 0 ? tree_except(tree, any, containing(tree, parts, n)) : any;
}

static uint32_t beginning_with(struct tree *tree, const char *first)
{
    static const struct code_range blanks[] = {{'\t', '\n'}, {'\r', '\r'}, {' ', ' '}};
    uint32_t node = tree_sequence(tree);
    tree_add(tree, node, tree_repeat(tree, tree_class(tree, blanks, 3), 0, TREE_UNLIMITED));
    tree_add(tree, node, tree_word(tree, first));
    tree_add(tree, node, structure_any_text(tree));
    return node;
}

static uint32_t free_text(struct structure *st, const json_t *json)
{
    const json_t *parts = json_object_get(json, "free"), *part;
    const char *texts[MOST_PARTS], *first = json_string_value(json_object_get(json, "first"));
    size_t i;
    if (!json_is_array(parts) || json_array_size(parts) > MOST_PARTS) return refuse(st, "free is a list of texts");
    json_array_foreach(parts, i, part)
    {
        texts[i] = json_string_value(part);
        if (!texts[i] || !texts[i][0]) return refuse(st, "free is a list of texts");
    }
    uint32_t node = structure_free(st->tree, texts, i);
    return first ? tree_except(st->tree, node, beginning_with(st->tree, first)) : node;
}

/* Another notation makes rules of its own; its root is called. */
static uint32_t nested(struct structure *st, const json_t *json, const char *notation,
                       void (*read)(struct tree *tree, const char *text, size_t length))
{
    const json_t *source = json_object_get(json, notation), *of = json_object_get(json, "of");
    const bool is_text = json_is_string(source) && strcmp(notation, "schema") != 0;
    char *text = is_text ? NULL : json_dumps(source, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!is_text && !text) return tree_fail(st->tree, ERROR_NO_MEMORY, "no memory for a grammar");
    read(st->tree, is_text ? json_string_value(source) : text, is_text ? json_string_length(source) : strlen(text));
    free(text);
    if (tree_failed(st->tree) && json_is_string(of)) error_prefix(&st->tree->err, "%s", json_string_value(of));
    return tree_failed(st->tree) ? 0 : tree_call(st->tree, st->tree->root);
}

static void read_any_object(struct tree *tree, const char *text, size_t length)
{
    (void)text;
    (void)length;
    json_object_read(tree);
}

static uint32_t repeat(struct structure *st, const json_t *json)
{
    const json_t *min = json_object_get(json, "min"), *max = json_object_get(json, "max");
    const json_int_t least = json_integer_value(min), most = json_integer_value(max);
    if (least < 0 || most < 0 || least > TREE_MOST_REPEATS || most > TREE_MOST_REPEATS)
        return refuse(st, "a repeat is out of range");
    return tree_repeat(st->tree, node_of(st, json_object_get(json, "repeat")), (uint32_t)least,
                       max ? (uint32_t)most : TREE_UNLIMITED);
}

static uint32_t members(struct structure *st, const json_t *list, uint32_t parent)
{
    const json_t *item;
    size_t i;
    if (!json_is_array(list)) return refuse(st, "a list is expected");
    json_array_foreach(list, i, item) tree_add(st->tree, parent, node_of(st, item));
    return parent;
}

static uint32_t with_schema(struct structure *st, uint32_t (*make)(struct schema *s, const char *mark),
                            const char *mark)
{
    struct schema s = {.tree = st->tree};
    return make(&s, mark);
}

static uint32_t space(struct schema *s, const char *mark)
{
    (void)mark;
    return schema_space(s);
}

static uint32_t object_node(struct structure *st, const json_t *json)
{
    static const struct {
        const char *name;
        void (*read)(struct tree *tree, const char *text, size_t length);
    } notations[] = {{"gbnf", gbnf_read},
                     {"regex", regex_read},
                     {"choices", choice_read},
                     {"schema", schema_read},
                     {"object", read_any_object}};
    const json_t *plain = json_object_get(json, "plain"), *mark = json_object_get(json, "mark");
    for (size_t i = 0; i < sizeof notations / sizeof notations[0]; i++)
        if (json_object_get(json, notations[i].name)) return nested(st, json, notations[i].name, notations[i].read);
    if (json_is_string(plain)) return tree_text(st->tree, json_string_value(plain), json_string_length(plain));
    if (json_is_string(mark)) return with_schema(st, schema_mark, json_string_value(mark));
    if (json_object_get(json, "space")) return with_schema(st, space, NULL);
    if (json_object_get(json, "any")) return members(st, json_object_get(json, "any"), tree_choice(st->tree));
    if (json_object_get(json, "repeat")) return repeat(st, json);
    if (json_object_get(json, "free")) return free_text(st, json);
    if (json_object_get(json, "tags")) return schema_tags(st->tree, st->vocabulary, json);
    return refuse(st, "an object is of no known kind");
}

static uint32_t node_of(struct structure *st, const json_t *json)
{
    if (tree_failed(st->tree)) return 0;
    if (++st->depth > TREE_MOST_DEPTH) return tree_fail(st->tree, ERROR_TOO_LARGE, "structure: it is nested too deep");
    uint32_t node = 0;
    if (json_is_string(json))
        node = structure_text(st->tree, st->vocabulary, json_string_value(json), json_string_length(json));
    else if (json_is_array(json))
        node = members(st, json, tree_sequence(st->tree));
    else if (json_is_object(json))
        node = object_node(st, json);
    else
        node = refuse(st, "a node is a text, a list or an object");
    st->depth--;
    return node;
}

void structure_read(struct tree *tree, const struct grammar_vocabulary *vocabulary, const char *text, size_t length)
{
    json_error_t problem;
    struct structure st = {.tree = tree, .vocabulary = vocabulary};
    json_t *root = json_loadb(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
    if (!root) {
        tree_fail(tree, ERROR_BAD_ARGUMENT, "structure: %s", problem.text);
        return;
    }
    const uint32_t rule = tree_rule(tree, "the answer", 10), node = node_of(&st, root);
    if (!tree_failed(tree)) tree->rules[rule].root = node ? node : tree_choice(tree);
    tree->root = rule;
    json_decref(root);
}
