/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of dict, list, tuple, range, numbers and cyclers, and which methods a value has. */
#include "host/text/jinja_eval.h"

#include <math.h>

static struct jinja_value view(struct jinja_run *run, struct jinja_value self, enum jinja_view_kind kind)
{
    struct jinja_view *out = jinja_alloc(run, 1, sizeof *out);
    if (!out) return jinja_nothing();
    *out = (struct jinja_view){self.dict, kind};
    return (struct jinja_value){.kind = JINJA_VIEW, .view = out};
}

static struct jinja_value keys(struct jinja_run *run, struct jinja_call *call)
{
    return view(run, call->self, JINJA_KEYS);
}
static struct jinja_value values(struct jinja_run *run, struct jinja_call *call)
{
    return view(run, call->self, JINJA_VALUES);
}
static struct jinja_value items(struct jinja_run *run, struct jinja_call *call)
{
    return view(run, call->self, JINJA_ITEMS);
}

static struct jinja_value get(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_value *found = jinja_dict_find(run, call->self.dict, call->arg[0]);
    if (found) return *found;
    return jinja_given(call->arg[1]) ? call->arg[1] : jinja_none();
}

static struct jinja_value copy_dict(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value out = jinja_dict(run, JINJA_DICT, call->self.dict->count);
    for (size_t i = 0; i < call->self.dict->count && !jinja_failed(run); i++)
        jinja_dict_set(run, out.dict, call->self.dict->entries[i].key, call->self.dict->entries[i].value);
    return out;
}

static struct jinja_value copy_list(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_to_list(run, call->self);
}

static struct jinja_value count(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_walk walk;
    struct jinja_value item;
    int64_t n = 0;
    if (!jinja_walk_start(run, call->self, &walk)) return jinja_nothing();
    while (jinja_walk_next(run, &walk, &item)) n += jinja_equal(run, item, call->arg[0]);
    return jinja_int(n);
}

static struct jinja_value index_of(struct jinja_run *run, struct jinja_call *call)
{
    int64_t length = jinja_length(call->self), start = jinja_arg_integer(run, call->arg[1], 0);
    int64_t end = jinja_arg_integer(run, call->arg[2], length);
    struct jinja_walk walk;
    struct jinja_value item;
    if (start < 0) start = start + length < 0 ? 0 : start + length;
    if (end < 0) end += length;
    if (jinja_failed(run) || !jinja_walk_start(run, call->self, &walk)) return jinja_nothing();
    for (int64_t i = 0; i < end && jinja_walk_next(run, &walk, &item); i++) {
        if (i >= start && jinja_equal(run, item, call->arg[0])) return jinja_int(i);
    }
    jinja_raise(run, "the value is not in the %s", jinja_type_name(call->self));
    return jinja_nothing();
}

static struct jinja_value bit_length(struct jinja_run *run, struct jinja_call *call)
{
    int64_t integer = jinja_integer_of(call->self);
    uint64_t size = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    int64_t bits = 0;
    (void)run;
    for (; size; size >>= 1) bits++;
    return jinja_int(bits);
}

static struct jinja_value bit_count(struct jinja_run *run, struct jinja_call *call)
{
    const int64_t integer = jinja_integer_of(call->self);
    (void)run;
    return jinja_int(__builtin_popcountll(integer < 0 ? 0 - (unsigned long long)integer : (unsigned long long)integer));
}

static struct jinja_value conjugate(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return call->self.kind == JINJA_FLOAT ? call->self : jinja_int(jinja_integer_of(call->self));
}

static struct jinja_value integer_ratio(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_pair(run, jinja_int(jinja_integer_of(call->self)), jinja_int(1));
}

/* Numerator and denominator are powers of two apart; those that do not fit 64 bits are an error. */
static struct jinja_value float_ratio(struct jinja_run *run, struct jinja_call *call)
{
    int exponent;
    double fraction = frexp(call->self.number, &exponent);
    int64_t denominator = 1;
    if (!isfinite(call->self.number)) {
        jinja_raise(run, "cannot convert %s to integer ratio", isnan(call->self.number) ? "NaN" : "Infinity");
        return jinja_nothing();
    }
    for (; fraction < floor(fraction) || fraction > floor(fraction); exponent--) fraction *= 2;
    if (exponent > 62 || exponent < -62 || fabs(ldexp(fraction, exponent > 0 ? exponent : 0)) >= 9.2e18) {
        jinja_raise(run, "integers of more than 64 bits are not supported");
        return jinja_nothing();
    }
    if (exponent < 0) denominator = (int64_t)1 << -exponent;
    return jinja_pair(run, jinja_int((int64_t)ldexp(fraction, exponent > 0 ? exponent : 0)), jinja_int(denominator));
}

static struct jinja_value is_integer(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(isfinite(call->self.number) && floor(call->self.number) == call->self.number);
}

static struct jinja_value next_of_cycler(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_list *cycler = call->self.cycler;
    struct jinja_value out = cycler->items[cycler->at];
    (void)run;
    cycler->at = (cycler->at + 1) % cycler->count;
    return out;
}

static struct jinja_value reset_cycler(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    call->self.cycler->at = 0;
    return jinja_none();
}

const struct jinja_function *jinja_method_find(struct jinja_value self, struct jinja_value name)
{
    static const struct jinja_function of_dict[] = {{"keys", keys, "/", 0},      {"values", values, "/", 0},
                                                    {"items", items, "/", 0},    {"get", get, "/key,default", 1},
                                                    {"copy", copy_dict, "/", 0}, {NULL, NULL, NULL, 0}};
    static const struct jinja_function of_list[] = {{"count", count, "/value", 1},
                                                    {"index", index_of, "/value,start,stop", 1},
                                                    {"copy", copy_list, "/", 0},
                                                    {NULL, NULL, NULL, 0}};
    static const struct jinja_function of_tuple[] = {
        {"count", count, "/value", 1}, {"index", index_of, "/value,start,stop", 1}, {NULL, NULL, NULL, 0}};
    static const struct jinja_function of_int[] = {{"bit_length", bit_length, "/", 0},
                                                   {"bit_count", bit_count, "/", 0},
                                                   {"conjugate", conjugate, "/", 0},
                                                   {"as_integer_ratio", integer_ratio, "/", 0},
                                                   {NULL, NULL, NULL, 0}};
    static const struct jinja_function of_float[] = {{"is_integer", is_integer, "/", 0},
                                                     {"conjugate", conjugate, "/", 0},
                                                     {"as_integer_ratio", float_ratio, "/", 0},
                                                     {NULL, NULL, NULL, 0}};
    static const struct jinja_function of_cycler[] = {
        {"next", next_of_cycler, "/", 0}, {"reset", reset_cycler, "/", 0}, {NULL, NULL, NULL, 0}};
    const struct jinja_function *found = NULL;
    switch (self.kind) {
    case JINJA_STRING:
        found = jinja_function_find(jinja_string_methods, name);
        if (!found) found = jinja_function_find(jinja_string_searches, name);
        if (!found) found = jinja_function_find(jinja_string_checks, name);
        return found;
    case JINJA_DICT: return jinja_function_find(of_dict, name);
    case JINJA_LIST: return jinja_function_find(of_list, name);
    case JINJA_TUPLE:
    case JINJA_RANGE: return jinja_function_find(of_tuple, name);
    case JINJA_BOOL:
    case JINJA_INT: return jinja_function_find(of_int, name);
    case JINJA_FLOAT: return jinja_function_find(of_float, name);
    case JINJA_CYCLER: return jinja_function_find(of_cycler, name);
    default: return NULL;
    }
}
