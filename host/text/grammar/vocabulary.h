/* SPDX-License-Identifier: Apache-2.0 */
/* What grammars know of a vocabulary: the bytes of each token, and a trie of them. */
#ifndef SLUICE_TEXT_GRAMMAR_VOCABULARY_H
#define SLUICE_TEXT_GRAMMAR_VOCABULARY_H

#include "host/text/grammar/grammar.h"
#include "host/text/grammar/token_trie.h"

struct grammar_vocabulary {
    uint32_t n_tokens;
    uint8_t *bytes;   /* of all tokens */
    uint32_t *offset; /* [n_tokens + 1]; an empty token is never allowed */
    uint32_t *ends;   /* [n_ends]: tokens that end a sequence */
    uint32_t n_ends;
    struct token_trie trie;
    bool drops_first_space;            /* a text's first token is shown without a space in front */
    const struct tokenizer *tokenizer; /* borrowed, for the names of control tokens; NULL: there are none */
};

/*
 * A token that is no text (a control token) has bytes that no text has: this lead, which UTF-8 does not know, and its id,
 * the highest byte first. So a grammar may ask for it, and nothing that is text can stand in its place.
 */
#define MARKER_LEAD 0xFF
#define MARKER_BYTES 5u
void grammar_marker(uint32_t token, uint8_t bytes[MARKER_BYTES]);

/* The first name of such a token in text at or after from. */
bool grammar_find_marker(const struct grammar_vocabulary *v, const char *text, size_t length, size_t from,
                         struct control_name *out);

static inline const uint8_t *grammar_token(const struct grammar_vocabulary *v, uint32_t token, uint32_t *length)
{
    *length = v->offset[token + 1] - v->offset[token];
    return v->bytes + v->offset[token];
}

#endif
