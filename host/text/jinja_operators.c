/* SPDX-License-Identifier: Apache-2.0 */
/* + - * / // % ** on whatever Python has them for. Integers are 64 bits: what does not fit is an error. */
#include "host/text/jinja_value.h"

#include <math.h>
#include <string.h>

static struct jinja_value too_large(struct jinja_run *run)
{
    jinja_raise(run, "an integer does not fit into 64 bits");
    return jinja_nothing();
}

static struct jinja_value divided_by_zero(struct jinja_run *run)
{
    jinja_raise(run, "division by zero");
    return jinja_nothing();
}

static struct jinja_value integer_power(struct jinja_run *run, int64_t base, int64_t exponent)
{
    int64_t result = 1;
    if (exponent < 0) return base == 0 ? divided_by_zero(run) : jinja_float(pow((double)base, (double)exponent));
    while (exponent > 0) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result)) return too_large(run);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base)) return too_large(run);
    }
    return jinja_int(result);
}

static struct jinja_value integers(struct jinja_run *run, const char *op, int64_t a, int64_t b)
{
    int64_t out = 0;
    bool lost = false;
    if (strcmp(op, "**") == 0) return integer_power(run, a, b);
    if ((*op == '/' || *op == '%') && b == 0) return divided_by_zero(run);
    if (strcmp(op, "/") == 0) return jinja_float((double)((long double)a / (long double)b));
    if (*op == '+')
        lost = __builtin_add_overflow(a, b, &out);
    else if (*op == '-')
        lost = __builtin_sub_overflow(a, b, &out);
    else if (*op == '*')
        lost = __builtin_mul_overflow(a, b, &out);
    else if (b == -1) /* INT64_MIN / -1 does not fit */
        lost = *op == '/' && __builtin_sub_overflow(0, a, &out);
    else if (*op == '%')
        out = a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0);
    else
        out = a / b - (a % b != 0 && (a < 0) != (b < 0));
    return lost ? too_large(run) : jinja_int(out);
}

static struct jinja_value float_power(struct jinja_run *run, double a, double b)
{
    if (a == 0 && b < 0) return divided_by_zero(run);
    double result = pow(a, b);
    if ((isinf(result) && isfinite(a) && isfinite(b)) || (isnan(result) && !isnan(a) && !isnan(b))) {
        jinja_raise(run, "the result of ** is no float");
        return jinja_nothing();
    }
    return jinja_float(result);
}

static struct jinja_value floats(struct jinja_run *run, const char *op, double a, double b)
{
    if (strcmp(op, "**") == 0) return float_power(run, a, b);
    if (*op == '+') return jinja_float(a + b);
    if (*op == '-') return jinja_float(a - b);
    if (*op == '*') return jinja_float(a * b);
    if (b == 0) return divided_by_zero(run);
    if (strcmp(op, "/") == 0) return jinja_float(a / b);
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (b < 0) != (rest < 0)) {
        rest += b;
        quotient -= 1;
    }
    if (*op == '%') return jinja_float(rest != 0 ? rest : copysign(0, b));
    double whole = floor(quotient);
    if (quotient - whole > 0.5) whole += 1;
    return jinja_float(quotient != 0 ? whole : copysign(0, a / b));
}

static bool is_list(struct jinja_value v) { return v.kind == JINJA_LIST || v.kind == JINJA_TUPLE; }

static struct jinja_value join_lists(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    struct jinja_value out = jinja_list(run, a.kind, a.list->count + b.list->count);
    if (jinja_failed(run) || !jinja_step(run, a.list->count + b.list->count)) return jinja_nothing();
    for (size_t i = 0; i < a.list->count; i++) jinja_push(run, out.list, a.list->items[i]);
    for (size_t i = 0; i < b.list->count; i++) jinja_push(run, out.list, b.list->items[i]);
    return out;
}

static struct jinja_value repeat(struct jinja_run *run, struct jinja_value value, int64_t times)
{
    if (times < 0) times = 0;
    if (value.kind == JINJA_STRING) {
        struct jinja_builder text = {0};
        jinja_put_repeated(run, &text, value.string->bytes, value.string->length, (size_t)times);
        return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &text), value.safe);
    }
    size_t count;
    if (__builtin_mul_overflow(value.list->count, (size_t)times, &count)) {
        jinja_raise_limit(run, "memory");
        return jinja_nothing();
    }
    struct jinja_value out = jinja_list(run, value.kind, count);
    if (jinja_failed(run) || !jinja_step(run, count)) return jinja_nothing();
    for (size_t i = 0; i < count; i++) jinja_push(run, out.list, value.list->items[i % value.list->count]);
    return out;
}

static struct jinja_value no_operation(struct jinja_run *run, const char *op, struct jinja_value a,
                                       struct jinja_value b)
{
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED)
        jinja_raise_undefined(run, a.kind == JINJA_UNDEFINED ? a : b);
    else if (*op == '+' && a.kind == JINJA_STRING)
        jinja_raise(run, "can only concatenate str (not \"%s\") to str", jinja_type_name(b));
    else if (*op == '+' && is_list(a))
        jinja_raise(run, "can only concatenate %s (not \"%s\") to %s", jinja_type_name(a), jinja_type_name(b),
                    jinja_type_name(a));
    else
        jinja_raise(run, "unsupported operand type(s) for %s: '%s' and '%s'", op, jinja_type_name(a),
                    jinja_type_name(b));
    return jinja_nothing();
}

struct jinja_value jinja_operate(struct jinja_run *run, const char *op, struct jinja_value a, struct jinja_value b)
{
    bool times = strcmp(op, "*") == 0;
    if (jinja_is_integer(a) && jinja_is_integer(b)) return integers(run, op, jinja_integer_of(a), jinja_integer_of(b));
    if (jinja_is_number(a) && jinja_is_number(b)) return floats(run, op, jinja_number_of(a), jinja_number_of(b));
    if (*op == '+' && a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        bool safe = a.safe || b.safe;
        if (safe && !a.safe) a = jinja_escape(run, a);
        if (safe && !b.safe) b = jinja_escape(run, b);
        return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_concatenate(run, a, b), safe);
    }
    if (*op == '+' && is_list(a) && a.kind == b.kind) return join_lists(run, a, b);
    if (times && (a.kind == JINJA_STRING || is_list(a)) && jinja_is_integer(b))
        return repeat(run, a, jinja_integer_of(b));
    if (times && (b.kind == JINJA_STRING || is_list(b)) && jinja_is_integer(a))
        return repeat(run, b, jinja_integer_of(a));
    if (*op == '%' && a.kind == JINJA_STRING) return jinja_percent(run, a, b);
    return no_operation(run, op, a, b);
}
