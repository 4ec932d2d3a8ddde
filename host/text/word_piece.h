/* SPDX-License-Identifier: Apache-2.0 */
/* BERT's WordPiece: of a word the longest token that it starts with, then of the rest. Internal to host/text. */
#ifndef SLUICE_TEXT_WORD_PIECE_H
#define SLUICE_TEXT_WORD_PIECE_H

#include "host/text/tokenizer.h"
#include "host/text/trie.h"
#include "host/text/vocabulary.h"

struct word_piece {
    const struct vocabulary *vocabulary; /* borrowed until word_piece_close */
    struct trie starts, rests;           /* tokens that begin a word; that go on with it, without their mark */
    size_t max_characters;               /* of a word; a longer one is unknown */
};

struct word_piece_marks {
    const char *start, *rest; /* what such tokens begin with, "" or more */
    size_t max_characters;
};

int word_piece_open(const struct vocabulary *vocabulary, const struct word_piece_marks *marks, struct word_piece *out,
                    struct error *err);
void word_piece_close(struct word_piece *word_piece);

int word_piece_encode(const struct word_piece *word_piece, const char *word, size_t length, struct token_list *list,
                      struct error *err);

#endif
