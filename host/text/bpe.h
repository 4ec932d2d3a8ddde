/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte-level BPE: text is cut into words, each word is bytes, each byte is a token, and neighbours are joined in the
 * order of the merge list. Vocabularies write bytes as printable characters (GPT-2's table). Internal to host/text.
 */
#ifndef SLUICE_TEXT_BPE_H
#define SLUICE_TEXT_BPE_H

#include "host/text/merge.h"
#include "host/text/pretokenizer.h"
#include "host/text/tokenizer.h"
#include "host/text/vocabulary.h"

struct bpe_pair {
    uint32_t left, right;
    uint32_t rank_plus_1; /* 0: empty slot */
    uint32_t result;
};

struct bpe {
    const struct vocabulary *vocabulary; /* borrowed until bpe_close */
    const struct pretokenizer_style *style;
    struct pretokenizer *pretokenizer; /* owned */
    struct bpe_pair *pairs;            /* [pair_mask + 1], owned; open addressing */
    uint32_t pair_mask;
    uint32_t byte_ids[256]; /* TOKEN_NONE where the vocabulary has no token for the byte alone */
};

/* Reads tokenizer.ggml.pre and .merges. On error nothing is left open. */
int bpe_open(const struct vocabulary *vocabulary, const struct gguf *file, struct bpe *bpe, struct error *err);
void bpe_close(struct bpe *bpe);

/* Appends the tokens of text. space and scratch are working memory that calls may share one after the other. */
int bpe_encode(const struct bpe *bpe, struct merge_space *space, struct text *scratch, const char *text, size_t length,
               struct token_list *list, struct error *err);

/*
 * Appends the bytes that a token's text stands for. A text with a character outside GPT-2's table stands for itself,
 * as in Hugging Face's decoder.
 */
int bpe_decode(const char *token_text, size_t length, struct text *out, struct error *err);

#endif
