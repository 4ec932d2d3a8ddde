/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schemas that hold together (allOf, $ref beside other keywords, a branch of anyOf beside the rest) become one. A flat schema
 * has no $ref, allOf, const or annotations; type, pattern and format are lists.
 */
#include "host/text/grammar/schema.h"

#include <math.h>
#include <string.h>

#define MOST_WORK 20000u /* schemas that are looked at while they are combined */
#define MOST_DEPTH 40u
#define MOST_BRANCHES 256u

/* jansson takes no const where it does not change a value but its count. */
static json_t *shared(const json_t *value) { return json_incref((json_t *)(uintptr_t)value); }

static bool spend(struct schema *s)
{
    if (tree_failed(s->tree)) return false;
    if (s->work++ < MOST_WORK) return true;
    schema_refuse(s, ERROR_TOO_LARGE, "it takes too many steps to combine these schemas");
    return false;
}

static bool is_annotation(const char *name)
{
    static const char *const names[] = {
        "title",       "description",      "default",         "example",       "examples",
        "deprecated",  "readOnly",         "writeOnly",       "$comment",      "$schema",
        "$id",         "$anchor",          "$defs",           "definitions",   "$vocabulary",
        "uniqueItems", "contentMediaType", "contentEncoding", "contentSchema", "discriminator"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0) return true;
    return name[0] == 'x' && name[1] == '-';
}

static json_t *list_of(const json_t *value)
{
    return json_is_array(value) ? json_copy((json_t *)(uintptr_t)value) : json_pack("[O]", value);
}

/* The keywords of one schema without what refers to others; const becomes enum. Owned; NULL: no memory. */
static json_t *own_keywords(const json_t *schema)
{
    const char *name;
    json_t *value, *own = json_object();
    json_object_foreach((json_t *)(uintptr_t)schema, name, value)
    {
        if (is_annotation(name) || strcmp(name, "$ref") == 0 || strcmp(name, "allOf") == 0) continue;
        if (strcmp(name, "const") == 0) continue;
        bool listed = !strcmp(name, "type") || !strcmp(name, "pattern") || !strcmp(name, "format");
        json_object_set_new(own, name, listed ? list_of(value) : shared(value));
    }
    const json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum"), *item;
    size_t i;
    if (!constant) return own;
    bool found = !list;
    json_array_foreach(list, i, item) found |= json_equal(item, constant) == 1;
    json_object_set_new(own, "enum", found ? json_pack("[O]", constant) : json_array());
    return own;
}

static const json_t *flatten(struct schema *s, const json_t *schema, unsigned depth)
{
    if (!spend(s)) return NULL;
    if (json_is_boolean(schema))
        return schema_keep(s, json_is_true(schema) ? json_object() : json_pack("{s:[]}", "enum"));
    if (depth > MOST_DEPTH) {
        schema_refuse(s, ERROR_BAD_ARGUMENT, "$ref and allOf lead back to themselves, or too far");
        return NULL;
    }
    if (!schema_check_keywords(s, schema)) return NULL;
    const json_t *flat = schema_keep(s, own_keywords(schema)), *part;
    const char *reference = json_string_value(json_object_get(schema, "$ref"));
    size_t i;
    if (flat && reference) {
        const json_t *target = schema_resolve(s, reference);
        const json_t *other = target ? flatten(s, target, depth + 1) : NULL;
        flat = other ? schema_merge(s, flat, other) : NULL;
    }
    json_array_foreach(json_object_get(schema, "allOf"), i, part)
    {
        const json_t *other = flat ? flatten(s, part, depth + 1) : NULL;
        flat = other ? schema_merge(s, flat, other) : NULL;
    }
    return flat;
}

const json_t *schema_flatten(struct schema *s, const json_t *schema) { return flatten(s, schema, 0); }

/* ---- two values of one keyword ---- */

static bool type_admits(const json_t *types, const char *name)
{
    const json_t *item;
    size_t i;
    json_array_foreach(types, i, item)
    {
        const char *type = json_string_value(item);
        if (strcmp(type, name) == 0 || (strcmp(name, "integer") == 0 && strcmp(type, "number") == 0)) return true;
    }
    return false;
}

static json_t *merge_types(const json_t *a, const json_t *b)
{
    json_t *both = json_array();
    const json_t *item;
    size_t i;
    json_array_foreach(a, i, item)
    {
        if (type_admits(b, json_string_value(item))) json_array_append_new(both, shared(item));
    }
    json_array_foreach(b, i, item)
    {
        const char *name = json_string_value(item);
        if (type_admits(a, name) && !type_admits(both, name)) json_array_append_new(both, shared(item));
    }
    return both;
}

static bool same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return !(json_number_value(a) < json_number_value(b)) && !(json_number_value(a) > json_number_value(b));
    return json_equal(a, b) == 1;
}

static json_t *merge_enums(const json_t *a, const json_t *b)
{
    json_t *both = json_array();
    const json_t *x, *y;
    size_t i, j;
    json_array_foreach(a, i, x)
    {
        bool found = false;
        json_array_foreach(b, j, y) found |= same_value(x, y);
        if (found) json_array_append_new(both, shared(x));
    }
    return both;
}

static json_t *joined(const json_t *a, const json_t *b)
{
    json_t *both = json_copy((json_t *)(uintptr_t)a);
    const json_t *x, *y;
    size_t i, j;
    json_array_foreach(b, i, x)
    {
        bool found = false;
        json_array_foreach(both, j, y) found |= json_equal(x, y) == 1;
        if (!found) json_array_append_new(both, shared(x));
    }
    return both;
}

static json_t *both_of(const json_t *a, const json_t *b)
{
    return json_equal(a, b) == 1 ? shared(a) : json_pack("{s:[O,O]}", "allOf", a, b);
}

static json_t *merge_branches(struct schema *s, const json_t *a, const json_t *b)
{
    json_t *all = json_array();
    const json_t *x, *y;
    size_t i, j;
    if (json_array_size(a) * json_array_size(b) > MOST_BRANCHES) {
        schema_refuse(s, ERROR_TOO_LARGE, "so many branches of anyOf together");
        return all;
    }
    json_array_foreach(a, i, x) { json_array_foreach(b, j, y) json_array_append_new(all, both_of(x, y)); }
    return all;
}

/* NULL with an error: the keyword cannot be combined. */
static json_t *merge_keyword(struct schema *s, const char *name, const json_t *a, const json_t *b)
{
    if (strcmp(name, "type") == 0) return merge_types(a, b);
    if (strcmp(name, "enum") == 0) return merge_enums(a, b);
    if (!strcmp(name, "required") || !strcmp(name, "pattern") || !strcmp(name, "format")) return joined(a, b);
    if (json_equal(a, b) == 1) return shared(a);
    if (json_is_number(a) && json_is_number(b) && strcmp(name, "multipleOf") != 0) {
        bool largest = strncmp(name, "min", 3) == 0 || strcmp(name, "exclusiveMinimum") == 0;
        bool take_a = largest == (json_number_value(a) > json_number_value(b));
        return shared(take_a ? a : b);
    }
    if (strcmp(name, "multipleOf") == 0) {
        double x = json_number_value(a), y = json_number_value(b);
        if (fmod(x, y) <= 0 && y > 0) return shared(a);
        if (fmod(y, x) <= 0 && x > 0) return shared(b);
    }
    if (!strcmp(name, "items") || !strcmp(name, "additionalProperties") || !strcmp(name, "propertyNames"))
        return both_of(a, b);
    if (strcmp(name, "anyOf") == 0) return merge_branches(s, a, b);
    schema_refuse(s, ERROR_UNSUPPORTED, "'%s' twice for one value (allOf, $ref or anyOf) is not supported", name);
    return NULL;
}

/* ---- properties and items: what one schema names, the other may bound by its rest ---- */

/* What a schema says of a property that it does not name. NULL: nothing. */
static const json_t *rest_of(const json_t *flat) { return json_object_get(flat, "additionalProperties"); }

static json_t *merge_properties(const json_t *a, const json_t *b)
{
    json_t *all = json_object(), *value;
    const char *name;
    const json_t *sides[2] = {a, b};
    for (unsigned i = 0; i < 2; i++) {
        const json_t *other = sides[1 - i];
        json_object_foreach((json_t *)(uintptr_t)json_object_get(sides[i], "properties"), name, value)
        {
            const json_t *there = json_object_get(json_object_get(other, "properties"), name);
            if (!there) there = rest_of(other);
            if (json_object_get(all, name)) continue;
            json_object_set_new(all, name, there ? both_of(value, there) : shared(value));
        }
    }
    return all;
}

static json_t *merge_prefixes(const json_t *a, const json_t *b)
{
    const json_t *first = json_object_get(a, "prefixItems"), *second = json_object_get(b, "prefixItems");
    size_t n = json_array_size(first), m = json_array_size(second);
    json_t *all = json_array();
    for (size_t i = 0; i < n || i < m; i++) {
        const json_t *x = i < n ? json_array_get(first, i) : json_object_get(a, "items");
        const json_t *y = i < m ? json_array_get(second, i) : json_object_get(b, "items");
        json_array_append_new(all, x && y ? both_of(x, y) : shared(x ? x : y));
    }
    return all;
}

static bool may_merge_patterns(struct schema *s, const json_t *a, const json_t *b)
{
    const json_t *sides[2] = {a, b};
    for (unsigned i = 0; i < 2; i++) {
        const json_t *other = sides[1 - i];
        if (!json_object_get(sides[i], "patternProperties")) continue;
        if (!json_object_get(other, "patternProperties") && !json_object_get(other, "properties") && !rest_of(other))
            continue;
        schema_refuse(
            s, ERROR_UNSUPPORTED,
            "patternProperties together with the properties of another schema (allOf, $ref) is not supported");
        return false;
    }
    return true;
}

const json_t *schema_merge(struct schema *s, const json_t *a, const json_t *b)
{
    const char *name;
    json_t *value;
    if (!spend(s) || !may_merge_patterns(s, a, b)) return NULL;
    json_t *both = json_copy((json_t *)(uintptr_t)a);
    if (!schema_keep(s, both)) return NULL;
    json_object_foreach((json_t *)(uintptr_t)b, name, value)
    {
        const json_t *there = json_object_get(a, name);
        if (!strcmp(name, "properties") || !strcmp(name, "prefixItems")) continue;
        json_t *merged = there ? merge_keyword(s, name, there, value) : shared(value);
        if (!merged || tree_failed(s->tree)) {
            json_decref(merged);
            return NULL;
        }
        json_object_set_new(both, name, merged);
    }
    if (json_object_get(a, "properties") || json_object_get(b, "properties"))
        json_object_set_new(both, "properties", merge_properties(a, b));
    if (json_object_get(a, "prefixItems") || json_object_get(b, "prefixItems"))
        json_object_set_new(both, "prefixItems", merge_prefixes(a, b));
    return both;
}

/* ---- values ---- */

static const char *type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "object";
    case JSON_ARRAY: return "array";
    case JSON_STRING: return "string";
    case JSON_INTEGER: return "integer";
    case JSON_REAL: return json_real_value(value) <= floor(json_real_value(value)) ? "integer" : "number";
    case JSON_TRUE:
    case JSON_FALSE: return "boolean";
    case JSON_NULL: return "null";
    }
    return "null";
}

static size_t n_characters(const json_t *value)
{
    const char *text = json_string_value(value);
    size_t n = 0;
    for (size_t i = 0; i < json_string_length(value); i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

/* The bound, or `missing`. */
static double bound(const json_t *flat, const char *name, double missing)
{
    const json_t *value = json_object_get(flat, name);
    return value ? json_number_value(value) : missing;
}

static bool number_fits(const json_t *flat, double number)
{
    double of = bound(flat, "multipleOf", 0);
    return number >= bound(flat, "minimum", -INFINITY) && number <= bound(flat, "maximum", INFINITY) &&
           number > bound(flat, "exclusiveMinimum", -INFINITY) && number < bound(flat, "exclusiveMaximum", INFINITY) &&
           (of <= 0 || number / of <= floor(number / of));
}

/* Keywords that a value of an enum cannot be held against here. */
static bool refuse_beside_enum(struct schema *s, const json_t *flat, const char *const *names)
{
    for (; *names; names++) {
        if (!json_object_get(flat, *names)) continue;
        schema_refuse(s, ERROR_UNSUPPORTED, "'%s' beside enum or const is not supported", *names);
        return true;
    }
    return false;
}

bool schema_fits(struct schema *s, const json_t *flat, const json_t *value)
{
    static const char *const of_strings[] = {"pattern", "format", NULL};
    static const char *const of_objects[] = {"properties",    "patternProperties", "additionalProperties", "required",
                                             "minProperties", "maxProperties",     "propertyNames",        NULL};
    static const char *const of_arrays[] = {"items", "prefixItems", NULL};
    const json_t *types = json_object_get(flat, "type");
    if (types && !type_admits(types, type_of(value))) return false;
    if (json_is_number(value)) return number_fits(flat, json_number_value(value));
    if (json_is_string(value)) {
        double n = (double)n_characters(value);
        if (n < bound(flat, "minLength", 0) || n > bound(flat, "maxLength", INFINITY)) return false;
        return !refuse_beside_enum(s, flat, of_strings);
    }
    if (json_is_object(value)) return !refuse_beside_enum(s, flat, of_objects);
    if (json_is_array(value)) {
        double n = (double)json_array_size(value);
        if (n < bound(flat, "minItems", 0) || n > bound(flat, "maxItems", INFINITY)) return false;
        return !refuse_beside_enum(s, flat, of_arrays);
    }
    return true;
}

/* ---- what nothing can match ---- */

static bool range_is_empty(const json_t *flat, const char *min, const char *max)
{
    return bound(flat, min, -INFINITY) > bound(flat, max, INFINITY);
}

static bool numbers_are_empty(const json_t *flat)
{
    double low = bound(flat, "minimum", -INFINITY), high = bound(flat, "maximum", INFINITY);
    double above = bound(flat, "exclusiveMinimum", -INFINITY), below = bound(flat, "exclusiveMaximum", INFINITY);
    return low > high || above >= high || low >= below || above >= below;
}

static bool object_is_empty(struct schema *s, const json_t *flat, unsigned depth)
{
    const json_t *name;
    size_t i;
    if (range_is_empty(flat, "minProperties", "maxProperties")) return true;
    json_array_foreach(json_object_get(flat, "required"), i, name)
    {
        const json_t *property = json_object_get(json_object_get(flat, "properties"), json_string_value(name));
        if (!property && !json_object_get(flat, "patternProperties")) property = rest_of(flat);
        const json_t *inner = property ? schema_flatten(s, property) : NULL;
        if (inner && schema_is_impossible(s, inner, depth + 1)) return true;
    }
    return false;
}

static bool enum_is_empty(struct schema *s, const json_t *flat)
{
    const json_t *value;
    size_t i;
    json_array_foreach(json_object_get(flat, "enum"), i, value)
    {
        if (schema_fits(s, flat, value) || tree_failed(s->tree)) return false;
    }
    return true;
}

bool schema_is_impossible(struct schema *s, const json_t *flat, unsigned depth)
{
    const json_t *types = json_object_get(flat, "type"), *item;
    size_t i;
    if (depth > 8 || !spend(s)) return false;
    if (json_object_get(flat, "enum")) return enum_is_empty(s, flat);
    if (!types) return false;
    json_array_foreach(types, i, item)
    {
        const char *type = json_string_value(item);
        bool empty = false;
        if (!strcmp(type, "number") || !strcmp(type, "integer")) empty = numbers_are_empty(flat);
        if (!strcmp(type, "string")) empty = range_is_empty(flat, "minLength", "maxLength");
        if (!strcmp(type, "array")) empty = range_is_empty(flat, "minItems", "maxItems");
        if (!strcmp(type, "object")) empty = object_is_empty(s, flat, depth);
        if (!empty) return false;
    }
    return true;
}
