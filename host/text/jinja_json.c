/* SPDX-License-Identifier: Apache-2.0 */
/* JSON in (the variables) and out (tojson, as Python's json.dumps writes it). */
#include "host/text/jinja_character.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct jinja_value list_from_json(struct jinja_run *run, const json_t *json)
{
    size_t i, count = json_array_size(json);
    const json_t *element;
    struct jinja_value list = jinja_list(run, JINJA_LIST, count);
    json_array_foreach(json, i, element)
    {
        struct jinja_value value = jinja_from_json(run, element);
        if (jinja_failed(run)) return jinja_nothing();
        jinja_push(run, list.list, value);
    }
    return list;
}

static struct jinja_value dict_from_json(struct jinja_run *run, const json_t *json)
{
    struct jinja_value dict = jinja_dict(run, JINJA_DICT, json_object_size(json));
    for (void *at = json_object_iter((json_t *)(uintptr_t)json); at;
         at = json_object_iter_next((json_t *)(uintptr_t)json, at)) {
        const char *key = json_object_iter_key(at);
        struct jinja_value name = jinja_string(run, key, strlen(key));
        struct jinja_value value = jinja_from_json(run, json_object_iter_value(at));
        if (jinja_failed(run)) return jinja_nothing();
        jinja_dict_set(run, dict.dict, name, value);
    }
    return dict;
}

struct jinja_value jinja_from_json(struct jinja_run *run, const json_t *json)
{
    struct jinja_value out = jinja_none();
    if (jinja_enter(run)) {
        switch (json_typeof(json)) {
        case JSON_OBJECT: out = dict_from_json(run, json); break;
        case JSON_ARRAY: out = list_from_json(run, json); break;
        case JSON_STRING: out = jinja_string(run, json_string_value(json), json_string_length(json)); break;
        case JSON_INTEGER: out = jinja_int(json_integer_value(json)); break;
        case JSON_REAL: out = jinja_float(json_real_value(json)); break;
        case JSON_TRUE: out = jinja_bool(true); break;
        case JSON_FALSE: out = jinja_bool(false); break;
        case JSON_NULL: break;
        }
    }
    jinja_leave(run);
    return jinja_failed(run) ? jinja_nothing() : out;
}

static void put_unicode_escape(struct jinja_run *run, struct jinja_builder *to, uint32_t c)
{
    char text[16];
    if (c < 0x10000)
        snprintf(text, sizeof text, "\\u%04x", c);
    else
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
    jinja_put_text(run, to, text);
}

static void put_json_string(struct jinja_run *run, struct jinja_builder *to, const struct jinja_string *string,
                            bool ensure_ascii)
{
    static const char named[] = {
        ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['\f'] = 'f', ['\b'] = 'b', ['"'] = '"', ['\\'] = '\\'};
    size_t plain = 0, i = 0; /* bytes[plain..i) are written as they are */
    jinja_put_text(run, to, "\"");
    while (i < string->length) {
        unsigned n = 1;
        unsigned char byte = (unsigned char)string->bytes[i];
        bool escaped = byte < 0x20 || byte == '"' || byte == '\\' || (byte >= 0x80 && ensure_ascii);
        if (!escaped) {
            i++;
            continue;
        }
        jinja_put(run, to, string->bytes + plain, i - plain);
        if (byte < sizeof named && named[byte])
            jinja_put(run, to, (char[]){'\\', named[byte]}, 2);
        else
            put_unicode_escape(run, to, jinja_character(string->bytes + i, string->length - i, &n));
        i += n;
        plain = i;
        if (!jinja_step(run, 1)) return;
    }
    jinja_put(run, to, string->bytes + plain, i - plain);
    jinja_put_text(run, to, "\"");
}

static void put_json_float(struct jinja_run *run, struct jinja_builder *to, double number)
{
    if (isnan(number))
        jinja_put_text(run, to, "NaN");
    else if (isinf(number))
        jinja_put_text(run, to, number < 0 ? "-Infinity" : "Infinity");
    else
        jinja_put_float(run, to, number);
}

static void put_line(struct jinja_run *run, struct jinja_builder *to, const struct jinja_json_style *style,
                     unsigned level)
{
    if (!style->pretty) return;
    const struct jinja_string *indent = style->indent.string;
    jinja_put_text(run, to, "\n");
    jinja_put_repeated(run, to, indent->bytes, indent->length, level);
}

static void put_key(struct jinja_run *run, struct jinja_builder *to, struct jinja_value key,
                    const struct jinja_json_style *style)
{
    switch (key.kind) {
    case JINJA_STRING: jinja_put_json(run, to, key, style, 0); break;
    case JINJA_NONE:
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT:
        jinja_put_text(run, to, "\"");
        jinja_put_json(run, to, key, style, 0);
        jinja_put_text(run, to, "\"");
        break;
    default: jinja_raise(run, "keys must be str, int, float, bool or None, not %s", jinja_type_name(key)); break;
    }
}

static struct jinja_value sorted_keys(struct jinja_run *run, struct jinja_value dict)
{
    struct jinja_value keys = jinja_to_list(run, dict);
    for (size_t i = 1; i < keys.list->count; i++) { /* by insertion: what is sorted already costs nothing */
        struct jinja_value key = keys.list->items[i];
        size_t at = i;
        while (at > 0 && jinja_order(run, "<", key, keys.list->items[at - 1])) {
            keys.list->items[at] = keys.list->items[at - 1];
            at--;
        }
        keys.list->items[at] = key;
        if (jinja_failed(run)) break;
    }
    return keys;
}

static void put_object(struct jinja_run *run, struct jinja_builder *to, struct jinja_value dict,
                       const struct jinja_json_style *style, unsigned level)
{
    struct jinja_value keys = style->sort_keys ? sorted_keys(run, dict) : jinja_none();
    jinja_put_text(run, to, "{");
    for (size_t i = 0; i < dict.dict->count && !jinja_failed(run); i++) {
        struct jinja_value key = style->sort_keys ? keys.list->items[i] : dict.dict->entries[i].key;
        const struct jinja_value *value =
            style->sort_keys ? jinja_dict_find(run, dict.dict, key) : &dict.dict->entries[i].value;
        if (!value) break;
        if (i > 0) jinja_put_str(run, to, style->comma);
        put_line(run, to, style, level + 1);
        put_key(run, to, key, style);
        jinja_put_str(run, to, style->colon);
        jinja_put_json(run, to, *value, style, level + 1);
    }
    if (dict.dict->count) put_line(run, to, style, level);
    jinja_put_text(run, to, "}");
}

static void put_array(struct jinja_run *run, struct jinja_builder *to, const struct jinja_list *list,
                      const struct jinja_json_style *style, unsigned level)
{
    jinja_put_text(run, to, "[");
    for (size_t i = 0; i < list->count && !jinja_failed(run); i++) {
        if (i > 0) jinja_put_str(run, to, style->comma);
        put_line(run, to, style, level + 1);
        jinja_put_json(run, to, list->items[i], style, level + 1);
    }
    if (list->count) put_line(run, to, style, level);
    jinja_put_text(run, to, "]");
}

void jinja_put_json(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value,
                    const struct jinja_json_style *style, unsigned level)
{
    if (!jinja_enter(run)) goto done;
    switch (value.kind) {
    case JINJA_NONE: jinja_put_text(run, to, "null"); break;
    case JINJA_BOOL: jinja_put_text(run, to, value.boolean ? "true" : "false"); break;
    case JINJA_INT: jinja_put_repr(run, to, value); break;
    case JINJA_FLOAT: put_json_float(run, to, value.number); break;
    case JINJA_STRING: put_json_string(run, to, value.string, style->ensure_ascii); break;
    case JINJA_LIST:
    case JINJA_TUPLE: put_array(run, to, value.list, style, level); break;
    case JINJA_DICT: put_object(run, to, value, style, level); break;
    default: jinja_raise(run, "Object of type %s is not JSON serializable", jinja_type_name(value)); break;
    }
done:
    jinja_leave(run);
}
