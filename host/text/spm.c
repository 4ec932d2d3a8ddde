/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/spm.h"
#include "host/base/memory.h"
#include "host/text/quote.h"
#include "host/text/utf8.h"

#include <inttypes.h>
#include <string.h>

#define SPACE "\xe2\x96\x81" /* U+2581, lower one eighth block */
#define SPACE_LENGTH 3

static bool is_space(const char *text, size_t length)
{
    return length >= SPACE_LENGTH && memcmp(text, SPACE, SPACE_LENGTH) == 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The byte of "<0xXX>", or -1. */
static int byte_of_name(const char *text, size_t length)
{
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static int compare_scores(const void *a, const void *b, void *context)
{
    double left = vocabulary_score(context, *(const uint32_t *)a),
           right = vocabulary_score(context, *(const uint32_t *)b);
    return (left < right) - (left > right);
}

/* Scores are compared only with each other, so their order is enough, and integers keep the merge core simple. */
static int rank_scores(struct spm *spm, struct error *err)
{
    const struct vocabulary *vocabulary = spm->vocabulary;
    uint32_t *order = memory_array(vocabulary->n_tokens, sizeof *order);
    spm->ranks = memory_array(vocabulary->n_tokens, sizeof *spm->ranks);
    if (!order || !spm->ranks) {
        free(order);
        return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory for scores");
    }
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) order[id] = id;
    qsort_r(order, vocabulary->n_tokens, sizeof *order, compare_scores, (void *)(uintptr_t)vocabulary);
    uint32_t rank = 0;
    for (uint32_t i = 0; i < vocabulary->n_tokens; i++) {
        if (i && compare_scores(&order[i - 1], &order[i], (void *)(uintptr_t)vocabulary)) rank++;
        spm->ranks[order[i]] = rank;
    }
    free(order);
    return 0;
}

/* Whether U+2581 stands after another character than itself. */
static bool has_inner_space(const char *text, size_t length)
{
    bool after_other = false;
    for (size_t i = 0; i < length;) {
        if (is_space(text + i, length - i)) {
            if (after_other) return true;
            i += SPACE_LENGTH;
        } else {
            after_other = true;
            i++;
        }
    }
    return false;
}

static int read_tokens(struct spm *spm, struct error *err)
{
    const struct vocabulary *vocabulary = spm->vocabulary;
    memset(spm->byte_ids, 0xff, sizeof spm->byte_ids);
    spm->words_are_apart = true;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        const struct vocabulary_token *token = &vocabulary->tokens[id];
        int byte = byte_of_name(token->text, token->length);
        if (token->type == TOKEN_BYTE && byte < 0)
            return error_set(err, ERROR_BAD_FILE,
                             "tokenizer.ggml.tokens: byte token %" PRIu32 " is called \"%s\", not <0xXX>", id,
                             quote(token->text, token->length).text);
        if (token->type == TOKEN_BYTE) spm->byte_ids[byte] = id;
        if (vocabulary_is_plain(vocabulary, id) && has_inner_space(token->text, token->length))
            spm->words_are_apart = false;
    }
    return 0;
}

int spm_open(const struct vocabulary *vocabulary, const struct gguf *file, struct spm *spm, struct error *err)
{
    *spm = (struct spm){.vocabulary = vocabulary, .add_space_prefix = true};
    if (!vocabulary->scores)
        return error_set(err, ERROR_BAD_FILE, "tokenizer.ggml.scores is missing: a SentencePiece vocabulary needs it");
    if (!vocabulary->has_types)
        return error_set(err, ERROR_BAD_FILE,
                         "tokenizer.ggml.token_type is missing: a SentencePiece vocabulary needs it");
    int status = gguf_get_bool(file, "tokenizer.ggml.add_space_prefix", &spm->add_space_prefix, err);
    if (status < 0) return status;
    status = read_tokens(spm, err);
    if (!status) status = rank_scores(spm, err);
    if (status) spm_close(spm);
    return status;
}

void spm_close(struct spm *spm)
{
    free(spm->ranks);
    *spm = (struct spm){0};
}

/* What the lookup of the merge core needs to know. */
struct spm_word {
    const struct spm *spm;
    const char *text;
};

static bool lookup_joined(const void *context, const struct merge_symbol *left, const struct merge_symbol *right,
                          uint32_t *rank, uint32_t *result)
{
    const struct spm_word *word = context;
    size_t length = (size_t)left->length + right->length;
    *result = vocabulary_find_plain(word->spm->vocabulary, word->text + left->start, length);
    if (*result == TOKEN_NONE) return false;
    *rank = word->spm->ranks[*result];
    return true;
}

/* A symbol that is no token becomes its bytes' tokens, or the unknown token in a vocabulary without byte tokens. */
static int push_bytes(const struct spm *spm, const char *text, size_t length, struct token_list *list,
                      struct error *err)
{
    for (size_t i = 0; i < length; i++) {
        uint32_t id = spm->byte_ids[(uint8_t)text[i]];
        if (id == TOKEN_NONE) {
            if (spm->vocabulary->unknown != TOKEN_NONE) return token_list_push(list, spm->vocabulary->unknown, err);
            return error_set(err, ERROR_BAD_ARGUMENT,
                             "tokenize: the model's vocabulary has no token for the byte 0x%02x", (uint8_t)text[i]);
        }
        int status = token_list_push(list, id, err);
        if (status) return status;
    }
    return 0;
}

static int encode_word(const struct spm *spm, struct merge_space *space, const char *text, size_t length,
                       struct token_list *list, struct error *err)
{
    int status = merge_reserve(space, length, err);
    if (status) return status;
    uint32_t count = 0;
    for (size_t start = 0; start < length;) {
        unsigned n;
        if (utf8_scan((const uint8_t *)text + start, length - start, &n) != UTF8_CHARACTER) n = 1;
        space->symbols[count++] = (struct merge_symbol){
            .start = (uint32_t)start, .length = n, .id = vocabulary_find_plain(spm->vocabulary, text + start, n)};
        start += n;
    }
    struct spm_word word = {.spm = spm, .text = text};
    merge_run(space, count, lookup_joined, &word);
    for (uint32_t i = 0; i != MERGE_END; i = space->symbols[i].next) {
        const struct merge_symbol *symbol = &space->symbols[i];
        status = symbol->id != TOKEN_NONE ? token_list_push(list, symbol->id, err)
                                          : push_bytes(spm, text + symbol->start, symbol->length, list, err);
        if (status) return status;
    }
    return 0;
}

/* Writes text with its spaces as U+2581, and one before it if prefix, over what scratch had. */
static int write_spaces(struct text *scratch, const char *text, size_t length, bool prefix, struct error *err)
{
    scratch->length = 0;
    int status = prefix ? text_append(scratch, SPACE, SPACE_LENGTH, err) : 0;
    while (!status && length) {
        const char *space = memchr(text, ' ', length);
        size_t n = space ? (size_t)(space - text) : length;
        status = text_append(scratch, text, n, err);
        if (!status && space) status = text_append(scratch, SPACE, SPACE_LENGTH, err);
        if (space) n++;
        text += n;
        length -= n;
    }
    return status;
}

int spm_encode(const struct spm *spm, struct merge_space *space, struct text *scratch, const char *text, size_t length,
               bool at_start, struct token_list *list, struct error *err)
{
    int status = write_spaces(scratch, text, length, at_start && spm->add_space_prefix, err);
    size_t start = 0;
    while (!status && start < scratch->length) {
        const char *word = scratch->bytes + start;
        size_t left = scratch->length - start, n = left;
        if (spm->words_are_apart) { /* a word is spaces and then other characters, up to the next space */
            n = 0;
            while (is_space(word + n, left - n)) n += SPACE_LENGTH;
            while (n < left && !is_space(word + n, left - n)) n++;
        }
        status = encode_word(spm, space, word, n, list, err);
        start += n;
    }
    return status;
}
