/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to tokens and back, exactly as the model's makers meant: byte-level BPE (tokenizer.ggml.model "gpt2", with the
 * pre-tokenizer that tokenizer.ggml.pre names: llama-bpe, qwen2) and SentencePiece BPE ("llama", with byte fallback).
 * A tokenizer is immutable once made and may be used by several threads.
 */
#ifndef SLUICE_TEXT_TOKENIZER_H
#define SLUICE_TEXT_TOKENIZER_H

#include "host/base/error.h"
#include "host/model/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer; /* opaque */

/*
 * Reads the vocabulary from the file's metadata. file is borrowed until tokenizer_close. ERROR_UNSUPPORTED names a
 * model or pre-tokenizer that is not supported and lists those that are; ERROR_BAD_FILE names what contradicts itself
 * (token ids out of range, merges of unknown tokens, lists of different lengths, ...).
 */
int tokenizer_open(const struct gguf *file, struct tokenizer **out, struct error *err);
void tokenizer_close(struct tokenizer *tokenizer); /* NULL is allowed */

struct token_list {
    uint32_t *ids; /* owned: token_list_free */
    size_t count, capacity;
};
void token_list_free(struct token_list *list); /* leaves it empty and usable */
int token_list_push(struct token_list *list, uint32_t id, struct error *err);

enum tokenize_flags {
    TOKENIZE_ADD_SPECIAL = 1,   /* add BOS/EOS where the file says so */
    TOKENIZE_PARSE_SPECIAL = 2, /* text of special tokens becomes those tokens; else it is plain text */
};
#define TOKENIZE_PROMPT (TOKENIZE_ADD_SPECIAL | TOKENIZE_PARSE_SPECIAL)

/*
 * Appends the tokens of text (any bytes; invalid UTF-8 is tokenized as the replacement-free bytes it is) to list.
 * Time is O(n log n) in the text's length.
 */
int tokenize(const struct tokenizer *tokenizer, const char *text, size_t length, unsigned flags,
             struct token_list *list, struct error *err);

uint32_t tokenizer_n_tokens(const struct tokenizer *tokenizer); /* size of the vocabulary in the file */
const char *tokenizer_style(const struct tokenizer *tokenizer); /* "llama-bpe", "qwen2", "llama-spm" */

/* Id of the token with exactly this text (e.g. "<|im_end|>"), or -1. */
int64_t tokenizer_find(const struct tokenizer *tokenizer, const char *text);
int64_t tokenizer_bos(const struct tokenizer *tokenizer); /* -1 if none */

/*
 * True for every token that ends a sequence: eos, eot, eom and the lists of generation_config that the file carries
 * (tokenizer.ggml.eos_token_id, .eot_token_id, .eom_token_id, .eos_token_ids, and control tokens whose text is a
 * known end-of-turn marker, such as <|im_end|>, <|eot_id|>, <|eom_id|>, <|endoftext|>, <|end_of_text|>, </s>).
 */
bool tokenizer_is_end(const struct tokenizer *tokenizer, uint32_t id);
bool tokenizer_is_control(const struct tokenizer *tokenizer, uint32_t id);

/* The first name of a token in text at or after from that is never text (control tokens and their like), the longest there. */
struct control_name {
    size_t start, length;
    uint32_t id;
};
bool tokenizer_find_control(const struct tokenizer *tokenizer, const char *text, size_t length, size_t from,
                            struct control_name *out);

/* Whether a prompt begins with BOS: the file's word, or else what the style's models do. */
bool tokenizer_adds_bos(const struct tokenizer *tokenizer);

/* What the detokenizer does with a token below the vocabulary's size: shows it; takes it for a name (whose text is as it is). */
bool tokenizer_is_shown(const struct tokenizer *tokenizer, uint32_t id);
bool tokenizer_is_name(const struct tokenizer *tokenizer, uint32_t id);
bool tokenizer_drops_space(const struct tokenizer *tokenizer); /* from the first token, and from one behind a name */

/*
 * Streaming detokenization. Tokens go in one by one; bytes come out as soon as they are whole UTF-8 characters, so no
 * piece ever ends inside one. Bytes that can never become a character come out as U+FFFD. Control tokens are
 * not shown unless show_control. SentencePiece's leading space is dropped at the start of a text.
 */
struct detokenizer {
    const struct tokenizer *tokenizer;
    bool show_control;
    const uint32_t *shown; /* n_shown control tokens that are shown all the same; borrowed, NULL at the start */
    size_t n_shown;
    bool at_start;
    uint8_t pending[4]; /* the start of an unfinished character */
    unsigned n_pending;
};
void detokenizer_start(struct detokenizer *state, const struct tokenizer *tokenizer, bool show_control);

/* A growing text; bytes is owned (text_free), always terminated by a NUL that length does not count. */
struct text {
    char *bytes;
    size_t length, capacity;
};
void text_free(struct text *text);
int text_append(struct text *text, const char *bytes, size_t length, struct error *err);
int text_reserve(struct text *text, size_t length, struct error *err); /* room for length more bytes */

/* Appends what the token adds to out. ERROR_BAD_ARGUMENT for an id outside the vocabulary. */
int detokenize_next(struct detokenizer *state, uint32_t id, struct text *out, struct error *err);
/* Appends what is left at the end of the stream: U+FFFD for an unfinished character, or nothing. */
int detokenize_end(struct detokenizer *state, struct text *out, struct error *err);

/*
 * The exact bytes of a token list (control tokens' text included), without replacement: the inverse of tokenize --raw.
 */
int detokenize_bytes(const struct tokenizer *tokenizer, const uint32_t *ids, size_t count, struct text *out,
                     struct error *err);

/* Appends the bytes of one token seen alone, a SentencePiece space in front included. Errors as detokenize_next. */
int tokenizer_token_bytes(const struct tokenizer *tokenizer, uint32_t id, struct text *out, struct error *err);

#endif
