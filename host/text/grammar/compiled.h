/* SPDX-License-Identifier: Apache-2.0 */
/* A compiled grammar, and the notations that it may come from. */
#ifndef SLUICE_TEXT_GRAMMAR_COMPILED_H
#define SLUICE_TEXT_GRAMMAR_COMPILED_H

#include "host/text/grammar/grammar.h"
#include "host/text/grammar/mask.h"

#include <stdatomic.h>

struct grammar {
    atomic_uint holders;
    const struct grammar_vocabulary *vocabulary;
    struct automaton automaton;
    struct mask_table masks; /* of the thread that the matchers belong to */
};

/* Each fills the tree and sets its root; errors stick to the tree. */
void gbnf_read(struct tree *tree, const char *text, size_t length);
void choice_read(struct tree *tree, const char *text, size_t length);
void regex_read(struct tree *tree, const char *text, size_t length);
void schema_read(struct tree *tree, const char *text, size_t length);
void json_object_read(struct tree *tree);

#endif
