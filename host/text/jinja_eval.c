/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions to values. */
#include "host/text/jinja_eval.h"

#include <string.h>

static struct jinja_value make_list(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value list = jinja_list(run, node->kind == NODE_LIST ? JINJA_LIST : JINJA_TUPLE, node->count);
    for (size_t i = 0; i < node->count && !jinja_failed(run); i++) {
        struct jinja_value item = jinja_evaluate(run, node->items[i]);
        if (!jinja_failed(run)) jinja_push(run, list.list, item);
    }
    return list;
}

static struct jinja_value make_dict(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value dict = jinja_dict(run, JINJA_DICT, node->count / 2);
    for (size_t i = 0; i + 1 < node->count && !jinja_failed(run); i += 2) {
        struct jinja_value key = jinja_evaluate(run, node->items[i]);
        struct jinja_value value = jinja_evaluate(run, node->items[i + 1]);
        if (!jinja_failed(run)) jinja_dict_set(run, dict.dict, key, value);
    }
    return dict;
}

/* ~: everything as text; Markup if one of them is. */
static struct jinja_value concatenate(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value parts = make_list(run, node);
    struct jinja_builder text = {0};
    bool safe = false;
    if (jinja_failed(run)) return jinja_nothing();
    for (size_t i = 0; i < parts.list->count; i++) safe |= parts.list->items[i].safe;
    safe = safe && run->autoescape;
    for (size_t i = 0; i < parts.list->count; i++) {
        if (safe)
            jinja_put_escaped(run, &text, parts.list->items[i]);
        else
            jinja_put_str(run, &text, parts.list->items[i]);
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &text), safe);
}

static bool compare(struct jinja_run *run, const char *op, struct jinja_value a, struct jinja_value b)
{
    if (strcmp(op, "==") == 0) return jinja_equal(run, a, b);
    if (strcmp(op, "!=") == 0) return !jinja_equal(run, a, b);
    if (strcmp(op, "in") == 0) return jinja_contains(run, b, a);
    if (strcmp(op, "not in") == 0) return !jinja_contains(run, b, a);
    return jinja_order(run, op, a, b);
}

static struct jinja_value compare_chain(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value left = jinja_evaluate(run, node->a);
    bool result = true;
    for (size_t i = 0; i < node->count && result && !jinja_failed(run); i++) {
        struct jinja_value right = jinja_evaluate(run, node->items[i]->a);
        if (!jinja_failed(run)) result = compare(run, node->items[i]->op, left, right);
        left = right;
    }
    return jinja_bool(result);
}

static struct jinja_value sign(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value = jinja_evaluate(run, node->a);
    bool negate = node->kind == NODE_NEGATE;
    if (jinja_failed(run)) return jinja_nothing();
    if (value.kind == JINJA_FLOAT) return jinja_float(negate ? -value.number : value.number);
    if (jinja_is_integer(value)) {
        int64_t integer = jinja_integer_of(value);
        if (negate) return jinja_operate(run, "-", jinja_int(0), jinja_int(integer));
        return jinja_int(integer);
    }
    if (value.kind == JINJA_UNDEFINED)
        jinja_raise_undefined(run, value);
    else
        jinja_raise(run, "bad operand type for unary %c: '%s'", negate ? '-' : '+', jinja_type_name(value));
    return jinja_nothing();
}

static struct jinja_value condition(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value test = jinja_evaluate(run, node->b);
    if (jinja_failed(run)) return jinja_nothing();
    if (jinja_true(test)) return jinja_evaluate(run, node->a);
    if (node->c) return jinja_evaluate(run, node->c);
    return jinja_undefined_hint(run, "the inline if-expression evaluated to false and no else section was defined");
}

static struct jinja_value apply(struct jinja_run *run, const struct jinja_node *node, struct jinja_value value)
{
    struct jinja_args args = jinja_arguments(run, node->arguments);
    if (jinja_failed(run)) return jinja_nothing();
    if (!node->function) {
        jinja_raise(run, "No %s named '%s' found", node->kind == NODE_TEST ? "test" : "filter",
                    jinja_shown(node->value).text);
        return jinja_nothing();
    }
    struct jinja_value out = jinja_invoke(run, node->function, value, &args);
    if (node->kind == NODE_TEST && node->flag) return jinja_bool(!jinja_true(out));
    return out;
}

struct jinja_value jinja_filter_chain(struct jinja_run *run, const struct jinja_node *filter, struct jinja_value value)
{
    if (!filter) return value;
    if (!jinja_enter(run)) {
        jinja_leave(run);
        return jinja_nothing();
    }
    value = jinja_filter_chain(run, filter->a, value);
    jinja_leave(run);
    return jinja_failed(run) ? jinja_nothing() : apply(run, filter, value);
}

static struct jinja_value filter_or_test(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value = jinja_evaluate(run, node->a);
    return jinja_failed(run) ? jinja_nothing() : apply(run, node, value);
}

static struct jinja_value call(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value callee = jinja_evaluate(run, node->a);
    if (jinja_failed(run)) return jinja_nothing();
    struct jinja_args args = jinja_arguments(run, node->arguments);
    return jinja_failed(run) ? jinja_nothing() : jinja_call_value(run, callee, &args);
}

static struct jinja_value item(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value = jinja_evaluate(run, node->a);
    if (jinja_failed(run)) return jinja_nothing();
    if (node->b->kind != NODE_SLICE) {
        struct jinja_value key = jinja_evaluate(run, node->b);
        return jinja_failed(run) ? jinja_nothing() : jinja_item(run, value, key);
    }
    struct jinja_value bounds[3];
    for (size_t i = 0; i < 3; i++) {
        bounds[i] = node->b->items[i] ? jinja_evaluate(run, node->b->items[i]) : jinja_none();
        if (jinja_failed(run)) return jinja_nothing();
    }
    return jinja_slice(run, value, bounds);
}

static struct jinja_value logic(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value left = jinja_evaluate(run, node->a);
    if (jinja_failed(run)) return jinja_nothing();
    if (node->kind == NODE_NOT) return jinja_bool(!jinja_true(left));
    return jinja_true(left) == (node->kind == NODE_OR) ? left : jinja_evaluate(run, node->b);
}

static struct jinja_value binary(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value left = jinja_evaluate(run, node->a);
    if (jinja_failed(run)) return jinja_nothing();
    struct jinja_value right = jinja_evaluate(run, node->b);
    return jinja_failed(run) ? jinja_nothing() : jinja_operate(run, node->op, left, right);
}

static struct jinja_value evaluate(struct jinja_run *run, const struct jinja_node *node)
{
    switch (node->kind) {
    case NODE_CONSTANT: return node->value;
    case NODE_NAME: return jinja_lookup(run, node->value);
    case NODE_LIST:
    case NODE_TUPLE: return make_list(run, node);
    case NODE_DICT: return make_dict(run, node);
    case NODE_AND:
    case NODE_OR:
    case NODE_NOT: return logic(run, node);
    case NODE_NEGATE:
    case NODE_PLUS: return sign(run, node);
    case NODE_BINARY: return binary(run, node);
    case NODE_CONCATENATE: return concatenate(run, node);
    case NODE_COMPARE: return compare_chain(run, node);
    case NODE_CONDITION: return condition(run, node);
    case NODE_FILTER:
    case NODE_TEST: return filter_or_test(run, node);
    case NODE_CALL: return call(run, node);
    case NODE_ATTRIBUTE: {
        struct jinja_value value = jinja_evaluate(run, node->a);
        return jinja_failed(run) ? jinja_nothing() : jinja_attribute(run, value, node->value);
    }
    case NODE_ITEM: return item(run, node);
    case NODE_SLICE: jinja_raise(run, "a slice cannot be one of several subscripts"); return jinja_nothing();
    default: jinja_raise(run, "this is no expression"); return jinja_nothing();
    }
}

struct jinja_value jinja_evaluate(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value out = jinja_nothing();
    uint32_t line = run->line, column = run->column;
    if (jinja_enter(run)) {
        run->line = node->line;
        run->column = node->column;
        out = evaluate(run, node);
        if (!jinja_failed(run)) {
            run->line = line;
            run->column = column;
        }
    }
    jinja_leave(run);
    return jinja_failed(run) ? jinja_nothing() : out;
}
