/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of tokens by their first bytes: which tokens does a text start with? Internal to host/text. */
#ifndef SLUICE_TEXT_TRIE_H
#define SLUICE_TEXT_TRIE_H

#include "host/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct trie_node {
    uint32_t first; /* of its children, in nodes; they lie in the order of their bytes */
    uint32_t id;    /* of the token that ends here, or TOKEN_NONE */
    uint16_t n;     /* children */
    uint8_t byte;   /* that leads here */
};

struct trie {
    struct trie_node *nodes; /* owned; [0] is the root */
    uint32_t n_nodes;
    uint32_t *wide;  /* owned: [256] children of each node that has many, 0: none */
    uint32_t n_wide; /* such nodes: the first ones */
};

struct trie_entry {
    const char *text; /* borrowed while the trie is made */
    uint32_t length, id;
};

/* Sorts entries, whose texts are not empty; of two with one text the smaller id counts. */
int trie_open(struct trie_entry *entries, uint32_t n, struct trie *trie, struct error *err);
void trie_close(struct trie *trie);

/* The child of node that byte leads to; 0 if there is none. */
uint32_t trie_step(const struct trie *trie, uint32_t node, uint8_t byte);

#endif
