/* SPDX-License-Identifier: Apache-2.0 */
/* Running a template: scopes, calls, and the tables of what can be called. */
#ifndef SLUICE_TEXT_JINJA_EVAL_H
#define SLUICE_TEXT_JINJA_EVAL_H

#include "host/text/jinja_parse.h"

#define JINJA_MAX_PARAMETERS 8

struct jinja_args {
    const struct jinja_value *positional;
    size_t count;
    const struct jinja_value *names, *named;
    size_t n_named;
};

/* A call of something built in. */
struct jinja_call {
    struct jinja_value self;                      /* what a filter, test or method works on */
    struct jinja_value arg[JINJA_MAX_PARAMETERS]; /* by the function's parameters; JINJA_MISSING: not given */
    const struct jinja_args *args;                /* as written */
    const char *name;
};

struct jinja_function {
    const char *name;
    struct jinja_value (*call)(struct jinja_run *run, struct jinja_call *call);
    const char *parameters; /* "a,b"; with a leading "/" none can be named; NULL: the function reads call->args */
    unsigned required;      /* how many of them */
};

/* Binds args to the function's parameters (wrong ones are a TypeError) and calls it. */
struct jinja_value jinja_invoke(struct jinja_run *run, const struct jinja_function *function, struct jinja_value self,
                                const struct jinja_args *args);
/* callee(args), whatever callee is. */
struct jinja_value jinja_call_value(struct jinja_run *run, struct jinja_value callee, const struct jinja_args *args);

/* Tables; NULL if there is no such name. */
const struct jinja_function *jinja_filter_find(struct jinja_value name);
const struct jinja_function *jinja_test_find(struct jinja_value name);
const struct jinja_function *jinja_global_find(struct jinja_value name);
const struct jinja_function *jinja_method_find(struct jinja_value self, struct jinja_value name);
const struct jinja_function *jinja_function_find(const struct jinja_function *table, struct jinja_value name);
extern const struct jinja_function jinja_text_filters[], jinja_sequence_filters[], jinja_number_filters[],
    jinja_lazy_filters[], jinja_markup_filters[], jinja_order_filters[], jinja_string_methods[], jinja_string_checks[],
    jinja_string_searches[];

/* Arguments of builtins. */
static inline bool jinja_given(struct jinja_value value) { return value.kind != JINJA_MISSING; }
static inline bool jinja_given_not_none(struct jinja_value value)
{
    return value.kind != JINJA_MISSING && value.kind != JINJA_NONE;
}
int64_t jinja_arg_integer(struct jinja_run *run, struct jinja_value value, int64_t otherwise);
bool jinja_arg_true(struct jinja_value value, bool otherwise);
/* A string argument; an error, and NULL, if it is something else. */
const struct jinja_string *jinja_arg_string(struct jinja_run *run, struct jinja_value value);

/* Variables. */
struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_dict *names;
    bool captured; /* by a macro or call block, which may outlive it */
};
struct jinja_scope *jinja_scope(struct jinja_run *run, struct jinja_scope *parent);
struct jinja_value jinja_lookup(struct jinja_run *run, struct jinja_value name);
void jinja_assign(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value);

enum jinja_flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE };
enum jinja_flow jinja_execute(struct jinja_run *run, const struct jinja_node *statements);
/* What the statements write in this scope. */
struct jinja_value jinja_capture(struct jinja_run *run, const struct jinja_node *statements, struct jinja_scope *scope);
struct jinja_value jinja_evaluate(struct jinja_run *run, const struct jinja_node *node);
/* The arguments of a call, filter or test, evaluated; NULL: none. */
struct jinja_args jinja_arguments(struct jinja_run *run, const struct jinja_arguments *arguments);
/* The filters of a filter block or set block, applied to value. */
struct jinja_value jinja_filter_chain(struct jinja_run *run, const struct jinja_node *filter, struct jinja_value value);

/* Macros. */
struct jinja_macro {
    const struct jinja_node *node; /* NODE_MACRO, NODE_CALL_BLOCK or NODE_GENERATION */
    struct jinja_scope *scope;
    struct jinja_value name;
};
struct jinja_value jinja_macro(struct jinja_run *run, const struct jinja_node *node, struct jinja_value name);
struct jinja_value jinja_call_macro(struct jinja_run *run, const struct jinja_macro *macro,
                                    const struct jinja_args *args);
struct jinja_value jinja_macro_attribute(struct jinja_run *run, const struct jinja_macro *macro,
                                         struct jinja_value name);
void jinja_put_macro(struct jinja_run *run, struct jinja_builder *to, const struct jinja_macro *macro);

/* Loops. */
enum jinja_flow jinja_execute_for(struct jinja_run *run, const struct jinja_node *node);
struct jinja_value jinja_loop_attribute(struct jinja_run *run, struct jinja_loop *loop, struct jinja_value name);
struct jinja_value jinja_call_loop(struct jinja_run *run, struct jinja_loop *loop, const struct jinja_args *args);
int64_t jinja_loop_length(struct jinja_run *run, struct jinja_loop *loop);
size_t jinja_loop_index(const struct jinja_loop *loop);

/* Attributes for map, sort, groupby...: "a.b.0", parts taken as items; missing parts become otherwise unless it is MISSING. */
struct jinja_value jinja_by_attribute(struct jinja_run *run, struct jinja_value item, struct jinja_value attribute,
                                      struct jinja_value otherwise);
/* Texts without regard to case, for sorting. */
struct jinja_value jinja_ignore_case(struct jinja_run *run, struct jinja_value value);
struct jinja_value jinja_to_case(struct jinja_run *run, struct jinja_value string, int to);
struct jinja_value jinja_format_text(struct jinja_run *run, const struct jinja_string *format, bool safe,
                                     const struct jinja_args *args);
void jinja_put_formatted(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value,
                         const struct jinja_string *spec);
struct jinja_value jinja_replace(struct jinja_run *run, const struct jinja_string *text, const struct jinja_string *old,
                                 const struct jinja_string *by, int64_t count);
/* The value as Python's pprint writes it from column indent on, with `behind` characters to follow on its last line. */
void jinja_put_pretty(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value, size_t indent,
                      size_t behind);
struct jinja_value jinja_urlize(struct jinja_run *run, struct jinja_call *call);
struct jinja_value jinja_lipsum(struct jinja_run *run, struct jinja_call *call);
struct jinja_value jinja_wordwrap(struct jinja_run *run, struct jinja_call *call);
struct jinja_value jinja_join(struct jinja_run *run, const struct jinja_string *separator, struct jinja_value items);
size_t jinja_byte_of(const struct jinja_string *string, size_t character);

#endif
