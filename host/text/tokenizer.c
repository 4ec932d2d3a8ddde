/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/tokenizer.h"
#include "host/base/memory.h"
#include "host/text/byte_level.h"
#include "host/text/tokenizer_internal.h"
#include "host/text/utf8.h"

#include <string.h>

/* BOS and EOS as the file's switches have it, around what a post-processor adds. */
static int settle_added(struct tokenizer *tokenizer, struct error *err)
{
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    if (vocabulary->add_bos && vocabulary->bos == TOKEN_NONE)
        return error_set(err, ERROR_BAD_FILE, "tokenizer.ggml.add_bos_token is set, but the file names no BOS token");
    if (vocabulary->add_eos && vocabulary->eos == TOKEN_NONE)
        return error_set(err, ERROR_BAD_FILE, "tokenizer.ggml.add_eos_token is set, but the file names no EOS token");
    bool has_bos = tokenizer->n_before && tokenizer->before[0] == vocabulary->bos;
    if (vocabulary->add_bos && !has_bos) {
        if (tokenizer->n_before == MAX_ADDED) return error_set(err, ERROR_TOO_LARGE, "too many tokens before a prompt");
        memmove(tokenizer->before + 1, tokenizer->before, tokenizer->n_before++ * sizeof tokenizer->before[0]);
        tokenizer->before[0] = vocabulary->bos;
    } else if (!vocabulary->add_bos && vocabulary->says_add_bos && has_bos) {
        memmove(tokenizer->before, tokenizer->before + 1, --tokenizer->n_before * sizeof tokenizer->before[0]);
    }
    bool has_eos = tokenizer->n_after && tokenizer->after[tokenizer->n_after - 1] == vocabulary->eos;
    if (vocabulary->add_eos && !has_eos) {
        if (tokenizer->n_after == MAX_ADDED) return error_set(err, ERROR_TOO_LARGE, "too many tokens after a prompt");
        tokenizer->after[tokenizer->n_after++] = vocabulary->eos;
    }
    vocabulary->add_bos = tokenizer->n_before && tokenizer->before[0] == vocabulary->bos;
    return 0;
}

int tokenizer_open(const struct gguf *file, struct tokenizer **out, struct error *err)
{
    struct tokenizer *made = memory_array(1, sizeof *made);
    if (!made) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory");
    struct gguf_string json;
    int status = gguf_get_string(file, TOKENIZER_JSON_KEY, &json, err);
    if (status >= 0)
        status = status == 1 ? tokenizer_open_json(made, file, json, err) : tokenizer_open_style(made, file, err);
    if (!status) status = special_finish(&made->special, err);
    if (!status) status = special_finish(&made->normalized, err);
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
    unigram_close(&tokenizer->unigram);
    word_piece_close(&tokenizer->word_piece);
    pipeline_close(&tokenizer->pipeline);
    special_close(&tokenizer->special);
    special_close(&tokenizer->normalized);
    vocabulary_close(&tokenizer->vocabulary);
    json_decref(tokenizer->json);
    free(tokenizer);
}

/* One call: its options and working memory. */
struct call {
    const struct tokenizer *tokenizer;
    bool parse_special;
    struct token_list *list;
    struct merge_space merge;
    struct unigram_space unigram;
    struct pipeline_space pipeline;
    struct text scratch;
};

static void call_free(struct call *call)
{
    merge_free(&call->merge);
    unigram_space_free(&call->unigram);
    pipeline_space_free(&call->pipeline);
    text_free(&call->scratch);
}

static int encode_word(void *context, const char *word, size_t length, struct error *err)
{
    struct call *call = context;
    const struct tokenizer *tokenizer = call->tokenizer;
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    if (tokenizer->kind == KIND_BPE)
        return bpe_encode(&tokenizer->bpe, &call->merge, &call->scratch, word, length, call->list, err);
    if (tokenizer->kind == KIND_UNIGRAM)
        return unigram_encode(&tokenizer->unigram, &call->unigram, word, length, call->list, err);
    if (tokenizer->kind == KIND_WORD_PIECE)
        return word_piece_encode(&tokenizer->word_piece, word, length, call->list, err);
    uint32_t id = vocabulary_find_plain(vocabulary, word, length);
    if (id == TOKEN_NONE) id = vocabulary->unknown;
    return id != TOKEN_NONE ? token_list_push(call->list, id, err)
                            : error_set(err, ERROR_BAD_ARGUMENT, "tokenize: a word is not in the model's vocabulary");
}

/* A stretch of text without names of special tokens; it is valid UTF-8. */
static int encode_stretch(struct call *call, const char *text, size_t length, bool at_start, struct error *err)
{
    const struct tokenizer *tokenizer = call->tokenizer;
    size_t n, position = 0;
    int status = normalize(&tokenizer->pipeline, &call->pipeline, text, length, &text, &n, err);
    while (!status && position < n) {
        struct special_match match;
        bool found = special_find(&tokenizer->normalized, text, n, position, call->parse_special, &match);
        if (found) special_widen(text, n, position, &match);
        size_t end = found ? match.start : n;
        status = cut_words(&tokenizer->pipeline, &call->pipeline, text + position, end - position,
                           at_start && position == 0, encode_word, call, err);
        if (!found) break;
        if (!status) status = token_list_push(call->list, match.id, err);
        position = match.start + match.length;
    }
    return status;
}

/* A byte that is no part of a character. */
static int encode_byte(struct call *call, char byte, struct error *err)
{
    const struct pipeline *pipeline = &call->tokenizer->pipeline;
    bool writes = false; /* bytes are characters to the model, as a step has written them */
    for (unsigned i = 0; i < pipeline->n_words; i++) writes = writes || pipeline->words[i].kind == WORD_BYTE_LEVEL;
    for (unsigned i = 0; i < pipeline->n_normalizers; i++)
        writes = writes || pipeline->normalizers[i].kind == NORMALIZE_BYTE_LEVEL;
    char written[2];
    size_t n = writes ? (size_t)(byte_level_put(written, (uint8_t)byte) - written) : 0;
    return writes ? encode_word(call, written, n, err) : encode_word(call, &byte, 1, err);
}

/*
 * Text without names of special tokens. A byte that is no part of a valid UTF-8 character is a word of its own, and what stands
 * before it is cut as if the text ended there.
 */
static int encode_plain(struct call *call, const char *text, size_t length, bool at_start, bool after_name,
                        struct error *err)
{
    const struct tokenizer *tokenizer = call->tokenizer;
    if (tokenizer->kind == KIND_SPM)
        return spm_encode(&tokenizer->spm, &call->merge, &call->scratch, text, length, at_start || after_name,
                          call->list, err);
    int status = 0;
    for (size_t i = 0; !status && i < length;) {
        size_t n = utf8_valid_prefix((const uint8_t *)text + i, length - i);
        status = n ? encode_stretch(call, text + i, n, at_start && i == 0, err) : encode_byte(call, text[i], err);
        i += n ? n : 1;
    }
    return status;
}

static int encode(struct call *call, const char *text, size_t length, struct error *err)
{
    bool after_name = false;
    for (size_t position = 0; position < length;) {
        struct special_match match;
        bool found = special_find(&call->tokenizer->special, text, length, position, call->parse_special, &match);
        if (found) special_widen(text, length, position, &match);
        size_t end = found ? match.start : length;
        if (end > position) {
            int status = encode_plain(call, text + position, end - position, position == 0, after_name, err);
            if (status) return status;
        }
        if (!found) break;
        int status = token_list_push(call->list, match.id, err);
        if (status) return status;
        after_name = true;
        position = match.start + match.length;
    }
    return 0;
}

int tokenize(const struct tokenizer *tokenizer, const char *text, size_t length, unsigned flags,
             struct token_list *list, struct error *err)
{
    /* Positions in a word are 32 bits wide, and SentencePiece writes a space as three bytes. */
    if (length > UINT32_MAX / 4)
        return error_set(err, ERROR_TOO_LARGE, "tokenize: a text of %zu bytes is too long", length);

    struct call call = {.tokenizer = tokenizer, .parse_special = flags & TOKENIZE_PARSE_SPECIAL, .list = list};
    bool adds = flags & TOKENIZE_ADD_SPECIAL;
    size_t before = list->count;
    int status = 0;
    pattern_space_begin(&call.pipeline.pattern, length);
    for (unsigned i = 0; !status && adds && i < tokenizer->n_before; i++)
        status = token_list_push(list, tokenizer->before[i], err);
    if (!status) status = encode(&call, text, length, err);
    for (unsigned i = 0; !status && adds && i < tokenizer->n_after; i++)
        status = token_list_push(list, tokenizer->after[i], err);
    if (status) list->count = before;
    call_free(&call);
    return status;
}

uint32_t tokenizer_n_tokens(const struct tokenizer *tokenizer) { return tokenizer->vocabulary.n_tokens; }

const char *tokenizer_style(const struct tokenizer *tokenizer) { return tokenizer->style; }

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
