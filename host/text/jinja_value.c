/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/jinja_value.h"

#include <string.h>

static size_t count_characters(const char *bytes, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) n += ((unsigned char)bytes[i] & 0xc0) != 0x80;
    return n;
}

static struct jinja_value make_string(struct jinja_run *run, const char *bytes, size_t length, size_t characters,
                                      struct jinja_builder *tail)
{
    struct jinja_string *string = jinja_alloc(run, 1, sizeof *string);
    if (!string) return jinja_nothing();
    *string = (struct jinja_string){bytes, length, characters, tail};
    return (struct jinja_value){.kind = JINJA_STRING, .string = string};
}

struct jinja_value jinja_string(struct jinja_run *run, const char *bytes, size_t length)
{
    if (!jinja_step(run, length / 64)) return jinja_nothing();
    return make_string(run, bytes, length, count_characters(bytes, length), NULL);
}

struct jinja_value jinja_copy(struct jinja_run *run, const char *bytes, size_t length)
{
    char *copy = jinja_alloc(run, length, 1);
    if (!copy) return jinja_nothing();
    if (length) memcpy(copy, bytes, length);
    return jinja_string(run, copy, length);
}

struct jinja_value jinja_text(struct jinja_run *run, const char *text) { return jinja_copy(run, text, strlen(text)); }

struct jinja_value jinja_built(struct jinja_run *run, const struct jinja_builder *builder)
{
    return jinja_string(run, builder->length ? builder->bytes : "", builder->length);
}

/*
 * Templates build long texts by `ns.text = ns.text + piece`. A string made by + keeps its builder, so the next + behind it
 * appends instead of copying, and a text of n bytes costs O(n).
 */
struct jinja_value jinja_concatenate(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    const struct jinja_string *left = a.string, *right = b.string;
    struct jinja_builder *tail = left->tail;
    if (!tail || tail->length != left->length || tail->bytes != left->bytes) {
        tail = jinja_alloc(run, 1, sizeof *tail);
        if (!tail) return jinja_nothing();
        jinja_put(run, tail, left->bytes, left->length);
    }
    jinja_put(run, tail, right->bytes, right->length);
    if (jinja_failed(run)) return jinja_nothing();
    return make_string(run, tail->length ? tail->bytes : "", tail->length, left->characters + right->characters, tail);
}

struct jinja_value jinja_list(struct jinja_run *run, enum jinja_kind kind, size_t capacity)
{
    struct jinja_list *list = jinja_alloc(run, 1, sizeof *list);
    if (list && capacity) list->items = jinja_alloc(run, capacity, sizeof *list->items);
    if (jinja_failed(run)) return jinja_nothing();
    list->capacity = capacity;
    return (struct jinja_value){.kind = kind, .list = list};
}

void jinja_push(struct jinja_run *run, struct jinja_list *list, struct jinja_value value)
{
    if (list->count == list->capacity) {
        struct jinja_value *grown =
            jinja_grow(run, list->items, list->count, &list->capacity, list->count + 1, sizeof *grown);
        if (!grown) return;
        list->items = grown;
    }
    list->items[list->count++] = value;
}

struct jinja_value jinja_pair(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    struct jinja_value pair = jinja_list(run, JINJA_TUPLE, 2);
    if (jinja_failed(run)) return jinja_nothing();
    jinja_push(run, pair.list, a);
    jinja_push(run, pair.list, b);
    return pair;
}

struct jinja_value jinja_iterator(struct jinja_run *run, const char *type, struct jinja_value source,
                                  bool (*next)(struct jinja_run *, struct jinja_iterator *, struct jinja_value *))
{
    struct jinja_iterator *iterator = jinja_alloc(run, 1, sizeof *iterator);
    if (!iterator) return jinja_nothing();
    *iterator = (struct jinja_iterator){.next = next, .type = type, .source = source};
    return (struct jinja_value){.kind = JINJA_ITERATOR, .iterator = iterator};
}

static struct jinja_value undefined(struct jinja_run *run, const char *owner, struct jinja_value member,
                                    const char *hint)
{
    struct jinja_undefined *out = jinja_alloc(run, 1, sizeof *out);
    struct jinja_value *kept = jinja_alloc(run, 1, sizeof *kept);
    if (!out || !kept) return jinja_nothing();
    *kept = member;
    *out = (struct jinja_undefined){owner, kept, hint};
    return (struct jinja_value){.kind = JINJA_UNDEFINED, .undefined = out};
}

struct jinja_value jinja_undefined_name(struct jinja_run *run, struct jinja_value name)
{
    return undefined(run, NULL, name, NULL);
}

struct jinja_value jinja_undefined_member(struct jinja_run *run, struct jinja_value owner, struct jinja_value member)
{
    return undefined(run, jinja_type_name(owner), member, NULL);
}

struct jinja_value jinja_undefined_hint(struct jinja_run *run, const char *hint)
{
    return undefined(run, NULL, jinja_none(), hint);
}

void jinja_raise_undefined(struct jinja_run *run, struct jinja_value value)
{
    const struct jinja_undefined *undefined_value = value.undefined;
    if (jinja_failed(run) || !undefined_value) return;
    if (undefined_value->hint) {
        jinja_raise(run, "%s", undefined_value->hint);
        return;
    }
    struct jinja_value member = jinja_str(run, *undefined_value->member);
    if (jinja_failed(run)) return;
    struct quote name = jinja_shown(member);
    const char *owner = undefined_value->owner;
    if (!owner)
        jinja_raise(run, "'%s' is undefined", name.text);
    else if (strcmp(owner, "NoneType") == 0)
        jinja_raise(run, "'None' has no attribute '%s'", name.text);
    else if (undefined_value->member->kind == JINJA_STRING)
        jinja_raise(run, "'%s object' has no attribute '%s'", owner, name.text);
    else
        jinja_raise(run, "%s object has no element %s", owner, name.text);
}

const char *jinja_type_name(struct jinja_value value)
{
    static const char *const views[] = {
        [JINJA_KEYS] = "dict_keys", [JINJA_VALUES] = "dict_values", [JINJA_ITEMS] = "dict_items"};
    switch (value.kind) {
    case JINJA_UNDEFINED: return "Undefined";
    case JINJA_NONE: return "NoneType";
    case JINJA_BOOL: return "bool";
    case JINJA_INT: return "int";
    case JINJA_FLOAT: return "float";
    case JINJA_STRING: return value.safe ? "markupsafe.Markup" : "str";
    case JINJA_LIST: return "list";
    case JINJA_TUPLE: return "tuple";
    case JINJA_DICT: return "dict";
    case JINJA_VIEW: return views[value.view->kind];
    case JINJA_RANGE: return "range";
    case JINJA_ITERATOR: return value.iterator->type;
    case JINJA_NAMESPACE: return "jinja2.utils.Namespace";
    case JINJA_FUNCTION: return "function";
    case JINJA_METHOD: return "builtin_function_or_method";
    case JINJA_MACRO: return "jinja2.runtime.Macro";
    case JINJA_LOOP: return "jinja2.runtime.LoopContext";
    case JINJA_CYCLER: return "jinja2.utils.Cycler";
    case JINJA_JOINER: return "jinja2.utils.Joiner";
    case JINJA_BLOCKS: return "jinja2.runtime.TemplateReference";
    case JINJA_MISSING: break;
    }
    return "object";
}

int64_t jinja_length(struct jinja_value value)
{
    switch (value.kind) {
    case JINJA_UNDEFINED: return 0;
    case JINJA_STRING: return (int64_t)value.string->characters;
    case JINJA_LIST:
    case JINJA_TUPLE: return (int64_t)value.list->count;
    case JINJA_DICT: return (int64_t)value.dict->count;
    case JINJA_VIEW: return (int64_t)value.view->dict->count;
    case JINJA_RANGE: return value.range->count;
    default: return -1;
    }
}

bool jinja_true(struct jinja_value value)
{
    switch (value.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
    case JINJA_MISSING: return false;
    case JINJA_BOOL: return value.boolean;
    case JINJA_INT: return value.integer != 0;
    case JINJA_FLOAT: return value.number != 0;
    default: return jinja_length(value) != 0;
    }
}

bool jinja_string_is(struct jinja_value value, const char *text)
{
    size_t length = strlen(text);
    return value.kind == JINJA_STRING && value.string->length == length &&
           memcmp(value.string->bytes, text, length) == 0;
}
