/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of str that make another string. On Markup, what they take is escaped first. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

#include <string.h>

/* An argument as text: of Markup's methods, escaped. */
static const struct jinja_string *text_for(struct jinja_run *run, struct jinja_value self, struct jinja_value value)
{
    if (!jinja_arg_string(run, value)) return NULL;
    if (self.safe) value = jinja_escape(run, value);
    return jinja_failed(run) ? NULL : value.string;
}

static bool one_of(const struct jinja_string *set, const char *bytes, size_t n)
{
    return memmem(set->bytes, set->length, bytes, n) != NULL;
}

/* Takes the characters of set off the ends. */
static struct jinja_value strip_set(struct jinja_run *run, struct jinja_value self, const struct jinja_string *set,
                                    bool left, bool right)
{
    const struct jinja_string *s = self.string;
    size_t start = 0, end = s->length;
    unsigned n;
    while (left && start < end && jinja_step(run, set->length / 64 + 1)) {
        jinja_character(s->bytes + start, end - start, &n);
        if (!one_of(set, s->bytes + start, n)) break;
        start += n;
    }
    while (right && end > start && jinja_step(run, set->length / 64 + 1)) {
        size_t at = end - 1;
        while (at > start && ((unsigned char)s->bytes[at] & 0xc0) == 0x80) at--;
        if (!one_of(set, s->bytes + at, end - at)) break;
        end = at;
    }
    return jinja_failed(run) ? jinja_nothing()
                             : jinja_mark(jinja_string(run, s->bytes + start, end - start), self.safe);
}

static struct jinja_value strip_ends(struct jinja_run *run, struct jinja_call *call, bool left, bool right)
{
    const char *bytes = call->self.string->bytes;
    size_t length = call->self.string->length;
    if (jinja_given_not_none(call->arg[0])) {
        const struct jinja_string *set = jinja_arg_string(run, call->arg[0]);
        return set ? strip_set(run, call->self, set, left, right) : jinja_nothing();
    }
    if (!jinja_step(run, length / 64)) return jinja_nothing();
    jinja_trim(&bytes, &length, left, right);
    return jinja_mark(jinja_string(run, bytes, length), call->self.safe);
}

static struct jinja_value strip(struct jinja_run *run, struct jinja_call *call)
{
    return strip_ends(run, call, true, true);
}

static struct jinja_value lstrip(struct jinja_run *run, struct jinja_call *call)
{
    return strip_ends(run, call, true, false);
}

static struct jinja_value rstrip(struct jinja_run *run, struct jinja_call *call)
{
    return strip_ends(run, call, false, true);
}

/* An empty `old` stands before each character and at the end. */
static void replace_empty(struct jinja_run *run, struct jinja_builder *out, const struct jinja_string *text,
                          const struct jinja_string *by, int64_t count)
{
    for (size_t at = 0; at < text->length && !jinja_failed(run);) {
        unsigned n;
        jinja_character(text->bytes + at, text->length - at, &n);
        if (count != 0) jinja_put(run, out, by->bytes, by->length);
        if (count != 0) count--;
        jinja_put(run, out, text->bytes + at, n);
        at += n;
    }
    if (count != 0) jinja_put(run, out, by->bytes, by->length);
}

struct jinja_value jinja_replace(struct jinja_run *run, const struct jinja_string *text, const struct jinja_string *old,
                                 const struct jinja_string *by, int64_t count)
{
    struct jinja_builder out = {0};
    const char *at = text->bytes, *end = text->bytes + text->length, *found;
    if (old->length == 0) {
        replace_empty(run, &out, text, by, count);
    } else {
        while (count != 0 && jinja_step(run, 1) &&
               (found = memmem(at, (size_t)(end - at), old->bytes, old->length)) != NULL) {
            jinja_put(run, &out, at, (size_t)(found - at));
            jinja_put(run, &out, by->bytes, by->length);
            at = found + old->length;
            count--;
        }
        jinja_put(run, &out, at, (size_t)(end - at));
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &out);
}

static struct jinja_value replace(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *old = text_for(run, call->self, call->arg[0]);
    const struct jinja_string *by = text_for(run, call->self, call->arg[1]);
    int64_t count = jinja_arg_integer(run, call->arg[2], -1);
    if (jinja_failed(run)) return jinja_nothing();
    return jinja_mark(jinja_replace(run, call->self.string, old, by, count), call->self.safe);
}

struct jinja_value jinja_join(struct jinja_run *run, const struct jinja_string *separator, struct jinja_value items)
{
    struct jinja_builder out = {0};
    struct jinja_walk walk;
    struct jinja_value item;
    bool first = true;
    if (!jinja_walk_start(run, items, &walk)) return jinja_nothing();
    while (jinja_walk_next(run, &walk, &item)) {
        if (!first) jinja_put(run, &out, separator->bytes, separator->length);
        first = false;
        jinja_put_str(run, &out, item);
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &out);
}

static struct jinja_value join(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value list = jinja_to_list(run, call->arg[0]);
    if (jinja_failed(run)) return jinja_nothing();
    for (size_t i = 0; i < list.list->count; i++) {
        struct jinja_value *item = &list.list->items[i];
        if (call->self.safe) *item = jinja_escape(run, *item);
        if (item->kind != JINJA_STRING && !jinja_failed(run))
            jinja_raise(run, "sequence item %zu: expected str instance, %s found", i, jinja_type_name(*item));
        if (jinja_failed(run)) return jinja_nothing();
    }
    return jinja_mark(jinja_join(run, call->self.string, list), call->self.safe);
}

static struct jinja_value format(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_format_text(run, call->self.string, call->self.safe, call->args);
}

static struct jinja_value format_map(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_args args = {0};
    struct jinja_list names = {0}, named = {0};
    if (call->arg[0].kind != JINJA_DICT) {
        jinja_raise(run, "format_map() needs a mapping, not %s", jinja_type_name(call->arg[0]));
        return jinja_nothing();
    }
    for (size_t i = 0; i < call->arg[0].dict->count && !jinja_failed(run); i++) {
        if (call->arg[0].dict->entries[i].key.kind != JINJA_STRING) continue;
        jinja_push(run, &names, call->arg[0].dict->entries[i].key);
        jinja_push(run, &named, call->arg[0].dict->entries[i].value);
    }
    args = (struct jinja_args){.names = names.items, .named = named.items, .n_named = named.count};
    return jinja_failed(run) ? jinja_nothing() : jinja_format_text(run, call->self.string, call->self.safe, &args);
}

/* Fills up to the width, `left` characters of it in front. */
static struct jinja_value pad(struct jinja_run *run, struct jinja_call *call, int where)
{
    const struct jinja_string *s = call->self.string, *fill = NULL;
    struct jinja_builder out = {0};
    int64_t width = jinja_arg_integer(run, call->arg[0], 0), length = (int64_t)s->characters;
    if (jinja_given(call->arg[1])) fill = text_for(run, call->self, call->arg[1]);
    if (fill && fill->characters != 1) jinja_raise(run, "The fill character must be exactly one character long");
    if (jinja_failed(run)) return jinja_nothing();
    if (width <= length) return call->self;
    int64_t missing = width - length, left = where < 0 ? 0 : where > 0 ? missing : missing / 2 + (missing & width & 1);
    const char *bytes = fill ? fill->bytes : " ";
    size_t n = fill ? fill->length : 1;
    jinja_put_repeated(run, &out, bytes, n, (size_t)left);
    jinja_put(run, &out, s->bytes, s->length);
    jinja_put_repeated(run, &out, bytes, n, (size_t)(missing - left));
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), call->self.safe);
}

static struct jinja_value center(struct jinja_run *run, struct jinja_call *call) { return pad(run, call, 0); }
static struct jinja_value ljust(struct jinja_run *run, struct jinja_call *call) { return pad(run, call, -1); }
static struct jinja_value rjust(struct jinja_run *run, struct jinja_call *call) { return pad(run, call, 1); }

static struct jinja_value zfill(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *s = call->self.string;
    struct jinja_builder out = {0};
    int64_t width = jinja_arg_integer(run, call->arg[0], 0);
    if (jinja_failed(run)) return jinja_nothing();
    if (width <= (int64_t)s->characters) return call->self;
    size_t sign = s->length && (s->bytes[0] == '+' || s->bytes[0] == '-');
    jinja_put(run, &out, s->bytes, sign);
    jinja_put_repeated(run, &out, "0", 1, (size_t)width - s->characters);
    jinja_put(run, &out, s->bytes + sign, s->length - sign);
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), call->self.safe);
}

static struct jinja_value expandtabs(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *s = call->self.string;
    struct jinja_builder out = {0};
    int64_t size = jinja_arg_integer(run, call->arg[0], 8), column = 0;
    for (size_t at = 0; at < s->length && jinja_step(run, 1); at++) {
        char c = s->bytes[at];
        if (c == '\t') {
            int64_t n = size > 0 ? size - column % size : 0;
            jinja_put_repeated(run, &out, " ", 1, (size_t)n);
            column += n;
            continue;
        }
        jinja_put(run, &out, &c, 1);
        if (((unsigned char)c & 0xc0) != 0x80) column++;
        if (c == '\n' || c == '\r') column = 0;
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), call->self.safe);
}

static struct jinja_value remove_end(struct jinja_run *run, struct jinja_call *call, bool suffix)
{
    const struct jinja_string *s = call->self.string, *part = jinja_arg_string(run, call->arg[0]);
    if (!part || part->length > s->length) return call->self;
    size_t at = suffix ? s->length - part->length : 0;
    if (part->length == 0 || memcmp(s->bytes + at, part->bytes, part->length) != 0) return call->self;
    return jinja_mark(jinja_string(run, s->bytes + (suffix ? 0 : part->length), s->length - part->length),
                      call->self.safe);
}

static struct jinja_value removeprefix(struct jinja_run *run, struct jinja_call *call)
{
    return remove_end(run, call, false);
}

static struct jinja_value removesuffix(struct jinja_run *run, struct jinja_call *call)
{
    return remove_end(run, call, true);
}

static struct jinja_value table_of_dict(struct jinja_run *run, const struct jinja_dict *dict, struct jinja_value table)
{
    for (size_t i = 0; i < dict->count && jinja_step(run, 1); i++) {
        struct jinja_value key = dict->entries[i].key;
        if (key.kind == JINJA_STRING && key.string->characters == 1) {
            unsigned n;
            key = jinja_int(jinja_character(key.string->bytes, key.string->length, &n));
        } else if (!jinja_is_integer(key)) {
            jinja_raise(run, "keys in a translate table must be strings of length 1 or integers");
            return jinja_nothing();
        }
        jinja_dict_set(run, table.dict, key, dict->entries[i].value);
    }
    return jinja_failed(run) ? jinja_nothing() : table;
}

/* str.maketrans: a table by code points, of two strings of one length (and what is to go), or of a dict. */
static struct jinja_value maketrans(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value table = jinja_dict(run, JINJA_DICT, 0);
    const struct jinja_string *to = NULL, *gone = NULL, *from;
    if (!jinja_given(call->arg[1])) {
        if (call->arg[0].kind == JINJA_DICT) return table_of_dict(run, call->arg[0].dict, table);
        jinja_raise(run, "if you give only one argument to maketrans it must be a dict");
        return jinja_nothing();
    }
    from = jinja_arg_string(run, call->arg[0]);
    to = from ? jinja_arg_string(run, call->arg[1]) : NULL;
    if (to && jinja_given(call->arg[2])) gone = jinja_arg_string(run, call->arg[2]);
    if (to && to->characters != from->characters)
        jinja_raise(run, "the first two maketrans arguments must have equal length");
    for (size_t i = 0, j = 0; !jinja_failed(run) && i < from->length && jinja_step(run, 1);) {
        unsigned n, m;
        const uint32_t c = jinja_character(from->bytes + i, from->length - i, &n);
        const uint32_t by = jinja_character(to->bytes + j, to->length - j, &m);
        jinja_dict_set(run, table.dict, jinja_int(c), jinja_int(by));
        i += n;
        j += m;
    }
    for (size_t i = 0; gone && !jinja_failed(run) && i < gone->length && jinja_step(run, 1);) {
        unsigned n;
        const uint32_t c = jinja_character(gone->bytes + i, gone->length - i, &n);
        jinja_dict_set(run, table.dict, jinja_int(c), jinja_none());
        i += n;
    }
    return jinja_failed(run) ? jinja_nothing() : table;
}

static struct jinja_value translate(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *s = call->self.string;
    struct jinja_builder out = {0};
    for (size_t at = 0; at < s->length && jinja_step(run, 1);) {
        unsigned n;
        const uint32_t c = jinja_character(s->bytes + at, s->length - at, &n);
        const struct jinja_value found = jinja_item(run, call->arg[0], jinja_int(c));
        if (jinja_failed(run)) break;
        const int64_t code = jinja_is_integer(found) ? jinja_integer_of(found) : -1;
        if (found.kind == JINJA_UNDEFINED)
            jinja_put(run, &out, s->bytes + at, n);
        else if (found.kind == JINJA_STRING)
            jinja_put(run, &out, found.string->bytes, found.string->length);
        else if (code >= 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff))
            jinja_put_char(run, &out, (uint32_t)code);
        else if (found.kind != JINJA_NONE)
            jinja_raise(run, "character mapping must return integer, None or str");
        at += n;
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), call->self.safe);
}

const struct jinja_function jinja_string_methods[] = {
    {"strip", strip, "/chars", 0},
    {"lstrip", lstrip, "/chars", 0},
    {"rstrip", rstrip, "/chars", 0},
    {"replace", replace, "/old,new,count", 2},
    {"join", join, "/iterable", 1},
    {"format", format, NULL, 0},
    {"format_map", format_map, "/mapping", 1},
    {"center", center, "/width,fillchar", 1},
    {"ljust", ljust, "/width,fillchar", 1},
    {"rjust", rjust, "/width,fillchar", 1},
    {"zfill", zfill, "/width", 1},
    {"expandtabs", expandtabs, "tabsize", 0},
    {"removeprefix", removeprefix, "/prefix", 1},
    {"removesuffix", removesuffix, "/suffix", 1},
    {"maketrans", maketrans, "/x,y,z", 1},
    {"translate", translate, "/table", 1},
    {NULL, NULL, NULL, 0},
};
