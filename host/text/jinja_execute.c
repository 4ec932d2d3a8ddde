/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: what they write, and what they set. */
#include "host/text/jinja_eval.h"

struct jinja_scope *jinja_scope(struct jinja_run *run, struct jinja_scope *parent)
{
    struct jinja_scope *scope = jinja_alloc(run, 1, sizeof *scope);
    struct jinja_value names = jinja_dict(run, JINJA_DICT, 0);
    if (jinja_failed(run)) return NULL;
    *scope = (struct jinja_scope){.parent = parent, .names = names.dict};
    return scope;
}

struct jinja_value jinja_lookup(struct jinja_run *run, struct jinja_value name)
{
    for (const struct jinja_scope *scope = run->scope; scope; scope = scope->parent) {
        const struct jinja_value *found = jinja_dict_find(run, scope->names, name);
        if (found) return *found;
        if (!jinja_step(run, 1)) return jinja_nothing();
    }
    const struct jinja_function *global = jinja_global_find(name);
    if (global) return (struct jinja_value){.kind = JINJA_FUNCTION, .function = global};
    if (jinja_string_is(name, "self")) return (struct jinja_value){.kind = JINJA_BLOCKS, .identity = run->template};
    return jinja_undefined_name(run, name);
}

static void unpack(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value)
{
    struct jinja_walk walk;
    struct jinja_value item;
    size_t n = 0;
    if (!jinja_iterable(value)) {
        jinja_raise(run, "cannot unpack non-iterable %s object", jinja_type_name(value));
        return;
    }
    struct jinja_value items = jinja_list(run, JINJA_LIST, target->count);
    if (jinja_failed(run) || !jinja_walk_start(run, value, &walk)) return;
    while (jinja_walk_next(run, &walk, &item)) {
        if (++n > target->count) {
            jinja_raise(run, "too many values to unpack (expected %zu)", target->count);
            return;
        }
        jinja_push(run, items.list, item);
    }
    if (n < target->count) jinja_raise(run, "not enough values to unpack (expected %zu, got %zu)", target->count, n);
    for (size_t i = 0; i < n && !jinja_failed(run); i++) jinja_assign(run, target->items[i], items.list->items[i]);
}

void jinja_assign(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value)
{
    if (jinja_failed(run)) return;
    if (target->kind == NODE_NAME) {
        jinja_dict_set(run, run->scope->names, target->value, value);
    } else if (target->kind == NODE_MEMBER) {
        struct jinja_value space = jinja_lookup(run, target->a->value);
        if (jinja_failed(run)) return;
        if (space.kind == JINJA_NAMESPACE)
            jinja_dict_set(run, space.dict, target->value, value);
        else
            jinja_raise(run, "cannot assign attribute on non-namespace object");
    } else {
        unpack(run, target, value);
    }
}

struct jinja_value jinja_capture(struct jinja_run *run, const struct jinja_node *statements, struct jinja_scope *scope)
{
    struct jinja_builder text = {0}, *outside = run->output;
    struct jinja_scope *outer = run->scope;
    if (!scope) return jinja_nothing();
    run->output = &text;
    run->scope = scope;
    jinja_execute(run, statements);
    run->output = outside;
    run->scope = outer;
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &text), run->autoescape);
}

static void write_value(struct jinja_run *run, struct jinja_value value)
{
    if (run->autoescape)
        jinja_put_escaped(run, run->output, value);
    else
        jinja_put_str(run, run->output, value);
}

static void execute_output(struct jinja_run *run, const struct jinja_node *node)
{
    for (size_t i = 0; i < node->count && !jinja_failed(run); i++) {
        struct jinja_value value = jinja_evaluate(run, node->items[i]);
        if (!jinja_failed(run)) write_value(run, value);
    }
}

static enum jinja_flow execute_if(struct jinja_run *run, const struct jinja_node *node)
{
    for (;; node = node->c) {
        struct jinja_value condition = jinja_evaluate(run, node->a);
        if (jinja_failed(run)) return FLOW_NEXT;
        if (jinja_true(condition)) return jinja_execute(run, node->body);
        if (!node->c) return jinja_execute(run, node->other);
    }
}

/* The body in a scope of its own, writing where its surroundings write. */
static enum jinja_flow execute_inner(struct jinja_run *run, const struct jinja_node *body, struct jinja_scope *scope)
{
    struct jinja_scope *outer = run->scope;
    enum jinja_flow flow = FLOW_NEXT;
    if (!scope) return flow;
    run->scope = scope;
    flow = jinja_execute(run, body);
    run->scope = outer;
    return flow;
}

static enum jinja_flow execute_with(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_scope *outer = run->scope, *scope = jinja_scope(run, outer);
    for (size_t i = 0; i + 1 < node->count && !jinja_failed(run); i += 2) {
        struct jinja_value value = jinja_evaluate(run, node->items[i + 1]);
        run->scope = scope;
        jinja_assign(run, node->items[i], value);
        run->scope = outer;
    }
    return execute_inner(run, node->body, scope);
}

static void execute_set_block(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value text = jinja_capture(run, node->body, jinja_scope(run, run->scope));
    if (jinja_failed(run)) return;
    text = jinja_filter_chain(run, node->b, text);
    jinja_assign(run, node->a, text);
}

static void execute_call_block(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value callee = jinja_evaluate(run, node->a->a);
    if (jinja_failed(run)) return;
    struct jinja_args args = jinja_arguments(run, node->a->arguments);
    size_t n = args.n_named;
    struct jinja_value *names = jinja_alloc(run, n + 1, sizeof *names), *named = jinja_alloc(run, n + 1, sizeof *named);
    if (jinja_failed(run)) return;
    for (size_t i = 0; i < n; i++) {
        names[i] = args.names[i];
        named[i] = args.named[i];
    }
    names[n] = jinja_text(run, "caller");
    named[n] = jinja_macro(run, node, jinja_none());
    args.names = names;
    args.named = named;
    args.n_named = n + 1;
    if (jinja_failed(run)) return;
    struct jinja_value value = jinja_call_value(run, callee, &args);
    if (!jinja_failed(run)) write_value(run, value);
}

static void execute_autoescape(struct jinja_run *run, const struct jinja_node *node)
{
    bool outside = run->autoescape;
    struct jinja_value on = jinja_evaluate(run, node->a);
    if (jinja_failed(run)) return;
    run->autoescape = jinja_true(on);
    execute_inner(run, node->body, jinja_scope(run, run->scope));
    run->autoescape = outside;
}

static void execute_one(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value;
    switch (node->kind) {
    case NODE_DATA: jinja_put(run, run->output, node->value.string->bytes, node->value.string->length); break;
    case NODE_OUTPUT: execute_output(run, node); break;
    case NODE_SET:
        value = jinja_evaluate(run, node->b);
        jinja_assign(run, node->a, value);
        break;
    case NODE_SET_BLOCK: execute_set_block(run, node); break;
    case NODE_MACRO:
        value = jinja_macro(run, node, node->value);
        if (!jinja_failed(run)) jinja_dict_set(run, run->scope->names, node->value, value);
        break;
    case NODE_CALL_BLOCK: execute_call_block(run, node); break;
    case NODE_GENERATION:
        value = jinja_capture(run, node->body, jinja_scope(run, run->scope));
        if (!jinja_failed(run)) write_value(run, value);
        break;
    case NODE_FILTER_BLOCK:
        value = jinja_capture(run, node->body, jinja_scope(run, run->scope));
        if (!jinja_failed(run)) value = jinja_filter_chain(run, node->b, value);
        if (!jinja_failed(run) && value.kind != JINJA_STRING)
            jinja_raise(run, "a filter block makes a str, not %s", jinja_type_name(value));
        if (!jinja_failed(run)) write_value(run, value);
        break;
    case NODE_BLOCK: execute_inner(run, node->body, jinja_scope(run, node->flag ? run->scope : run->root)); break;
    case NODE_AUTOESCAPE: execute_autoescape(run, node); break;
    default: jinja_raise(run, "there is no other template to load"); break;
    }
}

enum jinja_flow jinja_execute(struct jinja_run *run, const struct jinja_node *statements)
{
    enum jinja_flow flow = FLOW_NEXT;
    if (!jinja_enter(run)) statements = NULL;
    for (const struct jinja_node *node = statements; node && flow == FLOW_NEXT; node = node->next) {
        run->line = node->line;
        run->column = node->column;
        if (!jinja_step(run, 1)) break;
        if (node->kind == NODE_IF)
            flow = execute_if(run, node);
        else if (node->kind == NODE_FOR)
            flow = jinja_execute_for(run, node);
        else if (node->kind == NODE_WITH)
            flow = execute_with(run, node);
        else if (node->kind == NODE_BREAK)
            flow = FLOW_BREAK;
        else if (node->kind == NODE_CONTINUE)
            flow = FLOW_CONTINUE;
        else
            execute_one(run, node);
        if (jinja_failed(run)) break;
    }
    jinja_leave(run);
    return flow;
}
