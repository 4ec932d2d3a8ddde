/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/memory.h"
#include "host/text/tokenizer.h"
#include "host/text/tokenizer_internal.h"
#include "host/text/utf8.h"

#include <inttypes.h>
#include <string.h>

/* Control, unknown and user-defined tokens stand for their names as they are. */
static bool is_named(const struct vocabulary_token *token)
{
    return token->type == TOKEN_CONTROL || token->type == TOKEN_UNKNOWN || token->type == TOKEN_USER_DEFINED;
}

bool tokenizer_is_name(const struct tokenizer *tokenizer, uint32_t id)
{
    return is_named(&tokenizer->vocabulary.tokens[id]);
}

bool tokenizer_is_shown(const struct tokenizer *tokenizer, uint32_t id)
{
    uint8_t type = tokenizer->vocabulary.tokens[id].type;
    return type != TOKEN_CONTROL && type != TOKEN_UNKNOWN && type != TOKEN_UNUSED;
}

bool tokenizer_drops_space(const struct tokenizer *tokenizer) { return tokenizer->drop != DROP_NEVER; }

int tokenizer_token_bytes(const struct tokenizer *tokenizer, uint32_t id, struct text *out, struct error *err)
{
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    if (id >= vocabulary->n_tokens)
        return error_set(err, ERROR_BAD_ARGUMENT, "token %" PRIu32 " is not in the vocabulary of %" PRIu32 " tokens",
                         id, vocabulary->n_tokens);
    const struct vocabulary_token *token = &vocabulary->tokens[id];
    if (is_named(token)) return text_append(out, token->text, token->length, err);
    return decode_token(&tokenizer->pipeline, token->text, token->length, out, err);
}

/*
 * Appends what a token adds to a text. The space that tokenize put before the text, or after a special token, goes
 * again; *at_start says whether the next token is in such a place.
 */
static int append_token(const struct tokenizer *tokenizer, uint32_t id, bool *at_start, struct text *out,
                        struct error *err)
{
    size_t before = out->length;
    int status = tokenizer_token_bytes(tokenizer, id, out, err);
    if (status) return status;
    const struct vocabulary_token *token = &tokenizer->vocabulary.tokens[id];
    if (is_named(token)) {
        *at_start = *at_start ? true : tokenizer->drop != DROP_AT_START;
        return 0;
    }
    bool drops = tokenizer_drops_space(tokenizer) || pipeline_divides_words(&tokenizer->pipeline);
    bool drop = *at_start && drops && token->type != TOKEN_BYTE && out->length > before && out->bytes[before] == ' ';
    if (drop) {
        out->length--;
        memmove(out->bytes + before, out->bytes + before + 1, out->length - before + 1);
    }
    *at_start = *at_start && token->length == 0;
    return 0;
}

int detokenize_bytes(const struct tokenizer *tokenizer, const uint32_t *ids, size_t count, struct text *out,
                     struct error *err)
{
    bool at_start = true;
    int status = text_append(out, "", 0, err);
    for (size_t i = 0; !status && i < count; i++) status = append_token(tokenizer, ids[i], &at_start, out, err);
    if (!status && count && pipeline_ends_words(&tokenizer->pipeline) && out->bytes[out->length - 1] == ' ')
        out->bytes[--out->length] = '\0';
    return status;
}

void detokenizer_start(struct detokenizer *state, const struct tokenizer *tokenizer, bool show_control)
{
    *state = (struct detokenizer){.tokenizer = tokenizer, .show_control = show_control, .at_start = true};
}

/* Writes bytes with U+FFFD for what is broken; the start of an unfinished character stays in state->pending. */
static int append_repaired(struct detokenizer *state, const uint8_t *bytes, size_t n, struct text *out,
                           struct error *err)
{
    while (n) {
        size_t valid = utf8_valid_prefix(bytes, n);
        int status = text_append(out, (const char *)bytes, valid, err);
        if (status) return status;
        bytes += valid;
        n -= valid;
        if (!n) break;
        unsigned broken;
        if (utf8_scan(bytes, n, &broken) == UTF8_UNFINISHED) {
            memcpy(state->pending, bytes, n);
            state->n_pending = (unsigned)n;
            break;
        }
        status = text_append(out, UTF8_REPLACEMENT, sizeof UTF8_REPLACEMENT - 1, err);
        if (status) return status;
        bytes += broken;
        n -= broken;
    }
    return 0;
}

/* Makes what stands in out from start on whole characters. Almost always it is that already, and nothing is copied. */
static int settle(struct detokenizer *state, struct text *out, size_t start, struct error *err)
{
    const uint8_t *bytes = (const uint8_t *)out->bytes + start;
    size_t n = out->length - start, valid = utf8_valid_prefix(bytes, n);
    if (valid == n) return 0;
    uint8_t small[64]; /* enough for nearly every token: the engine's token path shall not allocate */
    uint8_t *rest = n - valid <= sizeof small ? small : memory_array(n - valid, 1);
    if (!rest) return error_set(err, ERROR_NO_MEMORY, "detokenize: out of memory");
    memcpy(rest, bytes + valid, n - valid);
    out->length = start + valid;
    out->bytes[out->length] = '\0';
    int status = append_repaired(state, rest, n - valid, out, err);
    if (rest != small) free(rest);
    return status;
}

int detokenize_next(struct detokenizer *state, uint32_t id, struct text *out, struct error *err)
{
    const struct tokenizer *tokenizer = state->tokenizer;
    size_t start = out->length;
    /* The unfinished character goes in front of the token's bytes, which are to finish it. */
    int status = text_append(out, (const char *)state->pending, state->n_pending, err);
    if (status) return status;
    size_t before = out->length;
    status = append_token(tokenizer, id, &state->at_start, out, err);
    if (status) {
        out->length = start;
        return status;
    }
    bool hidden = !tokenizer_is_shown(tokenizer, id);
    for (size_t i = 0; hidden && i < state->n_shown; i++) hidden = state->shown[i] != id;
    if ((hidden && !state->show_control) || out->length == before) { /* the pending bytes go on waiting */
        out->length = start;
        out->bytes[start] = '\0';
        return 0;
    }
    state->n_pending = 0;
    status = settle(state, out, start, err);
    if (!status && pipeline_ends_words(&tokenizer->pipeline) && out->length > start &&
        out->bytes[out->length - 1] == ' ') {
        out->bytes[--out->length] = '\0'; /* the space waits for a word to follow */
        state->pending[0] = ' ';
        state->n_pending = 1;
    }
    return status;
}

int detokenize_end(struct detokenizer *state, struct text *out, struct error *err)
{
    bool space = state->n_pending == 1 && state->pending[0] == ' ';
    if (!state->n_pending || space) return 0;
    state->n_pending = 0;
    return text_append(out, UTF8_REPLACEMENT, sizeof UTF8_REPLACEMENT - 1, err);
}
