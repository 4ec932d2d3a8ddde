/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that every template has. */
#include "host/text/jinja_eval.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t range_count(int64_t start, int64_t stop, int64_t step)
{
    __int128 distance = (__int128)stop - start, by = step;
    if (step < 0) {
        distance = -distance;
        by = -by;
    }
    return distance <= 0 ? 0 : (int64_t)((distance - 1) / by < JINJA_MAX_RANGE ? (distance - 1) / by + 1 : INT64_MAX);
}

static struct jinja_value range(struct jinja_run *run, struct jinja_call *call)
{
    bool one = !jinja_given(call->arg[1]);
    int64_t start = one ? 0 : jinja_arg_integer(run, call->arg[0], 0);
    int64_t stop = jinja_arg_integer(run, call->arg[one ? 0 : 1], 0), step = jinja_arg_integer(run, call->arg[2], 1);
    struct jinja_range *out = jinja_alloc(run, 1, sizeof *out);
    if (!jinja_failed(run) && step == 0) jinja_raise(run, "range() arg 3 must not be zero");
    if (jinja_failed(run)) return jinja_nothing();
    int64_t count = range_count(start, stop, step);
    if (count > JINJA_MAX_RANGE)
        jinja_raise(run, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", JINJA_MAX_RANGE);
    *out = (struct jinja_range){start, stop, step, count};
    return (struct jinja_value){.kind = JINJA_RANGE, .range = out};
}

static void add_pairs(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value pairs)
{
    struct jinja_walk walk;
    struct jinja_value pair;
    if (!jinja_walk_start(run, pairs, &walk)) return;
    while (jinja_walk_next(run, &walk, &pair)) {
        struct jinja_value both = jinja_to_list(run, pair);
        if (!jinja_failed(run) && both.list->count != 2) jinja_raise(run, "a dict is made of pairs");
        if (jinja_failed(run)) return;
        jinja_dict_set(run, dict, both.list->items[0], both.list->items[1]);
    }
}

/* dict(...) and namespace(...): a mapping or pairs, then names. */
static struct jinja_value make_dict(struct jinja_run *run, const struct jinja_call *call, enum jinja_kind kind)
{
    const struct jinja_args *args = call->args;
    struct jinja_value out = jinja_dict(run, kind, 0);
    if (args->count > 1) jinja_raise(run, "%s expected at most 1 argument, got %zu", call->name, args->count);
    if (!jinja_failed(run) && args->count == 1) {
        struct jinja_value from = args->positional[0];
        if (from.kind == JINJA_DICT) {
            for (size_t i = 0; i < from.dict->count && !jinja_failed(run); i++)
                jinja_dict_set(run, out.dict, from.dict->entries[i].key, from.dict->entries[i].value);
        } else {
            add_pairs(run, out.dict, from);
        }
    }
    for (size_t i = 0; i < args->n_named && !jinja_failed(run); i++)
        jinja_dict_set(run, out.dict, args->names[i], args->named[i]);
    return jinja_failed(run) ? jinja_nothing() : out;
}

static struct jinja_value dict(struct jinja_run *run, struct jinja_call *call)
{
    return make_dict(run, call, JINJA_DICT);
}
static struct jinja_value namespace(struct jinja_run *run, struct jinja_call *call)
{
    return make_dict(run, call, JINJA_NAMESPACE);
}

static struct jinja_value cycler(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value items = jinja_list(run, JINJA_CYCLER, call->args->count);
    if (call->args->count == 0 || call->args->n_named) jinja_raise(run, "at least one item has to be provided");
    for (size_t i = 0; i < call->args->count && !jinja_failed(run); i++)
        jinja_push(run, items.list, call->args->positional[i]);
    return items;
}

static struct jinja_value joiner(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_joiner *out = jinja_alloc(run, 1, sizeof *out);
    struct jinja_value usual = jinja_text(run, ", ");
    if (jinja_failed(run)) return jinja_nothing();
    out->separator = jinja_given(call->arg[0]) ? call->arg[0] : usual;
    return (struct jinja_value){.kind = JINJA_JOINER, .joiner = out};
}

static struct jinja_value raise_exception(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value text = jinja_str(run, call->arg[0]);
    if (jinja_failed(run)) return jinja_nothing();
    int length = text.string->length < 380 ? (int)text.string->length : 380;
    jinja_raise(run, "%.*s", length, text.string->bytes);
    return jinja_nothing();
}

/* The directives that C's strftime does not have or knows otherwise: %f, and a time without zone. */
static void put_directive(struct jinja_run *run, struct jinja_builder *to, const struct jinja_string *format,
                          size_t *at, const struct jinja_now *now)
{
    char text[16];
    char c = *at + 1 < format->length ? format->bytes[*at + 1] : '\0';
    if (c == 'f') {
        snprintf(text, sizeof text, "%06d", now->microsecond % 1000000);
        jinja_put_text(run, to, text);
    } else if (c != 'z' && c != 'Z') {
        jinja_put(run, to, format->bytes + *at, c ? 2 : 1);
    }
    *at += c ? 2 : 1;
}

static struct jinja_value strftime_now(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *format = jinja_arg_string(run, call->arg[0]);
    const struct jinja_now *now = run->now;
    struct jinja_builder prepared = {0};
    if (!format) return jinja_nothing();
    if (!now) {
        if (run->local_now.month == 0) jinja_now_local(&run->local_now);
        now = &run->local_now;
    }
    struct tm tm = {.tm_year = now->year - 1900,
                    .tm_mon = now->month - 1,
                    .tm_mday = now->day,
                    .tm_hour = now->hour,
                    .tm_min = now->minute,
                    .tm_sec = now->second,
                    .tm_isdst = -1};
    struct tm normalized = tm;
    timegm(&normalized); /* for the days of week and year */
    tm.tm_wday = normalized.tm_wday;
    tm.tm_yday = normalized.tm_yday;
    for (size_t at = 0; at < format->length && jinja_step(run, 1);) {
        if (format->bytes[at] == '%')
            put_directive(run, &prepared, format, &at, now);
        else
            jinja_put(run, &prepared, &format->bytes[at++], 1);
    }
    jinja_put(run, &prepared, " ", 2); /* an empty result is no failure: a space that is cut off, and the NUL */
    char text[4096];
    if (jinja_failed(run)) return jinja_nothing();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, sizeof text, prepared.bytes, &tm);
#pragma GCC diagnostic pop
    if (n == 0) jinja_raise(run, "strftime_now() makes no more than %zu characters", sizeof text - 2);
    return jinja_failed(run) ? jinja_nothing() : jinja_copy(run, text, n - 1);
}

const struct jinja_function *jinja_global_find(struct jinja_value name)
{
    static const struct jinja_function functions[] = {
        {"range", range, "/start,stop,step", 1},
        {"dict", dict, NULL, 0},
        {"namespace", namespace, NULL, 0},
        {"cycler", cycler, NULL, 0},
        {"joiner", joiner, "sep", 0},
        {"raise_exception", raise_exception, "message", 1},
        {"strftime_now", strftime_now, "format", 1},
        {"lipsum", jinja_lipsum, "n,html,min,max", 0},
        {NULL, NULL, NULL, 0},
    };
    return jinja_function_find(functions, name);
}
