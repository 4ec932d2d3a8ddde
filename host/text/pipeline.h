/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a text before a model makes tokens of it, and to tokens on the way back, as data: the steps of a tokenizer.json
 * (normalizer, pre_tokenizer, decoder, post_processor), or those that a GGUF file's style stands for. Internal to host/text.
 */
#ifndef SLUICE_TEXT_PIPELINE_H
#define SLUICE_TEXT_PIPELINE_H

#include "host/text/pattern.h"

#include <jansson.h>

#define MAX_STEPS 24

enum normalizer_kind {
    NORMALIZE_FORM, /* form: NFC, NFD, NFKC, NFKD */
    NORMALIZE_LOWER,
    NORMALIZE_STRIP,        /* left, right */
    NORMALIZE_ACCENTS,      /* marks go */
    NORMALIZE_NONSPACING,   /* only those of no width */
    NORMALIZE_REPLACE,      /* pattern or literal by content */
    NORMALIZE_PREPEND,      /* content, before a text that is not empty */
    NORMALIZE_CHARSMAP,     /* SentencePiece's precompiled map in content */
    NORMALIZE_BERT_CLEAN,   /* control characters go, white space becomes a space */
    NORMALIZE_BERT_CHINESE, /* spaces around ideographs */
    NORMALIZE_NMT,
    NORMALIZE_BYTE_LEVEL, /* bytes as GPT-2's characters */
};
enum unicode_form { FORM_C, FORM_D, FORM_KC, FORM_KD };

struct normalizer_step {
    enum normalizer_kind kind;
    enum unicode_form form;
    bool left, right;
    struct pattern *pattern; /* owned, or NULL */
    struct text literal, content;
};

enum split_behavior { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_WITH_PREVIOUS, SPLIT_WITH_NEXT, SPLIT_CONTIGUOUS };
enum split_by { BY_PATTERN, BY_LITERAL, BY_SPACE, BY_PUNCTUATION, BY_DIGIT };
enum word_kind {
    WORD_SPLIT,
    WORD_PREFIX_SPACE, /* a space in front of what has none */
    WORD_BYTE_LEVEL,   /* bytes as GPT-2's characters */
    WORD_METASPACE,    /* spaces become literal, and it comes in front by scheme */
    WORD_LENGTH,       /* pieces of count characters */
};
enum prepend_scheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };

struct word_step {
    enum word_kind kind;
    enum split_by by;
    enum split_behavior behavior;
    bool invert;
    enum prepend_scheme scheme;
    size_t count;
    struct pattern *pattern; /* owned, or NULL */
    struct text literal;
};

enum decoder_kind {
    DECODE_BYTE_LEVEL,
    DECODE_REPLACE, /* literal by content, in each token */
    DECODE_BYTE_FALLBACK,
    DECODE_STRIP,      /* literal from the text's start */
    DECODE_METASPACE,  /* literal is a space, but not at the text's start */
    DECODE_WORD_PIECE, /* literal marks what goes on with the word; else a space in front */
    DECODE_SUFFIX,     /* literal ends a word: a space, but not at the text's end */
};

struct decoder_step {
    enum decoder_kind kind;
    struct text literal, content;
    size_t count; /* DECODE_STRIP */
    bool flag;    /* DECODE_METASPACE: the start's goes; DECODE_WORD_PIECE: clean up */
};

struct pipeline {
    struct normalizer_step normalizers[MAX_STEPS];
    unsigned n_normalizers;
    struct word_step words[MAX_STEPS];
    unsigned n_words;
    struct decoder_step decoders[MAX_STEPS];
    unsigned n_decoders;
    bool is_byte_level; /* the model takes bytes; a WORD_BYTE_LEVEL at the end is left out */
};
void pipeline_close(struct pipeline *pipeline);

/* Adds the steps of a part of a tokenizer.json (NULL or null: none). ERROR_UNSUPPORTED names a kind that is not supported. */
int pipeline_read_normalizer(struct pipeline *pipeline, const json_t *part, struct error *err);
int pipeline_read_words(struct pipeline *pipeline, const json_t *part, struct error *err);
int pipeline_read_decoder(struct pipeline *pipeline, const json_t *part, struct error *err);

/* One step more, zeroed; ERROR_TOO_LARGE above MAX_STEPS. */
int pipeline_add_normalizer(struct pipeline *pipeline, enum normalizer_kind kind, struct normalizer_step **out,
                            struct error *err);
int pipeline_add_words(struct pipeline *pipeline, enum word_kind kind, struct word_step **out, struct error *err);
int pipeline_add_decoder(struct pipeline *pipeline, enum decoder_kind kind, struct decoder_step **out,
                         struct error *err);
int pipeline_add_split(struct pipeline *pipeline, const char *source, size_t length, enum split_behavior behavior,
                       bool invert, struct error *err);
int pipeline_add_metaspace(struct pipeline *pipeline, const char *mark, size_t length, enum prepend_scheme scheme,
                           bool split, struct error *err);
int pipeline_add_replace(struct pipeline *pipeline, const char *from, const char *to,
                         struct error *err);           /* normalizer */
void pipeline_finish_words(struct pipeline *pipeline); /* settles is_byte_level */

/* GPT-2's own pattern, which ByteLevel stands for. */
extern const char pipeline_gpt2_pattern[];

/* Working memory of one call. */
struct pipeline_space {
    struct pattern_space pattern;
    struct text normal, other;    /* of normalizers, by turns */
    struct text words[MAX_STEPS]; /* what a step of words wrote */
};
void pipeline_space_free(struct pipeline_space *space);

/*
 * The text normalized: *out (of *n bytes) is the text itself or stands in space until the next call. text is valid UTF-8.
 */
int normalize(const struct pipeline *pipeline, struct pipeline_space *space, const char *text, size_t length,
              const char **out, size_t *n, struct error *err);

/* Appends what a token's text stands for, whatever stands before it. (decode.c) */
int decode_token(const struct pipeline *pipeline, const char *token_text, size_t length, struct text *out,
                 struct error *err);
bool pipeline_divides_words(
    const struct pipeline *pipeline);                      /* tokens that begin a word bring a space, but the first */
bool pipeline_ends_words(const struct pipeline *pipeline); /* tokens that end a word bring a space, but the last */

/* Calls take for each word of a normalized text, in order. at_start: it is the start of all there is. */
typedef int (*word_taker)(void *context, const char *word, size_t length, struct error *err);
int cut_words(const struct pipeline *pipeline, struct pipeline_space *space, const char *text, size_t length,
              bool at_start, word_taker take, void *context, struct error *err);

#endif
