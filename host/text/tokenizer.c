/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/tokenizer.h"
#include "host/base/memory.h"
#include "host/text/quote.h"
#include "host/text/tokenizer_internal.h"

#include <string.h>

/* Which kind of vocabulary the file has. */
static int read_kind(const struct gguf *file, bool *is_spm, struct error *err)
{
    const char *key = "tokenizer.ggml.model";
    struct gguf_string kind;
    int status = gguf_get_string(file, key, &kind, err);
    if (status < 0) return status;
    if (status == 0) return error_set(err, ERROR_BAD_FILE, "%s is missing: the file has no vocabulary", key);
    *is_spm = kind.length == 5 && memcmp(kind.bytes, "llama", 5) == 0;
    if (*is_spm || (kind.length == 4 && memcmp(kind.bytes, "gpt2", 4) == 0)) return 0;
    return error_set(err, ERROR_UNSUPPORTED,
                     "vocabulary kind \"%s\" (%s) is not supported: use a model with gpt2 (byte-level BPE) or llama "
                     "(SentencePiece BPE)",
                     quote(kind.bytes, kind.length).text, key);
}

/* Settles whether BOS and EOS are added: the file's word goes before the style's habit. */
static int settle_added(struct tokenizer *tokenizer, struct error *err)
{
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    if (!vocabulary->says_add_bos) {
        bool habit = tokenizer->is_spm || tokenizer->bpe.style->add_bos_by_default;
        vocabulary->add_bos = habit && vocabulary->bos != TOKEN_NONE;
    }
    if (vocabulary->add_bos && vocabulary->bos == TOKEN_NONE)
        return error_set(err, ERROR_BAD_FILE, "tokenizer.ggml.add_bos_token is set, but the file names no BOS token");
    if (vocabulary->add_eos && vocabulary->eos == TOKEN_NONE)
        return error_set(err, ERROR_BAD_FILE, "tokenizer.ggml.add_eos_token is set, but the file names no EOS token");
    return 0;
}

int tokenizer_open(const struct gguf *file, struct tokenizer **out, struct error *err)
{
    struct tokenizer *made = memory_array(1, sizeof *made);
    if (!made) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory");
    int status = read_kind(file, &made->is_spm, err);
    if (!status) status = vocabulary_open(file, &made->vocabulary, err);
    if (!status) status = special_open(&made->vocabulary, &made->special, err);
    if (!status && made->is_spm) status = spm_open(&made->vocabulary, file, &made->spm, err);
    if (!status && !made->is_spm) status = bpe_open(&made->vocabulary, file, &made->bpe, err);
    if (!status) status = settle_added(made, err);
    if (status) {
        tokenizer_close(made);
        return status;
    }
    *out = made;
    return 0;
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    if (!tokenizer) return;
    bpe_close(&tokenizer->bpe);
    spm_close(&tokenizer->spm);
    special_close(&tokenizer->special);
    vocabulary_close(&tokenizer->vocabulary);
    free(tokenizer);
}

/* Working memory of one call. */
struct scratch {
    struct merge_space space;
    struct text text;
};

/* Tokens of a stretch of text without special tokens. */
static int encode_plain(const struct tokenizer *tokenizer, struct scratch *scratch, const char *text, size_t length,
                        bool at_start, struct token_list *list, struct error *err)
{
    if (tokenizer->is_spm)
        return spm_encode(&tokenizer->spm, &scratch->space, &scratch->text, text, length, at_start, list, err);
    return bpe_encode(&tokenizer->bpe, &scratch->space, &scratch->text, text, length, list, err);
}

static int encode(const struct tokenizer *tokenizer, struct scratch *scratch, const char *text, size_t length,
                  bool parse_special, struct token_list *list, struct error *err)
{
    bool at_start = true; /* of the text or after a special token */
    for (size_t position = 0; position < length;) {
        struct special_match match;
        bool found = special_find(&tokenizer->special, text, length, position, parse_special, &match);
        size_t end = found ? match.start : length;
        if (end > position) {
            int status = encode_plain(tokenizer, scratch, text + position, end - position, at_start, list, err);
            if (status) return status;
        }
        if (!found) break;
        int status = token_list_push(list, match.id, err);
        if (status) return status;
        at_start = true;
        position = match.start + match.length;
    }
    return 0;
}

int tokenize(const struct tokenizer *tokenizer, const char *text, size_t length, unsigned flags,
             struct token_list *list, struct error *err)
{
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    /* Positions in a word are 32 bits wide, and SentencePiece writes a space as three bytes. */
    if (length > UINT32_MAX / 4)
        return error_set(err, ERROR_TOO_LARGE, "tokenize: a text of %zu bytes is too long", length);

    struct scratch scratch = {0};
    size_t before = list->count;
    int status = 0;
    if ((flags & TOKENIZE_ADD_SPECIAL) && vocabulary->add_bos) status = token_list_push(list, vocabulary->bos, err);
    if (!status) status = encode(tokenizer, &scratch, text, length, flags & TOKENIZE_PARSE_SPECIAL, list, err);
    if (!status && (flags & TOKENIZE_ADD_SPECIAL) && vocabulary->add_eos)
        status = token_list_push(list, vocabulary->eos, err);
    if (status) list->count = before;
    merge_free(&scratch.space);
    text_free(&scratch.text);
    return status;
}

uint32_t tokenizer_n_tokens(const struct tokenizer *tokenizer) { return tokenizer->vocabulary.n_tokens; }

const char *tokenizer_style(const struct tokenizer *tokenizer)
{
    return tokenizer->is_spm ? "llama-spm" : tokenizer->bpe.style->name;
}

int64_t tokenizer_find(const struct tokenizer *tokenizer, const char *text)
{
    uint32_t id = vocabulary_find(&tokenizer->vocabulary, text, strlen(text));
    return id == TOKEN_NONE ? -1 : (int64_t)id;
}

int64_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    uint32_t id = tokenizer->vocabulary.bos;
    return id == TOKEN_NONE ? -1 : (int64_t)id;
}

bool tokenizer_adds_bos(const struct tokenizer *tokenizer) { return tokenizer->vocabulary.add_bos; }

bool tokenizer_is_control(const struct tokenizer *tokenizer, uint32_t id)
{
    return id < tokenizer->vocabulary.n_tokens && tokenizer->vocabulary.tokens[id].type == TOKEN_CONTROL;
}

bool tokenizer_find_control(const struct tokenizer *tokenizer, const char *text, size_t length, size_t from,
                            struct control_name *out)
{
    struct special_match match;
    while (special_find(&tokenizer->special, text, length, from, true, &match)) {
        *out = (struct control_name){match.start, match.length, match.id};
        if (tokenizer->vocabulary.tokens[match.id].type != TOKEN_USER_DEFINED) return true;
        from = match.start + match.length;
    }
    return false;
}
