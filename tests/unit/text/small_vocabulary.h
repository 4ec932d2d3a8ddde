/* SPDX-License-Identifier: Apache-2.0 */
/* Vocabularies of a few hundred tokens, made in memory, so that a test can say what is in them or wrong with them. */
#ifndef SLUICE_TESTS_SMALL_VOCABULARY_H
#define SLUICE_TESTS_SMALL_VOCABULARY_H

#include "host/text/tokenizer.h"
#include "tests/unit/model/gguf_writer.h"

#include <stdio.h>

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 }; /* tokenizer.ggml.token_type */

struct small_token {
    const char *text;
    uint32_t type;
    float score; /* SentencePiece only */
};

struct small_number {
    const char *key;
    enum gguf_type type; /* U32, BOOL, or ARRAY: a list of the one value, as I32 */
    uint32_t value;
};

/* Tokens 0 to 255 are the bytes; then come tokens, from id 256 on. NULL ends each list. */
struct small_vocabulary {
    const char *model, *pre; /* NULL: the key is left out */
    struct small_token tokens[24];
    const char *merges[24];
    struct small_number numbers[8];
    const char *leave_out; /* "tokens", "merges", "token_type" or "scores" */
    int n_types_more;      /* entries of token_type and scores more than there are tokens, or fewer */
    uint32_t first_type;   /* type of byte 0, if not 0: for a wrong one */
};

#define FIRST_WORD 256

/* The character that stands for a byte in a byte-level vocabulary, as GPT-2's bytes_to_unicode makes it. */
static inline void byte_character(unsigned byte, char out[3])
{
    unsigned character = byte, n = 0;
    for (unsigned b = 0; b <= byte; b++) {
        bool prints = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (!prints) character = 256 + n++;
        if (prints) character = b;
    }
    if (character < 0x80) {
        out[0] = (char)character;
        out[1] = '\0';
    } else {
        out[0] = (char)(0xc0 | character >> 6);
        out[1] = (char)(0x80 | (character & 0x3f));
        out[2] = '\0';
    }
}

static inline bool has_list(const struct small_vocabulary *from, const char *name)
{
    return !from->leave_out || strcmp(from->leave_out, name) != 0;
}

static inline void put_lists(struct writer *file, const struct small_vocabulary *from, bool is_spm)
{
    uint64_t n_tokens = FIRST_WORD, n_merges = 0;
    while (from->tokens[n_tokens - FIRST_WORD].text) n_tokens++;
    while (from->merges[n_merges]) n_merges++;
    if (has_list(from, "tokens")) {
        put_key(file, "tokenizer.ggml.tokens", GGUF_TYPE_ARRAY), put_array(file, GGUF_TYPE_STRING, n_tokens);
        for (unsigned byte = 0; byte < FIRST_WORD; byte++) {
            char text[8];
            if (is_spm)
                snprintf(text, sizeof text, "<0x%02X>", byte);
            else
                byte_character(byte, text);
            put_string(file, text);
        }
        for (uint64_t i = FIRST_WORD; i < n_tokens; i++) put_string(file, from->tokens[i - FIRST_WORD].text);
    }
    uint64_t n_types = (uint64_t)((int64_t)n_tokens + from->n_types_more);
    if (has_list(from, "token_type")) {
        put_key(file, "tokenizer.ggml.token_type", GGUF_TYPE_ARRAY), put_array(file, GGUF_TYPE_I32, n_types);
        for (uint64_t i = 0; i < n_types; i++) {
            uint32_t type = is_spm ? BYTE : NORMAL;
            if (i == 0 && from->first_type) type = from->first_type;
            if (i >= FIRST_WORD && i < n_tokens) type = from->tokens[i - FIRST_WORD].type;
            put_u32(file, type);
        }
    }
    if (is_spm && has_list(from, "scores")) {
        put_key(file, "tokenizer.ggml.scores", GGUF_TYPE_ARRAY), put_array(file, GGUF_TYPE_F32, n_types);
        for (uint64_t i = 0; i < n_types; i++)
            put_u32(file, bits_of_float(i >= FIRST_WORD && i < n_tokens ? from->tokens[i - FIRST_WORD].score : 0.0f));
    }
    if (!is_spm && has_list(from, "merges")) {
        put_key(file, "tokenizer.ggml.merges", GGUF_TYPE_ARRAY), put_array(file, GGUF_TYPE_STRING, n_merges);
        for (uint64_t i = 0; i < n_merges; i++) put_string(file, from->merges[i]);
    }
}

static inline void small_vocabulary_write(const struct small_vocabulary *from, struct writer *file)
{
    bool is_spm = from->model && strcmp(from->model, "llama") == 0;
    bool missing = from->leave_out != NULL;
    uint64_t n_numbers = 0;
    while (from->numbers[n_numbers].key) n_numbers++;
    *file = (struct writer){0};
    put_header(file, 3, 0, 3u - missing + (from->model != NULL) + (from->pre != NULL) + n_numbers);
    if (from->model) put_key(file, "tokenizer.ggml.model", GGUF_TYPE_STRING), put_string(file, from->model);
    if (from->pre) put_key(file, "tokenizer.ggml.pre", GGUF_TYPE_STRING), put_string(file, from->pre);
    put_lists(file, from, is_spm);
    for (uint64_t i = 0; i < n_numbers; i++) {
        put_key(file, from->numbers[i].key, from->numbers[i].type);
        if (from->numbers[i].type == GGUF_TYPE_ARRAY) put_array(file, GGUF_TYPE_I32, 1);
        if (from->numbers[i].type == GGUF_TYPE_BOOL)
            put_u8(file, (uint8_t)from->numbers[i].value);
        else
            put_u32(file, from->numbers[i].value);
    }
}

/* A vocabulary that is open, with the bytes and the file under it. */
struct opened {
    struct writer bytes;
    struct gguf *file;
    struct tokenizer *tokenizer;
};

/* 0 or tokenizer_open's error. opened must not move until small_vocabulary_close. */
static inline int small_vocabulary_open(const struct small_vocabulary *from, struct opened *opened, struct error *err)
{
    small_vocabulary_write(from, &opened->bytes);
    opened->tokenizer = NULL;
    opened->file = NULL;
    int status = gguf_open_memory(opened->bytes.bytes, opened->bytes.size, "small.gguf", &opened->file, err);
    return status ? status : tokenizer_open(opened->file, &opened->tokenizer, err);
}

static inline void small_vocabulary_close(struct opened *opened)
{
    tokenizer_close(opened->tokenizer);
    gguf_close(opened->file);
}

/* A byte-level vocabulary with both chat formats' markers and a user-defined token. */
#define SMALL_LLAMA3                                                                                                   \
    {                                                                                                                  \
        .model = "gpt2", .pre = "llama-bpe",                                                                           \
        .tokens = {{"he", NORMAL, 0},                                                                                  \
                   {"ll", NORMAL, 0},                                                                                  \
                   {"hell", NORMAL, 0},                                                                                \
                   {"hello", NORMAL, 0},                                                                               \
                   {"\xc4\x8a\xc4\x8a", NORMAL, 0},                                                                    \
                   {"<|begin_of_text|>", CONTROL, 0},                                                                  \
                   {"<|start_header_id|>", CONTROL, 0},                                                                \
                   {"<|end_header_id|>", CONTROL, 0},                                                                  \
                   {"<|eot_id|>", CONTROL, 0},                                                                         \
                   {"<|end_of_text|>", CONTROL, 0},                                                                    \
                   {"<tool>", USER_DEFINED, 0},                                                                        \
                   {"<tool>>", USER_DEFINED, 0}},                                                                      \
        .merges = {"h e", "l l", "he ll", "hell o", "\xc4\x8a \xc4\x8a"},                                              \
        .numbers = {{"tokenizer.ggml.bos_token_id", GGUF_TYPE_U32, 261},                                               \
                    {"tokenizer.ggml.eos_token_id", GGUF_TYPE_U32, 265}},                                              \
    }
enum { HE = 256, LL, HELL, HELLO, TWO_LINES, BEGIN_OF_TEXT, START_HEADER, END_HEADER, EOT, END_OF_TEXT, TOOL, TOOL_2 };

/* A SentencePiece vocabulary. Without "hello" in one piece, so that scores decide. */
#define SMALL_SPM                                                                                                      \
    {                                                                                                                  \
        .model = "llama",                                                                                              \
        .tokens = {{"<unk>", UNKNOWN, 0},                                                                              \
                   {"<s>", CONTROL, 0},                                                                                \
                   {"</s>", CONTROL, 0},                                                                               \
                   {"\xe2\x96\x81", NORMAL, -9},                                                                       \
                   {"a", NORMAL, -10},                                                                                 \
                   {"b", NORMAL, -11},                                                                                 \
                   {"ab", NORMAL, -2},                                                                                 \
                   {"ba", NORMAL, -1},                                                                                 \
                   {"\xe2\x96\x81"                                                                                     \
                    "a",                                                                                               \
                    NORMAL, -3},                                                                                       \
                   {"<mark>", USER_DEFINED, 0}},                                                                       \
        .numbers = {{"tokenizer.ggml.bos_token_id", GGUF_TYPE_U32, 257},                                               \
                    {"tokenizer.ggml.eos_token_id", GGUF_TYPE_U32, 258},                                               \
                    {"tokenizer.ggml.unknown_token_id", GGUF_TYPE_U32, 256}},                                          \
    }
enum { SPM_UNKNOWN = 256, SPM_BOS, SPM_EOS, SPM_SPACE, SPM_A, SPM_B, SPM_AB, SPM_BA, SPM_SPACE_A, SPM_MARK };

#endif
