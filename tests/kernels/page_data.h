/* SPDX-License-Identifier: Apache-2.0 */
/* Batch tables and KV pages for tests: sequences of up to PAGE_POSITIONS positions in pages of every format. */
#ifndef SLUICE_TEST_PAGE_DATA_H
#define SLUICE_TEST_PAGE_DATA_H

#include "tests/kernels/both_cards.h"

enum { PAGES = 12, MAX_TOKENS = 33, PAGE_ENTRIES = 40, PAGE_POSITIONS = 160, STATES = 5 };

static const unsigned page_formats[] = {CARD_FORMAT_F32, CARD_FORMAT_F16, CARD_FORMAT_INT8, CARD_FORMAT_INT4};
#define N_PAGE_FORMATS 4u

static inline uint32_t pick_position(struct both *both)
{
    static const uint32_t borders[] = {0, 1, 15, 16, 30, 31, 32, 33, 62, 63, 64, 65, 95, 96, 127};
    return draw(both, 3) ? borders[draw(both, sizeof borders / sizeof *borders)] : draw(both, PAGE_POSITIONS);
}

/* Mostly what a causal model sees; else anything, nothing among it. */
static inline uint32_t pick_visible(struct both *both, uint32_t position)
{
    if (draw(both, 4)) return position + 1;
    return draw(both, 3) ? draw(both, PAGE_POSITIONS + 1) : 0;
}

/* Tokens of a few sequences: runs of one sequence and strangers; every page number is in the pool. */
static inline void make_tokens(struct both *both, struct card_batch_token *token, uint32_t tokens)
{
    for (uint32_t t = 0; t < tokens; t++) {
        const int follows = t > 0 && draw(both, 4) && token[t - 1].position < PAGE_POSITIONS - 1;
        token[t] = follows ? token[t - 1] : (struct card_batch_token){.first_page = draw(both, 8) * 5};
        token[t].position = follows ? token[t - 1].position + 1 : pick_position(both);
        token[t].visible = pick_visible(both, token[t].position);
        token[t].state = 0xffffffffu; /* nobody here reads it */
    }
}

static inline card_addr take_batch(struct both *both, const struct card_batch_token *token, uint32_t tokens)
{
    const card_addr table = take(both, sizeof *token * tokens + 4 * PAGE_ENTRIES, 4);
    uint8_t *at = image_at(both, table);
    memcpy(at, token, sizeof *token * tokens);
    for (uint32_t p = 0; p < PAGE_ENTRIES; p++) store_u32(at + sizeof *token * tokens + 4 * p, draw(both, PAGES));
    return table;
}

/* A half between 2^-10 and 2^-5, or one in `special` (0: none) anything, NaN and infinity among it. */
static inline void set_scale(struct both *both, uint8_t *at, uint32_t special)
{
    const uint32_t bits = draw(both, 65536);
    if (special && draw(both, special) == 0)
        store_u16(at, (uint16_t)(draw(both, 2) ? bits : bits | 0x7c00));
    else
        store_u16(at, (uint16_t)((bits & 0x83ff) | (5 + draw(both, 5)) << 10));
}

/* The vectors of one KV head in a page, n dimensions each. */
static inline void fill_block(struct both *both, uint8_t *block, unsigned format, uint32_t n, uint32_t special)
{
    const uint64_t bytes = card_page_block_bytes(format, n), groups = (n + 31) / 32;
    uint64_t halves = 0; /* where they start */
    if (format == CARD_FORMAT_INT8) halves = CARD_PAGE_TOKENS * 32 * groups;
    if (format == CARD_FORMAT_INT4) halves = CARD_PAGE_TOKENS * 16 * groups;
    for (uint64_t i = 0; i < halves; i++) {
        if (format == CARD_FORMAT_INT8 && block[i] == 0x80) block[i] = 0x81; /* -128 is never written */
    }
    for (uint64_t at = halves; halves && at < bytes; at += 2) set_scale(both, block + at, special);
    for (uint64_t at = 0; format == CARD_FORMAT_F16 && at < bytes; at += 2) {
        const int any = special && draw(both, special) == 0;
        store_u16(block + at, (uint16_t)(any ? load_u16(block + at) | 0x7c00 : load_u16(block + at) & 0xbfff));
    }
}

/* A pool of random pages; one value, or scale, in `special` (0: none) is anything. */
static inline card_addr take_pool(struct both *both, unsigned format, uint32_t kv_heads, uint32_t keys, uint32_t values,
                                  uint32_t special)
{
    const uint64_t bytes = PAGES * card_page_bytes(format, kv_heads, keys, values);
    if (format == CARD_FORMAT_F32) return take_floats(both, bytes / 4, special);
    const card_addr pool = take(both, bytes, 4);
    uint8_t *at = image_at(both, pool);
    for (uint32_t p = 0; p < PAGES; p++) {
        for (uint32_t h = 0; h < kv_heads; h++, at += card_page_block_bytes(format, keys)) {
            fill_block(both, at, format, keys, special);
        }
        for (uint32_t h = 0; h < kv_heads && values; h++, at += card_page_block_bytes(format, values)) {
            fill_block(both, at, format, values, special);
        }
    }
    return pool;
}

#endif
