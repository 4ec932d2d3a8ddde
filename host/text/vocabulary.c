/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/vocabulary.h"
#include "host/base/bytes.h"
#include "host/base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Ids and table sizes are 32-bit; no published vocabulary comes near. */
#define MAX_TOKENS (UINT32_C(1) << 28)

/*
 * A multiply-and-fold hash, eight bytes at a time. Opening a file looks up three texts for each merge (most of a
 * million in all), so this is what the time to open depends on.
 */
static uint32_t hash_text(const char *text, size_t length)
{
    const uint8_t *p = (const uint8_t *)text;
    uint64_t hash = UINT64_C(0x9e3779b97f4a7c15) ^ length, word;
    size_t left = length;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        __extension__ unsigned __int128 product = (unsigned __int128)(hash ^ word) * UINT64_C(0xd6e8feb86659fd93);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    if (left >= 4) {
        word = (uint64_t)load_u32(p) << 32 | load_u32(p + left - 4);
    } else {
        word = left ? (uint64_t)p[0] << 16 | (uint64_t)p[left / 2] << 8 | p[left - 1] : 0;
    }
    __extension__ unsigned __int128 product = (unsigned __int128)(hash ^ word) * UINT64_C(0xa0761d6478bd642f);
    return (uint32_t)((uint64_t)product ^ (uint64_t)(product >> 64));
}

static bool same_text(const struct vocabulary_token *token, const char *text, size_t length)
{
    return token->length == length && memcmp(token->text, text, length) == 0;
}

/* The slot that holds the text, or the empty slot where it belongs. */
static struct vocabulary_slot *find_slot(const struct vocabulary *vocabulary, uint32_t hash, const char *text,
                                         size_t length)
{
    uint32_t i = hash & vocabulary->slot_mask;
    while (vocabulary->slots[i].id_plus_1) {
        const struct vocabulary_slot *slot = &vocabulary->slots[i];
        if (slot->hash == hash && same_text(&vocabulary->tokens[slot->id_plus_1 - 1], text, length)) break;
        i = (i + 1) & vocabulary->slot_mask;
    }
    return &vocabulary->slots[i];
}

uint32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, size_t length)
{
    if (length > vocabulary->max_length) return TOKEN_NONE;
    uint32_t id_plus_1 = find_slot(vocabulary, hash_text(text, length), text, length)->id_plus_1;
    return id_plus_1 ? id_plus_1 - 1 : TOKEN_NONE;
}

void vocabulary_find_many(const struct vocabulary *vocabulary, const struct gguf_string *texts, size_t n, uint32_t *ids)
{
    uint32_t hashes[VOCABULARY_MANY];
    for (size_t i = 0; i < n; i++) {
        hashes[i] = hash_text(texts[i].bytes, texts[i].length);
        __builtin_prefetch(&vocabulary->slots[hashes[i] & vocabulary->slot_mask]);
    }
    for (size_t i = 0; i < n; i++) { /* ids holds the token that is probably it, as the hash says */
        uint32_t at = hashes[i] & vocabulary->slot_mask;
        while (vocabulary->slots[at].id_plus_1 && vocabulary->slots[at].hash != hashes[i])
            at = (at + 1) & vocabulary->slot_mask;
        ids[i] = vocabulary->slots[at].id_plus_1;
        if (ids[i]) __builtin_prefetch(&vocabulary->tokens[ids[i] - 1]);
    }
    for (size_t i = 0; i < n; i++)
        if (ids[i]) __builtin_prefetch(vocabulary->tokens[ids[i] - 1].text);
    for (size_t i = 0; i < n; i++) {
        uint32_t id_plus_1 = find_slot(vocabulary, hashes[i], texts[i].bytes, texts[i].length)->id_plus_1;
        ids[i] = id_plus_1 ? id_plus_1 - 1 : TOKEN_NONE;
    }
}

bool vocabulary_is_plain(const struct vocabulary *vocabulary, uint32_t id)
{
    uint8_t type = vocabulary->tokens[id].type;
    return type != TOKEN_CONTROL && type != TOKEN_UNKNOWN && type != TOKEN_BYTE;
}

uint32_t vocabulary_find_plain(const struct vocabulary *vocabulary, const char *text, size_t length)
{
    uint32_t id = vocabulary_find(vocabulary, text, length);
    return id != TOKEN_NONE && vocabulary_is_plain(vocabulary, id) ? id : TOKEN_NONE;
}

double vocabulary_score(const struct vocabulary *vocabulary, uint32_t id)
{
    if (!vocabulary->scores_are_wide) return (double)load_f32(vocabulary->scores + (size_t)id * sizeof(float));
    uint64_t bits = load_u64(vocabulary->scores + (size_t)id * sizeof(double));
    double score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

static int read_tokens(struct vocabulary *vocabulary, const struct gguf *file, struct error *err)
{
    const char *key = "tokenizer.ggml.tokens";
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return error_set(err, ERROR_BAD_FILE, "%s is missing: the file has no vocabulary", key);
    if (value->type != GGUF_TYPE_ARRAY || value->element_type != GGUF_TYPE_STRING)
        return error_set(err, ERROR_BAD_FILE, "%s is not a list of strings", key);
    if (value->count == 0 || value->count > MAX_TOKENS)
        return error_set(err, ERROR_BAD_FILE, "%s has %" PRIu64 " entries; 1 to %" PRIu32 " are possible", key,
                         value->count, MAX_TOKENS);

    vocabulary->n_tokens = (uint32_t)value->count;
    uint32_t n_slots = 16;
    while (n_slots < vocabulary->n_tokens * 2) n_slots *= 2;
    vocabulary->slot_mask = n_slots - 1;
    vocabulary->tokens = memory_array(vocabulary->n_tokens, sizeof *vocabulary->tokens);
    vocabulary->slots = memory_array(n_slots, sizeof *vocabulary->slots);
    if (!vocabulary->tokens || !vocabulary->slots)
        return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory for %" PRIu32 " tokens",
                         vocabulary->n_tokens);

    struct gguf_cursor cursor = {0};
    struct gguf_string text;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        if (gguf_next_string(value, &cursor, &text) != 1)
            return error_set(err, ERROR_BAD_FILE, "%s ends at token %" PRIu32, key, id);
        if (text.length > MAX_TOKENS)
            return error_set(err, ERROR_BAD_FILE, "%s: token %" PRIu32 " is %zu bytes long", key, id, text.length);
        uint32_t length = (uint32_t)text.length, hash = hash_text(text.bytes, length);
        vocabulary->tokens[id] = (struct vocabulary_token){.text = text.bytes, .length = length, .type = TOKEN_NORMAL};
        if (length == 0) continue; /* a hole in the vocabulary: no text leads to it */
        if (length > vocabulary->max_length) vocabulary->max_length = length;
        struct vocabulary_slot *slot = find_slot(vocabulary, hash, text.bytes, length);
        if (slot->id_plus_1)
            return error_set(err, ERROR_BAD_FILE, "%s: tokens %" PRIu32 " and %" PRIu32 " have the same text", key,
                             slot->id_plus_1 - 1, id);
        *slot = (struct vocabulary_slot){.hash = hash, .id_plus_1 = id + 1};
    }
    return 0;
}

static int read_types(struct vocabulary *vocabulary, const struct gguf *file, struct error *err)
{
    const char *key = "tokenizer.ggml.token_type";
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return 0;
    if (value->type != GGUF_TYPE_ARRAY || value->count != vocabulary->n_tokens)
        return error_set(err, ERROR_BAD_FILE, "%s is not a list with one entry for each of the %" PRIu32 " tokens", key,
                         vocabulary->n_tokens);
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        int64_t type;
        if (!gguf_array_i64(value, id, &type))
            return error_set(err, ERROR_BAD_FILE, "%s is not a list of integers", key);
        /* 0 is "undefined", which some converters write for added rows that nothing uses. */
        if (type < 0 || type > TOKEN_BYTE)
            return error_set(err, ERROR_BAD_FILE, "%s: token %" PRIu32 " has the unknown type %" PRId64, key, id, type);
        vocabulary->tokens[id].type = (uint8_t)(type == 0 ? TOKEN_UNUSED : type);
    }
    vocabulary->has_types = true;
    return 0;
}

static int read_scores(struct vocabulary *vocabulary, const struct gguf *file, struct error *err)
{
    const char *key = "tokenizer.ggml.scores";
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return 0;
    bool wide = value->element_type == GGUF_TYPE_F64, narrow = value->element_type == GGUF_TYPE_F32;
    if (value->type != GGUF_TYPE_ARRAY || (!wide && !narrow) || value->count != vocabulary->n_tokens)
        return error_set(err, ERROR_BAD_FILE,
                         "%s is not a list of float32 with one entry for each of the %" PRIu32 " tokens", key,
                         vocabulary->n_tokens);
    vocabulary->scores = value->bytes;
    vocabulary->scores_are_wide = wide;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        if (isnan(vocabulary_score(vocabulary, id)))
            return error_set(err, ERROR_BAD_FILE, "%s: the score of token %" PRIu32 " is not a number", key, id);
    }
    return 0;
}

int vocabulary_read_id(const struct vocabulary *vocabulary, const struct gguf *file, const char *key, uint32_t *out,
                       struct error *err)
{
    uint32_t id;
    int got = gguf_get_u32(file, key, &id, err);
    if (got < 0) return got;
    *out = TOKEN_NONE;
    /* Converters of models without such a token write -1 (as an unsigned number) rather than leave the key out. */
    if (got == 0 || id == UINT32_MAX) return 0;
    if (id >= vocabulary->n_tokens)
        return error_set(err, ERROR_BAD_FILE, "%s is %" PRIu32 ", but the vocabulary has %" PRIu32 " tokens", key, id,
                         vocabulary->n_tokens);
    *out = id;
    return 0;
}

static int read_specials(struct vocabulary *vocabulary, const struct gguf *file, struct error *err)
{
    int status = vocabulary_read_id(vocabulary, file, "tokenizer.ggml.bos_token_id", &vocabulary->bos, err);
    if (!status) status = vocabulary_read_id(vocabulary, file, "tokenizer.ggml.eos_token_id", &vocabulary->eos, err);
    if (!status)
        status = vocabulary_read_id(vocabulary, file, "tokenizer.ggml.unknown_token_id", &vocabulary->unknown, err);
    if (status) return status;

    status = gguf_get_bool(file, "tokenizer.ggml.add_bos_token", &vocabulary->add_bos, err);
    if (status < 0) return status;
    vocabulary->says_add_bos = status == 1;
    status = gguf_get_bool(file, "tokenizer.ggml.add_eos_token", &vocabulary->add_eos, err);
    if (status < 0) return status;
    return vocabulary_mark_ends(vocabulary, file, err);
}

int vocabulary_open(const struct gguf *file, struct vocabulary *vocabulary, struct error *err)
{
    *vocabulary = (struct vocabulary){.bos = TOKEN_NONE, .eos = TOKEN_NONE, .unknown = TOKEN_NONE};
    int status = read_tokens(vocabulary, file, err);
    if (!status) status = read_types(vocabulary, file, err);
    if (!status) status = read_scores(vocabulary, file, err);
    if (!status) status = read_specials(vocabulary, file, err);
    if (status) vocabulary_close(vocabulary);
    return status;
}

void vocabulary_close(struct vocabulary *vocabulary)
{
    free(vocabulary->tokens);
    free(vocabulary->slots);
    *vocabulary = (struct vocabulary){0};
}
