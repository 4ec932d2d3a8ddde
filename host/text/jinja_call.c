/* SPDX-License-Identifier: Apache-2.0 */
/* Calls: arguments evaluated and bound to parameters. */
#include "host/text/jinja_eval.h"

#include <string.h>

static void add_star(struct jinja_run *run, struct jinja_value star, struct jinja_list *positional)
{
    struct jinja_walk walk;
    struct jinja_value value;
    if (!jinja_walk_start(run, star, &walk)) return;
    while (jinja_walk_next(run, &walk, &value)) jinja_push(run, positional, value);
}

static void add_star_star(struct jinja_run *run, struct jinja_value map, struct jinja_list *names,
                          struct jinja_list *named)
{
    if (jinja_failed(run)) return;
    if (map.kind != JINJA_DICT) {
        jinja_raise(run, "the argument after ** must be a mapping, not %s", jinja_type_name(map));
        return;
    }
    for (size_t i = 0; i < map.dict->count; i++) {
        if (map.dict->entries[i].key.kind != JINJA_STRING) jinja_raise(run, "keywords must be strings");
        jinja_push(run, names, map.dict->entries[i].key);
        jinja_push(run, named, map.dict->entries[i].value);
    }
}

static bool twice(struct jinja_run *run, const struct jinja_list *names)
{
    for (size_t i = 0; i < names->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (jinja_equal(run, names->items[i], names->items[j])) return true;
        }
    }
    return false;
}

struct jinja_args jinja_arguments(struct jinja_run *run, const struct jinja_arguments *arguments)
{
    struct jinja_args out = {0};
    struct jinja_list positional = {0}, names = {0}, named = {0};
    if (!arguments) return out;
    for (size_t i = 0; i < arguments->count && !jinja_failed(run); i++)
        jinja_push(run, &positional, jinja_evaluate(run, arguments->positional[i]));
    for (size_t i = 0; i < arguments->n_named && !jinja_failed(run); i++) {
        jinja_push(run, &names, arguments->names[i]);
        jinja_push(run, &named, jinja_evaluate(run, arguments->named[i]));
    }
    if (arguments->star && !jinja_failed(run)) add_star(run, jinja_evaluate(run, arguments->star), &positional);
    if (arguments->star_star && !jinja_failed(run))
        add_star_star(run, jinja_evaluate(run, arguments->star_star), &names, &named);
    if (!jinja_failed(run) && names.count > 1 && twice(run, &names))
        jinja_raise(run, "a keyword argument is given twice");
    if (jinja_failed(run)) return out;
    return (struct jinja_args){positional.items, positional.count, names.items, named.items, named.count};
}

static size_t count_parameters(const char *parameters)
{
    size_t n = *parameters ? 1 : 0;
    for (; *parameters; parameters++) n += *parameters == ',';
    return n;
}

/* The number of the parameter with this name among "a,b,c", or -1. */
static int find_parameter(const char *parameters, struct jinja_value name)
{
    for (int i = 0; *parameters; i++) {
        size_t length = strcspn(parameters, ",");
        if (length == name.string->length && memcmp(parameters, name.string->bytes, length) == 0) return i;
        parameters += length + (parameters[length] == ',');
    }
    return -1;
}

static void bind(struct jinja_run *run, const struct jinja_function *function, struct jinja_call *call)
{
    const struct jinja_args *args = call->args;
    bool unnamed = *function->parameters == '/';
    const char *parameters = function->parameters + unnamed;
    size_t count = count_parameters(parameters);
    if (args->count > count) {
        jinja_raise(run, "%s() takes %zu argument%s, but %zu were given", function->name, count, count == 1 ? "" : "s",
                    args->count);
        return;
    }
    for (size_t i = 0; i < args->count; i++) call->arg[i] = args->positional[i];
    for (size_t i = 0; i < args->n_named; i++) {
        int at = unnamed ? -1 : find_parameter(parameters, args->names[i]);
        if (at < 0 || jinja_given(call->arg[at])) {
            jinja_raise(run, "%s() %s keyword argument '%s'", function->name,
                        at < 0 ? "got an unexpected" : "got twice the", jinja_shown(args->names[i]).text);
            return;
        }
        call->arg[at] = args->named[i];
    }
    for (unsigned i = 0; i < function->required; i++) {
        if (!jinja_given(call->arg[i])) {
            jinja_raise(run, "%s() is missing an argument", function->name);
            return;
        }
    }
}

struct jinja_value jinja_invoke(struct jinja_run *run, const struct jinja_function *function, struct jinja_value self,
                                const struct jinja_args *args)
{
    struct jinja_call call = {.self = self, .args = args, .name = function->name};
    struct jinja_value out = jinja_nothing();
    if (jinja_enter(run)) {
        for (size_t i = 0; i < JINJA_MAX_PARAMETERS; i++) call.arg[i].kind = JINJA_MISSING;
        if (function->parameters) bind(run, function, &call);
        if (!jinja_failed(run)) out = function->call(run, &call);
    }
    jinja_leave(run);
    return jinja_failed(run) ? jinja_nothing() : out;
}

static struct jinja_value join(struct jinja_run *run, struct jinja_joiner *joiner)
{
    if (!joiner->used) {
        joiner->used = true;
        return jinja_text(run, "");
    }
    return joiner->separator;
}

struct jinja_value jinja_call_value(struct jinja_run *run, struct jinja_value callee, const struct jinja_args *args)
{
    switch (callee.kind) {
    case JINJA_FUNCTION: return jinja_invoke(run, callee.function, jinja_none(), args);
    case JINJA_METHOD: return jinja_invoke(run, callee.method->function, callee.method->self, args);
    case JINJA_MACRO: return jinja_call_macro(run, callee.macro, args);
    case JINJA_LOOP: return jinja_call_loop(run, callee.loop, args);
    case JINJA_JOINER:
        if (args->count || args->n_named) jinja_raise(run, "a joiner takes no arguments");
        return join(run, callee.joiner);
    case JINJA_UNDEFINED: jinja_raise_undefined(run, callee); return jinja_nothing();
    default: jinja_raise(run, "'%s' object is not callable", jinja_type_name(callee)); return jinja_nothing();
    }
}

const struct jinja_function *jinja_function_find(const struct jinja_function *table, struct jinja_value name)
{
    for (; table->name; table++) {
        if (jinja_string_is(name, table->name)) return table;
    }
    return NULL;
}

const struct jinja_function *jinja_filter_find(struct jinja_value name)
{
    static const struct jinja_function *const tables[] = {jinja_text_filters,   jinja_sequence_filters,
                                                          jinja_number_filters, jinja_lazy_filters,
                                                          jinja_markup_filters, jinja_order_filters};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        const struct jinja_function *found = jinja_function_find(tables[i], name);
        if (found) return found;
    }
    return NULL;
}

int64_t jinja_arg_integer(struct jinja_run *run, struct jinja_value value, int64_t otherwise)
{
    if (!jinja_given(value)) return otherwise;
    if (jinja_is_integer(value)) return jinja_integer_of(value);
    if (value.kind == JINJA_UNDEFINED)
        jinja_raise_undefined(run, value);
    else
        jinja_raise(run, "'%s' object cannot be interpreted as an integer", jinja_type_name(value));
    return otherwise;
}

bool jinja_arg_true(struct jinja_value value, bool otherwise)
{
    return jinja_given(value) ? jinja_true(value) : otherwise;
}

const struct jinja_string *jinja_arg_string(struct jinja_run *run, struct jinja_value value)
{
    if (value.kind == JINJA_STRING) return value.string;
    jinja_raise(run, "a string is needed, not %s", jinja_type_name(value));
    return NULL;
}
