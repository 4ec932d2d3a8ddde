/* SPDX-License-Identifier: Apache-2.0 */
/* ==, is, <, in: as Python has them. */
#include "host/text/jinja_value.h"

#include <string.h>

int jinja_string_compare(const struct jinja_string *a, const struct jinja_string *b)
{
    size_t n = a->length < b->length ? a->length : b->length;
    int order = n ? memcmp(a->bytes, b->bytes, n) : 0; /* UTF-8 sorts as its code points do */
    if (order == 0) order = (a->length > b->length) - (a->length < b->length);
    return order;
}

/* An 80- or 128-bit long double holds every int64_t and every double exactly. */
static long double exact(struct jinja_value v)
{
    return v.kind == JINJA_FLOAT ? (long double)v.number : (long double)jinja_integer_of(v);
}

static bool same_items(struct jinja_run *run, const struct jinja_list *a, const struct jinja_list *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) same = jinja_equal(run, a->items[i], b->items[i]);
    return same;
}

static bool same_entries(struct jinja_run *run, const struct jinja_dict *a, const struct jinja_dict *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        const struct jinja_value *other = jinja_dict_find(run, b, a->entries[i].key);
        same = other && jinja_equal(run, a->entries[i].value, *other);
    }
    return same;
}

static bool same_range(const struct jinja_range *a, const struct jinja_range *b)
{
    if (a->count != b->count) return false;
    return a->count == 0 || (a->start == b->start && (a->count == 1 || a->step == b->step));
}

/* Keys and items are sets to Python; values are only equal to themselves. */
static bool same_view(struct jinja_run *run, const struct jinja_view *a, const struct jinja_view *b)
{
    bool same = a->dict->count == b->dict->count;
    if (a == b) return true;
    if (a->kind == JINJA_VALUES || b->kind == JINJA_VALUES) return false;
    if (a->kind != b->kind) return same && a->dict->count == 0;
    if (a->kind == JINJA_ITEMS) return same_entries(run, a->dict, b->dict);
    for (size_t i = 0; same && i < a->dict->count; i++)
        same = jinja_dict_find(run, b->dict, a->dict->entries[i].key) != NULL;
    return same;
}

bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    bool equal = false;
    if (!jinja_enter(run)) goto done;
    if (jinja_is_number(a) && jinja_is_number(b)) {
        equal = exact(a) == exact(b);
        goto done;
    }
    if (a.kind != b.kind) goto done;
    switch (a.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE: equal = true; break;
    case JINJA_STRING:
        equal = a.string->length == b.string->length && jinja_step(run, a.string->length / 64) &&
                jinja_string_compare(a.string, b.string) == 0;
        break;
    case JINJA_LIST:
    case JINJA_TUPLE: equal = same_items(run, a.list, b.list); break;
    case JINJA_DICT: equal = same_entries(run, a.dict, b.dict); break;
    case JINJA_RANGE: equal = same_range(a.range, b.range); break;
    case JINJA_VIEW: equal = same_view(run, a.view, b.view); break;
    default: equal = a.identity == b.identity; break;
    }
done:
    jinja_leave(run);
    return equal;
}

bool jinja_same(struct jinja_value a, struct jinja_value b)
{
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case JINJA_NONE: return true;
    case JINJA_BOOL: return a.boolean == b.boolean;
    case JINJA_INT:
        return a.integer == b.integer && a.integer >= -5 && a.integer <= 256; /* CPython keeps one of each */
    case JINJA_FLOAT: return false;
    default: return a.identity == b.identity;
    }
}

static bool ordered(const char *op, long double difference_sign)
{
    bool or_equal = op[1] == '=';
    if (difference_sign == 0) return or_equal;
    return op[0] == '<' ? difference_sign < 0 : difference_sign > 0;
}

static bool order_lists(struct jinja_run *run, const char *op, const struct jinja_list *a, const struct jinja_list *b)
{
    size_t n = a->count < b->count ? a->count : b->count;
    for (size_t i = 0; i < n; i++) {
        if (!jinja_equal(run, a->items[i], b->items[i])) return jinja_order(run, op, a->items[i], b->items[i]);
    }
    return ordered(op, (long double)a->count - (long double)b->count);
}

bool jinja_order(struct jinja_run *run, const char *op, struct jinja_value a, struct jinja_value b)
{
    bool result = false;
    if (!jinja_enter(run)) goto done;
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED) {
        jinja_raise_undefined(run, a.kind == JINJA_UNDEFINED ? a : b);
    } else if (jinja_is_number(a) && jinja_is_number(b)) {
        long double x = exact(a), y = exact(b);
        if (x == x && y == y) result = ordered(op, (long double)((x > y) - (x < y))); /* NaN has no order */
    } else if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        if (jinja_step(run, a.string->length / 64)) result = ordered(op, jinja_string_compare(a.string, b.string));
    } else if (a.kind == b.kind && (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE)) {
        result = order_lists(run, op, a.list, b.list);
    } else {
        jinja_raise(run, "'%s' not supported between instances of '%s' and '%s'", op, jinja_type_name(a),
                    jinja_type_name(b));
    }
done:
    jinja_leave(run);
    return result;
}

static bool contains_text(struct jinja_run *run, struct jinja_value text, struct jinja_value item)
{
    if (item.kind == JINJA_UNDEFINED) {
        jinja_raise(run, "'in <string>' requires string as left operand, not Undefined");
        return false;
    }
    if (item.kind != JINJA_STRING) {
        jinja_raise(run, "'in <string>' requires string as left operand, not %s", jinja_type_name(item));
        return false;
    }
    if (!jinja_step(run, (text.string->length + item.string->length) / 64)) return false;
    if (item.string->length == 0) return true;
    return memmem(text.string->bytes, text.string->length, item.string->bytes, item.string->length) != NULL;
}

bool jinja_contains(struct jinja_run *run, struct jinja_value container, struct jinja_value item)
{
    if (container.kind == JINJA_STRING) return contains_text(run, container, item);
    if (container.kind == JINJA_DICT || (container.kind == JINJA_VIEW && container.view->kind == JINJA_KEYS))
        return jinja_dict_find(run, container.kind == JINJA_DICT ? container.dict : container.view->dict, item) != NULL;
    if (!jinja_iterable(container)) {
        jinja_raise(run, "argument of type '%s' is not iterable", jinja_type_name(container));
        return false;
    }
    struct jinja_walk walk;
    struct jinja_value element;
    if (!jinja_walk_start(run, container, &walk)) return false;
    while (jinja_walk_next(run, &walk, &element)) {
        if (jinja_equal(run, element, item)) return true;
    }
    return false;
}
