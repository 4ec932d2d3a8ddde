/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A grammar as all notations write it (JSON Schema, regular expressions, choices, GBNF): named rules, each a tree of
 * texts, classes of characters, sequences, choices and repeats, with references to rules. The first error sticks, and
 * what is made after it is TREE_NEVER, so that builders need not look after every call.
 */
#ifndef SLUICE_TEXT_GRAMMAR_TREE_H
#define SLUICE_TEXT_GRAMMAR_TREE_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_UNLIMITED UINT32_MAX
#define TREE_MOST_NODES 400000u
#define TREE_MOST_RULES 20000u
#define TREE_MOST_BYTES (4u << 20)
#define TREE_MOST_DEPTH 200u /* of parentheses and schemas in the notations; trees are walked by recursion */
#define TREE_MOST_REPEATS 1000000u

enum tree_kind {
    TREE_NEVER,    /* matches nothing, not even the empty text */
    TREE_TEXT,     /* bytes; none: the empty text */
    TREE_CLASS,    /* one character out of ranges of code points */
    TREE_SEQUENCE, /* the children one after the other */
    TREE_CHOICE,   /* one of the children */
    TREE_REPEAT,   /* the child min to max times */
    TREE_RULE,     /* what another rule matches */
    TREE_BOTH,     /* what both children match; these have no TREE_RULE in them */
    TREE_EXCEPT,   /* what the first child matches and the second does not; likewise */
    TREE_MULTIPLE, /* decimal digits, without leading zeros, of multiples of min; min > 0 */
    TREE_COUNTED,  /* a rule min to max times, counted while it matches; only machine_rules_open makes these */
};

struct code_range {
    uint32_t first, last;
};

struct tree_node {
    uint8_t kind;
    uint32_t first_child, last_child, next; /* node numbers; 0: none */
    uint32_t min, max;                      /* of a repeat; max may be TREE_UNLIMITED */
    uint32_t begin, count;                  /* of a text, in bytes; of a class, in ranges; of a rule: its number */
};

struct tree_rule {
    char *name;    /* owned; what messages call it */
    uint32_t root; /* a node; 0: not defined yet */
};

struct tree {
    struct tree_node *nodes; /* [n_nodes]; 0 is TREE_NEVER */
    struct code_range *ranges;
    uint8_t *bytes;
    struct tree_rule *rules; /* [n_rules] */
    uint32_t n_nodes, n_ranges, n_bytes, n_rules;
    uint32_t nodes_room, ranges_room, bytes_room, rules_room;
    uint32_t root; /* the rule to begin with */
    struct error err;
};

int tree_open(struct tree *tree, struct error *err);
void tree_close(struct tree *tree); /* a tree of zeros is allowed */

/* Keeps the first error. Returns node 0. */
uint32_t tree_fail(struct tree *tree, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static inline bool tree_failed(const struct tree *tree) { return tree->err.code != 0; }

/* A rule without a tree; its number. name is copied and need not be unique. */
uint32_t tree_rule(struct tree *tree, const char *name, size_t length);

/* Nodes. Each is to be used in one place only. */
uint32_t tree_text(struct tree *tree, const char *bytes, size_t length);
uint32_t tree_word(struct tree *tree, const char *text); /* a text that ends with NUL */
uint32_t tree_class(struct tree *tree, const struct code_range *ranges,
                    size_t count); /* sorted, apart, no surrogates */
uint32_t tree_sequence(struct tree *tree);
uint32_t tree_choice(struct tree *tree);
void tree_add(struct tree *tree, uint32_t parent, uint32_t child);
uint32_t tree_repeat(struct tree *tree, uint32_t child, uint32_t min, uint32_t max);
uint32_t tree_call(struct tree *tree, uint32_t rule);
uint32_t tree_both(struct tree *tree, uint32_t left, uint32_t right);
uint32_t tree_except(struct tree *tree, uint32_t left, uint32_t right);
uint32_t tree_multiple(struct tree *tree, uint32_t of);

/* The two in a sequence, or in a choice. */
uint32_t tree_then(struct tree *tree, uint32_t first, uint32_t second);
uint32_t tree_or(struct tree *tree, uint32_t first, uint32_t second);

#endif
