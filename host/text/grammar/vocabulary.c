/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/vocabulary.h"
#include "host/base/memory.h"

#include <string.h>

void grammar_vocabulary_close(struct grammar_vocabulary *vocabulary)
{
    if (!vocabulary) return;
    token_trie_close(&vocabulary->trie);
    free(vocabulary->bytes);
    free(vocabulary->offset);
    free(vocabulary->ends);
    free(vocabulary);
}

uint32_t grammar_vocabulary_n_tokens(const struct grammar_vocabulary *vocabulary) { return vocabulary->n_tokens; }

static int make_trie(struct grammar_vocabulary *v, struct error *err)
{
    struct trie_item *items = memory_array(v->n_tokens, sizeof *items);
    if (!items) return error_set(err, ERROR_NO_MEMORY, "no memory for a trie of %u tokens", v->n_tokens);
    size_t n = 0;
    for (uint32_t token = 0; token < v->n_tokens; token++) {
        uint32_t length;
        const uint8_t *bytes = grammar_token(v, token, &length);
        if (length > 0) items[n++] = (struct trie_item){bytes, length, -1, token};
    }
    int status = token_trie_make(items, n, &v->trie, err);
    free(items);
    return status;
}

static struct grammar_vocabulary *vocabulary_new(uint32_t n)
{
    struct grammar_vocabulary *v = memory_array(1, sizeof *v);
    if (!v) return NULL;
    v->n_tokens = n;
    v->offset = memory_array((size_t)n + 1, sizeof *v->offset);
    v->ends = memory_array(n, sizeof *v->ends);
    if (v->offset && v->ends) return v;
    grammar_vocabulary_close(v);
    return NULL;
}

/* A token with these bytes, unless they are too long. */
static void put_token(struct grammar_vocabulary *v, uint32_t token, uint32_t end)
{
    if (end - v->offset[token] > TRIE_MOST_DEPTH) end = v->offset[token];
    v->offset[token + 1] = end;
}

/* Whether a token may be a part of an answer in some structure. */
static bool is_text(const struct tokenizer *tokenizer, uint32_t token)
{
    if (tokenizer_is_end(tokenizer, token) || !tokenizer_is_shown(tokenizer, token)) return false;
    /* A name takes the space off the token behind it, so that a text would depend on the token before. */
    return !tokenizer_drops_space(tokenizer) || !tokenizer_is_name(tokenizer, token);
}

static int read_tokens(struct grammar_vocabulary *v, const struct tokenizer *tokenizer, struct text *text,
                       struct error *err)
{
    uint32_t n = tokenizer_n_tokens(tokenizer);
    for (uint32_t token = 0; token < v->n_tokens; token++) {
        if (token < n && tokenizer_is_end(tokenizer, token)) v->ends[v->n_ends++] = token;
        if (token < n && is_text(tokenizer, token)) {
            int status = tokenizer_token_bytes(tokenizer, token, text, err);
            if (status < 0) return status;
        }
        if (text->length > UINT32_MAX) return error_set(err, ERROR_TOO_LARGE, "the vocabulary is too large");
        put_token(v, token, (uint32_t)text->length);
        text->length = v->offset[token + 1];
    }
    return 0;
}

int grammar_vocabulary_open(const struct tokenizer *tokenizer, uint32_t n_logits, struct grammar_vocabulary **out,
                            struct error *err)
{
    struct grammar_vocabulary *v = vocabulary_new(n_logits);
    struct text text = {0};
    *out = NULL;
    if (!v) return error_set(err, ERROR_NO_MEMORY, "no memory for the vocabulary of grammars");
    v->drops_first_space = tokenizer_drops_space(tokenizer);
    int status = text_append(&text, "", 0, err);
    if (status == 0) status = read_tokens(v, tokenizer, &text, err);
    v->bytes = (uint8_t *)text.bytes;
    if (status == 0) status = make_trie(v, err);
    if (status < 0) {
        grammar_vocabulary_close(v);
        return status;
    }
    *out = v;
    return 0;
}

int grammar_vocabulary_make(const struct gguf_string *texts, uint32_t n, uint32_t end, struct grammar_vocabulary **out,
                            struct error *err)
{
    struct grammar_vocabulary *v = vocabulary_new(n);
    struct text text = {0};
    *out = NULL;
    int status = v ? text_append(&text, "", 0, err) : ERROR_NO_MEMORY;
    for (uint32_t token = 0; token < n && status == 0; token++) {
        if (token != end) status = text_append(&text, texts[token].bytes, texts[token].length, err);
        if (status == 0) put_token(v, token, (uint32_t)text.length);
        if (status == 0) text.length = v->offset[token + 1];
    }
    if (v) v->bytes = (uint8_t *)text.bytes;
    if (v && end < n) v->ends[v->n_ends++] = end;
    if (status == 0) status = make_trie(v, err);
    if (status == 0) {
        *out = v;
        return 0;
    }
    grammar_vocabulary_close(v);
    return error_set(err, status, "no memory for the vocabulary of grammars");
}
