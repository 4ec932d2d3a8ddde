/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of code points, as classes in patterns and grammars write them. */
#ifndef SLUICE_TEXT_GRAMMAR_CHAR_CLASS_H
#define SLUICE_TEXT_GRAMMAR_CHAR_CLASS_H

#include "host/text/grammar/tree.h"

#define CLASS_MOST_RANGES 1024u

struct char_class {
    struct code_range ranges[CLASS_MOST_RANGES];
    uint32_t n;
    bool overflow; /* there were more */
};

void class_add(struct char_class *set, uint32_t first, uint32_t last);
void class_add_all(struct char_class *set, const struct char_class *more);
void class_normalize(struct char_class *set); /* sorts, joins, and leaves surrogates out */
void class_negate(struct char_class *set);    /* of a normalized one; normalized */

/* A node of the class; in JSON strings characters that must be escaped are, each in one way. */
uint32_t class_node(struct tree *tree, const struct char_class *set, bool in_json);
uint32_t class_node_of_one(struct tree *tree, uint32_t code, bool in_json);

#endif
