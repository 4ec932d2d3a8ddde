/* SPDX-License-Identifier: Apache-2.0 */
/* What a tokenizer is made of; for tokenizer*.c and detokenizer.c. */
#ifndef SLUICE_TEXT_TOKENIZER_INTERNAL_H
#define SLUICE_TEXT_TOKENIZER_INTERNAL_H

#include "host/text/bpe.h"
#include "host/text/pipeline.h"
#include "host/text/special.h"
#include "host/text/spm.h"
#include "host/text/tokenizer.h"
#include "host/text/unigram.h"
#include "host/text/vocabulary.h"
#include "host/text/word_piece.h"

enum tokenizer_kind { KIND_BPE, KIND_SPM, KIND_UNIGRAM, KIND_WORD_PIECE, KIND_WORD_LEVEL };

/* Where a space that tokenize put in front goes again. */
enum space_drop { DROP_NEVER, DROP_AT_START, DROP_AFTER_NAMES };

#define MAX_ADDED 16 /* tokens before or after a prompt */

struct tokenizer {
    struct vocabulary vocabulary;
    const char *style;
    struct pipeline pipeline;
    struct special special;    /* names in the text as it is */
    struct special normalized; /* names in the normalized text */
    enum tokenizer_kind kind;  /* which of these is open */
    struct bpe bpe;
    struct spm spm;
    struct unigram unigram;
    struct word_piece word_piece;
    enum space_drop drop;
    uint32_t before[MAX_ADDED], after[MAX_ADDED]; /* a prompt's text */
    unsigned n_before, n_after;
    json_t *json; /* owned: what options point into */
};

/* A GGUF file's own kinds and styles. (tokenizer_styles.c) */
int tokenizer_open_style(struct tokenizer *tokenizer, const struct gguf *file, struct error *err);

/* The words of a tokenizer.json, which a folder's header holds. (tokenizer_json.c) */
#define TOKENIZER_JSON_KEY "tokenizer.sluice.json"
int tokenizer_open_json(struct tokenizer *tokenizer, const struct gguf *file, struct gguf_string text,
                        struct error *err);

#endif
