/* SPDX-License-Identifier: Apache-2.0 */
/* The filter pprint: what does not fit into 80 characters is broken after each element, keys sorted, as Python's pprint. */
#include "host/text/jinja_eval.h"

#include <string.h>

#define WIDTH 80u

static size_t characters_of(const struct jinja_builder *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->length; i++) n += ((unsigned char)text->bytes[i] & 0xc0) != 0x80;
    return n;
}

static void put_margin(struct jinja_run *run, struct jinja_builder *to, size_t indent)
{
    jinja_put_text(run, to, ",\n");
    jinja_put_repeated(run, to, " ", 1, indent);
}

/* Keys of one type by their order, of several types by the types' names. */
static bool stands_before(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    bool ordered = (jinja_is_number(a) && jinja_is_number(b)) || (a.kind == b.kind && a.kind == JINJA_STRING);
    return ordered ? jinja_order(run, "<", a, b) : strcmp(jinja_type_name(a), jinja_type_name(b)) < 0;
}

static struct jinja_value sorted_pairs(struct jinja_run *run, struct jinja_value dict)
{
    struct jinja_value pairs = jinja_list(run, JINJA_LIST, dict.dict->count);
    for (size_t i = 0; i < dict.dict->count && jinja_step(run, 1); i++) {
        const struct jinja_entry *entry = &dict.dict->entries[i];
        struct jinja_value pair = jinja_pair(run, entry->key, entry->value);
        size_t at = i;
        if (jinja_failed(run)) break;
        jinja_push(run, pairs.list, pair);
        for (; at > 0 && stands_before(run, entry->key, pairs.list->items[at - 1].list->items[0]); at--)
            pairs.list->items[at] = pairs.list->items[at - 1];
        pairs.list->items[at] = pair;
    }
    return jinja_failed(run) ? jinja_nothing() : pairs;
}

static void put_dict(struct jinja_run *run, struct jinja_builder *to, struct jinja_value dict, size_t indent,
                     size_t behind)
{
    struct jinja_value pairs = sorted_pairs(run, dict);
    jinja_put_text(run, to, "{");
    for (size_t i = 0; !jinja_failed(run) && i < pairs.list->count; i++) {
        const struct jinja_list *pair = pairs.list->items[i].list;
        struct jinja_builder key = {0};
        if (i > 0) put_margin(run, to, indent + 1);
        jinja_put_repr(run, &key, pair->items[0]);
        jinja_put(run, to, key.bytes, key.length);
        jinja_put_text(run, to, ": ");
        jinja_put_pretty(run, to, pair->items[1], indent + 1 + characters_of(&key) + 2,
                         i + 1 < pairs.list->count ? 1 : behind + 1);
    }
    jinja_put_text(run, to, "}");
}

static void put_list(struct jinja_run *run, struct jinja_builder *to, struct jinja_value list, size_t indent,
                     size_t behind)
{
    bool is_tuple = list.kind == JINJA_TUPLE;
    jinja_put_text(run, to, is_tuple ? "(" : "[");
    for (size_t i = 0; !jinja_failed(run) && i < list.list->count; i++) {
        if (i > 0) put_margin(run, to, indent + 1);
        jinja_put_pretty(run, to, list.list->items[i], indent + 1, i + 1 < list.list->count ? 1 : behind + 1);
    }
    if (is_tuple && list.list->count == 1) jinja_put_text(run, to, ",");
    jinja_put_text(run, to, is_tuple ? ")" : "]");
}

void jinja_put_pretty(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value, size_t indent,
                      size_t behind)
{
    struct jinja_builder flat = {0};
    if (!jinja_enter(run)) goto done;
    if (value.kind == JINJA_DICT && value.dict->count) {
        struct jinja_value pairs = sorted_pairs(run, value), sorted = jinja_dict(run, JINJA_DICT, value.dict->count);
        for (size_t i = 0; !jinja_failed(run) && i < pairs.list->count; i++)
            jinja_dict_set(run, sorted.dict, pairs.list->items[i].list->items[0], pairs.list->items[i].list->items[1]);
        if (jinja_failed(run)) goto done;
        value = sorted;
    }
    jinja_put_repr(run, &flat, value);
    bool fits = characters_of(&flat) + indent + behind <= WIDTH;
    if (!fits && value.kind == JINJA_DICT && value.dict->count)
        put_dict(run, to, value, indent, behind);
    else if (!fits && (value.kind == JINJA_LIST || value.kind == JINJA_TUPLE) && value.list->count)
        put_list(run, to, value, indent, behind);
    else
        jinja_put(run, to, flat.bytes, flat.length);
done:
    jinja_leave(run);
}
