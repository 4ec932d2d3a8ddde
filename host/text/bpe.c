/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/bpe.h"
#include "host/base/memory.h"
#include "host/text/quote.h"
#include "host/text/utf8.h"

#include <inttypes.h>
#include <string.h>

/*
 * GPT-2's table (bytes_to_unicode in its encoder.py): bytes that print in Latin-1 are the character of the same number;
 * the other 68 (0-32, 127-160, 173) are the characters from U+0100 on, in order.
 */
static uint32_t character_of_byte(unsigned byte)
{
    if (byte <= 32) return 0x100 + byte;
    if (byte >= 127 && byte <= 160) return 0x100 + 33 + (byte - 127);
    if (byte == 173) return 0x100 + 67;
    return byte;
}

/* The byte of a character of the table, or -1. */
static int byte_of_character(uint32_t character)
{
    if (character >= 0x100 + 68) return -1;
    if (character == 0x100 + 67) return 173;
    if (character >= 0x100 + 33) return (int)(character - 0x100 - 33 + 127);
    if (character >= 0x100) return (int)(character - 0x100);
    return character_of_byte(character) == character ? (int)character : -1;
}

/* Writes the byte's character as UTF-8 (one or two bytes) and returns its end. */
static char *put_byte(char *out, unsigned byte)
{
    uint32_t character = character_of_byte(byte);
    if (character < 0x80) {
        *out++ = (char)character;
    } else {
        *out++ = (char)(0xc0 | character >> 6);
        *out++ = (char)(0x80 | (character & 0x3f));
    }
    return out;
}

static uint32_t pair_slot(uint32_t left, uint32_t right)
{
    uint64_t hash = ((uint64_t)left << 32 | right) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 32);
}

/* The slot of the pair, or the empty slot where it belongs. */
static struct bpe_pair *find_pair(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    uint32_t i = pair_slot(left, right) & bpe->pair_mask;
    while (bpe->pairs[i].rank_plus_1 && (bpe->pairs[i].left != left || bpe->pairs[i].right != right))
        i = (i + 1) & bpe->pair_mask;
    return &bpe->pairs[i];
}

/* Merges are read in blocks, so that vocabulary_find_many can look up their three texts each together. */
#define BLOCK (VOCABULARY_MANY / 3)
enum { LEFT, RIGHT, JOINED };

/* Cuts merge into its parts; the joined text goes to the end of joined, whose space does not move. */
static int split_merge(uint32_t rank, struct gguf_string merge, struct gguf_string parts[3], struct text *joined,
                       struct error *err)
{
    /* Parts have no space in them (a space byte is written U+0120), so the first one after a character divides. */
    const char *space = merge.length > 2 ? memchr(merge.bytes + 1, ' ', merge.length - 2) : NULL;
    if (!space)
        return error_set(err, ERROR_BAD_FILE,
                         "tokenizer.ggml.merges: merge %" PRIu32 " (\"%s\") is not two texts with a space between",
                         rank, quote(merge.bytes, merge.length).text);
    size_t n_left = (size_t)(space - merge.bytes);
    parts[LEFT] = (struct gguf_string){merge.bytes, n_left};
    parts[RIGHT] = (struct gguf_string){space + 1, merge.length - n_left - 1};
    parts[JOINED] = (struct gguf_string){joined->bytes + joined->length, merge.length - 1};
    int status = text_append(joined, parts[LEFT].bytes, parts[LEFT].length, err);
    return status ? status : text_append(joined, parts[RIGHT].bytes, parts[RIGHT].length, err);
}

static int add_merge(struct bpe *bpe, uint32_t rank, const struct gguf_string parts[3], const uint32_t ids[3],
                     struct error *err)
{
    for (int i = 0; i < 3; i++) {
        if (ids[i] == TOKEN_NONE)
            return error_set(err, ERROR_BAD_FILE,
                             "tokenizer.ggml.merges: merge %" PRIu32 " (\"%s %s\"): \"%s\" is not in the vocabulary",
                             rank, quote(parts[LEFT].bytes, parts[LEFT].length).text,
                             quote(parts[RIGHT].bytes, parts[RIGHT].length).text,
                             quote(parts[i].bytes, parts[i].length).text);
    }
    if (!vocabulary_is_plain(bpe->vocabulary, ids[JOINED])) return 0; /* no text may become a control token */
    struct bpe_pair *slot = find_pair(bpe, ids[LEFT], ids[RIGHT]);
    if (!slot->rank_plus_1)
        *slot =
            (struct bpe_pair){.left = ids[LEFT], .right = ids[RIGHT], .rank_plus_1 = rank + 1, .result = ids[JOINED]};
    return 0;
}

/* The n merges at the cursor, which have the ranks from first on. */
static int read_block(struct bpe *bpe, const struct gguf_value *value, struct gguf_cursor *cursor, uint32_t first,
                      uint32_t n, struct text *joined, struct error *err)
{
    struct gguf_string merges[BLOCK], parts[3 * BLOCK];
    uint32_t ids[3 * BLOCK];
    size_t n_bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (gguf_next_string(value, cursor, &merges[i]) != 1)
            return error_set(err, ERROR_BAD_FILE, "tokenizer.ggml.merges ends at merge %" PRIu32, first + i);
        n_bytes += merges[i].length;
    }
    joined->length = 0;
    int status = text_reserve(joined, n_bytes, err);
    for (uint32_t i = 0; !status && i < n; i++) status = split_merge(first + i, merges[i], parts + 3 * i, joined, err);
    if (status) return status;
    vocabulary_find_many(bpe->vocabulary, parts, 3 * n, ids);
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(&bpe->pairs[pair_slot(ids[3 * i + LEFT], ids[3 * i + RIGHT]) & bpe->pair_mask]);
    for (uint32_t i = 0; !status && i < n; i++) status = add_merge(bpe, first + i, parts + 3 * i, ids + 3 * i, err);
    return status;
}

static int read_merges(struct bpe *bpe, const struct gguf *file, struct error *err)
{
    const char *key = "tokenizer.ggml.merges";
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return error_set(err, ERROR_BAD_FILE, "%s is missing: a byte-level vocabulary needs it", key);
    if (value->type != GGUF_TYPE_ARRAY || value->element_type != GGUF_TYPE_STRING)
        return error_set(err, ERROR_BAD_FILE, "%s is not a list of strings", key);
    if (value->count > UINT32_C(1) << 28)
        return error_set(err, ERROR_BAD_FILE, "%s has %" PRIu64 " entries, too many", key, value->count);

    uint32_t count = (uint32_t)value->count, n_slots = 16;
    while (n_slots < count + count / 2) n_slots *= 2;
    bpe->pair_mask = n_slots - 1;
    bpe->pairs = memory_array(n_slots, sizeof *bpe->pairs);
    if (!bpe->pairs) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory for %" PRIu32 " merges", count);

    struct gguf_cursor cursor = {0};
    struct text joined = {0};
    int status = 0;
    for (uint32_t rank = 0; !status && rank < count; rank += BLOCK) {
        uint32_t n = count - rank < BLOCK ? count - rank : BLOCK;
        status = read_block(bpe, value, &cursor, rank, n, &joined, err);
    }
    text_free(&joined);
    return status;
}

int bpe_open(const struct vocabulary *vocabulary, const struct gguf *file, struct bpe *bpe, struct error *err)
{
    *bpe = (struct bpe){.vocabulary = vocabulary};
    struct gguf_string pre;
    int status = gguf_get_string(file, "tokenizer.ggml.pre", &pre, err);
    if (status < 0) return status;
    if (status == 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "tokenizer.ggml.pre is missing, so nobody can know how this byte-level "
                         "vocabulary cuts words: convert the model again with a current converter");
    status = pretokenizer_style_find(pre, &bpe->style, err);
    if (!status) status = pretokenizer_open(bpe->style, &bpe->pretokenizer, err);
    if (!status) status = read_merges(bpe, file, err);
    for (unsigned byte = 0; !status && byte < 256; byte++) {
        char text[2];
        bpe->byte_ids[byte] = vocabulary_find_plain(vocabulary, text, (size_t)(put_byte(text, byte) - text));
    }
    if (status) bpe_close(bpe);
    return status;
}

void bpe_close(struct bpe *bpe)
{
    pretokenizer_close(bpe->pretokenizer);
    free(bpe->pairs);
    *bpe = (struct bpe){0};
}

static bool lookup_pair(const void *context, const struct merge_symbol *left, const struct merge_symbol *right,
                        uint32_t *rank, uint32_t *result)
{
    const struct bpe_pair *slot = find_pair(context, left->id, right->id);
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
    scratch->length = 0;
    int status = text_reserve(scratch, 2 * length, err);
    if (status) return status;
    char *end = scratch->bytes;
    for (size_t i = 0; i < length; i++) end = put_byte(end, (uint8_t)word[i]);
    *out = vocabulary_find_plain(bpe->vocabulary, scratch->bytes, (size_t)(end - scratch->bytes));
    return 0;
}

static int encode_word(const struct bpe *bpe, struct merge_space *space, struct text *scratch, const char *word,
                       size_t length, struct token_list *list, struct error *err)
{
    int status;
    if (bpe->style->takes_whole_words) {
        uint32_t id;
        status = find_word(bpe, scratch, word, length, &id, err);
        if (status) return status;
        if (id != TOKEN_NONE) return token_list_push(list, id, err);
    }
    status = merge_reserve(space, length, err);
    if (status) return status;
    for (uint32_t i = 0; i < length; i++) {
        uint32_t id = bpe->byte_ids[(uint8_t)word[i]];
        if (id == TOKEN_NONE) id = bpe->vocabulary->unknown;
        if (id == TOKEN_NONE)
            return error_set(err, ERROR_BAD_ARGUMENT,
                             "tokenize: the model's vocabulary has no token for the byte 0x%02x", (uint8_t)word[i]);
        space->symbols[i] = (struct merge_symbol){.start = i, .length = 1, .id = id};
    }
    merge_run(space, length, lookup_pair, bpe);
    for (uint32_t i = 0; i != MERGE_END; i = space->symbols[i].next) {
        status = token_list_push(list, space->symbols[i].id, err);
        if (status) return status;
    }
    return 0;
}

int bpe_encode(const struct bpe *bpe, struct merge_space *space, struct text *scratch, const char *text, size_t length,
               struct token_list *list, struct error *err)
{
    struct pretokenizer_walk walk;
    int status = pretokenizer_begin(&walk, bpe->pretokenizer, text, length, err);
    if (status) return status;
    size_t start, n;
    while ((status = pretokenizer_next(&walk, &start, &n, err)) == 1) {
        status = encode_word(bpe, space, scratch, text + start, n, list, err);
        if (status) break;
    }
    pretokenizer_end(&walk);
    return status;
}

int bpe_decode(const char *token_text, size_t length, struct text *out, struct error *err)
{
    size_t before = out->length;
    for (size_t i = 0; i < length;) {
        unsigned n;
        const uint8_t *at = (const uint8_t *)token_text + i;
        bool character = utf8_scan(at, length - i, &n) == UTF8_CHARACTER;
        int byte = character ? byte_of_character(utf8_decode(at, n)) : -1;
        if (byte < 0) {
            out->length = before;
            return text_append(out, token_text, length, err);
        }
        char one = (char)byte;
        int status = text_append(out, &one, 1, err);
        if (status) return status;
        i += n;
    }
    return 0;
}
