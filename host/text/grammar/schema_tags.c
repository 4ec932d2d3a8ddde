/* SPDX-License-Identifier: Apache-2.0 */
/* Objects whose properties are not written as JSON, but as keys and values between tags (structure.h). */
#include "host/text/grammar/structure.h"

#include <string.h>

struct tags {
    struct schema s;
    const struct grammar_vocabulary *vocabulary;
    const json_t *form; /* the node of the structure */
};

static const char *text_of(const struct tags *t, const char *name)
{
    return json_string_value(json_object_get(t->form, name));
}

static void add_text(struct tags *t, uint32_t parent, const char *text)
{
    if (text) tree_add(t->s.tree, parent, structure_text(t->s.tree, t->vocabulary, text, strlen(text)));
}

/* Texts of an enum that stand between the tags as they are: strings without the end's tag. */
static uint32_t enumerated(struct tags *t, const json_t *flat, const char *end)
{
    const json_t *item;
    size_t i;
    uint32_t node = tree_choice(t->s.tree);
    json_array_foreach(json_object_get(flat, "enum"), i, item)
    {
        const char *text = json_string_value(item);
        if (text && !strstr(text, end) && schema_fits(&t->s, flat, item))
            tree_add(t->s.tree, node, tree_text(t->s.tree, text, json_string_length(item)));
    }
    return node;
}

static uint32_t raw_string(struct tags *t, const json_t *schema)
{
    const char *end = text_of(t, "value_end");
    const json_t *flat = schema_flatten(&t->s, schema);
    if (!flat) return 0;
    if (json_object_get(flat, "anyOf") || json_object_get(flat, "oneOf"))
        return schema_refuse(&t->s, ERROR_UNSUPPORTED, "anyOf and oneOf beside \"type\": \"string\" are not supported");
    if (json_object_get(flat, "enum")) return enumerated(t, flat, end);
    t->s.raw = true;
    uint32_t body = schema_string_body(&t->s, flat);
    t->s.raw = false;
    return tree_both(t->s.tree, body, structure_free(t->s.tree, &end, 1));
}

/* What the reader of these tags takes for a text: the schema itself, not what it refers to, says so. */
static bool is_text(const json_t *schema)
{
    const char *type = json_string_value(json_object_get(schema, "type"));
    return type && strcmp(type, "string") == 0;
}

static uint32_t pair(struct tags *t, const char *name, const json_t *schema)
{
    struct tree *tree = t->s.tree;
    const bool lines = json_is_true(json_object_get(t->form, "lines")),
               text = is_text(json_object_get(json_object_get(t->s.root, "properties"), name));
    uint32_t node = tree_sequence(tree);
    add_text(t, node, text_of(t, "key_open"));
    tree_add(tree, node, tree_word(tree, name));
    if (json_is_true(json_object_get(t->form, "typed")))
        add_text(t, node, text ? "\" string=\"true\"" : "\" string=\"false\"");
    add_text(t, node, text_of(t, "key_end"));
    if (text_of(t, "value_open")) tree_add(tree, node, schema_space(&t->s));
    add_text(t, node, text_of(t, "value_open"));
    if (lines) add_text(t, node, "\n");
    if (text) {
        char path[SCHEMA_PATH];
        memcpy(path, t->s.path, sizeof path);
        snprintf(t->s.path + strlen(path), sizeof path - strlen(path), "/properties/%.100s", name);
        tree_add(tree, node, raw_string(t, schema));
        memcpy(t->s.path, path, sizeof path);
    } else {
        tree_add(tree, node, schema ? schema_below(&t->s, schema, "properties", name, -1) : schema_any_value(&t->s));
    }
    if (lines) add_text(t, node, "\n");
    add_text(t, node, text_of(t, "value_end"));
    return tree_then(tree, node, schema_space(&t->s));
}

static bool is_required(const json_t *flat, const char *name)
{
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(flat, "required"), i, item)
    {
        if (strcmp(json_string_value(item), name) == 0) return true;
    }
    return false;
}

static uint32_t properties(struct tags *t, const json_t *flat)
{
    static const char *const refused[] = {"enum",          "anyOf",         "oneOf",        "patternProperties",
                                          "minProperties", "maxProperties", "propertyNames"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (json_object_get(flat, refused[i]))
            return schema_refuse(&t->s, ERROR_UNSUPPORTED, "keyword '%s' is not supported here for this model's calls",
                                 refused[i]);
    json_t *named = (json_t *)(uintptr_t)json_object_get(flat, "properties"), *schema;
    const json_t *item;
    const char *name;
    size_t i;
    uint32_t node = tree_sequence(t->s.tree);
    json_object_foreach(named, name, schema)
    {
        const uint32_t one = pair(t, name, schema);
        tree_add(t->s.tree, node, is_required(flat, name) ? one : tree_repeat(t->s.tree, one, 0, 1));
    }
    json_array_foreach(json_object_get(flat, "required"), i, item)
    {
        name = json_string_value(item);
        if (!json_object_get(named, name))
            tree_add(t->s.tree, node, pair(t, name, json_object_get(flat, "additionalProperties")));
    }
    return node;
}

uint32_t schema_tags(struct tree *tree, const struct grammar_vocabulary *vocabulary, const json_t *form)
{
    struct tags t = {.vocabulary = vocabulary, .form = form};
    const char *of = json_string_value(json_object_get(form, "of"));
    uint32_t node = 0;
    if (!text_of(&t, "key_open") || !text_of(&t, "key_end") || !text_of(&t, "value_end") ||
        !text_of(&t, "value_end")[0])
        return tree_fail(tree, ERROR_BAD_ARGUMENT, "structure: tags need key_open, key_end and value_end");
    schema_begin(&t.s, tree, json_object_get(form, "tags"));
    const json_t *flat = schema_flatten(&t.s, t.s.root);
    if (flat) node = properties(&t, flat);
    if (tree_failed(tree) && of) error_prefix(&tree->err, "%s", of);
    schema_end(&t.s);
    return tree_failed(tree) ? 0 : node;
}
