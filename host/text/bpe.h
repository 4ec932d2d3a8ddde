/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BPE by a list of merges: a word is symbols, and the two neighbours that stand first in the list are joined first. Symbols are bytes
 * (byte-level, written in GPT-2's characters) or characters, with tokens for single bytes to fall back on. Internal to host/text.
 */
#ifndef SLUICE_TEXT_BPE_H
#define SLUICE_TEXT_BPE_H

#include "host/text/merge.h"
#include "host/text/tokenizer.h"
#include "host/text/vocabulary.h"

struct bpe_pair {
    uint32_t left, right;
    uint32_t rank_plus_1; /* 0: empty slot */
    uint32_t result;
};

struct bpe_options {
    bool is_byte_level;          /* symbols are bytes, else characters */
    bool takes_whole_words;      /* a word that is a token is that token, whatever the merges make of it */
    bool falls_back;             /* a character that is no token becomes its bytes' tokens */
    bool fuses_unknown;          /* unknown characters in a row are one token */
    const char *prefix, *suffix; /* of symbols that go on with a word; of the last one. NULL: none; borrowed */
};

struct bpe {
    const struct vocabulary *vocabulary; /* borrowed until bpe_close */
    struct bpe_options options;
    size_t n_prefix, n_suffix;
    struct bpe_pair *pairs; /* [pair_mask + 1], owned; open addressing */
    uint32_t pair_mask;
    uint64_t *joints;        /* owned: bits of the symbols' ends that some merge brings together (bpe_may_join) */
    uint32_t byte_ids[256];  /* tokens of single bytes; TOKEN_NONE where there is none */
    uint32_t ascii_ids[128]; /* of single characters, where they are symbols */
};

/* Reads the merges. options is copied. On error nothing is left open. */
int bpe_open(const struct vocabulary *vocabulary, const struct gguf *file, const struct bpe_options *options,
             struct bpe *bpe, struct error *err);
void bpe_close(struct bpe *bpe);

/* Appends the tokens of a word. space and scratch are working memory that calls may share one after the other. */
int bpe_encode(const struct bpe *bpe, struct merge_space *space, struct text *scratch, const char *word, size_t length,
               struct token_list *list, struct error *err);

/* ---- for bpe.c and bpe_merges.c ---- */

/* Reads tokenizer.ggml.merges, or the ids that a folder's header has in their place. */
int bpe_read_merges(struct bpe *bpe, const struct gguf *file, struct error *err);

static inline uint32_t bpe_pair_slot(uint32_t left, uint32_t right)
{
    uint64_t hash = ((uint64_t)left << 32 | right) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 32);
}

/* The slot of the pair, or the empty slot where it belongs. */
static inline struct bpe_pair *bpe_find_pair(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    uint32_t i = bpe_pair_slot(left, right) & bpe->pair_mask;
    while (bpe->pairs[i].rank_plus_1 && (bpe->pairs[i].left != left || bpe->pairs[i].right != right))
        i = (i + 1) & bpe->pair_mask;
    return &bpe->pairs[i];
}

/*
 * Between two characters (or bytes) that no merge brings together a word can be cut: its parts are joined alone. Pairs of
 * characters share bits; a bit too many only costs time.
 */
#define BPE_JOINT_BITS 20
static inline uint32_t bpe_joint(uint32_t last, uint32_t first)
{
    uint64_t hash = ((uint64_t)last << 32 | first) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> (64 - BPE_JOINT_BITS));
}
static inline bool bpe_may_join(const struct bpe *bpe, uint32_t last, uint32_t first)
{
    uint32_t bit = bpe_joint(last, first);
    return bpe->joints[bit / 64] >> (bit % 64) & 1;
}

#endif
