/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind `is`. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

static struct jinja_value is_defined(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind != JINJA_UNDEFINED);
}

static struct jinja_value is_undefined(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_UNDEFINED);
}

static struct jinja_value is_none(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_NONE);
}

static struct jinja_value is_boolean(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_BOOL);
}

static struct jinja_value is_true(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_BOOL && call->self.boolean);
}

static struct jinja_value is_false(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_BOOL && !call->self.boolean);
}

static struct jinja_value is_integer(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_INT);
}

static struct jinja_value is_float(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_FLOAT);
}

static struct jinja_value is_number(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(jinja_is_number(call->self));
}

static struct jinja_value is_string(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_STRING);
}

static struct jinja_value is_mapping(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_DICT);
}

/* What has a length and items by number or name. */
static struct jinja_value is_sequence(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(jinja_length(call->self) >= 0 && call->self.kind != JINJA_VIEW);
}

static struct jinja_value is_iterable(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(jinja_iterable(call->self) || call->self.kind == JINJA_LOOP);
}

static struct jinja_value is_callable(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    switch (call->self.kind) {
    case JINJA_UNDEFINED:
    case JINJA_FUNCTION:
    case JINJA_METHOD:
    case JINJA_MACRO:
    case JINJA_LOOP:
    case JINJA_JOINER: return jinja_bool(true);
    default: return jinja_bool(false);
    }
}

static struct jinja_value is_escaped(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(call->self.kind == JINJA_STRING && call->self.safe);
}

static struct jinja_value is_sameas(struct jinja_run *run, struct jinja_call *call)
{
    (void)run;
    return jinja_bool(jinja_same(call->self, call->arg[0]));
}

static struct jinja_value rest_is(struct jinja_run *run, struct jinja_value value, struct jinja_value by, int64_t rest)
{
    struct jinja_value left = jinja_operate(run, "%", value, by);
    return jinja_failed(run) ? jinja_nothing() : jinja_bool(jinja_equal(run, left, jinja_int(rest)));
}

static struct jinja_value is_even(struct jinja_run *run, struct jinja_call *call)
{
    return rest_is(run, call->self, jinja_int(2), 0);
}

static struct jinja_value is_odd(struct jinja_run *run, struct jinja_call *call)
{
    return rest_is(run, call->self, jinja_int(2), 1);
}

static struct jinja_value is_divisibleby(struct jinja_run *run, struct jinja_call *call)
{
    return rest_is(run, call->self, call->arg[0], 0);
}

static struct jinja_value by_method(struct jinja_run *run, struct jinja_value value, const char *name)
{
    struct jinja_value text = jinja_str(run, value), method = jinja_text(run, name);
    if (jinja_failed(run)) return jinja_nothing();
    return jinja_invoke(run, jinja_method_find(text, method), text, &(struct jinja_args){0});
}

static struct jinja_value is_lower(struct jinja_run *run, struct jinja_call *call)
{
    return by_method(run, call->self, "islower");
}

static struct jinja_value is_upper(struct jinja_run *run, struct jinja_call *call)
{
    return by_method(run, call->self, "isupper");
}

static struct jinja_value is_in(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_bool(jinja_contains(run, call->arg[0], call->self));
}

static struct jinja_value is_equal(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_bool(jinja_equal(run, call->self, call->arg[0]));
}

static struct jinja_value is_different(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_bool(!jinja_equal(run, call->self, call->arg[0]));
}

static struct jinja_value is_less(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_bool(jinja_order(run, "<", call->self, call->arg[0]));
}

static struct jinja_value is_less_or_equal(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_bool(jinja_order(run, "<=", call->self, call->arg[0]));
}

static struct jinja_value is_greater(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_bool(jinja_order(run, ">", call->self, call->arg[0]));
}

static struct jinja_value is_greater_or_equal(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_bool(jinja_order(run, ">=", call->self, call->arg[0]));
}

static struct jinja_value is_filter(struct jinja_run *run, struct jinja_call *call)
{
    jinja_hash(run, call->self); /* Python looks it up in a dict, which lists are an error for */
    return jinja_bool(call->self.kind == JINJA_STRING && jinja_filter_find(call->self));
}

static struct jinja_value is_test(struct jinja_run *run, struct jinja_call *call)
{
    jinja_hash(run, call->self);
    return jinja_bool(call->self.kind == JINJA_STRING && jinja_test_find(call->self));
}

const struct jinja_function *jinja_test_find(struct jinja_value name)
{
    static const struct jinja_function tests[] = {
        {"defined", is_defined, "/", 0},
        {"undefined", is_undefined, "/", 0},
        {"none", is_none, "/", 0},
        {"boolean", is_boolean, "/", 0},
        {"true", is_true, "/", 0},
        {"false", is_false, "/", 0},
        {"integer", is_integer, "/", 0},
        {"float", is_float, "/", 0},
        {"number", is_number, "/", 0},
        {"string", is_string, "/", 0},
        {"mapping", is_mapping, "/", 0},
        {"sequence", is_sequence, "/", 0},
        {"iterable", is_iterable, "/", 0},
        {"callable", is_callable, "/", 0},
        {"escaped", is_escaped, "/", 0},
        {"sameas", is_sameas, "other", 1},
        {"even", is_even, "/", 0},
        {"odd", is_odd, "/", 0},
        {"divisibleby", is_divisibleby, "num", 1},
        {"lower", is_lower, "/", 0},
        {"upper", is_upper, "/", 0},
        {"in", is_in, "seq", 1},
        {"==", is_equal, "/other", 1},
        {"eq", is_equal, "/other", 1},
        {"equalto", is_equal, "/other", 1},
        {"!=", is_different, "/other", 1},
        {"ne", is_different, "/other", 1},
        {"<", is_less, "/other", 1},
        {"lt", is_less, "/other", 1},
        {"lessthan", is_less, "/other", 1},
        {"<=", is_less_or_equal, "/other", 1},
        {"le", is_less_or_equal, "/other", 1},
        {">", is_greater, "/other", 1},
        {"gt", is_greater, "/other", 1},
        {"greaterthan", is_greater, "/other", 1},
        {">=", is_greater_or_equal, "/other", 1},
        {"ge", is_greater_or_equal, "/other", 1},
        {"filter", is_filter, "/", 0},
        {"test", is_test, "/", 0},
        {NULL, NULL, NULL, 0},
    };
    return jinja_function_find(tests, name);
}
