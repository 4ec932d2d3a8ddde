/* SPDX-License-Identifier: Apache-2.0 */
/* Filters that compare elements: sort, dictsort, groupby, min, max, unique. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

#include <string.h>

struct jinja_value jinja_ignore_case(struct jinja_run *run, struct jinja_value value)
{
    return value.kind == JINJA_STRING ? jinja_to_case(run, value, JINJA_TO_LOWER) : value;
}

static struct jinja_value key_of(struct jinja_run *run, struct jinja_value item, struct jinja_value attribute,
                                 struct jinja_value otherwise, bool sensitive)
{
    struct jinja_value key = jinja_by_attribute(run, item, attribute, otherwise);
    return jinja_failed(run) || sensitive ? key : jinja_ignore_case(run, key);
}

/* "a,b.c" gives a list of keys, to compare one after the other. */
static struct jinja_value keys_of(struct jinja_run *run, struct jinja_value item, struct jinja_value attribute,
                                  bool sensitive)
{
    const struct jinja_value none = {.kind = JINJA_MISSING};
    struct jinja_value keys = jinja_list(run, JINJA_LIST, 1);
    if (jinja_failed(run)) return jinja_nothing();
    if (attribute.kind != JINJA_STRING) {
        jinja_push(run, keys.list, key_of(run, item, attribute, none, sensitive));
        return keys;
    }
    const char *at = attribute.string->bytes, *end = at + attribute.string->length;
    while (!jinja_failed(run)) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct jinja_value part = jinja_string(run, at, (size_t)((comma ? comma : end) - at));
        if (jinja_failed(run)) break;
        jinja_push(run, keys.list, key_of(run, item, part, none, sensitive));
        if (!comma) break;
        at = comma + 1;
    }
    return keys;
}

struct sorted {
    struct jinja_value key, value;
};

static bool before(struct jinja_run *run, const struct sorted *a, const struct sorted *b, bool reverse)
{
    return reverse ? jinja_order(run, "<", b->key, a->key) : jinja_order(run, "<", a->key, b->key);
}

/* Merge sort: stable, and it ends early when two elements cannot be compared. */
static void sort(struct jinja_run *run, struct sorted *items, struct sorted *space, size_t count, bool reverse)
{
    for (size_t width = 1; width < count && !jinja_failed(run); width *= 2) {
        for (size_t start = 0; start + width < count && !jinja_failed(run); start += 2 * width) {
            size_t middle = start + width, end = middle + width < count ? middle + width : count;
            size_t left = start, right = middle, to = start;
            while (left < middle && right < end)
                space[to++] = before(run, &items[right], &items[left], reverse) ? items[right++] : items[left++];
            while (left < middle) space[to++] = items[left++];
            memcpy(items + start, space + start, (to - start) * sizeof *items);
        }
    }
}

/* The elements of list by their keys. */
static struct jinja_value sort_by(struct jinja_run *run, struct jinja_value list, struct jinja_value keys, bool reverse)
{
    size_t count = list.list->count;
    struct sorted *items = jinja_alloc(run, count, sizeof *items), *space = jinja_alloc(run, count, sizeof *space);
    if (!items || !space) return jinja_nothing();
    for (size_t i = 0; i < count; i++) items[i] = (struct sorted){keys.list->items[i], list.list->items[i]};
    sort(run, items, space, count, reverse);
    for (size_t i = 0; i < count; i++) {
        list.list->items[i] = items[i].value;
        keys.list->items[i] = items[i].key;
    }
    return list;
}

static struct jinja_value sort_filter(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value list = jinja_to_list(run, call->self), keys = jinja_list(run, JINJA_LIST, 0);
    bool sensitive = jinja_arg_true(call->arg[1], false);
    for (size_t i = 0; !jinja_failed(run) && i < list.list->count; i++)
        jinja_push(run, keys.list, keys_of(run, list.list->items[i], call->arg[2], sensitive));
    return jinja_failed(run) ? jinja_nothing() : sort_by(run, list, keys, jinja_arg_true(call->arg[0], false));
}

static struct jinja_value dictsort(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value list = jinja_list(run, JINJA_LIST, 0), keys = jinja_list(run, JINJA_LIST, 0);
    bool sensitive = jinja_arg_true(call->arg[0], false), by_value = jinja_string_is(call->arg[1], "value");
    if (call->self.kind == JINJA_UNDEFINED)
        jinja_raise_undefined(run, call->self);
    else if (call->self.kind != JINJA_DICT)
        jinja_raise(run, "'%s' object has no attribute 'items'", jinja_type_name(call->self));
    if (jinja_given(call->arg[1]) && !by_value && !jinja_string_is(call->arg[1], "key"))
        jinja_raise(run, "You can only sort by either \"key\" or \"value\"");
    for (size_t i = 0; !jinja_failed(run) && i < call->self.dict->count; i++) {
        const struct jinja_entry *entry = &call->self.dict->entries[i];
        struct jinja_value key = by_value ? entry->value : entry->key;
        jinja_push(run, list.list, jinja_pair(run, entry->key, entry->value));
        jinja_push(run, keys.list, sensitive ? key : jinja_ignore_case(run, key));
    }
    return jinja_failed(run) ? jinja_nothing() : sort_by(run, list, keys, jinja_arg_true(call->arg[2], false));
}

static struct jinja_value groupby(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value list = jinja_to_list(run, call->self), keys = jinja_list(run, JINJA_LIST, 0);
    struct jinja_value out = jinja_list(run, JINJA_LIST, 0);
    bool sensitive = jinja_arg_true(call->arg[2], false);
    for (size_t i = 0; !jinja_failed(run) && i < list.list->count; i++)
        jinja_push(run, keys.list, key_of(run, list.list->items[i], call->arg[0], call->arg[1], sensitive));
    if (!jinja_failed(run)) sort_by(run, list, keys, false);
    for (size_t i = 0; !jinja_failed(run) && i < list.list->count;) {
        struct jinja_value members = jinja_list(run, JINJA_LIST, 0);
        struct jinja_value grouper = key_of(run, list.list->items[i], call->arg[0], call->arg[1], true);
        size_t start = i;
        while (!jinja_failed(run) && i < list.list->count &&
               jinja_equal(run, keys.list->items[start], keys.list->items[i]))
            jinja_push(run, members.list, list.list->items[i++]);
        struct jinja_value group = jinja_failed(run) ? jinja_nothing() : jinja_pair(run, grouper, members);
        if (jinja_failed(run)) break;
        if (i == start) i++; /* NaN is not equal to itself */
        group.list->is_group = true;
        jinja_push(run, out.list, group);
    }
    return jinja_failed(run) ? jinja_nothing() : out;
}

static struct jinja_value extreme(struct jinja_run *run, struct jinja_call *call, const char *op)
{
    const struct jinja_value none = {.kind = JINJA_MISSING};
    struct jinja_value best = none, best_key = none, item;
    bool sensitive = jinja_arg_true(call->arg[0], false);
    struct jinja_walk walk;
    if (!jinja_walk_start(run, call->self, &walk)) return jinja_nothing();
    while (jinja_walk_next(run, &walk, &item)) {
        struct jinja_value key = key_of(run, item, call->arg[1], none, sensitive);
        if (jinja_failed(run)) return jinja_nothing();
        if (jinja_given(best) && !jinja_order(run, op, key, best_key)) continue;
        best = item;
        best_key = key;
    }
    if (jinja_failed(run)) return jinja_nothing();
    return jinja_given(best) ? best : jinja_undefined_hint(run, "No aggregated item, sequence was empty.");
}

static struct jinja_value min(struct jinja_run *run, struct jinja_call *call) { return extreme(run, call, "<"); }
static struct jinja_value max(struct jinja_run *run, struct jinja_call *call) { return extreme(run, call, ">"); }

static bool next_unique(struct jinja_run *run, struct jinja_iterator *iterator, struct jinja_value *out)
{
    (void)run;
    if (iterator->at >= iterator->source.list->count) return false;
    *out = iterator->source.list->items[iterator->at++];
    return true;
}

static struct jinja_value unique(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value seen = jinja_dict(run, JINJA_DICT, 0), out = jinja_list(run, JINJA_LIST, 0), item;
    bool sensitive = jinja_arg_true(call->arg[0], false);
    struct jinja_walk walk;
    if (!jinja_walk_start(run, call->self, &walk)) return jinja_nothing();
    while (jinja_walk_next(run, &walk, &item)) {
        struct jinja_value key =
            key_of(run, item, call->arg[1], (struct jinja_value){.kind = JINJA_MISSING}, sensitive);
        if (jinja_failed(run)) return jinja_nothing();
        if (jinja_dict_find(run, seen.dict, key)) continue;
        jinja_dict_set(run, seen.dict, key, jinja_bool(true));
        jinja_push(run, out.list, item);
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_iterator(run, "generator", out, next_unique);
}

const struct jinja_function jinja_order_filters[] = {
    {"sort", sort_filter, "reverse,case_sensitive,attribute", 0},
    {"dictsort", dictsort, "case_sensitive,by,reverse", 0},
    {"groupby", groupby, "attribute,default,case_sensitive", 1},
    {"min", min, "case_sensitive,attribute", 0},
    {"max", max, "case_sensitive,attribute", 0},
    {"unique", unique, "case_sensitive,attribute", 0},
    {NULL, NULL, NULL, 0},
};
