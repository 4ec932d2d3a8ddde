/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON schemas (draft 2020-12) as trees. What the trees match is valid under the schema; not everything that is valid
 * is matched (properties come in the schema's order, numbers have at most 15 digits), but no keyword is ignored: one that is
 * not supported, or not in this combination, is refused with the path of its node.
 */
#ifndef SLUICE_TEXT_GRAMMAR_SCHEMA_H
#define SLUICE_TEXT_GRAMMAR_SCHEMA_H

#include "host/text/grammar/char_class.h"
#include "host/text/grammar/tree.h"

#include <jansson.h>

#define SCHEMA_PATH 256u
#define SCHEMA_NO_RULE UINT32_MAX

struct schema {
    struct tree *tree;
    const json_t *root;
    json_t *rules; /* the rule of each schema, by its text */
    json_t *kept;  /* schemas made on the way, until the end */
    char path[SCHEMA_PATH];
    unsigned depth;
    bool raw;                                               /* strings are made as they are, not as JSON writes them */
    uint32_t work;                                          /* steps of combining schemas */
    uint32_t character, string, value, object, array, pair; /* rules, made when first needed */
};

/* ---- schema.c ---- */

/* Of the whole schema, which is borrowed until schema_end. Errors stick to the tree. */
void schema_begin(struct schema *s, struct tree *tree, const json_t *root);
void schema_end(struct schema *s);

/* A call of the schema's rule; it is made if the schema is new. */
uint32_t schema_node(struct schema *s, const json_t *schema);
/* The same below a keyword of the present path, for its member `name` (NULL: none) or, from index 0 on, its element. */
uint32_t schema_below(struct schema *s, const json_t *schema, const char *keyword, const char *name, long index);
uint32_t schema_refuse(struct schema *s, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
const json_t *schema_keep(struct schema *s, json_t *made);             /* owned from here on by s; NULL: no memory */
const json_t *schema_resolve(struct schema *s, const char *reference); /* NULL with the tree's error set */
bool schema_check_keywords(struct schema *s, const json_t *schema);

/* A count of a keyword, or `missing`; a wrong one is an error. */
uint32_t schema_count(struct schema *s, const json_t *schema, const char *keyword, uint32_t missing);

/* ---- schema_merge.c ---- */

/* The schema as an object without $ref, allOf and const; NULL with the tree's error set. true is {}, false {"enum": []}. */
const json_t *schema_flatten(struct schema *s, const json_t *schema);
const json_t *schema_merge(struct schema *s, const json_t *a, const json_t *b);  /* both flat */
bool schema_is_impossible(struct schema *s, const json_t *flat, unsigned depth); /* surely; false: not known */
bool schema_fits(struct schema *s, const json_t *flat, const json_t *value);     /* what enum leaves beside it */

/* ---- one kind of value each; flat ---- */

uint32_t schema_string(struct schema *s, const json_t *flat);
uint32_t schema_string_body(struct schema *s, const json_t *flat); /* without the quotes and without calls */
uint32_t schema_pattern(struct schema *s, const char *pattern); /* texts in which it is found, written as s->raw says */
uint32_t schema_number(struct schema *s, const json_t *flat, bool integer);
uint32_t schema_object(struct schema *s, const json_t *flat);
uint32_t schema_array(struct schema *s, const json_t *flat);

/* ---- schema_value.c ---- */

uint32_t schema_space(struct schema *s);      /* as much as there may be between two tokens of JSON */
uint32_t schema_any_string(struct schema *s); /* calls of rules for any of these */
uint32_t schema_any_number(struct schema *s, bool integer);
uint32_t schema_any_value(struct schema *s);
uint32_t schema_any_object(struct schema *s);
uint32_t schema_any_array(struct schema *s);
uint32_t schema_character(struct schema *s); /* of a string, as it is written */
uint32_t schema_literal(struct schema *s, const json_t *value);
uint32_t schema_mark(struct schema *s,
                     const char *mark); /* with space around it as the mark has it: "{", ",", ":", "}" */
/* item, item, ...: min to max of them; each a call of the rule. */
uint32_t schema_list(struct schema *s, uint32_t rule, uint32_t min, uint32_t max);

#endif
