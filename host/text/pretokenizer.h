/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a text into the words that byte-level BPE works on. Internal to host/text. */
#ifndef SLUICE_TEXT_PRETOKENIZER_H
#define SLUICE_TEXT_PRETOKENIZER_H

#include "host/base/error.h"
#include "host/model/gguf.h"

#include <stdbool.h>
#include <stddef.h>

struct pretokenizer_style {
    const char *name;        /* what tokenizer_style returns */
    const char *pattern;     /* PCRE2 */
    bool takes_whole_words;  /* a word that is a token is that token, whatever the merges make of it */
    bool add_bos_by_default; /* where the file does not say */
};

/* By tokenizer.ggml.pre. ERROR_UNSUPPORTED names it and lists those that there are. */
int pretokenizer_style_find(struct gguf_string name, const struct pretokenizer_style **out, struct error *err);

struct pretokenizer; /* a compiled pattern; immutable, for any number of threads */
int pretokenizer_open(const struct pretokenizer_style *style, struct pretokenizer **out, struct error *err);
void pretokenizer_close(struct pretokenizer *pretokenizer); /* NULL is allowed */

/* A walk over one text, which is borrowed until pretokenizer_end. */
struct pretokenizer_walk {
    const struct pretokenizer *pretokenizer;
    void *match; /* pcre2_match_data, owned */
    const char *text;
    size_t length, position;
    size_t valid_end; /* the text is valid UTF-8 from position to here */
};
int pretokenizer_begin(struct pretokenizer_walk *walk, const struct pretokenizer *pretokenizer, const char *text,
                       size_t length, struct error *err);

/*
 * The next word, text[*start .. *start + *n): 1, or 0 at the end, or an error. The words are the whole text in order. A
 * byte that is no part of a valid UTF-8 character is a word of its own, and what stands before it is cut as if the
 * text ended there.
 */
int pretokenizer_next(struct pretokenizer_walk *walk, size_t *start, size_t *n, struct error *err);
void pretokenizer_end(struct pretokenizer_walk *walk);

#endif
