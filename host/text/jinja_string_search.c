/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of str that look for something in it. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

#include <string.h>

/* A part of a string, by bytes and by characters. */
struct part {
    const char *bytes;
    size_t length;
    int64_t first;    /* its first character's number */
    bool empty_range; /* the bounds exclude even an empty match */
};

static int64_t clip(int64_t index, int64_t length)
{
    if (index < 0) index += length;
    return index < 0 ? 0 : index;
}

/* text[start:end] for find, count, startswith... */
static struct part part_of(struct jinja_run *run, const struct jinja_string *text, struct jinja_value start,
                           struct jinja_value end)
{
    int64_t length = (int64_t)text->characters;
    int64_t from = jinja_given_not_none(start) ? clip(jinja_arg_integer(run, start, 0), length) : 0;
    int64_t to = jinja_given_not_none(end) ? clip(jinja_arg_integer(run, end, 0), length) : length;
    struct part part = {.bytes = text->bytes, .first = from};
    if (to > length) to = length;
    if (from > to) {
        part.empty_range = true;
        return part;
    }
    if (!jinja_step(run, text->length / 64)) return part;
    size_t first = jinja_byte_of(text, (size_t)from);
    part.bytes = text->bytes + first;
    part.length = jinja_byte_of(text, (size_t)to) - first;
    return part;
}

static int64_t characters(const char *bytes, size_t length)
{
    int64_t n = 0;
    for (size_t i = 0; i < length; i++) n += ((unsigned char)bytes[i] & 0xc0) != 0x80;
    return n;
}

/* The last place of what (not empty), or NULL. What comparing costs is counted as it happens. */
static const char *find_last(struct jinja_run *run, const char *bytes, size_t length, const struct jinja_string *what)
{
    size_t n = what->length;
    if (n > length || !jinja_step(run, length / 32)) return NULL;
    for (size_t at = length - n + 1; at-- > 0;) {
        if (bytes[at] != what->bytes[0] || bytes[at + n - 1] != what->bytes[n - 1]) continue;
        if (!jinja_step(run, n / 64 + 1)) return NULL;
        if (memcmp(bytes + at, what->bytes, n) == 0) return bytes + at;
    }
    return NULL;
}

/* The number of the first (or last) place, or -1. */
static int64_t find(struct jinja_run *run, struct jinja_call *call, bool last)
{
    const struct jinja_string *what = jinja_arg_string(run, call->arg[0]);
    struct part part = part_of(run, call->self.string, call->arg[1], call->arg[2]);
    if (jinja_failed(run) || part.empty_range || what->length > part.length) return -1;
    if (what->length == 0) return part.first + (last ? characters(part.bytes, part.length) : 0);
    if (!jinja_step(run, part.length / 64)) return -1;
    const char *found = last ? find_last(run, part.bytes, part.length, what)
                             : memmem(part.bytes, part.length, what->bytes, what->length);
    return found ? part.first + characters(part.bytes, (size_t)(found - part.bytes)) : -1;
}

static struct jinja_value method_find(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_int(find(run, call, false));
}

static struct jinja_value method_rfind(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_int(find(run, call, true));
}

static struct jinja_value found_or_error(struct jinja_run *run, int64_t at)
{
    if (at < 0) jinja_raise(run, "substring not found");
    return jinja_int(at);
}

static struct jinja_value method_index(struct jinja_run *run, struct jinja_call *call)
{
    return found_or_error(run, find(run, call, false));
}

static struct jinja_value method_rindex(struct jinja_run *run, struct jinja_call *call)
{
    return found_or_error(run, find(run, call, true));
}

static struct jinja_value method_count(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *what = jinja_arg_string(run, call->arg[0]);
    struct part part = part_of(run, call->self.string, call->arg[1], call->arg[2]);
    int64_t n = 0;
    if (jinja_failed(run) || part.empty_range) return jinja_int(0);
    if (what->length == 0) return jinja_int(characters(part.bytes, part.length) + 1);
    const char *at = part.bytes, *end = part.bytes + part.length, *found;
    if (!jinja_step(run, part.length / 16)) return jinja_nothing();
    while ((found = memmem(at, (size_t)(end - at), what->bytes, what->length)) != NULL) {
        n++;
        at = found + what->length;
    }
    return jinja_int(n);
}

static bool begins(struct part part, const struct jinja_string *with, bool at_end)
{
    if (part.empty_range || with->length > part.length) return false;
    const char *at = at_end ? part.bytes + part.length - with->length : part.bytes;
    return memcmp(at, with->bytes, with->length) == 0;
}

static struct jinja_value begins_or_ends(struct jinja_run *run, struct jinja_call *call, bool at_end)
{
    struct jinja_value with = call->arg[0];
    struct part part = part_of(run, call->self.string, call->arg[1], call->arg[2]);
    if (with.kind != JINJA_STRING && with.kind != JINJA_TUPLE)
        jinja_raise(run, "%s first arg must be str or a tuple of str, not %s", call->name, jinja_type_name(with));
    if (jinja_failed(run)) return jinja_nothing();
    if (with.kind == JINJA_STRING) return jinja_bool(begins(part, with.string, at_end));
    for (size_t i = 0; i < with.list->count; i++) {
        const struct jinja_string *one = jinja_arg_string(run, with.list->items[i]);
        if (!one) return jinja_nothing();
        if (begins(part, one, at_end)) return jinja_bool(true);
    }
    return jinja_bool(false);
}

static struct jinja_value startswith(struct jinja_run *run, struct jinja_call *call)
{
    return begins_or_ends(run, call, false);
}

static struct jinja_value endswith(struct jinja_run *run, struct jinja_call *call)
{
    return begins_or_ends(run, call, true);
}

static void push_part(struct jinja_run *run, struct jinja_value list, const char *bytes, size_t length, bool safe)
{
    struct jinja_value part = jinja_mark(jinja_string(run, bytes, length), safe);
    if (!jinja_failed(run)) jinja_push(run, list.list, part);
}

/* The first (or last) white space of the text, *width bytes of it, or NULL. */
static const char *find_space(const char *bytes, size_t length, bool right, size_t *width)
{
    for (size_t at = right ? length : 0; right ? at > 0 : at < length;) {
        unsigned n;
        size_t here = at;
        if (right) {
            do {
                here--;
            } while (here > 0 && ((unsigned char)bytes[here] & 0xc0) == 0x80);
        }
        bool space = jinja_character_is(jinja_character(bytes + here, length - here, &n), JINJA_SPACE);
        *width = n;
        if (space) return bytes + here;
        at = right ? here : here + n;
    }
    return NULL;
}

/* Takes the next part off one end of the rest; false if no separator is left. by: NULL for white space. */
static bool split_once(struct jinja_run *run, const char **rest, size_t *length, const struct jinja_string *by,
                       bool right, struct jinja_value list, bool safe)
{
    const char *found = NULL;
    size_t width = by ? by->length : 0;
    if (!by) {
        jinja_trim(rest, length, !right, right);
        found = find_space(*rest, *length, right, &width);
    } else if (right) {
        found = find_last(run, *rest, *length, by);
    } else if (width <= *length) {
        found = memmem(*rest, *length, by->bytes, width);
    }
    if (!found) return false;
    size_t before = (size_t)(found - *rest), behind = *length - before - width;
    if (right) {
        push_part(run, list, found + width, behind, safe);
        *length = before;
    } else {
        push_part(run, list, *rest, before, safe);
        *rest = found + width;
        *length = behind;
    }
    return true;
}

static void reverse(struct jinja_list *list)
{
    for (size_t i = 0, j = list->count; i + 1 < j; i++, j--) {
        struct jinja_value swap = list->items[i];
        list->items[i] = list->items[j - 1];
        list->items[j - 1] = swap;
    }
}

/* Python's split and rsplit: by white space if there is no separator. */
static struct jinja_value split(struct jinja_run *run, struct jinja_call *call, bool right)
{
    struct jinja_value list = jinja_list(run, JINJA_LIST, 0), self = call->self;
    const char *rest = self.string->bytes;
    size_t length = self.string->length;
    int64_t most = jinja_arg_integer(run, call->arg[1], -1);
    const struct jinja_string *by = jinja_given_not_none(call->arg[0]) ? jinja_arg_string(run, call->arg[0]) : NULL;
    if (by && by->length == 0) jinja_raise(run, "empty separator");
    if (!jinja_step(run, length / 8)) return jinja_nothing();
    while (most != 0 && !jinja_failed(run) && split_once(run, &rest, &length, by, right, list, self.safe)) most--;
    if (!by) jinja_trim(&rest, &length, !right, right);
    if (by || length) push_part(run, list, rest, length, self.safe);
    if (jinja_failed(run)) return jinja_nothing();
    if (right) reverse(list.list);
    return list;
}

static struct jinja_value method_split(struct jinja_run *run, struct jinja_call *call)
{
    return split(run, call, false);
}
static struct jinja_value method_rsplit(struct jinja_run *run, struct jinja_call *call)
{
    return split(run, call, true);
}

static bool ends_line(uint32_t c)
{
    return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

static struct jinja_value splitlines(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *s = call->self.string;
    struct jinja_value list = jinja_list(run, JINJA_LIST, 0);
    bool keep = jinja_arg_true(call->arg[0], false);
    size_t line = 0, at = 0;
    if (!jinja_step(run, s->length / 8)) return jinja_nothing();
    while (at < s->length && !jinja_failed(run)) {
        unsigned n;
        uint32_t c = jinja_character(s->bytes + at, s->length - at, &n);
        size_t end = at;
        at += n;
        if (!ends_line(c)) continue;
        if (c == '\r' && at < s->length && s->bytes[at] == '\n') at++;
        push_part(run, list, s->bytes + line, (keep ? at : end) - line, call->self.safe);
        line = at;
    }
    if (line < s->length) push_part(run, list, s->bytes + line, s->length - line, call->self.safe);
    return list;
}

static struct jinja_value partition(struct jinja_run *run, struct jinja_call *call, bool right)
{
    const struct jinja_string *s = call->self.string, *by = jinja_arg_string(run, call->arg[0]);
    struct jinja_value parts = jinja_list(run, JINJA_TUPLE, 3);
    bool safe = call->self.safe;
    if (by && by->length == 0) jinja_raise(run, "empty separator");
    if (jinja_failed(run) || !jinja_step(run, s->length / 16)) return jinja_nothing();
    const char *found = NULL;
    if (by->length <= s->length)
        found = right ? find_last(run, s->bytes, s->length, by) : memmem(s->bytes, s->length, by->bytes, by->length);
    size_t before = found ? (size_t)(found - s->bytes) : right ? 0 : s->length;
    size_t width = found ? by->length : 0;
    push_part(run, parts, s->bytes, before, safe);
    push_part(run, parts, s->bytes + before, width, safe);
    push_part(run, parts, s->bytes + before + width, s->length - before - width, safe);
    return parts;
}

static struct jinja_value method_partition(struct jinja_run *run, struct jinja_call *call)
{
    return partition(run, call, false);
}

static struct jinja_value method_rpartition(struct jinja_run *run, struct jinja_call *call)
{
    return partition(run, call, true);
}

const struct jinja_function jinja_string_searches[] = {
    {"find", method_find, "/sub,start,end", 1},
    {"rfind", method_rfind, "/sub,start,end", 1},
    {"index", method_index, "/sub,start,end", 1},
    {"rindex", method_rindex, "/sub,start,end", 1},
    {"count", method_count, "/sub,start,end", 1},
    {"startswith", startswith, "/prefix,start,end", 1},
    {"endswith", endswith, "/suffix,start,end", 1},
    {"split", method_split, "sep,maxsplit", 0},
    {"rsplit", method_rsplit, "sep,maxsplit", 0},
    {"splitlines", splitlines, "keepends", 0},
    {"partition", method_partition, "/sep", 1},
    {"rpartition", method_rpartition, "/sep", 1},
    {NULL, NULL, NULL, 0},
};
