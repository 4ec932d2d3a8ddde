/* SPDX-License-Identifier: Apache-2.0 */
/* value.name, value[key], value[a:b:c] in an immutable sandbox: nothing that changes a value can be had. */
#include "host/text/jinja_eval.h"
#include "host/text/utf8.h"

#include <string.h>

size_t jinja_byte_of(const struct jinja_string *string, size_t character)
{
    size_t at = 0;
    if (string->characters == string->length) return character < string->length ? character : string->length;
    while (at < string->length && character > 0) {
        at++;
        while (at < string->length && ((unsigned char)string->bytes[at] & 0xc0) == 0x80) at++;
        character--;
    }
    return at;
}

bool jinja_element(struct jinja_run *run, struct jinja_value value, int64_t index, struct jinja_value *out)
{
    int64_t length = jinja_length(value);
    if (index < 0) index += length;
    if (index < 0 || index >= length) return false;
    switch (value.kind) {
    case JINJA_LIST:
    case JINJA_TUPLE: *out = value.list->items[index]; return true;
    case JINJA_RANGE: *out = jinja_int(value.range->start + index * value.range->step); return true;
    case JINJA_STRING: {
        const struct jinja_string *string = value.string;
        if (!jinja_step(run, string->length == string->characters ? 1 : string->length / 16)) return false;
        size_t from = jinja_byte_of(string, (size_t)index), to = from + 1;
        while (to < string->length && ((unsigned char)string->bytes[to] & 0xc0) == 0x80) to++;
        *out = jinja_mark(jinja_string(run, string->bytes + from, to - from), value.safe);
        return true;
    }
    default: return false;
    }
}

static struct jinja_value unsafe(struct jinja_run *run, struct jinja_value value, struct jinja_value name)
{
    struct jinja_builder hint = {0};
    jinja_put_text(run, &hint, "access to attribute '");
    jinja_put_text(run, &hint, jinja_shown(name).text);
    jinja_put_text(run, &hint, "' of '");
    jinja_put_text(run, &hint, jinja_type_name(value));
    jinja_put(run, &hint, "' object is unsafe.", sizeof "' object is unsafe."); /* with its NUL */
    return jinja_failed(run) ? jinja_nothing() : jinja_undefined_hint(run, hint.bytes);
}

static bool changes_value(struct jinja_value value, struct jinja_value name)
{
    static const char *const of_list[] = {"append", "clear",   "extend", "insert", "pop",
                                          "remove", "reverse", "sort",   NULL};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    const char *const *names = value.kind == JINJA_LIST ? of_list : value.kind == JINJA_DICT ? of_dict : NULL;
    for (; names && *names; names++) {
        if (jinja_string_is(name, *names)) return true;
    }
    return false;
}

static struct jinja_value number_attribute(struct jinja_value value, struct jinja_value name)
{
    struct jinja_value number = value.kind == JINJA_BOOL ? jinja_int(value.boolean) : value;
    if (jinja_string_is(name, "real")) return number;
    if (jinja_string_is(name, "imag")) return value.kind == JINJA_FLOAT ? jinja_float(0) : jinja_int(0);
    if (value.kind != JINJA_FLOAT && jinja_string_is(name, "numerator")) return number;
    if (value.kind != JINJA_FLOAT && jinja_string_is(name, "denominator")) return jinja_int(1);
    return (struct jinja_value){.kind = JINJA_MISSING};
}

static struct jinja_value cycler_attribute(struct jinja_value value, struct jinja_value name)
{
    struct jinja_list *cycler = value.cycler;
    if (jinja_string_is(name, "current")) return cycler->items[cycler->at];
    if (jinja_string_is(name, "pos")) return jinja_int((int64_t)cycler->at);
    if (jinja_string_is(name, "items")) return (struct jinja_value){.kind = JINJA_TUPLE, .list = cycler};
    return (struct jinja_value){.kind = JINJA_MISSING};
}

/* Attributes that are no methods, of what has such; JINJA_MISSING otherwise. */
static struct jinja_value plain_attribute(struct jinja_run *run, struct jinja_value value, struct jinja_value name)
{
    const struct jinja_template *template = run->template;
    const struct jinja_value missing = {.kind = JINJA_MISSING};
    switch (value.kind) {
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT: return number_attribute(value, name);
    case JINJA_CYCLER: return cycler_attribute(value, name);
    case JINJA_RANGE:
        if (jinja_string_is(name, "start")) return jinja_int(value.range->start);
        if (jinja_string_is(name, "stop")) return jinja_int(value.range->stop);
        return jinja_string_is(name, "step") ? jinja_int(value.range->step) : missing;
    case JINJA_TUPLE:
        if (value.list->is_group && jinja_string_is(name, "grouper")) return value.list->items[0];
        return value.list->is_group && jinja_string_is(name, "list") ? value.list->items[1] : missing;
    case JINJA_JOINER:
        if (jinja_string_is(name, "sep")) return value.joiner->separator;
        return jinja_string_is(name, "used") ? jinja_bool(value.joiner->used) : missing;
    case JINJA_NAMESPACE: {
        const struct jinja_value *found = jinja_dict_find(run, value.dict, name);
        return found ? *found : missing;
    }
    case JINJA_BLOCKS:
        for (const struct jinja_node *block = template->blocks; block; block = block->c) {
            if (!jinja_equal(run, block->value, name)) continue;
            struct jinja_value macro = jinja_macro(run, block, block->value);
            if (!jinja_failed(run)) macro.macro->scope = run->root;
            return macro;
        }
        return missing;
    default: return missing;
    }
}

/* What getattr() of Python finds, made safe; JINJA_MISSING if there is nothing. */
static struct jinja_value python_attribute(struct jinja_run *run, struct jinja_value value, struct jinja_value name)
{
    const struct jinja_string *text = name.string;
    if (value.kind == JINJA_LOOP) return jinja_loop_attribute(run, value.loop, name);
    if (value.kind == JINJA_MACRO) return jinja_macro_attribute(run, value.macro, name);
    struct jinja_value plain = plain_attribute(run, value, name);
    if (jinja_given(plain)) return plain;
    if (changes_value(value, name)) return unsafe(run, value, name);
    const struct jinja_function *function = jinja_method_find(value, name);
    if (function) {
        struct jinja_method *method = jinja_alloc(run, 1, sizeof *method);
        if (!method) return jinja_nothing();
        *method = (struct jinja_method){value, function};
        return (struct jinja_value){.kind = JINJA_METHOD, .method = method};
    }
    bool internal =
        text->length > 4 && memcmp(text->bytes, "__", 2) == 0 && memcmp(text->bytes + text->length - 2, "__", 2) == 0;
    if (internal && !(value.kind == JINJA_DICT && jinja_dict_find(run, value.dict, name)))
        return unsafe(run, value, name);
    return (struct jinja_value){.kind = JINJA_MISSING};
}

struct jinja_value jinja_attribute_only(struct jinja_run *run, struct jinja_value value, struct jinja_value name)
{
    if (value.kind == JINJA_UNDEFINED) jinja_raise_undefined(run, value);
    if (jinja_failed(run)) return jinja_nothing();
    struct jinja_value found = python_attribute(run, value, name);
    if (jinja_failed(run)) return jinja_nothing();
    return jinja_given(found) ? found : jinja_undefined_member(run, value, name);
}

struct jinja_value jinja_attribute(struct jinja_run *run, struct jinja_value value, struct jinja_value name)
{
    if (value.kind == JINJA_UNDEFINED) {
        jinja_raise_undefined(run, value);
        return jinja_nothing();
    }
    struct jinja_value found = python_attribute(run, value, name);
    if (jinja_failed(run)) return jinja_nothing();
    if (jinja_given(found)) return found;
    if (value.kind == JINJA_DICT) {
        const struct jinja_value *item = jinja_dict_find(run, value.dict, name);
        if (item) return *item;
    }
    return jinja_undefined_member(run, value, name);
}

struct jinja_value jinja_item(struct jinja_run *run, struct jinja_value value, struct jinja_value key)
{
    struct jinja_value found = {.kind = JINJA_MISSING};
    if (value.kind == JINJA_UNDEFINED) {
        jinja_raise_undefined(run, value);
        return jinja_nothing();
    }
    bool hashable = key.kind != JINJA_LIST && key.kind != JINJA_DICT && key.kind != JINJA_VIEW;
    if (value.kind == JINJA_DICT && hashable) {
        const struct jinja_value *item = jinja_dict_find(run, value.dict, key);
        if (item) return *item;
    }
    if (jinja_is_integer(key) && jinja_element(run, value, jinja_integer_of(key), &found)) return found;
    if (key.kind == JINJA_STRING) found = python_attribute(run, value, key);
    if (jinja_failed(run)) return jinja_nothing();
    return jinja_given(found) ? found : jinja_undefined_member(run, value, key);
}

/* A bound of a slice as Python adjusts it: negative from the end, cut to [low, high]. */
static int64_t bound(struct jinja_run *run, struct jinja_value value, int64_t length, int64_t otherwise, int64_t low,
                     int64_t high)
{
    if (value.kind == JINJA_NONE) return otherwise;
    if (!jinja_is_integer(value)) {
        if (value.kind == JINJA_UNDEFINED) jinja_raise_undefined(run, value);
        jinja_raise(run, "slice indices must be integers or None or have an __index__ method");
        return 0;
    }
    int64_t index = jinja_integer_of(value);
    if (index < 0) index = index < -length ? low : index + length;
    return index < low ? low : index > high ? high : index;
}

static struct jinja_value slice_text(struct jinja_run *run, struct jinja_value value, int64_t start, int64_t count,
                                     int64_t step)
{
    const struct jinja_string *string = value.string;
    if (step == 1 || count == 0) {
        size_t from = jinja_byte_of(string, (size_t)start);
        if (count == 0) return jinja_mark(jinja_string(run, "", 0), value.safe);
        size_t to = jinja_byte_of(string, (size_t)(start + count));
        if (!jinja_step(run, string->length == string->characters ? 1 : string->length / 16)) return jinja_nothing();
        return jinja_mark(jinja_string(run, string->bytes + from, to - from), value.safe);
    }
    struct jinja_builder text = {0};
    struct jinja_value characters = jinja_to_list(run, value);
    for (int64_t i = 0; i < count && !jinja_failed(run); i++)
        jinja_put_str(run, &text, characters.list->items[start + i * step]);
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &text), value.safe);
}

static struct jinja_value slice_items(struct jinja_run *run, struct jinja_value value, int64_t start, int64_t stop,
                                      int64_t count, int64_t step)
{
    struct jinja_value list = jinja_list(run, value.kind, (size_t)count), item;
    if (value.kind == JINJA_RANGE) {
        struct jinja_range *range = jinja_alloc(run, 1, sizeof *range);
        if (!range) return jinja_nothing();
        int64_t by = value.range->step * step, from = value.range->start + start * value.range->step;
        *range = (struct jinja_range){from, value.range->start + stop * value.range->step, by, count};
        return (struct jinja_value){.kind = JINJA_RANGE, .range = range};
    }
    for (int64_t i = 0; i < count && jinja_step(run, 1); i++) {
        if (jinja_element(run, value, start + i * step, &item)) jinja_push(run, list.list, item);
    }
    return jinja_failed(run) ? jinja_nothing() : list;
}

struct jinja_value jinja_slice(struct jinja_run *run, struct jinja_value value, const struct jinja_value bounds[3])
{
    int64_t length = jinja_length(value), step = 1;
    if (value.kind == JINJA_UNDEFINED) {
        jinja_raise_undefined(run, value);
        return jinja_nothing();
    }
    if (value.kind != JINJA_STRING && value.kind != JINJA_LIST && value.kind != JINJA_TUPLE &&
        value.kind != JINJA_RANGE) {
        jinja_raise(run, "'%s' object is not subscriptable by a slice", jinja_type_name(value));
        return jinja_nothing();
    }
    if (bounds[2].kind != JINJA_NONE) step = bound(run, bounds[2], 0, 1, INT64_MIN / 2, INT64_MAX / 2);
    if (bounds[2].kind != JINJA_NONE && jinja_is_integer(bounds[2])) step = jinja_integer_of(bounds[2]);
    if (step > INT32_MAX) step = INT32_MAX; /* longer than anything here */
    if (step < -INT32_MAX) step = -INT32_MAX;
    if (step == 0) jinja_raise(run, "slice step cannot be zero");
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? length - 1 : length;
    int64_t start = bound(run, bounds[0], length, step < 0 ? high : low, low, high);
    int64_t stop = bound(run, bounds[1], length, step < 0 ? low : high, low, high);
    if (jinja_failed(run)) return jinja_nothing();
    int64_t count = 0;
    if (step > 0 && start < stop) count = (stop - start - 1) / step + 1;
    if (step < 0 && stop < start) count = (start - stop - 1) / -step + 1;
    return value.kind == JINJA_STRING ? slice_text(run, value, start, count, step)
                                      : slice_items(run, value, start, stop, count, step);
}
