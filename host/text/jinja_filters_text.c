/* SPDX-License-Identifier: Apache-2.0 */
/* Filters on text. What is no text is taken as str() writes it. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

#include <string.h>

/* The value as text; Markup stays Markup. */
static struct jinja_value soft(struct jinja_run *run, struct jinja_value value)
{
    return value.kind == JINJA_STRING ? value : jinja_str(run, value);
}

/* A method of str as a filter. */
static struct jinja_value by_method(struct jinja_run *run, struct jinja_call *call, const char *name)
{
    struct jinja_value self = soft(run, call->self), method_name = jinja_text(run, name);
    if (jinja_failed(run)) return jinja_nothing();
    return jinja_invoke(run, jinja_method_find(self, method_name), self, call->args);
}

static struct jinja_value lower(struct jinja_run *run, struct jinja_call *call)
{
    return by_method(run, call, "lower");
}
static struct jinja_value upper(struct jinja_run *run, struct jinja_call *call)
{
    return by_method(run, call, "upper");
}
static struct jinja_value capitalize(struct jinja_run *run, struct jinja_call *call)
{
    return by_method(run, call, "capitalize");
}

static struct jinja_value trim(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_args args = {.positional = call->arg, .count = jinja_given(call->arg[0]) ? 1 : 0};
    struct jinja_call strip = {.self = call->self, .args = &args};
    return by_method(run, &strip, "strip");
}

/* Each word's first letter upper, its rest lower: words begin behind white space and -({[<. */
static struct jinja_value title(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value text = soft(run, call->self);
    struct jinja_builder out = {0};
    if (jinja_failed(run)) return jinja_nothing();
    const struct jinja_string *s = text.string;
    for (size_t at = 0; at < s->length && jinja_step(run, 1);) {
        size_t end = at, first = 0;
        unsigned n;
        while (end < s->length) {
            uint32_t c = jinja_character(s->bytes + end, s->length - end, &n);
            if (jinja_character_is(c, JINJA_SPACE) || (c < 0x80 && c && strchr("-({[<", (int)c))) break;
            end += n;
            if (first == 0) first = n;
        }
        struct jinja_value head = jinja_to_case(run, jinja_string(run, s->bytes + at, first), JINJA_TO_UPPER);
        if (jinja_failed(run)) return jinja_nothing();
        struct jinja_value rest = jinja_string(run, s->bytes + at + first, end - at - first);
        rest = jinja_failed(run) ? rest : jinja_to_case(run, rest, JINJA_TO_LOWER);
        jinja_put_str(run, &out, head);
        jinja_put_str(run, &out, rest);
        if (end < s->length) jinja_put(run, &out, s->bytes + end, n);
        at = end < s->length ? end + n : end;
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), text.safe);
}

static struct jinja_value replace(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value text = jinja_str(run, call->self), old = jinja_str(run, call->arg[0]);
    struct jinja_value by = jinja_str(run, call->arg[1]);
    int64_t count = jinja_given_not_none(call->arg[2]) ? jinja_arg_integer(run, call->arg[2], -1) : -1;
    return jinja_failed(run) ? jinja_nothing() : jinja_replace(run, text.string, old.string, by.string, count);
}

static struct jinja_value center(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value width = jinja_given(call->arg[0]) ? call->arg[0] : jinja_int(80);
    struct jinja_args args = {.positional = &width, .count = 1};
    struct jinja_call method = {.self = call->self, .args = &args};
    return by_method(run, &method, "center");
}

static struct jinja_value format(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value text = soft(run, call->self), values = jinja_list(run, JINJA_TUPLE, call->args->count);
    if (call->args->count && call->args->n_named)
        jinja_raise(run, "can't handle positional and keyword arguments at the same time");
    if (jinja_failed(run)) return jinja_nothing();
    for (size_t i = 0; i < call->args->count; i++) jinja_push(run, values.list, call->args->positional[i]);
    if (call->args->n_named) values = jinja_dict(run, JINJA_DICT, call->args->n_named);
    for (size_t i = 0; i < call->args->n_named && !jinja_failed(run); i++)
        jinja_dict_set(run, values.dict, call->args->names[i], call->args->named[i]);
    return jinja_failed(run) ? jinja_nothing() : jinja_percent(run, text, values);
}

static struct jinja_value lines_of(struct jinja_run *run, struct jinja_value text)
{
    struct jinja_value name = jinja_text(run, "splitlines");
    if (jinja_failed(run)) return jinja_nothing();
    return jinja_invoke(run, jinja_method_find(text, name), text, &(struct jinja_args){0});
}

static struct jinja_value indent(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_builder margin = {0}, out = {0};
    struct jinja_value newline = jinja_text(run, "\n");
    bool first = jinja_arg_true(call->arg[1], false), blank = jinja_arg_true(call->arg[2], false);
    if (call->arg[0].kind == JINJA_STRING)
        jinja_put_str(run, &margin, call->arg[0]);
    else
        jinja_put_repeated(
            run, &margin, " ", 1,
            (size_t)(jinja_arg_integer(run, call->arg[0], 4) < 0 ? 0 : jinja_arg_integer(run, call->arg[0], 4)));
    if (jinja_failed(run)) return jinja_nothing();
    struct jinja_value text = jinja_operate(run, "+", call->self, newline);
    if (jinja_failed(run)) return jinja_nothing();
    struct jinja_value lines = lines_of(run, text);
    if (first) jinja_put(run, &out, margin.bytes, margin.length);
    for (size_t i = 0; !jinja_failed(run) && i < lines.list->count; i++) {
        if (i > 0) jinja_put(run, &out, "\n", 1);
        if (i > 0 && (blank || lines.list->items[i].string->length)) jinja_put(run, &out, margin.bytes, margin.length);
        jinja_put_str(run, &out, lines.list->items[i]);
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), call->self.safe);
}

static struct jinja_value truncate_text(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *s, *end = jinja_given(call->arg[2]) ? jinja_arg_string(run, call->arg[2]) : NULL;
    int64_t length = jinja_arg_integer(run, call->arg[0], 255), end_length = end ? (int64_t)end->characters : 3;
    int64_t leeway = jinja_given_not_none(call->arg[3]) ? jinja_arg_integer(run, call->arg[3], 5) : 5;
    struct jinja_builder out = {0};
    if (length < end_length) jinja_raise(run, "expected length >= %lld", (long long)end_length);
    if (leeway < 0) jinja_raise(run, "expected leeway >= 0");
    if (jinja_failed(run)) return jinja_nothing();
    int64_t characters = jinja_length(call->self);
    if (characters < 0) jinja_raise(run, "object of type '%s' has no len()", jinja_type_name(call->self));
    if (characters - leeway <= length) return call->self;
    s = jinja_arg_string(run, call->self);
    if (!s) return jinja_nothing();
    size_t bytes = jinja_byte_of(s, (size_t)(length - end_length));
    if (!jinja_arg_true(call->arg[1], false)) {
        const char *space = memrchr(s->bytes, ' ', bytes);
        if (space) bytes = (size_t)(space - s->bytes);
    }
    jinja_put(run, &out, s->bytes, bytes);
    jinja_put(run, &out, end ? end->bytes : "...", end ? end->length : 3);
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), call->self.safe);
}

static struct jinja_value wordcount(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value text = soft(run, call->self);
    int64_t words = 0;
    bool inside = false;
    if (jinja_failed(run) || !jinja_step(run, text.string->length / 8)) return jinja_nothing();
    for (size_t at = 0; at < text.string->length;) {
        unsigned n;
        uint32_t c = jinja_character(text.string->bytes + at, text.string->length - at, &n);
        bool word = jinja_character_is(c, JINJA_WORD);
        words += word && !inside;
        inside = word;
        at += n;
    }
    return jinja_int(words);
}

static struct jinja_value string(struct jinja_run *run, struct jinja_call *call) { return soft(run, call->self); }

static void put_quoted(struct jinja_run *run, struct jinja_builder *out, struct jinja_value value, bool plus)
{
    static const char hex[] = "0123456789ABCDEF";
    struct jinja_value text = jinja_str(run, value);
    for (size_t i = 0; !jinja_failed(run) && i < text.string->length; i++) {
        unsigned char c = (unsigned char)text.string->bytes[i];
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("_.-~", c));
        if (plain || (c == '/' && !plus))
            jinja_put(run, out, (const char *)&text.string->bytes[i], 1);
        else if (c == ' ' && plus)
            jinja_put(run, out, "+", 1);
        else
            jinja_put(run, out, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
        if (!jinja_step(run, 1)) return;
    }
}

static struct jinja_value urlencode(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_builder out = {0};
    struct jinja_walk walk;
    struct jinja_value pair, source = call->self, name = jinja_text(run, "items");
    if (jinja_failed(run)) return jinja_nothing();
    if (source.kind == JINJA_STRING || !jinja_iterable(source)) {
        put_quoted(run, &out, source, false);
        return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &out);
    }
    if (source.kind == JINJA_DICT)
        source = jinja_invoke(run, jinja_method_find(source, name), source, &(struct jinja_args){0});
    if (!jinja_walk_start(run, source, &walk)) return jinja_nothing();
    while (jinja_walk_next(run, &walk, &pair)) {
        bool is_pair = (pair.kind == JINJA_TUPLE || pair.kind == JINJA_LIST) && pair.list->count == 2;
        if (!is_pair) jinja_raise(run, "urlencode needs pairs of key and value");
        if (jinja_failed(run)) return jinja_nothing();
        if (out.length) jinja_put(run, &out, "&", 1);
        put_quoted(run, &out, pair.list->items[0], true);
        jinja_put(run, &out, "=", 1);
        put_quoted(run, &out, pair.list->items[1], true);
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &out);
}

const struct jinja_function jinja_text_filters[] = {
    {"lower", lower, "/", 0},
    {"upper", upper, "/", 0},
    {"capitalize", capitalize, "/", 0},
    {"title", title, "/", 0},
    {"trim", trim, "chars", 0},
    {"replace", replace, "old,new,count", 2},
    {"center", center, "width", 0},
    {"format", format, NULL, 0},
    {"indent", indent, "width,first,blank", 0},
    {"truncate", truncate_text, "length,killwords,end,leeway", 0},
    {"wordcount", wordcount, "/", 0},
    {"wordwrap", jinja_wordwrap, "width,break_long_words,wrapstring,break_on_hyphens", 0},
    {"string", string, "/", 0},
    {"urlencode", urlencode, "/", 0},
    {NULL, NULL, NULL, 0},
};
