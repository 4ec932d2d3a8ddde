/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions, in what ECMAScript and Python have in common and what is regular: literals, classes, groups,
 * choices, repeats, ^ and $ at the ends. Look-around, back-references, word boundaries and \p are refused by name.
 * Where the two differ (\d, \w, \s and their negations beyond ASCII, the dot at the end of a line) a text has to match in both.
 */
#ifndef SLUICE_TEXT_GRAMMAR_REGEX_H
#define SLUICE_TEXT_GRAMMAR_REGEX_H

#include "host/text/grammar/tree.h"

/* The node of a pattern that is the whole text. */
uint32_t regex_tree(struct tree *tree, const char *pattern, size_t length);

/* The node of texts in which the pattern is found somewhere, as schemas mean it; in_json: as JSON strings write them. */
uint32_t regex_tree_found(struct tree *tree, const char *pattern, size_t length, bool in_json);

#endif
