/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/schema.h"
#include "host/text/grammar/compiled.h"
#include "host/text/quote.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MOST_DEPTH 100u

uint32_t schema_refuse(struct schema *s, int code, const char *format, ...)
{
    char text[300];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return tree_fail(s->tree, code, "schema, %s: %s", s->path, text);
}

const json_t *schema_keep(struct schema *s, json_t *made)
{
    if (made && json_array_append_new(s->kept, made) == 0) return made;
    tree_fail(s->tree, ERROR_NO_MEMORY, "no memory for a schema");
    return NULL;
}

uint32_t schema_count(struct schema *s, const json_t *schema, const char *keyword, uint32_t missing)
{
    const json_t *value = json_object_get(schema, keyword);
    if (!value) return missing;
    double number = json_number_value(value);
    if (number <= TREE_MOST_REPEATS) return (uint32_t)number;
    if (strncmp(keyword, "max", 3) == 0) return TREE_UNLIMITED;
    return schema_refuse(s, ERROR_TOO_LARGE, "%s above %u is not supported", keyword, TREE_MOST_REPEATS);
}

/* ---- keywords ---- */

enum keyword_kind {
    ANNOTATION,
    COUNT,
    NUMBER,
    SCHEMA,
    SCHEMAS,
    SCHEMA_MAP,
    STRING,
    STRINGS,
    ANY,
    LIST,
    TYPE,
    FALSE_ONLY
};

static const struct {
    const char *name;
    enum keyword_kind kind;
} keywords[] = {
    {"title", ANNOTATION},
    {"description", ANNOTATION},
    {"default", ANNOTATION},
    {"example", ANNOTATION},
    {"examples", ANNOTATION},
    {"deprecated", ANNOTATION},
    {"readOnly", ANNOTATION},
    {"writeOnly", ANNOTATION},
    {"$comment", ANNOTATION},
    {"$schema", ANNOTATION},
    {"$id", ANNOTATION},
    {"$anchor", ANNOTATION},
    {"$defs", ANNOTATION},
    {"definitions", ANNOTATION},
    {"$vocabulary", ANNOTATION},
    {"contentMediaType", ANNOTATION},
    {"contentEncoding", ANNOTATION},
    {"contentSchema", ANNOTATION},
    {"discriminator", ANNOTATION},
    {"type", TYPE},
    {"enum", LIST},
    {"const", ANY},
    {"$ref", STRING},
    {"allOf", SCHEMAS},
    {"anyOf", SCHEMAS},
    {"oneOf", SCHEMAS},
    {"properties", SCHEMA_MAP},
    {"patternProperties", SCHEMA_MAP},
    {"additionalProperties", SCHEMA},
    {"propertyNames", SCHEMA},
    {"required", STRINGS},
    {"minProperties", COUNT},
    {"maxProperties", COUNT},
    {"items", SCHEMA},
    {"prefixItems", SCHEMAS},
    {"minItems", COUNT},
    {"maxItems", COUNT},
    {"uniqueItems", FALSE_ONLY},
    {"minLength", COUNT},
    {"maxLength", COUNT},
    {"pattern", STRING},
    {"format", STRING},
    {"minimum", NUMBER},
    {"maximum", NUMBER},
    {"exclusiveMinimum", NUMBER},
    {"exclusiveMaximum", NUMBER},
    {"multipleOf", NUMBER},
};

static bool is_schema(const json_t *value) { return json_is_object(value) || json_is_boolean(value); }

static bool all_are(const json_t *list, bool (*test)(const json_t *))
{
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (!test(item)) return false;
    }
    return json_is_array(list);
}

static bool is_string(const json_t *value) { return json_is_string(value); }

static bool is_type_name(const json_t *value)
{
    static const char *const names[] = {"null", "boolean", "object", "array", "number", "string", "integer"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), names[i]) == 0) return true;
    return false;
}

/* NULL, or what the keyword's value should be. */
static const char *check_value(enum keyword_kind kind, const json_t *value)
{
    const char *name;
    json_t *member;
    switch (kind) {
    case ANNOTATION:
    case ANY: return NULL;
    case COUNT: return json_is_number(value) && json_number_value(value) >= 0 ? NULL : "a number from 0 on";
    case NUMBER: return json_is_number(value) ? NULL : "a number";
    case SCHEMA: return is_schema(value) ? NULL : "a schema";
    case SCHEMAS: return all_are(value, is_schema) && json_array_size(value) > 0 ? NULL : "a list of schemas";
    case SCHEMA_MAP:
        if (!json_is_object(value)) return "an object of schemas";
        json_object_foreach((json_t *)(uintptr_t)value, name, member)
        {
            if (!is_schema(member)) return "an object of schemas";
        }
        return NULL;
    case STRING: return json_is_string(value) ? NULL : "a string";
    case STRINGS: return all_are(value, is_string) ? NULL : "a list of strings";
    case LIST: return json_is_array(value) ? NULL : "a list";
    case TYPE: return is_type_name(value) || all_are(value, is_type_name) ? NULL : "the name of a type, or several";
    case FALSE_ONLY: return json_is_boolean(value) ? NULL : "true or false";
    }
    return NULL;
}

bool schema_check_keywords(struct schema *s, const json_t *schema)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, name, value)
    {
        size_t i = 0, n = sizeof keywords / sizeof keywords[0];
        if (name[0] == 'x' && name[1] == '-') continue;
        while (i < n && strcmp(keywords[i].name, name) != 0) i++;
        const char *expected = i < n ? check_value(keywords[i].kind, value) : NULL;
        if (i == n || (keywords[i].kind == FALSE_ONLY && json_is_true(value)))
            schema_refuse(s, ERROR_UNSUPPORTED, "keyword '%s' is not supported", quote(name, strlen(name)).text);
        else if (expected)
            schema_refuse(s, ERROR_BAD_ARGUMENT, "'%s' is not %s", name, expected);
        if (tree_failed(s->tree)) return false;
    }
    return true;
}

/* ---- references ---- */

/* The next part of a JSON pointer (RFC 6901), with %XX of its URI form undone; *at goes behind it. */
static bool pointer_part(const char **at, char *part, size_t room)
{
    size_t n = 0;
    const char *c = *at + 1;
    for (; *c && *c != '/'; c++) {
        unsigned code;
        char out = *c;
        if (c[0] == '~' && (c[1] == '0' || c[1] == '1')) {
            out = c[1] == '0' ? '~' : '/';
            c++;
        } else if (c[0] == '%' && strspn(c + 1, "0123456789abcdefABCDEF") >= 2 && sscanf(c + 1, "%2x", &code) == 1) {
            out = (char)code;
            c += 2;
        }
        if (n + 1 >= room) return false;
        part[n++] = out;
    }
    part[n] = '\0';
    *at = c;
    return true;
}

static const json_t *find_anchor(const json_t *root, const char *name)
{
    static const char *const places[] = {"$defs", "definitions"};
    const char *key;
    json_t *schema;
    for (size_t i = 0; i < 2; i++) {
        json_object_foreach((json_t *)(uintptr_t)json_object_get(root, places[i]), key, schema)
        {
            const char *anchor = json_string_value(json_object_get(schema, "$anchor"));
            if (anchor && strcmp(anchor, name) == 0) return schema;
        }
    }
    return NULL;
}

const json_t *schema_resolve(struct schema *s, const char *reference)
{
    const json_t *found = s->root;
    const char *id = json_string_value(json_object_get(s->root, "$id"));
    if (id && strncmp(reference, id, strlen(id)) == 0 && (reference[strlen(id)] == '#' || !reference[strlen(id)]))
        reference += strlen(id);
    if (reference[0] != '#' && reference[0] != '\0') {
        schema_refuse(s, ERROR_UNSUPPORTED, "$ref '%s' leads out of the schema, which is not supported",
                      quote(reference, strlen(reference)).text);
        return NULL;
    }
    const char *at = reference[0] ? reference + 1 : reference;
    if (*at && *at != '/') {
        found = find_anchor(s->root, at);
    } else {
        char part[200];
        while (found && *at == '/') {
            if (!pointer_part(&at, part, sizeof part)) {
                found = NULL;
            } else if (json_is_array(found)) {
                char *end;
                unsigned long i = strtoul(part, &end, 10);
                found = *end || end == part ? NULL : json_array_get(found, i);
            } else {
                found = json_object_get(found, part);
            }
        }
    }
    if (found && is_schema(found)) return found;
    schema_refuse(s, ERROR_BAD_ARGUMENT, "$ref '%s' finds no schema", quote(reference, strlen(reference)).text);
    return NULL;
}

/* ---- schemas ---- */

static bool has_type(const json_t *types, const char *name)
{
    const json_t *item;
    size_t i;
    json_array_foreach(types, i, item)
    {
        if (strcmp(json_string_value(item), name) == 0) return true;
    }
    return false;
}

static bool has_any(const json_t *flat, const char *const *names)
{
    for (; *names; names++)
        if (json_object_get(flat, *names)) return true;
    return false;
}

/* Without a type: those that the keywords are about, or all of them if there are none. */
static void infer_types(const json_t *flat, bool types[4])
{
    static const char *const strings[] = {"minLength", "maxLength", "pattern", "format", NULL};
    static const char *const numbers[] = {"minimum",          "maximum",    "exclusiveMinimum",
                                          "exclusiveMaximum", "multipleOf", NULL};
    static const char *const objects[] = {"properties",    "patternProperties", "additionalProperties", "required",
                                          "minProperties", "maxProperties",     "propertyNames",        NULL};
    static const char *const arrays[] = {"items", "prefixItems", "minItems", "maxItems", NULL};
    types[0] = has_any(flat, strings);
    types[1] = has_any(flat, numbers);
    types[2] = has_any(flat, objects);
    types[3] = has_any(flat, arrays);
}

static uint32_t typed(struct schema *s, const json_t *flat)
{
    struct tree *t = s->tree;
    const json_t *types = json_object_get(flat, "type");
    bool known[4], only_types = false;
    uint32_t node = tree_choice(t);
    infer_types(flat, known);
    if (!types) {
        only_types = known[0] || known[1] || known[2] || known[3];
        if (!only_types) return schema_any_value(s);
    }
#define WANTED(name, i) (types ? has_type(types, name) : known[i])
    if (WANTED("object", 2)) tree_add(t, node, schema_object(s, flat));
    if (WANTED("array", 3)) tree_add(t, node, schema_array(s, flat));
    if (WANTED("string", 0)) tree_add(t, node, schema_string(s, flat));
    if (WANTED("number", 1))
        tree_add(t, node, schema_number(s, flat, false));
    else if (types && has_type(types, "integer"))
        tree_add(t, node, schema_number(s, flat, true));
#undef WANTED
    if (types && has_type(types, "boolean")) tree_add(t, node, tree_or(t, tree_word(t, "true"), tree_word(t, "false")));
    if (types && has_type(types, "null")) tree_add(t, node, tree_word(t, "null"));
    return node;
}

static uint32_t literals(struct schema *s, const json_t *flat)
{
    const json_t *item;
    size_t i;
    uint32_t node = tree_choice(s->tree);
    json_array_foreach(json_object_get(flat, "enum"), i, item)
    {
        if (schema_fits(s, flat, item)) tree_add(s->tree, node, schema_literal(s, item));
    }
    return node;
}

/* Two branches of oneOf must not both match: that is so only where it can be shown. */
static bool exclude_each_other(struct schema *s, const json_t *branches)
{
    size_t n = json_array_size(branches);
    for (size_t i = 0; i < n && !tree_failed(s->tree); i++) {
        for (size_t j = i + 1; j < n && !tree_failed(s->tree); j++) {
            const json_t *a = schema_flatten(s, json_array_get(branches, i));
            const json_t *b = a ? schema_flatten(s, json_array_get(branches, j)) : NULL;
            const json_t *both = b ? schema_merge(s, a, b) : NULL;
            bool apart = both && schema_is_impossible(s, both, 0);
            if (a && b) s->tree->err.code = 0; /* what cannot be combined is not known to be apart */
            if (apart || tree_failed(s->tree)) continue;
            schema_refuse(s, ERROR_UNSUPPORTED,
                          "oneOf: branches %zu and %zu may both match, which is not supported (anyOf, or branches "
                          "with different types or constants)",
                          i, j);
        }
    }
    return !tree_failed(s->tree);
}

/* A branch of anyOf or oneOf, together with what stands beside it. */
static uint32_t alternatives(struct schema *s, const json_t *flat, const char *keyword)
{
    const json_t *branches = json_object_get(flat, keyword), *branch;
    uint32_t node = tree_choice(s->tree);
    size_t i;
    if (strcmp(keyword, "oneOf") == 0 && !exclude_each_other(s, branches)) return 0;
    json_t *beside = json_copy((json_t *)(uintptr_t)flat);
    if (!beside || json_object_del(beside, keyword) < 0 || !schema_keep(s, beside))
        return tree_fail(s->tree, ERROR_NO_MEMORY, "no memory for a schema");
    json_array_foreach(branches, i, branch)
    {
        const json_t *whole = branch;
        if (json_object_size(beside) > 0) {
            const json_t *flat_branch = schema_flatten(s, branch);
            whole = flat_branch ? schema_merge(s, beside, flat_branch) : NULL;
        }
        if (tree_failed(s->tree)) return 0;
        tree_add(s->tree, node, schema_below(s, whole, keyword, NULL, (long)i));
    }
    return node;
}

static uint32_t body(struct schema *s, const json_t *schema)
{
    const json_t *flat = schema_flatten(s, schema);
    if (!flat) return 0;
    if (json_object_get(flat, "anyOf")) return alternatives(s, flat, "anyOf");
    if (json_object_get(flat, "oneOf")) return alternatives(s, flat, "oneOf");
    if (json_object_get(flat, "enum")) return literals(s, flat);
    return typed(s, flat);
}

/* The schema's text is its name: the same text means the same, as references begin at the root. */
uint32_t schema_node(struct schema *s, const json_t *schema)
{
    if (tree_failed(s->tree)) return 0;
    if (s->depth >= MOST_DEPTH) return schema_refuse(s, ERROR_TOO_LARGE, "schemas are nested too deep");
    char *text = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) return tree_fail(s->tree, ERROR_NO_MEMORY, "no memory for a schema");
    const json_t *known = json_object_get(s->rules, text);
    uint32_t rule = known ? (uint32_t)json_integer_value(known) : tree_rule(s->tree, s->path, strlen(s->path));
    if (!known && json_object_set_new(s->rules, text, json_integer(rule)) < 0)
        tree_fail(s->tree, ERROR_NO_MEMORY, "no memory for a schema");
    free(text);
    if (!known) {
        s->depth++;
        uint32_t node = body(s, schema);
        s->depth--;
        if (tree_failed(s->tree)) return 0;
        s->tree->rules[rule].root = node ? node : tree_choice(s->tree);
    }
    return tree_call(s->tree, rule);
}

uint32_t schema_below(struct schema *s, const json_t *schema, const char *keyword, const char *name, long index)
{
    size_t length = strlen(s->path), room = sizeof s->path - length;
    if (name)
        snprintf(s->path + length, room, "/%s/%s", keyword, quote(name, strlen(name)).text);
    else if (index >= 0)
        snprintf(s->path + length, room, "/%s/%ld", keyword, index);
    else
        snprintf(s->path + length, room, "/%s", keyword);
    uint32_t node = schema_node(s, schema);
    s->path[length] = '\0';
    return node;
}

void schema_begin(struct schema *s, struct tree *tree, const json_t *root)
{
    *s = (struct schema){.tree = tree,
                         .root = root,
                         .rules = json_object(),
                         .kept = json_array(),
                         .path = "#",
                         .character = SCHEMA_NO_RULE,
                         .string = SCHEMA_NO_RULE,
                         .value = SCHEMA_NO_RULE,
                         .object = SCHEMA_NO_RULE,
                         .array = SCHEMA_NO_RULE,
                         .pair = SCHEMA_NO_RULE};
    if (!s->rules || !s->kept) tree_fail(tree, ERROR_NO_MEMORY, "no memory for a schema");
}

void schema_end(struct schema *s)
{
    json_decref(s->rules);
    json_decref(s->kept);
}

void schema_read(struct tree *tree, const char *text, size_t length)
{
    json_error_t problem;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
    if (!root || !is_schema(root)) {
        tree_fail(tree, ERROR_BAD_ARGUMENT, "the schema is not JSON of an object: %s",
                  root ? "it is something else" : problem.text);
        json_decref(root);
        return;
    }
    struct schema s;
    schema_begin(&s, tree, root);
    uint32_t rule = tree_rule(tree, "the schema", 10), node = schema_node(&s, root);
    if (!tree_failed(tree)) tree->rules[rule].root = node;
    tree->root = rule;
    schema_end(&s);
    json_decref(root);
}
