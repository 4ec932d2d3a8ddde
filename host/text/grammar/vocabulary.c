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

/* A token with these bytes, unless they are too long, or no text has them. */
static void put_token(struct grammar_vocabulary *v, uint32_t token, const char *bytes, size_t end)
{
    const size_t begin = v->offset[token];
    const bool no_text = memchr(bytes + begin, MARKER_LEAD, end - begin) != NULL;
    v->offset[token + 1] = (uint32_t)(no_text || end - begin > TRIE_MOST_DEPTH ? begin : end);
}

void grammar_marker(uint32_t token, uint8_t bytes[MARKER_BYTES])
{
    bytes[0] = MARKER_LEAD;
    for (unsigned i = 1; i < MARKER_BYTES; i++) bytes[i] = (uint8_t)(token >> (8 * (MARKER_BYTES - 1 - i)));
}

static int put_marker(struct grammar_vocabulary *v, uint32_t token, struct text *text, struct error *err)
{
    uint8_t bytes[MARKER_BYTES];
    grammar_marker(token, bytes);
    int status = text_append(text, (const char *)bytes, MARKER_BYTES, err);
    if (status == 0) v->offset[token + 1] = (uint32_t)text->length;
    return status;
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
        const bool is_end = token < n && tokenizer_is_end(tokenizer, token);
        int status = 0;
        if (is_end) v->ends[v->n_ends++] = token;
        if (token < n && is_text(tokenizer, token)) {
            status = tokenizer_token_bytes(tokenizer, token, text, err);
            if (status == 0) put_token(v, token, text->bytes, text->length);
        } else if (token < n && !is_end && tokenizer_is_name(tokenizer, token)) {
            status = put_marker(v, token, text, err);
        } else {
            put_token(v, token, text->bytes, text->length);
        }
        if (status < 0) return status;
        if (text->length > UINT32_MAX) return error_set(err, ERROR_TOO_LARGE, "the vocabulary is too large");
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
    v->tokenizer = tokenizer;
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

bool grammar_find_marker(const struct grammar_vocabulary *v, const char *text, size_t length, size_t from,
                         struct control_name *out)
{
    if (!v->tokenizer) return false;
    while (tokenizer_find_control(v->tokenizer, text, length, from, out)) {
        uint32_t n = 0;
        const uint8_t *bytes = out->id < v->n_tokens ? grammar_token(v, out->id, &n) : NULL;
        if (n == MARKER_BYTES && bytes[0] == MARKER_LEAD) return true;
        from = out->start + 1;
    }
    return false;
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
        if (status == 0) put_token(v, token, text.bytes, text.length);
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
