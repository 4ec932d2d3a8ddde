/* SPDX-License-Identifier: Apache-2.0 */
/* Iteration, as Python's for does it. */
#include "host/text/jinja_value.h"
#include "host/text/utf8.h"

bool jinja_iterable(struct jinja_value value)
{
    switch (value.kind) {
    case JINJA_UNDEFINED:
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
    case JINJA_VIEW:
    case JINJA_RANGE:
    case JINJA_ITERATOR: return true;
    default: return false;
    }
}

bool jinja_walk_start(struct jinja_run *run, struct jinja_value source, struct jinja_walk *walk)
{
    *walk = (struct jinja_walk){.source = source};
    if (jinja_failed(run)) return false;
    if (jinja_iterable(source)) return true;
    jinja_raise(run, "'%s' object is not iterable", jinja_type_name(source));
    return false;
}

static bool next_character(struct jinja_run *run, struct jinja_walk *walk, struct jinja_value *out)
{
    const struct jinja_string *string = walk->source.string;
    if (walk->at >= string->length) return false;
    unsigned n;
    utf8_scan((const uint8_t *)string->bytes + walk->at, string->length - walk->at, &n);
    *out = jinja_string(run, string->bytes + walk->at, n);
    walk->at += n;
    return !jinja_failed(run);
}

static struct jinja_value view_entry(struct jinja_run *run, const struct jinja_view *view, size_t i)
{
    const struct jinja_entry *entry = &view->dict->entries[i];
    if (view->kind == JINJA_KEYS) return entry->key;
    if (view->kind == JINJA_VALUES) return entry->value;
    return jinja_pair(run, entry->key, entry->value);
}

bool jinja_walk_next(struct jinja_run *run, struct jinja_walk *walk, struct jinja_value *out)
{
    struct jinja_value source = walk->source;
    *out = jinja_nothing();
    if (!jinja_step(run, 1)) return false;
    switch (source.kind) {
    case JINJA_STRING: return next_character(run, walk, out);
    case JINJA_ITERATOR:
        if (!jinja_enter(run) || !source.iterator->next(run, source.iterator, out)) {
            jinja_leave(run);
            return false;
        }
        jinja_leave(run);
        return !jinja_failed(run);
    case JINJA_LIST:
    case JINJA_TUPLE:
        if (walk->at >= source.list->count) return false;
        *out = source.list->items[walk->at++];
        return true;
    case JINJA_DICT:
        if (walk->at >= source.dict->count) return false;
        *out = source.dict->entries[walk->at++].key;
        return true;
    case JINJA_VIEW:
        if (walk->at >= source.view->dict->count) return false;
        *out = view_entry(run, source.view, walk->at++);
        return !jinja_failed(run);
    case JINJA_RANGE:
        if ((int64_t)walk->at >= source.range->count) return false;
        *out = jinja_int(source.range->start + (int64_t)walk->at++ * source.range->step);
        return true;
    default: return false;
    }
}

struct jinja_value jinja_to_list(struct jinja_run *run, struct jinja_value source)
{
    struct jinja_walk walk;
    struct jinja_value element, list;
    if (!jinja_walk_start(run, source, &walk)) return jinja_nothing();
    int64_t length = jinja_length(source);
    list = jinja_list(run, JINJA_LIST, length > 0 ? (size_t)length : 0);
    while (jinja_walk_next(run, &walk, &element)) jinja_push(run, list.list, element);
    return jinja_failed(run) ? jinja_nothing() : list;
}
