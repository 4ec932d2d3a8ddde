/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers in a given structure: a JSON schema, a regular expression, a list of choices or a GBNF grammar, compiled to
 * an automaton over bytes, which says before every token which tokens of a vocabulary may come next.
 */
#ifndef SLUICE_TEXT_GRAMMAR_GRAMMAR_H
#define SLUICE_TEXT_GRAMMAR_GRAMMAR_H

#include "host/base/error.h"
#include "host/text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the tokens of a model, once for all grammars; immutable, for any thread ---- */

struct grammar_vocabulary; /* opaque */

/*
 * n_logits: tokens that have a logit, at least those of the tokenizer (others are never allowed). Control tokens, and
 * those that are not shown, are allowed only where a structure names them; the tokens that end a sequence, where the
 * grammar may end. The tokenizer is borrowed.
 */
int grammar_vocabulary_open(const struct tokenizer *tokenizer, uint32_t n_logits, struct grammar_vocabulary **out,
                            struct error *err);

/* The same of n texts (length 0: never allowed), of which the token `end` ends a sequence; for tests and benchmarks. */
int grammar_vocabulary_make(const struct gguf_string *texts, uint32_t n, uint32_t end, struct grammar_vocabulary **out,
                            struct error *err);
void grammar_vocabulary_close(struct grammar_vocabulary *vocabulary); /* NULL is allowed */
uint32_t grammar_vocabulary_n_tokens(const struct grammar_vocabulary *vocabulary);

/* ---- grammars ---- */

enum grammar_kind {
    GRAMMAR_GBNF,        /* llama.cpp's notation; the rule root is the answer */
    GRAMMAR_REGEX,       /* the whole answer matches */
    GRAMMAR_CHOICE,      /* a JSON array of strings: the answer is one of them */
    GRAMMAR_JSON_SCHEMA, /* draft 2020-12; host/text/grammar/README.md lists the keywords */
    GRAMMAR_JSON_OBJECT, /* any JSON object; the text is not looked at */
    GRAMMAR_STRUCTURE,   /* other notations with texts and control tokens around them: structure.h */
};

struct grammar; /* opaque, counted */

/*
 * vocabulary is borrowed until the grammar is gone. ERROR_BAD_ARGUMENT and ERROR_UNSUPPORTED say where in the text, and
 * of a schema the path of the node ("#/properties/age: ..."). ERROR_TOO_LARGE: see machine.h. *out is held once.
 */
int grammar_open(const struct grammar_vocabulary *vocabulary, enum grammar_kind kind, const char *text, size_t length,
                 struct grammar **out, struct error *err);

/* Any thread. NULL is allowed. */
struct grammar *grammar_hold(struct grammar *grammar);
void grammar_release(struct grammar *grammar);

/* ---- one answer ---- */

struct grammar_matcher; /* opaque; all matchers of a grammar belong to one thread at a time */

/* Holds the grammar. */
int grammar_matcher_open(struct grammar *grammar, struct grammar_matcher **out, struct error *err);
void grammar_matcher_close(struct grammar_matcher *matcher); /* NULL is allowed */

/*
 * Sets bit t % 32 of bits[t / 32] for each token t that may come next, and clears the others:
 * uint32_t[(n_tokens + 31) / 32], borrowed from the matcher until its next call. Masks of places in the grammar are
 * made when first needed and kept. ERROR_BAD_ARGUMENT: no token may come (the vocabulary lacks what the grammar
 * needs). ERROR_TOO_LARGE: the grammar is so ambiguous here that it takes too many steps.
 */
int grammar_matcher_mask(struct grammar_matcher *matcher, const uint32_t **bits, struct error *err);

/* The token has been chosen. ERROR_BAD_ARGUMENT if it was not allowed; then nothing has changed. */
int grammar_matcher_accept(struct grammar_matcher *matcher, uint32_t token, struct error *err);

/* How many of the tokens may come one after the other; the matcher stays where it is. */
uint32_t grammar_matcher_try(struct grammar_matcher *matcher, const uint32_t *tokens, uint32_t n);

bool grammar_matcher_may_end(const struct grammar_matcher *matcher);  /* the text so far matches */
bool grammar_matcher_must_end(const struct grammar_matcher *matcher); /* and no other byte can follow */

/* Whether a text matches, by the bytes alone. 1, 0, or an error. */
int grammar_matches(struct grammar *grammar, const char *text, size_t length, struct error *err);

#endif
