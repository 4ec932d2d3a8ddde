/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SentencePiece's unigram model: of all ways to write a word in tokens the one with the largest sum of scores (Viterbi). Internal to
 * host/text.
 */
#ifndef SLUICE_TEXT_UNIGRAM_H
#define SLUICE_TEXT_UNIGRAM_H

#include "host/text/tokenizer.h"
#include "host/text/trie.h"
#include "host/text/vocabulary.h"

struct unigram {
    const struct vocabulary *vocabulary; /* borrowed until unigram_close */
    struct trie trie;
    double *scores; /* owned: [n_tokens] */
    double unknown_score;
    uint32_t byte_ids[256]; /* <0x00>...; used if falls_back */
    bool falls_back;
};

struct unigram_space {
    struct unigram_node *nodes; /* owned */
    size_t capacity;
    struct token_list reversed; /* owned */
};
void unigram_space_free(struct unigram_space *space);

/* scores of the vocabulary are there. falls_back: unknown characters become bytes' tokens, if all are there. */
int unigram_open(const struct vocabulary *vocabulary, bool falls_back, struct unigram *unigram, struct error *err);
void unigram_close(struct unigram *unigram);

/* Appends the tokens of a word of any bytes. */
int unigram_encode(const struct unigram *unigram, struct unigram_space *space, const char *word, size_t length,
                   struct token_list *list, struct error *err);

#endif
