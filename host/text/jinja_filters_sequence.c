/* SPDX-License-Identifier: Apache-2.0 */
/* Filters on sequences, and those on any value. */
#include "host/text/jinja_eval.h"

#include <string.h>

static struct jinja_value first(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_walk walk;
    struct jinja_value item;
    if (!jinja_walk_start(run, call->self, &walk)) return jinja_nothing();
    if (jinja_walk_next(run, &walk, &item)) return item;
    return jinja_undefined_hint(run, "No first item, sequence was empty.");
}

static struct jinja_value not_reversible(struct jinja_run *run, struct jinja_value value)
{
    jinja_raise(run, "'%s' object is not reversible", jinja_type_name(value));
    return jinja_nothing();
}

static struct jinja_value last(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value self = call->self, item;
    int64_t length = jinja_length(self);
    if (length < 0) return not_reversible(run, self);
    if (length == 0) return jinja_undefined_hint(run, "No last item, sequence was empty.");
    if (jinja_element(run, self, -1, &item)) return item;
    struct jinja_value list = jinja_to_list(run, self);
    return jinja_failed(run) ? jinja_nothing() : list.list->items[list.list->count - 1];
}

static struct jinja_value length(struct jinja_run *run, struct jinja_call *call)
{
    int64_t n = jinja_length(call->self);
    if (n < 0) jinja_raise(run, "object of type '%s' has no len()", jinja_type_name(call->self));
    return jinja_int(n);
}

static struct jinja_value list(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_to_list(run, call->self);
}

static bool next_of_list(struct jinja_run *run, struct jinja_iterator *iterator, struct jinja_value *out)
{
    (void)run;
    if (iterator->at >= iterator->source.list->count) return false;
    *out = iterator->source.list->items[iterator->at++];
    return true;
}

static struct jinja_value join(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value by = jinja_given(call->arg[0]) ? jinja_str(run, call->arg[0]) : jinja_string(run, "", 0);
    struct jinja_value items = call->self;
    if (!jinja_failed(run) && jinja_given_not_none(call->arg[1])) {
        items = jinja_to_list(run, items);
        for (size_t i = 0; !jinja_failed(run) && i < items.list->count; i++)
            items.list->items[i] = jinja_by_attribute(run, items.list->items[i], call->arg[1],
                                                      (struct jinja_value){.kind = JINJA_MISSING});
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_join(run, by.string, items);
}

static struct jinja_value reversed_text(struct jinja_run *run, struct jinja_value self)
{
    const struct jinja_value bounds[3] = {jinja_none(), jinja_none(), jinja_int(-1)};
    return jinja_slice(run, self, bounds);
}

static struct jinja_value reverse(struct jinja_run *run, struct jinja_call *call)
{
    if (call->self.kind == JINJA_STRING) return reversed_text(run, call->self);
    struct jinja_value items = jinja_to_list(run, call->self);
    if (jinja_failed(run)) return jinja_nothing();
    for (size_t i = 0, j = items.list->count; i + 1 < j; i++, j--) {
        struct jinja_value swap = items.list->items[i];
        items.list->items[i] = items.list->items[j - 1];
        items.list->items[j - 1] = swap;
    }
    if (call->self.kind == JINJA_ITERATOR) return items;
    return jinja_iterator(run, "list_reverseiterator", items, next_of_list);
}

static struct jinja_value batch(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value out = jinja_list(run, JINJA_LIST, 0), row = {0}, item;
    int64_t size = jinja_arg_integer(run, call->arg[0], 0);
    struct jinja_walk walk;
    if (!jinja_walk_start(run, call->self, &walk)) return jinja_nothing();
    while (jinja_walk_next(run, &walk, &item)) {
        if (row.kind != JINJA_LIST || (int64_t)row.list->count == size) {
            row = jinja_list(run, JINJA_LIST, 0);
            if (jinja_failed(run)) return jinja_nothing();
            jinja_push(run, out.list, row);
        }
        jinja_push(run, row.list, item);
    }
    while (row.kind == JINJA_LIST && jinja_given_not_none(call->arg[1]) && (int64_t)row.list->count < size &&
           jinja_step(run, 1))
        jinja_push(run, row.list, call->arg[1]);
    return jinja_failed(run) ? jinja_nothing() : jinja_iterator(run, "generator", out, next_of_list);
}

static struct jinja_value slice(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value all = jinja_to_list(run, call->self), out = jinja_list(run, JINJA_LIST, 0);
    int64_t slices = jinja_arg_integer(run, call->arg[0], 0);
    if (!jinja_failed(run) && slices == 0) jinja_raise(run, "integer division or modulo by zero");
    if (jinja_failed(run) || slices < 0) return jinja_failed(run) ? jinja_nothing() : out;
    int64_t each = (int64_t)all.list->count / slices, extra = (int64_t)all.list->count % slices, at = 0;
    for (int64_t i = 0; i < slices && jinja_step(run, 1); i++) {
        struct jinja_value part = jinja_list(run, JINJA_LIST, 0);
        for (int64_t n = each + (i < extra); n > 0 && !jinja_failed(run); n--)
            jinja_push(run, part.list, all.list->items[at++]);
        if (jinja_given_not_none(call->arg[1]) && i >= extra && !jinja_failed(run))
            jinja_push(run, part.list, call->arg[1]);
        if (!jinja_failed(run)) jinja_push(run, out.list, part);
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_iterator(run, "generator", out, next_of_list);
}

static bool next_item(struct jinja_run *run, struct jinja_iterator *iterator, struct jinja_value *out)
{
    struct jinja_value source = iterator->source;
    if (source.kind == JINJA_UNDEFINED) return false;
    if (source.kind != JINJA_DICT) {
        jinja_raise(run, "Can only get item pairs from a mapping.");
        return false;
    }
    if (iterator->at >= source.dict->count) return false;
    const struct jinja_entry *entry = &source.dict->entries[iterator->at++];
    *out = jinja_pair(run, entry->key, entry->value);
    return !jinja_failed(run);
}

static struct jinja_value items(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_iterator(run, "generator", call->self, next_item);
}

static struct jinja_value otherwise(struct jinja_run *run, struct jinja_call *call)
{
    bool as_bool = jinja_arg_true(call->arg[1], false);
    if (call->self.kind != JINJA_UNDEFINED && !(as_bool && !jinja_true(call->self))) return call->self;
    return jinja_given(call->arg[0]) ? call->arg[0] : jinja_string(run, "", 0);
}

static struct jinja_value attr(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value name = jinja_str(run, call->arg[0]);
    return jinja_failed(run) ? jinja_nothing() : jinja_attribute_only(run, call->self, name);
}

/* xorshift32 (Marsaglia 2003): the same choices in each rendering. */
static struct jinja_value random_item(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value out;
    int64_t n = jinja_length(call->self);
    run->random ^= run->random << 13;
    run->random ^= run->random >> 17;
    run->random ^= run->random << 5;
    if (n == 0) return jinja_undefined_hint(run, "No random item, sequence was empty.");
    if (n > 0 && jinja_element(run, call->self, run->random % n, &out)) return out;
    jinja_raise(run, "'%s' object is no sequence", jinja_type_name(call->self));
    return jinja_nothing();
}

static struct jinja_value separator(struct jinja_run *run, struct jinja_value separators, int64_t i, const char *usual)
{
    struct jinja_value out;
    if (!jinja_given_not_none(separators)) return jinja_text(run, usual);
    bool pair = (separators.kind == JINJA_TUPLE || separators.kind == JINJA_LIST) && separators.list->count == 2;
    if (pair && jinja_element(run, separators, i, &out) && out.kind == JINJA_STRING) return out;
    jinja_raise(run, "separators are a pair of strings");
    return jinja_nothing();
}

static struct jinja_value tojson(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_builder out = {0}, margin = {0};
    struct jinja_value indent = call->arg[1];
    struct jinja_json_style style = {.ensure_ascii = jinja_arg_true(call->arg[0], false),
                                     .pretty = jinja_given_not_none(indent),
                                     .sort_keys = jinja_arg_true(call->arg[3], false)};
    style.comma = separator(run, call->arg[2], 0, style.pretty ? "," : ", ");
    style.colon = separator(run, call->arg[2], 1, ": ");
    style.indent = indent;
    if (style.pretty && indent.kind != JINJA_STRING) {
        int64_t n = jinja_arg_integer(run, indent, 0);
        jinja_put_repeated(run, &margin, " ", 1, n > 0 ? (size_t)n : 0);
        style.indent = jinja_built(run, &margin);
    }
    if (!jinja_failed(run)) jinja_put_json(run, &out, call->self, &style, 0);
    return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &out);
}

static struct jinja_value pprint(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_builder out = {0};
    jinja_put_pretty(run, &out, call->self, 0, 0);
    return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &out);
}

const struct jinja_function jinja_sequence_filters[] = {
    {"first", first, "/", 0},
    {"last", last, "/", 0},
    {"length", length, "/", 0},
    {"count", length, "/", 0},
    {"list", list, "/", 0},
    {"join", join, "d,attribute", 0},
    {"reverse", reverse, "/", 0},
    {"batch", batch, "linecount,fill_with", 1},
    {"slice", slice, "slices,fill_with", 1},
    {"items", items, "/", 0},
    {"default", otherwise, "default_value,boolean", 0},
    {"d", otherwise, "default_value,boolean", 0},
    {"attr", attr, "name", 1},
    {"random", random_item, "/", 0},
    {"tojson", tojson, "ensure_ascii,indent,separators,sort_keys", 0},
    {"pprint", pprint, "/", 0},
    {NULL, NULL, NULL, 0},
};
