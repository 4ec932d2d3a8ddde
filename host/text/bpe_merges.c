/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/memory.h"
#include "host/text/bpe.h"
#include "host/text/byte_level.h"
#include "host/text/quote.h"
#include "host/text/utf8.h"

#include <inttypes.h>
#include <string.h>

#define MAX_MERGES (UINT32_C(1) << 28)

/* Merges are read in blocks, so that vocabulary_find_many can look up their three texts each together. */
#define BLOCK (VOCABULARY_MANY / 3)
enum { LEFT, RIGHT, JOINED };

/* Cuts merge into its parts; the joined text goes to the end of joined, whose space does not move. */
static int split_merge(uint32_t rank, struct gguf_string merge, struct gguf_string parts[3], struct text *joined,
                       struct error *err)
{
    /* Parts have no space in them (it is written otherwise), so the first one after a character divides. */
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

/* The character (or byte) that a token's text ends or begins with. */
static uint32_t end_of(const struct bpe *bpe, const struct vocabulary_token *token, bool last)
{
    size_t from = 0, end = token->length;
    if (!last && bpe->n_prefix && end > bpe->n_prefix && memcmp(token->text, bpe->options.prefix, bpe->n_prefix) == 0)
        from = bpe->n_prefix;
    if (last && bpe->n_suffix && end > bpe->n_suffix &&
        memcmp(token->text + end - bpe->n_suffix, bpe->options.suffix, bpe->n_suffix) == 0)
        end -= bpe->n_suffix;
    size_t at = last && end ? end - 1 : from;
    while (last && at > 0 && ((uint8_t)token->text[at] & 0xc0) == 0x80) at--;
    unsigned n;
    const uint8_t *bytes = (const uint8_t *)token->text + at;
    if (at >= end || utf8_scan(bytes, end - at, &n) != UTF8_CHARACTER) return UINT32_MAX;
    uint32_t character = utf8_decode(bytes, n);
    return bpe->options.is_byte_level ? (uint32_t)byte_level_byte(character) : character;
}

static void add_pair(struct bpe *bpe, uint32_t rank, const uint32_t ids[3], bool replaces)
{
    const struct vocabulary_token *tokens = bpe->vocabulary->tokens;
    if (!vocabulary_is_plain(bpe->vocabulary, ids[JOINED])) return; /* no text may become a control token */
    uint32_t bit = bpe_joint(end_of(bpe, &tokens[ids[LEFT]], true), end_of(bpe, &tokens[ids[RIGHT]], false));
    bpe->joints[bit / 64] |= UINT64_C(1) << (bit % 64);
    struct bpe_pair *slot = bpe_find_pair(bpe, ids[LEFT], ids[RIGHT]);
    if (!slot->rank_plus_1 || replaces)
        *slot =
            (struct bpe_pair){.left = ids[LEFT], .right = ids[RIGHT], .rank_plus_1 = rank + 1, .result = ids[JOINED]};
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
    add_pair(bpe, rank, ids, false);
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
        __builtin_prefetch(&bpe->pairs[bpe_pair_slot(ids[3 * i + LEFT], ids[3 * i + RIGHT]) & bpe->pair_mask]);
    for (uint32_t i = 0; !status && i < n; i++) status = add_merge(bpe, first + i, parts + 3 * i, ids + 3 * i, err);
    return status;
}

static int make_pairs(struct bpe *bpe, uint64_t count, const char *key, struct error *err)
{
    if (count > MAX_MERGES) return error_set(err, ERROR_BAD_FILE, "%s has %" PRIu64 " entries, too many", key, count);
    uint32_t n_slots = 16;
    while (n_slots < count + count / 2) n_slots *= 2;
    bpe->pair_mask = n_slots - 1;
    bpe->pairs = memory_array(n_slots, sizeof *bpe->pairs);
    bpe->joints = memory_array((1u << BPE_JOINT_BITS) / 64, sizeof *bpe->joints);
    if (bpe->pairs && bpe->joints) return 0;
    return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory for %" PRIu64 " merges", count);
}

/* Three ids for each merge: of the left, the right and what they make. Of merges of the same two the last one counts. */
static int read_ids(struct bpe *bpe, const struct gguf_value *value, const char *key, struct error *err)
{
    if (value->type != GGUF_TYPE_ARRAY || value->count % 3)
        return error_set(err, ERROR_BAD_FILE, "%s is not a list of three ids for each merge", key);
    int status = make_pairs(bpe, value->count / 3, key, err);
    if (status) return status;
    for (uint32_t rank = 0; rank < value->count / 3; rank++) {
        uint32_t ids[3];
        for (unsigned i = 0; i < 3; i++) {
            int64_t id;
            if (!gguf_array_i64(value, 3 * (uint64_t)rank + i, &id) || id < 0 || id >= bpe->vocabulary->n_tokens)
                return error_set(err, ERROR_BAD_FILE, "%s: merge %" PRIu32 " has an id that no token has", key, rank);
            ids[i] = (uint32_t)id;
        }
        add_pair(bpe, rank, ids, true);
    }
    return 0;
}

int bpe_read_merges(struct bpe *bpe, const struct gguf *file, struct error *err)
{
    const char *key = "tokenizer.ggml.merges", *ids_key = "tokenizer.sluice.merges";
    const struct gguf_value *value = gguf_find(file, key), *ids = gguf_find(file, ids_key);
    if (ids) return read_ids(bpe, ids, ids_key, err);
    if (!value) return error_set(err, ERROR_BAD_FILE, "%s is missing: a vocabulary of this kind needs it", key);
    if (value->type != GGUF_TYPE_ARRAY || value->element_type != GGUF_TYPE_STRING)
        return error_set(err, ERROR_BAD_FILE, "%s is not a list of strings", key);
    int status = make_pairs(bpe, value->count, key, err);
    uint32_t count = (uint32_t)value->count;
    struct gguf_cursor cursor = {0};
    struct text joined = {0};
    for (uint32_t rank = 0; !status && rank < count; rank += BLOCK) {
        uint32_t n = count - rank < BLOCK ? count - rank : BLOCK;
        status = read_block(bpe, value, &cursor, rank, n, &joined, err);
    }
    text_free(&joined);
    return status;
}
