/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/bpe.h"
#include "host/text/byte_level.h"
#include "host/text/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void find_bytes(struct bpe *bpe)
{
    const struct vocabulary *vocabulary = bpe->vocabulary;
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        if (bpe->options.is_byte_level) {
            bpe->byte_ids[byte] = vocabulary_find_plain(vocabulary, text, (size_t)(byte_level_put(text, byte) - text));
        } else {
            int n = snprintf(text, sizeof text, "<0x%02X>", byte);
            bpe->byte_ids[byte] = vocabulary_find(vocabulary, text, (size_t)n);
        }
    }
    for (unsigned c = 0; c < 128; c++) bpe->ascii_ids[c] = vocabulary_find_plain(vocabulary, (char[1]){(char)c}, 1);
}

int bpe_open(const struct vocabulary *vocabulary, const struct gguf *file, const struct bpe_options *options,
             struct bpe *bpe, struct error *err)
{
    *bpe = (struct bpe){.vocabulary = vocabulary, .options = *options};
    if (options->prefix) bpe->n_prefix = strlen(options->prefix);
    if (options->suffix) bpe->n_suffix = strlen(options->suffix);
    int status = bpe_read_merges(bpe, file, err);
    find_bytes(bpe);
    for (unsigned byte = 0; byte < 256; byte++)
        if (bpe->byte_ids[byte] == TOKEN_NONE && !bpe->options.is_byte_level) bpe->options.falls_back = false;
    if (status) bpe_close(bpe);
    return status;
}

void bpe_close(struct bpe *bpe)
{
    free(bpe->pairs);
    free(bpe->joints);
    *bpe = (struct bpe){0};
}

static bool lookup_pair(const void *context, const struct merge_symbol *left, const struct merge_symbol *right,
                        uint32_t *rank, uint32_t *result)
{
    const struct bpe_pair *slot = bpe_find_pair(context, left->id, right->id);
    if (!slot->rank_plus_1) return false;
    *rank = slot->rank_plus_1 - 1;
    *result = slot->result;
    return true;
}

/* The token that is the whole word, or TOKEN_NONE. */
static int find_word(const struct bpe *bpe, struct text *scratch, const char *word, size_t length, uint32_t *out,
                     struct error *err)
{
    *out = TOKEN_NONE;
    if (length > bpe->vocabulary->max_length) return 0; /* a byte is written with one or two */
    if (!bpe->options.is_byte_level) {
        *out = vocabulary_find_plain(bpe->vocabulary, word, length);
        return 0;
    }
    scratch->length = 0;
    int status = byte_level_write(word, length, scratch, err);
    if (!status) *out = vocabulary_find_plain(bpe->vocabulary, scratch->bytes, scratch->length);
    return status;
}

/* A word on its way through the symbols. */
struct walk {
    const struct bpe *bpe;
    struct merge_space *space;
    struct text *scratch;
    struct token_list *list;
    struct error *err;
    uint32_t count; /* symbols that wait to be joined */
    bool after_unknown;
};

static int flush(struct walk *walk)
{
    uint32_t count = walk->count;
    walk->count = 0;
    if (count == 0) return 0;
    walk->after_unknown = false;
    const struct merge_symbol *symbols = walk->space->symbols;
    if (count == 1) return token_list_push(walk->list, symbols[0].id, walk->err);
    merge_run(walk->space, count, lookup_pair, walk->bpe);
    for (uint32_t i = 0; i != MERGE_END; i = symbols[i].next) {
        int status = token_list_push(walk->list, symbols[i].id, walk->err);
        if (status) return status;
    }
    return 0;
}

static int push_symbol(struct walk *walk, uint32_t id)
{
    int status = merge_reserve(walk->space, (size_t)walk->count + 1, walk->err);
    if (status) return status;
    walk->space->symbols[walk->count++] = (struct merge_symbol){.id = id};
    return 0;
}

/* What is no token of its own. */
static int push_unknown(struct walk *walk, const char *symbol, size_t length)
{
    const struct bpe *bpe = walk->bpe;
    int status = flush(walk);
    if (bpe->options.falls_back && !bpe->options.is_byte_level) {
        walk->after_unknown = false;
        for (size_t i = 0; !status && i < length; i++)
            status = token_list_push(walk->list, bpe->byte_ids[(uint8_t)symbol[i]], walk->err);
        return status;
    }
    uint32_t unknown = bpe->vocabulary->unknown;
    if (status || (walk->after_unknown && bpe->options.fuses_unknown)) return status;
    walk->after_unknown = true;
    if (unknown != TOKEN_NONE) return token_list_push(walk->list, unknown, walk->err);
    return error_set(walk->err, ERROR_BAD_ARGUMENT, "tokenize: the model's vocabulary has no token for the byte 0x%02x",
                     (uint8_t)symbol[0]);
}

static int encode_bytes(struct walk *walk, const char *word, size_t length)
{
    const struct bpe *bpe = walk->bpe;
    int status = 0;
    for (size_t i = 0; !status && i < length; i++) {
        uint8_t byte = (uint8_t)word[i];
        uint32_t id = bpe->byte_ids[byte];
        if (walk->count && !bpe_may_join(bpe, (uint8_t)word[i - 1], byte)) status = flush(walk);
        if (!status) status = id != TOKEN_NONE ? push_symbol(walk, id) : push_unknown(walk, word + i, 1);
    }
    return status;
}

/* The token of a character with the marks of its place in the word. */
static int find_marked(struct walk *walk, const char *symbol, size_t length, bool is_first, bool is_last, uint32_t *id)
{
    const struct bpe *bpe = walk->bpe;
    struct text *text = walk->scratch;
    text->length = 0;
    int status = is_first ? 0 : text_append(text, bpe->options.prefix, bpe->n_prefix, walk->err);
    if (!status) status = text_append(text, symbol, length, walk->err);
    if (!status && is_last) status = text_append(text, bpe->options.suffix, bpe->n_suffix, walk->err);
    if (!status) *id = vocabulary_find_plain(bpe->vocabulary, text->bytes, text->length);
    return status;
}

static int encode_characters(struct walk *walk, const char *word, size_t length)
{
    const struct bpe *bpe = walk->bpe;
    bool marked = bpe->n_prefix || bpe->n_suffix;
    uint32_t before = 0;
    int status = 0;
    for (size_t i = 0; !status && i < length;) {
        unsigned n;
        const uint8_t *at = (const uint8_t *)word + i;
        bool valid = utf8_scan(at, length - i, &n) == UTF8_CHARACTER;
        if (!valid) n = 1;
        uint32_t c = valid ? utf8_decode(at, n) : UINT32_MAX, id = TOKEN_NONE;
        if (marked)
            status = find_marked(walk, word + i, n, i == 0, i + n == length, &id);
        else if (valid)
            id = c < 128 ? bpe->ascii_ids[c] : vocabulary_find_plain(bpe->vocabulary, word + i, n);
        if (!status && walk->count && !bpe_may_join(bpe, before, c)) status = flush(walk);
        if (!status) status = id != TOKEN_NONE ? push_symbol(walk, id) : push_unknown(walk, word + i, n);
        before = c;
        i += n;
    }
    return status;
}

int bpe_encode(const struct bpe *bpe, struct merge_space *space, struct text *scratch, const char *word, size_t length,
               struct token_list *list, struct error *err)
{
    if (bpe->options.takes_whole_words) {
        uint32_t id;
        int status = find_word(bpe, scratch, word, length, &id, err);
        if (status) return status;
        if (id != TOKEN_NONE) return token_list_push(list, id, err);
    }
    struct walk walk = {.bpe = bpe, .space = space, .scratch = scratch, .list = list, .err = err};
    int status =
        bpe->options.is_byte_level ? encode_bytes(&walk, word, length) : encode_characters(&walk, word, length);
    return status ? status : flush(&walk);
}
