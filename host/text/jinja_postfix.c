/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind an expression: members, calls, filters and tests. */
#include "host/text/jinja_eval.h"

#include <string.h>

static struct jinja_node *subscript_node(struct jinja_parser *parser, enum jinja_node_kind kind, struct jinja_node *a)
{
    struct jinja_node *node = jinja_node(parser, kind);
    if (node) node->a = a;
    return node;
}

static struct jinja_node *parse_dot(struct jinja_parser *parser, struct jinja_node *value)
{
    struct jinja_node *node = subscript_node(parser, NODE_ATTRIBUTE, value);
    jinja_next(parser);
    if (!node) return NULL;
    if (parser->token->kind != TOKEN_NAME && parser->token->kind != TOKEN_INTEGER) {
        jinja_parse_error(parser, "a name or number");
        return node;
    }
    if (parser->token->kind == TOKEN_INTEGER) {
        node->kind = NODE_ITEM;
        node->b = jinja_node(parser, NODE_CONSTANT);
        if (node->b) node->b->value = parser->token->value;
    } else {
        node->value = parser->token->value;
    }
    jinja_next(parser);
    return node;
}

static bool at_slice_end(const struct jinja_parser *parser)
{
    return jinja_at(parser, "]") || jinja_at(parser, ",") || jinja_at(parser, ":");
}

/* An index, or start:stop:step. */
static struct jinja_node *parse_index(struct jinja_parser *parser)
{
    struct jinja_node *slice = jinja_node(parser, NODE_SLICE);
    struct jinja_node *part = NULL;
    if (!jinja_at(parser, ":")) {
        part = jinja_parse_expression(parser);
        if (jinja_failed(parser->run) || !jinja_at(parser, ":")) return part;
    }
    jinja_node_push(parser, slice, part);
    while (jinja_skip(parser, ":")) {
        if (slice->count == 3) jinja_parse_error(parser, "]");
        jinja_node_push(parser, slice, at_slice_end(parser) ? NULL : jinja_parse_expression(parser));
    }
    while (!jinja_failed(parser->run) && slice->count < 3) jinja_node_push(parser, slice, NULL);
    return slice;
}

static struct jinja_node *parse_brackets(struct jinja_parser *parser, struct jinja_node *value)
{
    struct jinja_node *node = subscript_node(parser, NODE_ITEM, value);
    jinja_next(parser);
    if (!node) return NULL;
    node->b = jinja_at(parser, "]") ? jinja_node(parser, NODE_TUPLE) : parse_index(parser);
    if (!jinja_failed(parser->run) && jinja_at(parser, ",")) {
        struct jinja_node *tuple = jinja_node(parser, NODE_TUPLE);
        jinja_node_push(parser, tuple, node->b);
        while (jinja_skip(parser, ",")) {
            if (jinja_at(parser, "]")) break;
            jinja_node_push(parser, tuple, parse_index(parser));
        }
        node->b = tuple;
    }
    jinja_expect(parser, "]");
    return node;
}

/* name=value if that stands here; false otherwise. */
static bool parse_named(struct jinja_parser *parser, struct jinja_node *names, struct jinja_node *values)
{
    const struct jinja_token *next = parser->token + 1;
    if (parser->token->kind != TOKEN_NAME || next->kind != TOKEN_OPERATOR || next->length != 1 || *next->text != '=')
        return false;
    struct jinja_node *name = jinja_node(parser, NODE_NAME);
    if (name) name->value = parser->token->value;
    jinja_next(parser);
    jinja_next(parser);
    jinja_node_push(parser, names, name);
    jinja_node_push(parser, values, jinja_parse_expression(parser));
    return true;
}

static void parse_argument(struct jinja_parser *parser, struct jinja_arguments *out, struct jinja_node *positional,
                           struct jinja_node *names, struct jinja_node *values)
{
    bool after_names = values->count > 0 || out->star_star;
    if (jinja_skip(parser, "**")) {
        if (out->star_star) jinja_parse_error(parser, "a single ** argument");
        out->star_star = jinja_parse_expression(parser);
    } else if (jinja_skip(parser, "*")) {
        if (out->star || out->star_star) jinja_parse_error(parser, "a single * argument, before any **");
        out->star = jinja_parse_expression(parser);
    } else if (out->star_star) {
        jinja_parse_error(parser, "nothing behind a ** argument");
    } else if (!parse_named(parser, names, values)) {
        if (after_names || out->star) jinja_parse_error(parser, "a named argument");
        jinja_node_push(parser, positional, jinja_parse_expression(parser));
    }
}

/* (a, b, name=c, *d, **e): the opening parenthesis is current. */
static struct jinja_arguments *parse_arguments(struct jinja_parser *parser)
{
    struct jinja_arguments *out = jinja_alloc(parser->run, 1, sizeof *out);
    struct jinja_node *positional = jinja_node(parser, NODE_TUPLE), *names = jinja_node(parser, NODE_TUPLE);
    struct jinja_node *values = jinja_node(parser, NODE_TUPLE);
    bool comma = false;
    jinja_expect(parser, "(");
    while (!jinja_failed(parser->run) && !jinja_at(parser, ")")) {
        if (comma) jinja_expect(parser, ",");
        if (jinja_at(parser, ")")) break;
        if (!jinja_failed(parser->run)) parse_argument(parser, out, positional, names, values);
        comma = true;
    }
    jinja_expect(parser, ")");
    if (jinja_failed(parser->run)) return NULL;
    out->names = jinja_alloc(parser->run, names->count, sizeof *out->names);
    if (!out->names) return NULL;
    for (size_t i = 0; i < names->count; i++) out->names[i] = names->items[i]->value;
    out->positional = positional->items;
    out->count = positional->count;
    out->named = values->items;
    out->n_named = values->count;
    return out;
}

struct jinja_node *jinja_parse_call(struct jinja_parser *parser, struct jinja_node *callee)
{
    struct jinja_node *node = subscript_node(parser, NODE_CALL, callee);
    struct jinja_arguments *arguments = parse_arguments(parser);
    if (node) node->arguments = arguments;
    return node;
}

struct jinja_node *jinja_parse_postfix(struct jinja_parser *parser, struct jinja_node *node)
{
    while (!jinja_failed(parser->run)) {
        if (jinja_at(parser, "."))
            node = parse_dot(parser, node);
        else if (jinja_at(parser, "["))
            node = parse_brackets(parser, node);
        else if (jinja_at(parser, "("))
            node = jinja_parse_call(parser, node);
        else
            break;
    }
    return node;
}

/* A filter's or test's name, which may have dots. */
static struct jinja_value parse_dotted(struct jinja_parser *parser)
{
    struct jinja_value name = jinja_expect_name(parser), dot = jinja_text(parser->run, ".");
    while (jinja_skip(parser, ".")) {
        struct jinja_value part = jinja_expect_name(parser);
        if (jinja_failed(parser->run)) break;
        name = jinja_concatenate(parser->run, jinja_concatenate(parser->run, name, dot), part);
    }
    return name;
}

static struct jinja_node *named_node(struct jinja_parser *parser, enum jinja_node_kind kind, struct jinja_node *value)
{
    struct jinja_node *node = subscript_node(parser, kind, value);
    struct jinja_value name = parse_dotted(parser);
    if (jinja_failed(parser->run)) return NULL;
    node->value = name;
    node->function = kind == NODE_FILTER ? jinja_filter_find(name) : jinja_test_find(name);
    if (!node->function && !parser->unknown) parser->unknown = node;
    return node;
}

/* Whether the argument of a test follows without parentheses: `x is divisibleby 3`. */
static bool at_test_argument(const struct jinja_parser *parser)
{
    switch (parser->token->kind) {
    case TOKEN_NAME:
        return !jinja_at_name(parser, "else") && !jinja_at_name(parser, "or") && !jinja_at_name(parser, "and");
    case TOKEN_STRING:
    case TOKEN_INTEGER:
    case TOKEN_FLOAT: return true;
    default: return jinja_at(parser, "[") || jinja_at(parser, "{");
    }
}

static struct jinja_node *parse_test(struct jinja_parser *parser, struct jinja_node *value)
{
    jinja_next(parser);
    bool negated = jinja_skip_name(parser, "not");
    struct jinja_node *node = named_node(parser, NODE_TEST, value);
    if (!node) return NULL;
    node->flag = negated;
    if (jinja_at(parser, "(")) {
        node->arguments = parse_arguments(parser);
    } else if (at_test_argument(parser)) {
        if (jinja_at_name(parser, "is")) {
            jinja_parse_error(parser, "a single test (they cannot be chained)");
            return node;
        }
        struct jinja_node *list = jinja_node(parser, NODE_TUPLE);
        jinja_node_push(parser, list, jinja_parse_postfix(parser, jinja_parse_primary(parser)));
        node->arguments = jinja_alloc(parser->run, 1, sizeof *node->arguments);
        if (jinja_failed(parser->run)) return node;
        node->arguments->positional = list->items;
        node->arguments->count = 1;
    }
    return node;
}

struct jinja_node *jinja_parse_filters(struct jinja_parser *parser, struct jinja_node *value, bool start_inline)
{
    bool block = value == NULL; /* of a filter block: filters only */
    while (!jinja_failed(parser->run)) {
        if (start_inline || jinja_at(parser, "|")) {
            if (!start_inline) jinja_next(parser);
            start_inline = false;
            value = named_node(parser, NODE_FILTER, value);
            if (value && jinja_at(parser, "(")) value->arguments = parse_arguments(parser);
        } else if (!block && jinja_at_name(parser, "is")) {
            value = parse_test(parser, value);
        } else if (!block && jinja_at(parser, "(")) {
            value = jinja_parse_call(parser, value);
        } else {
            break;
        }
    }
    return value;
}
