/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte strings with tokens at their ends, as a trie in preorder: a node's subtree follows it, so that all tokens below
 * a node, and a walk that leaves some out, are runs of two arrays.
 */
#ifndef SLUICE_TEXT_GRAMMAR_TOKEN_TRIE_H
#define SLUICE_TEXT_GRAMMAR_TOKEN_TRIE_H

#include "host/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct trie_node {
    uint32_t skip;        /* the node after the subtree */
    uint32_t first_token; /* of the subtree, in tokens; the node's own come first */
    uint16_t depth;       /* 1 for the first byte */
    uint8_t byte;
};

struct token_trie {
    struct trie_node *nodes; /* [n_nodes + 1]; the last is behind all */
    uint32_t n_nodes;
    uint32_t *tokens; /* [n_tokens] */
    uint32_t n_tokens;
    uint32_t max_depth;
};

#define TRIE_MOST_DEPTH 4096u /* bytes of a token; longer ones are of no use to a grammar */

struct trie_item {
    const uint8_t *bytes; /* borrowed during token_trie_make */
    uint32_t length;      /* 0 only with a lead */
    int32_t lead;         /* a byte in front of the bytes, or -1 */
    uint32_t token;
};

/* Sorts the items. Owned: token_trie_close. */
int token_trie_make(struct trie_item *items, size_t n_items, struct token_trie *out, struct error *err);
void token_trie_close(struct token_trie *trie);

#endif
