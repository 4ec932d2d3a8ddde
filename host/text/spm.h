/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SentencePiece's BPE: spaces are written U+2581, each character is a symbol, and the two neighbours whose joined text
 * is the token with the highest score are joined first. What is no token in the end falls back to byte tokens. Internal
 * to host/text.
 */
#ifndef SLUICE_TEXT_SPM_H
#define SLUICE_TEXT_SPM_H

#include "host/text/merge.h"
#include "host/text/tokenizer.h"
#include "host/text/vocabulary.h"

struct spm {
    const struct vocabulary *vocabulary; /* borrowed until spm_close */
    uint32_t *ranks;        /* [n_tokens], owned: order of the scores, equal for equal scores; 0 is the highest */
    uint32_t byte_ids[256]; /* <0x00>...; TOKEN_NONE where there is none */
    bool add_space_prefix;
    bool words_are_apart; /* no token has U+2581 after another character: words can be joined one by one */
};

int spm_open(const struct vocabulary *vocabulary, const struct gguf *file, struct spm *spm, struct error *err);
void spm_close(struct spm *spm);

/*
 * Appends the tokens of text. at_start: the text begins a prompt or follows a special token, so it gets the space that
 * add_space_prefix is about. space and scratch are working memory that calls may share one after the other.
 */
int spm_encode(const struct spm *spm, struct merge_space *space, struct text *scratch, const char *text, size_t length,
               bool at_start, struct token_list *list, struct error *err);

#endif
