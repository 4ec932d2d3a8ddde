/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions, from the loosest binding to the tightest. */
#include "host/text/jinja_eval.h"

#include <stdio.h>
#include <string.h>

/* The node of an operator that was just skipped, at its place. */
static struct jinja_node *operation(struct jinja_parser *parser, enum jinja_node_kind kind, const char *op,
                                    struct jinja_node *a)
{
    struct jinja_node *node = jinja_node(parser, kind);
    if (!node) return NULL;
    snprintf(node->op, sizeof node->op, "%s", op);
    node->a = a;
    node->line = parser->token[-1].line;
    node->column = parser->token[-1].column;
    return node;
}

/* One of ops if it stands here, or NULL. */
static const char *skip_any(struct jinja_parser *parser, const char *const *ops)
{
    if (jinja_failed(parser->run)) return NULL;
    for (; *ops; ops++) {
        if (jinja_skip(parser, *ops)) return *ops;
    }
    return NULL;
}

static struct jinja_node *parse_power(struct jinja_parser *parser)
{
    struct jinja_node *left = jinja_parse_unary(parser);
    while (jinja_skip(parser, "**")) {
        left = operation(parser, NODE_BINARY, "**", left);
        if (left) left->b = jinja_parse_unary(parser);
    }
    return left;
}

static struct jinja_node *parse_product(struct jinja_parser *parser)
{
    static const char *const ops[] = {"*", "/", "//", "%", NULL};
    struct jinja_node *left = parse_power(parser);
    const char *op;
    while ((op = skip_any(parser, ops)) != NULL) {
        left = operation(parser, NODE_BINARY, op, left);
        if (left) left->b = parse_power(parser);
    }
    return left;
}

static struct jinja_node *parse_concatenation(struct jinja_parser *parser)
{
    struct jinja_node *first = parse_product(parser);
    if (jinja_failed(parser->run) || !jinja_at(parser, "~")) return first;
    struct jinja_node *node = jinja_node(parser, NODE_CONCATENATE);
    jinja_node_push(parser, node, first);
    while (jinja_skip(parser, "~")) jinja_node_push(parser, node, parse_product(parser));
    return node;
}

static struct jinja_node *parse_sum(struct jinja_parser *parser)
{
    static const char *const ops[] = {"+", "-", NULL};
    struct jinja_node *left = parse_concatenation(parser);
    const char *op;
    while ((op = skip_any(parser, ops)) != NULL) {
        left = operation(parser, NODE_BINARY, op, left);
        if (left) left->b = parse_concatenation(parser);
    }
    return left;
}

static const char *skip_comparison(struct jinja_parser *parser)
{
    static const char *const ops[] = {"==", "!=", "<", "<=", ">", ">=", NULL};
    if (jinja_failed(parser->run)) return NULL;
    if (jinja_skip_name(parser, "in")) return "in";
    if (jinja_at_name(parser, "not") && parser->token[1].kind == TOKEN_NAME && parser->token[1].length == 2 &&
        memcmp(parser->token[1].text, "in", 2) == 0) {
        jinja_next(parser);
        jinja_next(parser);
        return "not in";
    }
    return skip_any(parser, ops);
}

static struct jinja_node *parse_comparison(struct jinja_parser *parser)
{
    struct jinja_node *first = parse_sum(parser), *node = NULL;
    const char *op;
    while ((op = skip_comparison(parser)) != NULL) {
        if (!node) node = operation(parser, NODE_COMPARE, "", first);
        struct jinja_node *operand = operation(parser, NODE_OPERAND, op, NULL);
        if (operand) operand->a = parse_sum(parser);
        jinja_node_push(parser, node, operand);
    }
    return node ? node : first;
}

static struct jinja_node *parse_not(struct jinja_parser *parser)
{
    unsigned nots = 0;
    while (jinja_skip_name(parser, "not")) nots++;
    struct jinja_node *node = parse_comparison(parser);
    if (nots > 0) node = operation(parser, NODE_NOT, "not", node);
    return nots == 0 || nots % 2 ? node : operation(parser, NODE_NOT, "not", node);
}

static struct jinja_node *parse_and(struct jinja_parser *parser)
{
    struct jinja_node *left = parse_not(parser);
    while (jinja_skip_name(parser, "and")) {
        left = operation(parser, NODE_AND, "and", left);
        if (left) left->b = parse_not(parser);
    }
    return left;
}

static struct jinja_node *parse_or(struct jinja_parser *parser)
{
    struct jinja_node *left = parse_and(parser);
    while (jinja_skip_name(parser, "or")) {
        left = operation(parser, NODE_OR, "or", left);
        if (left) left->b = parse_and(parser);
    }
    return left;
}

static struct jinja_node *parse_condition(struct jinja_parser *parser)
{
    const struct jinja_node *unknown = parser->unknown;
    struct jinja_node *value = parse_or(parser);
    while (jinja_skip_name(parser, "if")) {
        struct jinja_node *node = operation(parser, NODE_CONDITION, "if", value);
        if (!node) return NULL;
        node->b = parse_or(parser);
        if (jinja_skip_name(parser, "else")) node->c = jinja_parse_expression(parser);
        value = node;
        parser->unknown = unknown; /* what is not known inside is an error only when it runs */
    }
    return value;
}

struct jinja_node *jinja_parse_expression(struct jinja_parser *parser)
{
    struct jinja_node *node = NULL;
    if (++parser->nesting > JINJA_MAX_NESTING) jinja_raise_limit(parser->run, "nesting of expressions");
    if (!jinja_failed(parser->run)) node = parse_condition(parser);
    parser->nesting--;
    return node;
}

static bool tuple_ends(const struct jinja_parser *parser, const char *end_name)
{
    return parser->token->kind == TOKEN_VARIABLE_END || parser->token->kind == TOKEN_BLOCK_END ||
           jinja_at(parser, ")") || (end_name && jinja_at_name(parser, end_name));
}

static struct jinja_node *parse_tuple_item(struct jinja_parser *parser, unsigned flags)
{
    if (flags & TUPLE_SIMPLE) {
        struct jinja_node *node = jinja_parse_primary(parser);
        if (jinja_failed(parser->run) || node->kind != NODE_NAME || !jinja_at(parser, ".")) return node;
        jinja_next(parser);
        struct jinja_node *member = operation(parser, NODE_MEMBER, ".", node);
        struct jinja_value name = jinja_expect_name(parser);
        if (member) member->value = name;
        return member;
    }
    if (!(flags & TUPLE_NO_CONDITION)) return jinja_parse_expression(parser);
    struct jinja_node *node = NULL;
    if (++parser->nesting > JINJA_MAX_NESTING) jinja_raise_limit(parser->run, "nesting of expressions");
    if (!jinja_failed(parser->run)) node = parse_or(parser);
    parser->nesting--;
    return node;
}

struct jinja_node *jinja_parse_tuple(struct jinja_parser *parser, unsigned flags, const char *end_name)
{
    struct jinja_node *node = jinja_node(parser, NODE_TUPLE);
    bool is_tuple = false;
    while (!jinja_failed(parser->run)) {
        if (node->count) jinja_expect(parser, ",");
        if (tuple_ends(parser, end_name)) break;
        jinja_node_push(parser, node, parse_tuple_item(parser, flags));
        if (!jinja_at(parser, ",")) break;
        is_tuple = true;
    }
    if (jinja_failed(parser->run)) return node;
    if (!is_tuple && node->count) return node->items[0];
    if (node->count == 0 && !(flags & TUPLE_PARENTHESES)) jinja_parse_error(parser, "an expression");
    return node;
}

static struct jinja_node *parse_list(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_node(parser, NODE_LIST);
    jinja_next(parser);
    while (!jinja_failed(parser->run) && !jinja_at(parser, "]")) {
        if (node->count) jinja_expect(parser, ",");
        if (jinja_at(parser, "]")) break;
        jinja_node_push(parser, node, jinja_parse_expression(parser));
    }
    jinja_expect(parser, "]");
    return node;
}

static struct jinja_node *parse_dict(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_node(parser, NODE_DICT);
    jinja_next(parser);
    while (!jinja_failed(parser->run) && !jinja_at(parser, "}")) {
        if (node->count) jinja_expect(parser, ",");
        if (jinja_at(parser, "}")) break;
        jinja_node_push(parser, node, jinja_parse_expression(parser));
        jinja_expect(parser, ":");
        jinja_node_push(parser, node, jinja_parse_expression(parser));
    }
    jinja_expect(parser, "}");
    return node;
}

static void note_name(struct jinja_parser *parser, struct jinja_node *node)
{
    struct jinja_value name = node->value;
    if (jinja_string_is(name, "true") || jinja_string_is(name, "True")) {
        node->kind = NODE_CONSTANT;
        node->value = jinja_bool(true);
    } else if (jinja_string_is(name, "false") || jinja_string_is(name, "False")) {
        node->kind = NODE_CONSTANT;
        node->value = jinja_bool(false);
    } else if (jinja_string_is(name, "none") || jinja_string_is(name, "None")) {
        node->kind = NODE_CONSTANT;
        node->value = jinja_none();
    }
    parser->uses_caller |= jinja_string_is(name, "caller");
    parser->uses_varargs |= jinja_string_is(name, "varargs");
    parser->uses_kwargs |= jinja_string_is(name, "kwargs");
}

static struct jinja_value join_strings(struct jinja_parser *parser)
{
    struct jinja_value value = parser->token->value;
    for (jinja_next(parser); parser->token->kind == TOKEN_STRING; jinja_next(parser)) {
        value = jinja_concatenate(parser->run, value, parser->token->value);
        if (jinja_failed(parser->run)) return jinja_nothing();
        value = jinja_string(parser->run, value.string->bytes, value.string->length); /* constants do not grow */
    }
    return value;
}

struct jinja_node *jinja_parse_primary(struct jinja_parser *parser)
{
    if (jinja_failed(parser->run)) return NULL;
    struct jinja_node *node = jinja_node(parser, NODE_CONSTANT);
    if (!node) return NULL;
    switch (parser->token->kind) {
    case TOKEN_NAME:
        node->kind = NODE_NAME;
        node->value = parser->token->value;
        note_name(parser, node);
        jinja_next(parser);
        return node;
    case TOKEN_STRING: node->value = join_strings(parser); return node;
    case TOKEN_INTEGER:
    case TOKEN_FLOAT:
        node->value = parser->token->value;
        jinja_next(parser);
        return node;
    default: break;
    }
    if (jinja_at(parser, "[")) return parse_list(parser);
    if (jinja_at(parser, "{")) return parse_dict(parser);
    if (!jinja_skip(parser, "(")) {
        jinja_parse_error(parser, "an expression");
        return node;
    }
    node = jinja_parse_tuple(parser, TUPLE_PARENTHESES, NULL);
    jinja_expect(parser, ")");
    return node;
}

struct jinja_node *jinja_parse_unary(struct jinja_parser *parser)
{
    static const char *const signs[] = {"-", "+", NULL};
    char ops[JINJA_MAX_NESTING];
    unsigned n = 0;
    const char *sign;
    while ((sign = skip_any(parser, signs)) != NULL) { /* bind tighter than filters, looser than subscripts */
        if (n == JINJA_MAX_NESTING) jinja_raise_limit(parser->run, "nesting of expressions");
        if (jinja_failed(parser->run)) return NULL;
        ops[n++] = *sign;
    }
    struct jinja_node *node = jinja_parse_postfix(parser, jinja_parse_primary(parser));
    while (n > 0 && !jinja_failed(parser->run)) {
        node = operation(parser, ops[--n] == '-' ? NODE_NEGATE : NODE_PLUS, "", node);
        node = jinja_parse_postfix(parser, node);
    }
    return jinja_parse_filters(parser, node, false);
}
