/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary of a model file: the text, type and score of every token, found by id or by text, and what the file
 * says about special tokens. Texts stay in the mapped file. Internal to host/text.
 */
#ifndef SLUICE_TEXT_VOCABULARY_H
#define SLUICE_TEXT_VOCABULARY_H

#include "host/base/error.h"
#include "host/model/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers of tokenizer.ggml.token_type, which are SentencePiece's. */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,      /* stands for what the vocabulary cannot write */
    TOKEN_CONTROL = 3,      /* has no text of its own: its name in the text is not it unless asked for */
    TOKEN_USER_DEFINED = 4, /* its text is always this token */
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6, /* SentencePiece's <0xXX> */
};

struct vocabulary_token {
    const char *text; /* in the mapped file, not terminated */
    uint32_t length;
    uint8_t type; /* enum token_type */
    bool is_end;  /* ends a sequence (ends.c) */
};

struct vocabulary_slot {
    uint32_t hash;
    uint32_t id_plus_1; /* 0: empty */
};

#define TOKEN_NONE UINT32_MAX

struct vocabulary {
    struct vocabulary_token *tokens; /* [n_tokens], owned */
    uint32_t n_tokens;
    uint32_t max_length;   /* of the longest token's text */
    bool has_types;        /* the file says which token is of which type */
    const uint8_t *scores; /* little-endian float32 or float64 [n_tokens] in the mapped file; NULL: none */
    bool scores_are_wide;
    struct vocabulary_slot *slots; /* [slot_mask + 1], owned; open addressing by the hash of the text */
    uint32_t slot_mask;
    uint32_t bos, eos, unknown; /* TOKEN_NONE if the file names none */
    bool add_bos, add_eos;
    bool says_add_bos; /* add_bos is the file's word, not a default */
};

/*
 * Reads tokens, types, scores, special ids and the add_* switches; marks the tokens that end a sequence. On error
 * nothing is left open. vocabulary points into file until vocabulary_close.
 */
int vocabulary_open(const struct gguf *file, struct vocabulary *vocabulary, struct error *err);
void vocabulary_close(struct vocabulary *vocabulary);

/* Id of the token with this text, or TOKEN_NONE. Texts are unique (except the empty one, which finds nothing). */
uint32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, size_t length);

/*
 * The same for up to VOCABULARY_MANY texts at once: the look-ups wait for memory together, not one after the other,
 * which halves the time to open a large vocabulary.
 */
#define VOCABULARY_MANY 96
void vocabulary_find_many(const struct vocabulary *vocabulary, const struct gguf_string *texts, size_t n,
                          uint32_t *ids);

/*
 * The same as vocabulary_find, for building tokens out of plain text: never a control, unknown or byte token, whose
 * names are not text (SentencePiece keeps them apart for the same reason: no user may forge a turn by writing its
 * name).
 */
uint32_t vocabulary_find_plain(const struct vocabulary *vocabulary, const char *text, size_t length);
bool vocabulary_is_plain(const struct vocabulary *vocabulary, uint32_t id);

double vocabulary_score(const struct vocabulary *vocabulary, uint32_t id); /* scores are there and id is in range */

/* Sets is_end of every token that ends a sequence, and the type of known markers. (ends.c) */
int vocabulary_mark_ends(struct vocabulary *vocabulary, const struct gguf *file, struct error *err);

/* Reads an id of key; TOKEN_NONE if the key is absent. ERROR_BAD_FILE if it is not in the vocabulary. */
int vocabulary_read_id(const struct vocabulary *vocabulary, const struct gguf *file, const char *key, uint32_t *out,
                       struct error *err);

#endif
