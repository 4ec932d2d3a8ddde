/* SPDX-License-Identifier: Apache-2.0 */
/* Statements, and what both files of the parser share. */
#include "host/text/jinja_parse.h"

#include <string.h>

bool jinja_at(const struct jinja_parser *parser, const char *op)
{
    const struct jinja_token *token = parser->token;
    return token->kind == TOKEN_OPERATOR && token->length == strlen(op) && memcmp(token->text, op, token->length) == 0;
}

bool jinja_at_name(const struct jinja_parser *parser, const char *name)
{
    const struct jinja_token *token = parser->token;
    return token->kind == TOKEN_NAME && token->length == strlen(name) && memcmp(token->text, name, token->length) == 0;
}

void jinja_next(struct jinja_parser *parser)
{
    if (parser->token->kind != TOKEN_END) parser->token++;
    parser->run->line = parser->token->line;
    parser->run->column = parser->token->column;
}

bool jinja_skip(struct jinja_parser *parser, const char *op)
{
    if (jinja_failed(parser->run) || !jinja_at(parser, op)) return false;
    jinja_next(parser);
    return true;
}

bool jinja_skip_name(struct jinja_parser *parser, const char *name)
{
    if (jinja_failed(parser->run) || !jinja_at_name(parser, name)) return false;
    jinja_next(parser);
    return true;
}

void jinja_parse_error(struct jinja_parser *parser, const char *expected)
{
    const struct jinja_token *token = parser->token;
    int length = token->length < 40 ? (int)token->length : 40;
    parser->run->line = token->line;
    parser->run->column = token->column;
    if (token->kind == TOKEN_END)
        jinja_raise(parser->run, "the template ends where %s is expected%s%s", expected,
                    parser->innermost ? "; the innermost open block is " : "",
                    parser->innermost ? parser->innermost : "");
    else
        jinja_raise(parser->run, "expected %s, got \"%.*s\"", expected, length, token->text);
}

void jinja_expect(struct jinja_parser *parser, const char *op)
{
    if (!jinja_skip(parser, op)) jinja_parse_error(parser, op);
}

struct jinja_value jinja_expect_name(struct jinja_parser *parser)
{
    struct jinja_value name = parser->token->value;
    if (parser->token->kind != TOKEN_NAME || jinja_failed(parser->run)) {
        jinja_parse_error(parser, "a name");
        return jinja_nothing();
    }
    jinja_next(parser);
    return name;
}

struct jinja_node *jinja_node(struct jinja_parser *parser, enum jinja_node_kind kind)
{
    struct jinja_node *node = jinja_alloc(parser->run, 1, sizeof *node);
    if (!node) return NULL;
    node->kind = kind;
    node->line = parser->token->line;
    node->column = parser->token->column;
    return node;
}

void jinja_node_push(struct jinja_parser *parser, struct jinja_node *node, struct jinja_node *item)
{
    if (!node) return;
    if ((node->count & (node->count + 1)) == 0) { /* 0, 1, 3, 7...: room for the next power of two less one */
        struct jinja_node **grown = jinja_alloc(parser->run, node->count * 2 + 1, sizeof(struct jinja_node *));
        if (!grown) return;
        if (node->count) memcpy(grown, node->items, node->count * sizeof(struct jinja_node *));
        node->items = grown;
    }
    node->items[node->count++] = item;
}

/* Once an expression of a statement is parsed: what it names must be known, unless it stands inside an if. */
static void settle(struct jinja_parser *parser)
{
    const struct jinja_node *unknown = parser->unknown;
    parser->unknown = NULL;
    if (!unknown || parser->soft || jinja_failed(parser->run)) return;
    parser->run->line = unknown->line;
    parser->run->column = unknown->column;
    jinja_raise(parser->run, "No %s named '%s'", unknown->kind == NODE_TEST ? "test" : "filter",
                jinja_shown(unknown->value).text);
}

static struct jinja_node *tuple(struct jinja_parser *parser, unsigned flags, const char *end_name)
{
    struct jinja_node *node = jinja_parse_tuple(parser, flags, end_name);
    settle(parser);
    return node;
}

static struct jinja_node *expression(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parse_expression(parser);
    settle(parser);
    return node;
}

static struct jinja_node *parse_statement(struct jinja_parser *parser);

static void end_block(struct jinja_parser *parser)
{
    if (jinja_failed(parser->run)) return;
    if (parser->token->kind != TOKEN_BLOCK_END)
        jinja_parse_error(parser, "the end of the statement");
    else
        jinja_next(parser);
}

static bool at_any_name(const struct jinja_parser *parser, const char *const *names)
{
    while (*names && !jinja_at_name(parser, *names)) names++;
    return *names != NULL;
}

static struct jinja_node *parse_output(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_node(parser, NODE_OUTPUT);
    jinja_next(parser);
    jinja_node_push(parser, node, tuple(parser, 0, NULL));
    if (jinja_failed(parser->run)) return node;
    if (parser->token->kind != TOKEN_VARIABLE_END)
        jinja_parse_error(parser, "the end of the print statement");
    else
        jinja_next(parser);
    return node;
}

/* Statements up to a tag that begins with one of these names, which is left current (NULL: to the template's end). */
static struct jinja_node *parse_until(struct jinja_parser *parser, const char *const *names)
{
    struct jinja_node *first = NULL, **last = &first;
    while (!jinja_failed(parser->run)) {
        struct jinja_node *node = NULL;
        if (parser->token->kind == TOKEN_END) {
            if (names) jinja_parse_error(parser, names[0]);
            break;
        }
        if (parser->token->kind == TOKEN_DATA) {
            node = jinja_node(parser, NODE_DATA);
            if (node) node->value = parser->token->value;
            jinja_next(parser);
        } else if (parser->token->kind == TOKEN_VARIABLE_BEGIN) {
            node = parse_output(parser);
        } else {
            jinja_next(parser);
            if (names && at_any_name(parser, names)) break;
            node = parse_statement(parser);
            end_block(parser);
        }
        if (!node) break;
        *last = node;
        last = &node->next;
    }
    return first;
}

/* The statements of a block: behind the end of its tag. Its end tag's name is skipped if it is the only one. */
static struct jinja_node *parse_body(struct jinja_parser *parser, const char *const *names)
{
    end_block(parser);
    struct jinja_node *body = parse_until(parser, names);
    if (!jinja_failed(parser->run) && !names[1]) jinja_next(parser);
    return body;
}

/* A body with variables of its own, where an unknown filter is an error even inside an if. */
static struct jinja_node *parse_inner(struct jinja_parser *parser, const char *end, bool is_function)
{
    const char *const names[] = {end, NULL};
    bool soft = parser->soft;
    unsigned loops = parser->loops;
    parser->soft = false;
    if (is_function) parser->loops = 0;
    struct jinja_node *body = parse_body(parser, names);
    parser->loops = loops;
    parser->soft = soft;
    return body;
}

static void parse_if(struct jinja_parser *parser, struct jinja_node *node)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const end[] = {"endif", NULL};
    bool soft = parser->soft;
    parser->soft = true;
    for (;;) {
        jinja_next(parser);
        struct jinja_node *condition = tuple(parser, TUPLE_NO_CONDITION, NULL);
        struct jinja_node *body = parse_body(parser, ends);
        if (jinja_failed(parser->run)) break;
        node->a = condition;
        node->body = body;
        if (jinja_at_name(parser, "elif")) {
            node->c = jinja_node(parser, NODE_IF);
            if (!node->c) break;
            node = node->c;
            continue;
        }
        if (jinja_skip_name(parser, "else"))
            node->other = parse_body(parser, end);
        else
            jinja_next(parser);
        break;
    }
    parser->soft = soft;
}

static bool is_reserved(struct jinja_value name)
{
    static const char *const names[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (jinja_string_is(name, names[i])) return true;
    }
    return false;
}

static void check_target(struct jinja_parser *parser, const struct jinja_node *target, bool members)
{
    if (jinja_failed(parser->run)) return;
    if (target->kind == NODE_NAME || (target->kind == NODE_MEMBER && members)) return;
    if (target->kind == NODE_TUPLE || target->kind == NODE_LIST) {
        for (size_t i = 0; i < target->count; i++) check_target(parser, target->items[i], members);
        return;
    }
    parser->run->line = target->line;
    parser->run->column = target->column;
    jinja_raise(parser->run, "cannot assign to this");
}

/* What is assigned to: a name, ns.name where members are allowed, or a tuple of these (one that starts with a name). */
static struct jinja_node *parse_target(struct jinja_parser *parser, bool members, const char *end_name)
{
    struct jinja_node *target = tuple(parser, TUPLE_SIMPLE, end_name);
    check_target(parser, target, members);
    return target;
}

static struct jinja_node *parse_name_target(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_node(parser, NODE_NAME);
    struct jinja_value name = jinja_expect_name(parser);
    if (!jinja_failed(parser->run) && is_reserved(name)) jinja_raise(parser->run, "cannot assign to this");
    if (node) node->value = name;
    return node;
}

static void parse_for(struct jinja_parser *parser, struct jinja_node *node)
{
    static const char *const ends[] = {"endfor", "else", NULL}, *const end[] = {"endfor", NULL};
    bool soft = parser->soft;
    jinja_next(parser);
    node->a = parse_target(parser, false, "in");
    if (!jinja_skip_name(parser, "in")) jinja_parse_error(parser, "in");
    node->b = tuple(parser, TUPLE_NO_CONDITION, "recursive");
    parser->soft = false;
    if (jinja_skip_name(parser, "if")) node->c = expression(parser);
    node->flag = jinja_skip_name(parser, "recursive");
    parser->loops++;
    node->body = parse_body(parser, ends);
    parser->loops--;
    if (jinja_skip_name(parser, "else"))
        node->other = parse_body(parser, end);
    else if (!jinja_failed(parser->run))
        jinja_next(parser);
    parser->soft = soft;
}

static void parse_set(struct jinja_parser *parser, struct jinja_node *node)
{
    jinja_next(parser);
    node->a = parse_target(parser, true, NULL);
    if (jinja_skip(parser, "=")) {
        node->b = tuple(parser, 0, NULL);
        return;
    }
    node->kind = NODE_SET_BLOCK;
    bool soft = parser->soft;
    parser->soft = false;
    node->b = jinja_parse_filters(parser, NULL, false);
    settle(parser);
    parser->soft = soft;
    node->body = parse_inner(parser, "endset", false);
}

static void parse_signature(struct jinja_parser *parser, struct jinja_node *node)
{
    struct jinja_signature *signature = jinja_alloc(parser->run, 1, sizeof *signature);
    struct jinja_node *defaults = jinja_node(parser, NODE_TUPLE), *names = jinja_node(parser, NODE_TUPLE);
    bool seen_default = false;
    node->signature = signature;
    jinja_expect(parser, "(");
    while (!jinja_failed(parser->run) && !jinja_at(parser, ")")) {
        if (names->count) jinja_expect(parser, ",");
        struct jinja_node *name = parse_name_target(parser), *otherwise = NULL;
        if (jinja_skip(parser, "="))
            otherwise = expression(parser);
        else if (seen_default)
            jinja_raise(parser->run, "non-default argument follows default argument");
        seen_default = otherwise != NULL;
        jinja_node_push(parser, names, name);
        jinja_node_push(parser, defaults, otherwise);
    }
    jinja_expect(parser, ")");
    if (jinja_failed(parser->run)) return;
    signature->names = jinja_alloc(parser->run, names->count, sizeof *signature->names);
    if (!signature->names) return;
    for (size_t i = 0; i < names->count; i++) signature->names[i] = names->items[i]->value;
    signature->defaults = defaults->items;
    signature->count = names->count;
}

/* The body of a macro or call block: notes which of the special names it uses. */
static void parse_function_body(struct jinja_parser *parser, struct jinja_node *node, const char *end)
{
    bool caller = parser->uses_caller, varargs = parser->uses_varargs, kwargs = parser->uses_kwargs;
    parser->uses_caller = parser->uses_varargs = parser->uses_kwargs = false;
    node->body = parse_inner(parser, end, true);
    if (node->signature) {
        node->signature->uses_caller = parser->uses_caller;
        for (size_t i = 0; i < node->signature->count && parser->uses_caller && !jinja_failed(parser->run); i++) {
            if (jinja_string_is(node->signature->names[i], "caller") && !node->signature->defaults[i])
                jinja_raise(parser->run, "the special argument caller must be left out or have a default");
        }
        node->signature->uses_varargs = parser->uses_varargs;
        node->signature->uses_kwargs = parser->uses_kwargs;
    }
    parser->uses_caller |= caller;
    parser->uses_varargs |= varargs;
    parser->uses_kwargs |= kwargs;
}

static void parse_macro(struct jinja_parser *parser, struct jinja_node *node)
{
    bool soft = parser->soft;
    jinja_next(parser);
    struct jinja_node *name = parse_name_target(parser);
    if (jinja_failed(parser->run)) return;
    node->value = name->value;
    parser->soft = false;
    parse_signature(parser, node);
    parser->soft = soft;
    parse_function_body(parser, node, "endmacro");
}

static void parse_call_block(struct jinja_parser *parser, struct jinja_node *node)
{
    jinja_next(parser);
    if (jinja_at(parser, "("))
        parse_signature(parser, node);
    else
        node->signature = jinja_alloc(parser->run, 1, sizeof *node->signature);
    node->a = expression(parser);
    if (!jinja_failed(parser->run) && node->a->kind != NODE_CALL) jinja_parse_error(parser, "a call");
    parse_function_body(parser, node, "endcall");
}

static void parse_generation(struct jinja_parser *parser, struct jinja_node *node)
{
    node->signature = jinja_alloc(parser->run, 1, sizeof *node->signature);
    jinja_next(parser);
    parse_function_body(parser, node, "endgeneration");
}

static void parse_filter_block(struct jinja_parser *parser, struct jinja_node *node)
{
    bool soft = parser->soft;
    jinja_next(parser);
    parser->soft = false;
    node->b = jinja_parse_filters(parser, NULL, true);
    settle(parser);
    parser->soft = soft;
    node->body = parse_inner(parser, "endfilter", false);
}

static void parse_with(struct jinja_parser *parser, struct jinja_node *node)
{
    jinja_next(parser);
    while (!jinja_failed(parser->run) && parser->token->kind != TOKEN_BLOCK_END) {
        if (node->count) jinja_expect(parser, ",");
        jinja_node_push(parser, node, parse_target(parser, false, NULL));
        jinja_expect(parser, "=");
        jinja_node_push(parser, node, expression(parser));
    }
    node->body = parse_inner(parser, "endwith", false);
}

static void parse_block(struct jinja_parser *parser, struct jinja_node *node)
{
    jinja_next(parser);
    node->value = jinja_expect_name(parser);
    while (jinja_at_name(parser, "scoped") || jinja_at_name(parser, "required")) {
        node->flag |= jinja_at_name(parser, "scoped");
        jinja_next(parser);
    }
    for (const struct jinja_node *other = parser->blocks; other && !jinja_failed(parser->run); other = other->c) {
        if (jinja_equal(parser->run, other->value, node->value))
            jinja_raise(parser->run, "this block is defined twice");
    }
    node->signature = jinja_alloc(parser->run, 1, sizeof *node->signature);
    node->body = parse_inner(parser, "endblock", true);
    if (jinja_failed(parser->run)) return;
    if (parser->token->kind == TOKEN_NAME && jinja_equal(parser->run, parser->token->value, node->value))
        jinja_next(parser);
    node->c = parser->blocks;
    parser->blocks = node;
}

static void parse_autoescape(struct jinja_parser *parser, struct jinja_node *node)
{
    jinja_next(parser);
    node->a = expression(parser);
    node->body = parse_inner(parser, "endautoescape", false);
}

static void parse_print(struct jinja_parser *parser, struct jinja_node *node)
{
    jinja_next(parser);
    while (!jinja_failed(parser->run) && parser->token->kind != TOKEN_BLOCK_END) {
        if (node->count) jinja_expect(parser, ",");
        jinja_node_push(parser, node, expression(parser));
    }
}

static void parse_loop_control(struct jinja_parser *parser, struct jinja_node *node)
{
    (void)node;
    if (parser->loops == 0) jinja_raise(parser->run, "this stands outside a loop");
    jinja_next(parser);
}

/* include, import, from, extends: only their running is an error, so their tags are passed over. */
static void parse_other_template(struct jinja_parser *parser, struct jinja_node *node)
{
    (void)node;
    while (parser->token->kind != TOKEN_BLOCK_END && parser->token->kind != TOKEN_END) jinja_next(parser);
}

static struct jinja_node *parse_statement(struct jinja_parser *parser)
{
    static const struct {
        const char *name;
        enum jinja_node_kind kind;
        void (*parse)(struct jinja_parser *, struct jinja_node *);
    } tags[] = {
        {"if", NODE_IF, parse_if},
        {"for", NODE_FOR, parse_for},
        {"set", NODE_SET, parse_set},
        {"macro", NODE_MACRO, parse_macro},
        {"call", NODE_CALL_BLOCK, parse_call_block},
        {"generation", NODE_GENERATION, parse_generation},
        {"filter", NODE_FILTER_BLOCK, parse_filter_block},
        {"with", NODE_WITH, parse_with},
        {"break", NODE_BREAK, parse_loop_control},
        {"continue", NODE_CONTINUE, parse_loop_control},
        {"block", NODE_BLOCK, parse_block},
        {"autoescape", NODE_AUTOESCAPE, parse_autoescape},
        {"print", NODE_OUTPUT, parse_print},
        {"include", NODE_OTHER_TEMPLATE, parse_other_template},
        {"import", NODE_OTHER_TEMPLATE, parse_other_template},
        {"from", NODE_OTHER_TEMPLATE, parse_other_template},
        {"extends", NODE_OTHER_TEMPLATE, parse_other_template},
    };
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (!jinja_at_name(parser, tags[i].name)) continue;
        const char *outside = parser->innermost;
        struct jinja_node *node = jinja_node(parser, tags[i].kind);
        if (!node) return NULL;
        if (++parser->nesting > JINJA_MAX_NESTING) jinja_raise_limit(parser->run, "nesting of blocks");
        parser->innermost = tags[i].name;
        if (!jinja_failed(parser->run)) tags[i].parse(parser, node);
        parser->innermost = outside;
        parser->nesting--;
        return node;
    }
    jinja_parse_error(parser, parser->token->kind == TOKEN_NAME ? "a known tag" : "a tag's name");
    return NULL;
}

struct jinja_node *jinja_parse(struct jinja_run *run, const struct jinja_tokens *tokens, struct jinja_node **blocks)
{
    struct jinja_parser parser = {.run = run, .token = tokens->items};
    struct jinja_node *body = parse_until(&parser, NULL);
    *blocks = parser.blocks;
    return body;
}
