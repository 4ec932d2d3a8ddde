/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects: the properties that the schema names in its order, those that are not required may be left out; then others
 * (patternProperties, additionalProperties), whose names are automata without the names that are taken.
 *
 * What may come from a property on depends on how many came before: none (then there is no comma), or so many that
 * minProperties and maxProperties are open. There is a rule for each of these.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "host/base/memory.h"
#include "host/text/grammar/schema.h"

#include <pcre2.h>
#include <string.h>

#define MOST_PROPERTIES 1000u
#define MOST_TAILS 6000u
#define MOST_PATTERNS 16u

struct property {
    const char *name;
    const json_t *schema;
    bool required;
    uint32_t value; /* a rule's call is made of it */
};

struct object {
    struct schema *s;
    const json_t *flat;
    struct property *properties; /* [n] */
    size_t n;
    uint32_t min, max, most_count; /* counts from most_count on are alike */
    bool has_extra;
    uint32_t extra;  /* the rule of one further property */
    uint32_t *tails; /* [(n + 1) * (most_count + 1)]: rule + 1 of what may come from a property on */
};

/* Whether the name matches the pattern somewhere: 1, 0, or -1 if that is not known. */
static int name_matches(const char *name, const char *pattern)
{
    int code;
    size_t offset;
    int found = -1;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &offset, NULL);
    pcre2_match_data *data = compiled ? pcre2_match_data_create_from_pattern(compiled, NULL) : NULL;
    if (data) {
        int result = pcre2_match(compiled, (PCRE2_SPTR)name, strlen(name), 0, 0, data, NULL);
        found = result >= 0 ? 1 : result == PCRE2_ERROR_NOMATCH ? 0 : -1;
    }
    pcre2_match_data_free(data);
    pcre2_code_free(compiled);
    return found;
}

/* What a property of this name has to be beside its own schema: each pattern that it matches. NULL: nothing. */
static const json_t *with_patterns(struct object *o, const char *name, const json_t *schema)
{
    const char *pattern;
    json_t *pattern_schema, *all = json_array();
    if (schema) json_array_append(all, (json_t *)(uintptr_t)schema);
    json_object_foreach((json_t *)(uintptr_t)json_object_get(o->flat, "patternProperties"), pattern, pattern_schema)
    {
        int matches = name_matches(name, pattern);
        if (matches < 0) schema_refuse(o->s, ERROR_UNSUPPORTED, "pattern '%.60s' is not supported here", pattern);
        if (matches == 1) json_array_append(all, pattern_schema);
    }
    if (json_array_size(all) == 0) {
        json_decref(all);
        return json_object_get(o->flat, "additionalProperties");
    }
    if (json_array_size(all) > 1) return schema_keep(o->s, json_pack("{s:o}", "allOf", all));
    const json_t *only = schema_keep(o->s, json_incref(json_array_get(all, 0)));
    json_decref(all);
    return only;
}

static bool is_named(const struct object *o, const char *name)
{
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->properties[i].name, name) == 0) return true;
    return false;
}

static void add_property(struct object *o, const char *name, const json_t *schema, bool required)
{
    const json_t *full = with_patterns(o, name, schema);
    struct property *p = &o->properties[o->n++];
    *p = (struct property){.name = name, .schema = full, .required = required};
}

static bool is_required(const struct object *o, const char *name)
{
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(o->flat, "required"), i, item)
    {
        if (strcmp(json_string_value(item), name) == 0) return true;
    }
    return false;
}

/* Properties of the schema, then required ones that it does not name. */
static int read_properties(struct object *o)
{
    json_t *named = (json_t *)(uintptr_t)json_object_get(o->flat, "properties"), *schema;
    const json_t *required = json_object_get(o->flat, "required"), *item;
    const char *name;
    size_t i, n = json_object_size(named) + json_array_size(required);
    if (n > MOST_PROPERTIES) {
        schema_refuse(o->s, ERROR_TOO_LARGE, "%zu properties, at most %u are possible", n, MOST_PROPERTIES);
        return -1;
    }
    o->properties = memory_array(n, sizeof *o->properties);
    if (!o->properties) {
        tree_fail(o->s->tree, ERROR_NO_MEMORY, "no memory for a schema");
        return -1;
    }
    json_object_foreach(named, name, schema) add_property(o, name, schema, is_required(o, name));
    json_array_foreach(required, i, item)
    {
        if (!is_named(o, json_string_value(item))) add_property(o, json_string_value(item), NULL, true);
    }
    return 0;
}

/* ---- names of further properties ---- */

/* Names that need no escapes, so that two texts are two names; what propertyNames leaves of them. */
static uint32_t any_name(struct object *o)
{
    static const struct code_range simple[] = {{' ', '!'}, {'#', '['}, {']', 0xD7FF}, {0xE000, 0x10FFFF}};
    struct tree *t = o->s->tree;
    uint32_t node = tree_repeat(t, tree_class(t, simple, 4), 0, TREE_UNLIMITED);
    const json_t *names = json_object_get(o->flat, "propertyNames");
    if (names) {
        const json_t *flat = schema_flatten(o->s, names);
        if (!flat) return 0;
        uint32_t body =
            json_object_get(flat, "enum") || json_object_get(flat, "anyOf") || json_object_get(flat, "oneOf")
                ? schema_refuse(o->s, ERROR_UNSUPPORTED,
                                "propertyNames supports pattern, format, minLength and maxLength")
                : schema_string_body(o->s, flat);
        node = tree_both(t, node, body);
    }
    return node;
}

static uint32_t without_named(struct object *o, uint32_t node)
{
    struct tree *t = o->s->tree;
    if (o->n == 0) return node;
    uint32_t names = tree_choice(t);
    for (size_t i = 0; i < o->n; i++) tree_add(t, names, tree_word(t, o->properties[i].name));
    return tree_except(t, node, names);
}

static uint32_t pair(struct object *o, uint32_t name, const json_t *schema, const char *keyword, const char *member)
{
    struct tree *t = o->s->tree;
    uint32_t node = tree_sequence(t);
    tree_add(t, node, tree_word(t, "\""));
    tree_add(t, node, name);
    tree_add(t, node, tree_word(t, "\""));
    tree_add(t, node, schema_mark(o->s, ":"));
    tree_add(t, node, schema ? schema_below(o->s, schema, keyword, member, -1) : schema_any_value(o->s));
    return node;
}

/* One for each pattern, of names that match no other, and one of names that match none. */
static void add_extras(struct object *o, uint32_t node)
{
    json_t *patterns = (json_t *)(uintptr_t)json_object_get(o->flat, "patternProperties"), *schema, *other_schema;
    const json_t *additional = json_object_get(o->flat, "additionalProperties");
    const char *pattern, *other;
    struct tree *t = o->s->tree;
    json_object_foreach(patterns, pattern, schema)
    {
        uint32_t name = tree_both(t, without_named(o, any_name(o)), schema_pattern(o->s, pattern));
        json_object_foreach(patterns, other, other_schema)
        {
            (void)other_schema;
            if (other != pattern) name = tree_except(t, name, schema_pattern(o->s, other));
        }
        tree_add(t, node, pair(o, name, schema, "patternProperties", pattern));
    }
    bool closed = additional ? json_is_false(additional) : patterns || json_object_get(o->flat, "properties");
    if (closed) return;
    uint32_t name = without_named(o, any_name(o));
    json_object_foreach(patterns, pattern, schema) name = tree_except(t, name, schema_pattern(o->s, pattern));
    tree_add(t, node, pair(o, name, additional, "additionalProperties", NULL));
}

static void read_extras(struct object *o)
{
    struct tree *t = o->s->tree;
    const json_t *patterns = json_object_get(o->flat, "patternProperties");
    if (json_object_size(patterns) > MOST_PATTERNS) {
        schema_refuse(o->s, ERROR_TOO_LARGE, "more than %u patternProperties", MOST_PATTERNS);
        return;
    }
    if (json_object_get(o->flat, "propertyNames") && o->n > 0)
        schema_refuse(o->s, ERROR_UNSUPPORTED, "propertyNames beside named properties is not supported");
    uint32_t node = tree_choice(t);
    add_extras(o, node);
    if (tree_failed(t) || t->nodes[node].first_child == 0) return;
    o->has_extra = true;
    o->extra = tree_rule(t, "a further property", 18);
    if (!tree_failed(t)) t->rules[o->extra].root = node;
}

/* ---- tails ---- */

static uint32_t tail(struct object *o, size_t i, uint32_t count);

static uint32_t extras_after(struct object *o, uint32_t count)
{
    struct tree *t = o->s->tree;
    uint32_t least = o->min > count ? o->min - count : 0, most = TREE_UNLIMITED;
    if (o->max != TREE_UNLIMITED) most = o->max > count ? o->max - count : 0;
    if (!o->has_extra) return least > 0 ? 0 : tree_text(t, "", 0);
    if (least > most) return 0;
    /* Of several further names two might be the same, and then there are fewer than were counted. */
    if (least > 1 && o->n + 1 >= o->min) return 0;
    if (least > 1)
        return schema_refuse(o->s, ERROR_UNSUPPORTED,
                             "minProperties is supported up to one more than the properties that have names");
    if (count == 0) return schema_list(o->s, o->extra, least, most);
    uint32_t next = tree_then(t, schema_mark(o->s, ","), tree_call(t, o->extra));
    return tree_repeat(t, next, least, most);
}

static uint32_t property_node(struct object *o, size_t i)
{
    struct tree *t = o->s->tree;
    struct property *p = &o->properties[i];
    json_t *name = json_string(p->name);
    uint32_t node = tree_sequence(t);
    tree_add(t, node, name ? schema_literal(o->s, name) : 0);
    json_decref(name);
    tree_add(t, node, schema_mark(o->s, ":"));
    tree_add(t, node, p->schema ? schema_below(o->s, p->schema, "properties", p->name, -1) : schema_any_value(o->s));
    return node;
}

static uint32_t tail_node(struct object *o, size_t i, uint32_t count)
{
    struct tree *t = o->s->tree;
    if (i == o->n) return extras_after(o, count);
    uint32_t choice = tree_choice(t);
    if (o->max == TREE_UNLIMITED || count < o->max) {
        uint32_t node = tree_sequence(t);
        if (count > 0) tree_add(t, node, schema_mark(o->s, ","));
        tree_add(t, node, property_node(o, i));
        tree_add(t, node, tail(o, i + 1, count < o->most_count ? count + 1 : count));
        tree_add(t, choice, node);
    }
    if (!o->properties[i].required) tree_add(t, choice, tail(o, i + 1, count));
    return choice;
}

/* A call of what may come from property i on after so many. Made from the end on, so that it does not recurse deep. */
static uint32_t tail(struct object *o, size_t i, uint32_t count)
{
    struct tree *t = o->s->tree;
    uint32_t *rule = &o->tails[i * (o->most_count + 1) + count];
    if (*rule == 0) {
        uint32_t number = tree_rule(t, "an object's rest", 16);
        uint32_t node = tail_node(o, i, count);
        if (tree_failed(t)) return 0;
        t->rules[number].root = node ? node : tree_choice(t);
        *rule = number + 1;
    }
    return tree_call(t, *rule - 1);
}

/* Without counts: each property may come or not, all in one automaton; what comes first decides where it begins. */
static uint32_t inline_tail(struct object *o, size_t from)
{
    struct tree *t = o->s->tree;
    uint32_t node = tree_sequence(t);
    for (size_t i = from; i < o->n; i++) {
        uint32_t one = tree_then(t, schema_mark(o->s, ","), property_node(o, i));
        tree_add(t, node, o->properties[i].required ? one : tree_repeat(t, one, 0, 1));
    }
    tree_add(t, node, extras_after(o, 1));
    return node;
}

static uint32_t inline_object(struct object *o)
{
    struct tree *t = o->s->tree;
    uint32_t choice = tree_choice(t);
    for (size_t i = 0; i < o->n; i++) {
        tree_add(t, choice, tree_then(t, property_node(o, i), inline_tail(o, i + 1)));
        if (o->properties[i].required) return choice;
    }
    tree_add(t, choice, extras_after(o, 0));
    return choice;
}

static size_t n_that_may_be_first(const struct object *o)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->properties[i].required) return i + 1;
    return o->n;
}

static uint32_t inside(struct object *o)
{
    bool counted = o->min > 0 || o->max != TREE_UNLIMITED;
    if (!counted && n_that_may_be_first(o) * o->n <= 400) return inline_object(o);
    o->most_count = o->max != TREE_UNLIMITED ? o->max : o->min > 1 ? o->min : 1;
    if (o->most_count > o->n + 1) o->most_count = (uint32_t)o->n + 1;
    if ((o->n + 1) * (o->most_count + 1) > MOST_TAILS)
        return schema_refuse(o->s, ERROR_TOO_LARGE, "so many properties together with minProperties or maxProperties");
    o->tails = memory_array((o->n + 1) * (o->most_count + 1), sizeof *o->tails);
    if (!o->tails) return tree_fail(o->s->tree, ERROR_NO_MEMORY, "no memory for a schema");
    for (size_t i = o->n + 1; i-- > 1;)
        for (uint32_t count = 0; count <= o->most_count && count <= i; count++) tail(o, i, count);
    return tail(o, 0, 0);
}

uint32_t schema_object(struct schema *s, const json_t *flat)
{
    struct object o = {.s = s, .flat = flat};
    struct tree *t = s->tree;
    uint32_t node = 0;
    o.min = schema_count(s, flat, "minProperties", 0);
    o.max = schema_count(s, flat, "maxProperties", TREE_UNLIMITED);
    static const char *const keywords[] = {"properties",           "required",      "patternProperties",
                                           "additionalProperties", "minProperties", "maxProperties",
                                           "propertyNames"};
    bool bare = true;
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) bare &= !json_object_get(flat, keywords[i]);
    if (bare) return schema_any_object(s);
    if (read_properties(&o) == 0) {
        read_extras(&o);
        if (!tree_failed(t)) {
            node = tree_sequence(t);
            tree_add(t, node, schema_mark(s, "{"));
            tree_add(t, node, inside(&o));
            tree_add(t, node, schema_mark(s, "}"));
        }
    }
    free(o.properties);
    free(o.tails);
    return node;
}
