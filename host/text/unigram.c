/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/unigram.h"
#include "host/base/memory.h"
#include "host/text/utf8.h"

#include <stdio.h>
#include <string.h>

#define UNKNOWN_PENALTY 10.0 /* kUnkPenalty of sentencepiece's unigram_model.cc */

struct unigram_node { /* the best way to write the word up to a place */
    double score;
    uint32_t start; /* of its last token */
    uint32_t id;    /* TOKEN_NONE: there is no way yet */
};

static int read_scores(struct unigram *unigram, struct error *err)
{
    const struct vocabulary *vocabulary = unigram->vocabulary;
    if (!vocabulary->scores)
        return error_set(err, ERROR_BAD_FILE, "tokenizer.ggml.scores is missing: a unigram vocabulary needs it");
    if (vocabulary->unknown == TOKEN_NONE)
        return error_set(err, ERROR_BAD_FILE, "the unigram vocabulary names no unknown token");
    unigram->scores = memory_array(vocabulary->n_tokens, sizeof *unigram->scores);
    struct trie_entry *entries = memory_array(vocabulary->n_tokens, sizeof *entries);
    if (!unigram->scores || !entries) {
        free(entries);
        return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory for scores");
    }
    uint32_t n = 0;
    double least = 0;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        const struct vocabulary_token *token = &vocabulary->tokens[id];
        unigram->scores[id] = vocabulary_score(vocabulary, id);
        if (token->type == TOKEN_UNUSED || !vocabulary_is_plain(vocabulary, id) || token->length == 0) continue;
        if (unigram->scores[id] < least) least = unigram->scores[id];
        entries[n++] = (struct trie_entry){token->text, token->length, id};
    }
    unigram->unknown_score = least - UNKNOWN_PENALTY;
    int status = trie_open(entries, n, &unigram->trie, err);
    free(entries);
    return status;
}

int unigram_open(const struct vocabulary *vocabulary, bool falls_back, struct unigram *unigram, struct error *err)
{
    *unigram = (struct unigram){.vocabulary = vocabulary, .falls_back = falls_back};
    int status = read_scores(unigram, err);
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        int n = snprintf(name, sizeof name, "<0x%02X>", byte);
        unigram->byte_ids[byte] = vocabulary_find(vocabulary, name, (size_t)n);
        if (unigram->byte_ids[byte] == TOKEN_NONE) unigram->falls_back = false;
    }
    if (status) unigram_close(unigram);
    return status;
}

void unigram_close(struct unigram *unigram)
{
    trie_close(&unigram->trie);
    free(unigram->scores);
    *unigram = (struct unigram){0};
}

void unigram_space_free(struct unigram_space *space)
{
    free(space->nodes);
    token_list_free(&space->reversed);
    *space = (struct unigram_space){0};
}

static int reserve(struct unigram_space *space, size_t n, struct error *err)
{
    if (n <= space->capacity) return 0;
    struct unigram_node *nodes = memory_grow(space->nodes, n + n / 2, sizeof *nodes);
    if (!nodes) return error_set(err, ERROR_NO_MEMORY, "tokenize: out of memory for a word of %zu bytes", n);
    space->nodes = nodes;
    space->capacity = n + n / 2;
    return 0;
}

static void offer(struct unigram_node *node, double score, uint32_t start, uint32_t id)
{
    if (node->id == TOKEN_NONE || score > node->score) *node = (struct unigram_node){score, start, id};
}

/* All tokens that begin at start; the unknown one for a character that is none. */
static void search_from(const struct unigram *unigram, struct unigram_node *nodes, const char *word, size_t length,
                        size_t start, size_t n_character)
{
    double score = start ? nodes[start].score : 0;
    bool has_single = false;
    uint32_t node = 0;
    for (size_t i = start; i < length; i++) {
        node = trie_step(&unigram->trie, node, (uint8_t)word[i]);
        if (node == 0) break;
        uint32_t id = unigram->trie.nodes[node].id;
        if (id == TOKEN_NONE) continue;
        offer(&nodes[i + 1], score + unigram->scores[id], (uint32_t)start, id);
        if (i + 1 - start == n_character) has_single = true;
    }
    if (!has_single)
        offer(&nodes[start + n_character], score + unigram->unknown_score, (uint32_t)start,
              unigram->vocabulary->unknown);
}

static size_t character_at(const char *word, size_t length, size_t at)
{
    unsigned n;
    return utf8_scan((const uint8_t *)word + at, length - at, &n) == UTF8_CHARACTER ? n : 1;
}

/* Unknown characters in a row are one token, or the tokens of their bytes. */
static int push_way(const struct unigram *unigram, struct unigram_space *space, const char *word, size_t length,
                    struct token_list *list, struct error *err)
{
    struct token_list *reversed = &space->reversed;
    int status = 0;
    bool after_unknown = false;
    reversed->count = 0;
    for (size_t end = length; !status && end > 0;) {
        const struct unigram_node *node = &space->nodes[end];
        bool unknown = node->id == unigram->vocabulary->unknown;
        if (unknown && unigram->falls_back) {
            for (size_t i = end; !status && i-- > node->start;)
                status = token_list_push(reversed, unigram->byte_ids[(uint8_t)word[i]], err);
        } else if (!unknown || !after_unknown) {
            status = token_list_push(reversed, node->id, err);
        }
        after_unknown = unknown;
        end = node->start;
    }
    for (size_t i = reversed->count; !status && i-- > 0;) status = token_list_push(list, reversed->ids[i], err);
    return status;
}

int unigram_encode(const struct unigram *unigram, struct unigram_space *space, const char *word, size_t length,
                   struct token_list *list, struct error *err)
{
    int status = reserve(space, length + 1, err);
    if (status) return status;
    for (size_t i = 0; i <= length; i++) space->nodes[i].id = TOKEN_NONE;
    for (size_t start = 0; start < length;) {
        size_t n = character_at(word, length, start);
        search_from(unigram, space->nodes, word, length, start, n);
        start += n;
    }
    return push_way(unigram, space, word, length, list, err);
}
