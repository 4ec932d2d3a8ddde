/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/word_piece.h"
#include "host/base/memory.h"
#include "host/text/utf8.h"

#include <string.h>

/* The tokens that begin with mark, without it. skip: and not with this one. */
static int open_trie(const struct vocabulary *vocabulary, const char *mark, const char *skip, struct trie *trie,
                     struct error *err)
{
    struct trie_entry *entries = memory_array(vocabulary->n_tokens, sizeof *entries);
    if (!entries) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory");
    size_t n_mark = strlen(mark), n_skip = strlen(skip);
    uint32_t n = 0;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        const struct vocabulary_token *token = &vocabulary->tokens[id];
        if (token->type == TOKEN_UNUSED || !vocabulary_is_plain(vocabulary, id) || token->length <= n_mark) continue;
        if (memcmp(token->text, mark, n_mark) != 0) continue;
        if (n_skip && token->length > n_skip && memcmp(token->text, skip, n_skip) == 0) continue;
        entries[n++] = (struct trie_entry){token->text + n_mark, token->length - (uint32_t)n_mark, id};
    }
    int status = trie_open(entries, n, trie, err);
    free(entries);
    return status;
}

int word_piece_open(const struct vocabulary *vocabulary, const struct word_piece_marks *marks, struct word_piece *out,
                    struct error *err)
{
    *out = (struct word_piece){.vocabulary = vocabulary, .max_characters = marks->max_characters};
    if (vocabulary->unknown == TOKEN_NONE)
        return error_set(err, ERROR_BAD_FILE, "the WordPiece vocabulary names no unknown token");
    int status = open_trie(vocabulary, marks->start, "", &out->starts, err);
    /* Where words have a mark and the rest has none, a token with the mark is no rest. */
    if (!status) status = open_trie(vocabulary, marks->rest, marks->rest[0] ? "" : marks->start, &out->rests, err);
    if (status) word_piece_close(out);
    return status;
}

void word_piece_close(struct word_piece *word_piece)
{
    trie_close(&word_piece->starts);
    trie_close(&word_piece->rests);
    *word_piece = (struct word_piece){0};
}

/* Ends of tokens are ends of characters in a word that is UTF-8, as tokens are. */
static uint32_t longest(const struct trie *trie, const char *word, size_t length, size_t *n)
{
    uint32_t node = 0, id = TOKEN_NONE;
    for (size_t i = 0; i < length; i++) {
        node = trie_step(trie, node, (uint8_t)word[i]);
        if (node == 0) break;
        if (trie->nodes[node].id == TOKEN_NONE) continue;
        id = trie->nodes[node].id;
        *n = i + 1;
    }
    return id;
}

static size_t count_characters(const char *word, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) n += ((uint8_t)word[i] & 0xc0) != 0x80;
    return n;
}

int word_piece_encode(const struct word_piece *word_piece, const char *word, size_t length, struct token_list *list,
                      struct error *err)
{
    size_t before = list->count, n = 0;
    uint32_t unknown = word_piece->vocabulary->unknown;
    if (count_characters(word, length) > word_piece->max_characters) return token_list_push(list, unknown, err);
    for (size_t start = 0; start < length; start += n) {
        uint32_t id = longest(start ? &word_piece->rests : &word_piece->starts, word + start, length - start, &n);
        if (id == TOKEN_NONE) {
            list->count = before;
            return token_list_push(list, unknown, err);
        }
        int status = token_list_push(list, id, err);
        if (status) return status;
    }
    return 0;
}
