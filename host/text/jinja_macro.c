/* SPDX-License-Identifier: Apache-2.0 */
/* Macros, and call blocks, whose body is a macro named caller. */
#include "host/text/jinja_eval.h"

#include <string.h>

struct jinja_value jinja_macro(struct jinja_run *run, const struct jinja_node *node, struct jinja_value name)
{
    struct jinja_macro *macro = jinja_alloc(run, 1, sizeof *macro);
    if (!macro) return jinja_nothing();
    *macro = (struct jinja_macro){node, run->scope, name};
    for (struct jinja_scope *scope = run->scope; scope && !scope->captured; scope = scope->parent)
        scope->captured = true;
    return (struct jinja_value){.kind = JINJA_MACRO, .macro = macro};
}

static void put_name(struct jinja_run *run, struct jinja_scope *scope, const char *name, struct jinja_value value)
{
    struct jinja_value key = jinja_text(run, name);
    if (!jinja_failed(run)) jinja_dict_set(run, scope->names, key, value);
}

/* Positional arguments, then those by name, then defaults (which may use what stands before them). */
static void bind_parameters(struct jinja_run *run, const struct jinja_macro *macro, const struct jinja_args *args,
                            struct jinja_scope *scope, bool *used)
{
    const struct jinja_signature *signature = macro->node->signature;
    for (size_t i = 0; i < signature->count && !jinja_failed(run); i++) {
        struct jinja_value value = {.kind = JINJA_MISSING};
        if (i < args->count) value = args->positional[i];
        for (size_t k = 0; k < args->n_named; k++) {
            if (!jinja_equal(run, args->names[k], signature->names[i])) continue;
            if (i < args->count) break; /* stays unused, which is an error */
            used[k] = true;
            value = args->named[k];
        }
        if (!jinja_given(value) && signature->defaults[i])
            value = jinja_evaluate(run, signature->defaults[i]);
        else if (!jinja_given(value))
            value = jinja_undefined_hint(run, "a parameter of the macro was not provided");
        if (!jinja_failed(run)) jinja_dict_set(run, scope->names, signature->names[i], value);
    }
}

static void bind_rest(struct jinja_run *run, const struct jinja_macro *macro, const struct jinja_args *args,
                      struct jinja_scope *scope, const bool *used)
{
    const struct jinja_signature *signature = macro->node->signature;
    struct jinja_value caller = jinja_undefined_hint(run, "No caller defined");
    struct jinja_value rest = jinja_dict(run, JINJA_DICT, 0), extra = jinja_list(run, JINJA_TUPLE, 0);
    for (size_t i = signature->count; i < args->count && !jinja_failed(run); i++)
        jinja_push(run, extra.list, args->positional[i]);
    for (size_t k = 0; k < args->n_named && !jinja_failed(run); k++) {
        if (used[k]) continue;
        if (signature->uses_caller && jinja_string_is(args->names[k], "caller"))
            caller = args->named[k];
        else
            jinja_dict_set(run, rest.dict, args->names[k], args->named[k]);
    }
    if (jinja_failed(run)) return;
    if (signature->uses_caller && !jinja_dict_find_text(run, scope->names, "caller"))
        put_name(run, scope, "caller", caller);
    if (signature->uses_kwargs)
        put_name(run, scope, "kwargs", rest);
    else if (rest.dict->count)
        jinja_raise(run, "the macro takes no keyword argument '%s'", jinja_shown(rest.dict->entries[0].key).text);
    if (signature->uses_varargs)
        put_name(run, scope, "varargs", extra);
    else if (extra.list->count)
        jinja_raise(run, "the macro takes not more than %zu argument(s)", signature->count);
}

struct jinja_value jinja_call_macro(struct jinja_run *run, const struct jinja_macro *macro,
                                    const struct jinja_args *args)
{
    struct jinja_scope *outside = run->scope, *scope = jinja_scope(run, macro->scope);
    bool *used = jinja_alloc(run, args->n_named, sizeof *used);
    struct jinja_value out = jinja_nothing();
    if (!jinja_enter(run) || !scope || !used) goto done;
    run->scope = scope;
    bind_parameters(run, macro, args, scope, used);
    if (!jinja_failed(run)) bind_rest(run, macro, args, scope, used);
    if (!jinja_failed(run)) out = jinja_capture(run, macro->node->body, scope);
done:
    run->scope = outside;
    jinja_leave(run);
    return jinja_failed(run) ? jinja_nothing() : out;
}

struct jinja_value jinja_macro_attribute(struct jinja_run *run, const struct jinja_macro *macro,
                                         struct jinja_value name)
{
    const struct jinja_signature *signature = macro->node->signature;
    if (jinja_string_is(name, "name")) return macro->name;
    if (jinja_string_is(name, "catch_kwargs")) return jinja_bool(signature->uses_kwargs);
    if (jinja_string_is(name, "catch_varargs")) return jinja_bool(signature->uses_varargs);
    if (jinja_string_is(name, "caller")) return jinja_bool(signature->uses_caller);
    if (jinja_string_is(name, "arguments")) {
        struct jinja_value list = jinja_list(run, JINJA_TUPLE, signature->count);
        for (size_t i = 0; i < signature->count && !jinja_failed(run); i++)
            jinja_push(run, list.list, signature->names[i]);
        return list;
    }
    return jinja_undefined_member(run, (struct jinja_value){.kind = JINJA_MACRO}, name);
}

void jinja_put_macro(struct jinja_run *run, struct jinja_builder *to, const struct jinja_macro *macro)
{
    jinja_put_text(run, to, "<Macro ");
    if (macro->name.kind == JINJA_STRING)
        jinja_put_repr(run, to, macro->name);
    else
        jinja_put_text(run, to, "anonymous");
    jinja_put_text(run, to, ">");
}
