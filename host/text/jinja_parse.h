/* SPDX-License-Identifier: Apache-2.0 */
/* From source to tokens to nodes. What is made here lies in the template's arena and never changes. */
#ifndef SLUICE_TEXT_JINJA_PARSE_H
#define SLUICE_TEXT_JINJA_PARSE_H

#include "host/text/jinja_value.h"

enum jinja_token_kind {
    TOKEN_DATA,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_VARIABLE_BEGIN,
    TOKEN_VARIABLE_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INTEGER,
    TOKEN_FLOAT,
    TOKEN_OPERATOR,
    TOKEN_END, /* of the template */
};

struct jinja_token {
    enum jinja_token_kind kind;
    uint32_t line, column;
    const char *text; /* into the source, not terminated */
    size_t length;
    struct jinja_value value; /* of literals */
};

struct jinja_tokens {
    struct jinja_token *items;
    size_t count, capacity;
};

/* The source without its last newline, \r and \r\n as \n, in the arena. */
struct jinja_value jinja_normalize(struct jinja_run *run, const char *source, size_t length);
/* All tokens of a normalized source, TOKEN_END last. */
void jinja_tokenize(struct jinja_run *run, const struct jinja_string *source, struct jinja_tokens *out);

/* Of the lexer, for its two files. */
struct jinja_lexer {
    struct jinja_run *run;
    const char *source;
    size_t length, at;
    size_t counted, line_start; /* run->line is the line of byte `counted` */
    uint32_t line;
    struct jinja_tokens *out;
};
void jinja_lexer_place(struct jinja_lexer *lexer,
                       size_t at); /* sets run->line, run->column; at never goes back a line */
void jinja_lexer_push(struct jinja_lexer *lexer, enum jinja_token_kind kind, size_t from, size_t to,
                      struct jinja_value value);
/* The tokens of an expression up to its end mark, which is a token too, with the space that it takes. */
void jinja_lex_expression(struct jinja_lexer *lexer, enum jinja_token_kind end);

enum jinja_node_kind {
    /* expressions */
    NODE_CONSTANT,
    NODE_NAME,
    NODE_LIST,
    NODE_TUPLE,
    NODE_DICT, /* items: key, value, key, value... */
    NODE_AND,
    NODE_OR,
    NODE_NOT,
    NODE_NEGATE,
    NODE_PLUS,
    NODE_BINARY,
    NODE_CONCATENATE,
    NODE_COMPARE,   /* a, then items, each a NODE_OPERAND */
    NODE_OPERAND,   /* op, a */
    NODE_CONDITION, /* a if b else c; c may be NULL */
    NODE_FILTER,    /* value: its name; a may be NULL in a filter block */
    NODE_TEST,
    NODE_CALL,
    NODE_ATTRIBUTE,
    NODE_ITEM,
    NODE_SLICE,  /* a[b:c:d] as key of an item: items[0..3), each may be NULL */
    NODE_MEMBER, /* ns.name as a target */
    /* statements */
    NODE_DATA,
    NODE_OUTPUT, /* items */
    NODE_IF,     /* a, body; c: the next NODE_IF of an elif; other: else */
    NODE_FOR,    /* a: target, b: what, c: condition or NULL; body, other */
    NODE_SET,
    NODE_SET_BLOCK, /* a: target, b: filters or NULL, body */
    NODE_MACRO,
    NODE_CALL_BLOCK,
    NODE_GENERATION,
    NODE_FILTER_BLOCK,
    NODE_WITH, /* items: target, value... */
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_BLOCK,
    NODE_AUTOESCAPE,
    NODE_OTHER_TEMPLATE, /* include, import, from, extends: there is no other template */
};

struct jinja_arguments {
    struct jinja_node **positional, **named;
    struct jinja_value *names;
    size_t count, n_named;
    struct jinja_node *star, *star_star;
};

struct jinja_signature {
    struct jinja_value *names;
    struct jinja_node **defaults; /* NULL where there is none */
    size_t count;
    bool uses_caller, uses_varargs, uses_kwargs;
};

struct jinja_node {
    enum jinja_node_kind kind;
    uint32_t line, column;
    char op[8]; /* "+", "==", "not in"... */
    bool flag;  /* of a for: recursive; of a block: scoped; of a test: not */
    struct jinja_value value;
    struct jinja_node *a, *b, *c;
    struct jinja_node **items;
    size_t count;
    struct jinja_node *body, *other; /* lists of statements */
    struct jinja_node *next;         /* the following statement */
    struct jinja_arguments *arguments;
    struct jinja_signature *signature;
    const struct jinja_function *function; /* of filters and tests; NULL: not known, an error when it runs */
};

struct jinja_parser {
    struct jinja_run *run;
    const struct jinja_token *token; /* the current one */
    unsigned nesting, loops;
    bool soft;                        /* an unknown filter is an error only when it runs: inside if, as in Jinja */
    const struct jinja_node *unknown; /* a filter or test that is not known, in the expression being parsed */
    bool uses_caller, uses_varargs, uses_kwargs; /* by the innermost macro so far */
    const char *innermost;                       /* the tag that is open */
    struct jinja_node *blocks;                   /* NODE_BLOCKs by `c` */
};

struct jinja_template {
    struct jinja_arena arena;
    struct jinja_node *body;
    struct jinja_node *blocks;
    size_t source_length;
};

struct jinja_node *jinja_parse(struct jinja_run *run, const struct jinja_tokens *tokens, struct jinja_node **blocks);

/* Tokens, for both files of the parser. */
bool jinja_at(const struct jinja_parser *parser, const char *op);
bool jinja_at_name(const struct jinja_parser *parser, const char *name);
bool jinja_skip(struct jinja_parser *parser, const char *op);
bool jinja_skip_name(struct jinja_parser *parser, const char *name);
void jinja_expect(struct jinja_parser *parser, const char *op);
struct jinja_value jinja_expect_name(struct jinja_parser *parser);
void jinja_next(struct jinja_parser *parser);
void jinja_parse_error(struct jinja_parser *parser, const char *expected);
struct jinja_node *jinja_node(struct jinja_parser *parser, enum jinja_node_kind kind);
void jinja_node_push(struct jinja_parser *parser, struct jinja_node *node, struct jinja_node *item);

/* Expressions; never NULL unless the run failed. */
enum jinja_tuple_flags { TUPLE_NO_CONDITION = 1, TUPLE_SIMPLE = 2, TUPLE_PARENTHESES = 4 };
struct jinja_node *jinja_parse_expression(struct jinja_parser *parser);
struct jinja_node *jinja_parse_tuple(struct jinja_parser *parser, unsigned flags, const char *end_name);
struct jinja_node *jinja_parse_primary(struct jinja_parser *parser);
struct jinja_node *jinja_parse_filters(struct jinja_parser *parser, struct jinja_node *value, bool start_inline);
struct jinja_node *jinja_parse_unary(struct jinja_parser *parser);
struct jinja_node *jinja_parse_postfix(struct jinja_parser *parser, struct jinja_node *node);
struct jinja_node *jinja_parse_call(struct jinja_parser *parser, struct jinja_node *callee);

#endif
