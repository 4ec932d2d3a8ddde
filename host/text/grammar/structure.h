/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structures: what surrounds other notations, as JSON. It is how reasoning, calls of tools and a schema become one grammar
 * (reply_structure.h writes them). A node is
 *
 *   "text"                              the text; names of control tokens in it stand for those tokens
 *   [node, ...]                         one after the other
 *   {"plain": text}                     the text, where a name of a control token is only text
 *   {"mark": text}                      a mark of JSON, with white space around it as JSON may have it
 *   {"space": true}                     what may stand between two tokens of JSON
 *   {"any": [node, ...]}                one of them
 *   {"repeat": node, "min": n, "max": n}    without max: any number
 *   {"free": [text, ...], "first": text}    any text in which none of these occurs, and that does not begin with `first`
 *   {"gbnf" | "regex" | "choices" | "schema": source, "of": name}    another notation; `of` is what messages call it
 *   {"object": true}                    any JSON object
 *   {"tags": schema, "of": name, ...}   an object as keys and values between tags: schema_tags.c
 */
#ifndef SLUICE_TEXT_GRAMMAR_STRUCTURE_H
#define SLUICE_TEXT_GRAMMAR_STRUCTURE_H

#include "host/text/grammar/schema.h"
#include "host/text/grammar/vocabulary.h"

/* Fills the tree and sets its root; errors stick to the tree. */
void structure_read(struct tree *tree, const struct grammar_vocabulary *vocabulary, const char *text, size_t length);

/* Text of a structure: its control tokens' names are those tokens. */
uint32_t structure_text(struct tree *tree, const struct grammar_vocabulary *vocabulary, const char *text,
                        size_t length);

/* Any text in which none of the n parts occurs, not even in the letters of a control token's name. */
uint32_t structure_free(struct tree *tree, const char *const *parts, size_t n);

/* Any text; without calls. */
uint32_t structure_any_text(struct tree *tree);

/* ---- schema_tags.c ---- */

/*
 * tags: {"tags": schema, "key_open", "key_end", "value_open", "value_end": texts, "lines": values stand on lines of their own,
 * "typed": the key says whether its value is a string}. Values of properties whose own `type` is "string" are as they are, all
 * others JSON. Properties that the schema does not name do not come.
 */
uint32_t schema_tags(struct tree *tree, const struct grammar_vocabulary *vocabulary, const json_t *tags);

#endif
