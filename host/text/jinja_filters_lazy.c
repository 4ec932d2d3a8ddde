/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map, select, reject, selectattr, rejectattr: generators, which do nothing until something asks for an element, and then
 * only for that one; and attributes as these filters and others take them.
 */
#include "host/text/jinja_eval.h"

#include <string.h>

static struct jinja_value one_part(struct jinja_run *run, struct jinja_value item, const char *bytes, size_t length)
{
    int64_t index = 0;
    size_t i = 0;
    for (; i < length && i < 18 && bytes[i] >= '0' && bytes[i] <= '9'; i++) index = index * 10 + (bytes[i] - '0');
    struct jinja_value key = i == length && length ? jinja_int(index) : jinja_string(run, bytes, length);
    return jinja_failed(run) ? jinja_nothing() : jinja_item(run, item, key);
}

struct jinja_value jinja_by_attribute(struct jinja_run *run, struct jinja_value item, struct jinja_value attribute,
                                      struct jinja_value otherwise)
{
    if (attribute.kind == JINJA_NONE || attribute.kind == JINJA_MISSING) return item;
    if (attribute.kind != JINJA_STRING) {
        item = jinja_item(run, item, attribute);
        return item.kind == JINJA_UNDEFINED && jinja_given_not_none(otherwise) ? otherwise : item;
    }
    const char *at = attribute.string->bytes, *end = at + attribute.string->length;
    for (;;) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        item = one_part(run, item, at, (size_t)((dot ? dot : end) - at));
        if (jinja_failed(run)) return jinja_nothing();
        if (item.kind == JINJA_UNDEFINED && jinja_given_not_none(otherwise)) item = otherwise;
        if (!dot) return item;
        at = dot + 1;
    }
}

struct lazy {
    struct jinja_args args;
    const struct jinja_function *function;
    struct jinja_value attribute, otherwise; /* JINJA_MISSING: none */
    struct jinja_walk walk;
    bool by_attribute; /* selectattr, rejectattr */
    bool keep_true;    /* select, selectattr */
    bool prepared;
    const char *name;
};

static struct lazy *lazy_of(struct jinja_run *run, const struct jinja_call *call)
{
    struct lazy *lazy = jinja_alloc(run, 1, sizeof *lazy);
    if (!lazy) return NULL;
    lazy->args = *call->args;
    lazy->name = call->name;
    lazy->attribute.kind = JINJA_MISSING;
    lazy->otherwise.kind = JINJA_MISSING;
    return lazy;
}

static struct jinja_value shift_argument(struct lazy *lazy)
{
    struct jinja_value out = {.kind = JINJA_MISSING};
    if (lazy->args.count == 0) return out;
    out = lazy->args.positional[0];
    lazy->args.positional++;
    lazy->args.count--;
    return out;
}

static void find_function(struct jinja_run *run, struct lazy *lazy, struct jinja_value name, bool filter)
{
    if (name.kind == JINJA_STRING) lazy->function = filter ? jinja_filter_find(name) : jinja_test_find(name);
    if (lazy->function) return;
    struct jinja_value text = jinja_str(run, name);
    if (!jinja_failed(run)) jinja_raise(run, "No %s named '%s'", filter ? "filter" : "test", jinja_shown(text).text);
}

static void prepare_map(struct jinja_run *run, struct lazy *lazy)
{
    struct jinja_value name = shift_argument(lazy);
    if (jinja_given(name)) {
        find_function(run, lazy, name, true);
        return;
    }
    for (size_t i = 0; i < lazy->args.n_named; i++) {
        if (jinja_string_is(lazy->args.names[i], "attribute"))
            lazy->attribute = lazy->args.named[i];
        else if (jinja_string_is(lazy->args.names[i], "default"))
            lazy->otherwise = lazy->args.named[i];
        else
            jinja_raise(run, "map: unexpected keyword argument '%s'", jinja_shown(lazy->args.names[i]).text);
    }
    if (!jinja_given(lazy->attribute)) jinja_raise(run, "map requires a filter argument");
}

static void prepare_select(struct jinja_run *run, struct lazy *lazy)
{
    if (lazy->by_attribute) {
        lazy->attribute = shift_argument(lazy);
        if (!jinja_given(lazy->attribute)) jinja_raise(run, "Missing parameter for attribute name");
    }
    struct jinja_value name = shift_argument(lazy);
    if (jinja_given(name)) find_function(run, lazy, name, false);
}

/* False at the end. What is false has no elements, whatever it is. */
static bool next_source(struct jinja_run *run, struct jinja_iterator *iterator, struct jinja_value *out,
                        void (*prepare)(struct jinja_run *, struct lazy *))
{
    struct lazy *lazy = iterator->state;
    if (!lazy->prepared) {
        lazy->prepared = true;
        if (!jinja_true(iterator->source)) {
            lazy->walk = (struct jinja_walk){.source = jinja_nothing()};
            return false;
        }
        prepare(run, lazy);
        if (!jinja_walk_start(run, iterator->source, &lazy->walk)) return false;
    }
    return jinja_walk_next(run, &lazy->walk, out);
}

static bool next_mapped(struct jinja_run *run, struct jinja_iterator *iterator, struct jinja_value *out)
{
    struct lazy *lazy = iterator->state;
    struct jinja_value item;
    if (!next_source(run, iterator, &item, prepare_map)) return false;
    *out = lazy->function ? jinja_invoke(run, lazy->function, item, &lazy->args)
                          : jinja_by_attribute(run, item, lazy->attribute, lazy->otherwise);
    return !jinja_failed(run);
}

static bool next_selected(struct jinja_run *run, struct jinja_iterator *iterator, struct jinja_value *out)
{
    struct lazy *lazy = iterator->state;
    const struct jinja_value none = {.kind = JINJA_MISSING};
    while (next_source(run, iterator, out, prepare_select)) {
        struct jinja_value tested = lazy->by_attribute ? jinja_by_attribute(run, *out, lazy->attribute, none) : *out;
        if (!jinja_failed(run) && lazy->function) tested = jinja_invoke(run, lazy->function, tested, &lazy->args);
        if (jinja_failed(run)) return false;
        if (jinja_true(tested) == lazy->keep_true) return true;
    }
    return false;
}

static struct jinja_value map(struct jinja_run *run, struct jinja_call *call)
{
    struct lazy *lazy = lazy_of(run, call);
    struct jinja_value out = jinja_iterator(run, "generator", call->self, next_mapped);
    if (!jinja_failed(run)) out.iterator->state = lazy;
    return out;
}

static struct jinja_value selecting(struct jinja_run *run, struct jinja_call *call, bool by_attribute, bool keep_true)
{
    struct lazy *lazy = lazy_of(run, call);
    struct jinja_value out = jinja_iterator(run, "generator", call->self, next_selected);
    if (jinja_failed(run)) return jinja_nothing();
    lazy->by_attribute = by_attribute;
    lazy->keep_true = keep_true;
    out.iterator->state = lazy;
    return out;
}

static struct jinja_value select_items(struct jinja_run *run, struct jinja_call *call)
{
    return selecting(run, call, false, true);
}

static struct jinja_value reject(struct jinja_run *run, struct jinja_call *call)
{
    return selecting(run, call, false, false);
}

static struct jinja_value selectattr(struct jinja_run *run, struct jinja_call *call)
{
    return selecting(run, call, true, true);
}

static struct jinja_value rejectattr(struct jinja_run *run, struct jinja_call *call)
{
    return selecting(run, call, true, false);
}

const struct jinja_function jinja_lazy_filters[] = {
    {"map", map, NULL, 0},
    {"select", select_items, NULL, 0},
    {"reject", reject, NULL, 0},
    {"selectattr", selectattr, NULL, 0},
    {"rejectattr", rejectattr, NULL, 0},
    {NULL, NULL, NULL, 0},
};
