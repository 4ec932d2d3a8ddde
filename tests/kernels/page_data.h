/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch tables and KV pages for tests: sequences of up to PAGE_POSITIONS positions in pages of every format. What ran over
 * a pool in one piece is run again over the same pool dealt over banks.
 */
#ifndef SLUICE_TEST_PAGE_DATA_H
#define SLUICE_TEST_PAGE_DATA_H

#include "kernels/abi/card_operands.h"
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

/* ---- dealt pools ---- */

static inline void read_both(struct both *both, int hls, void *to, card_addr from, uint64_t bytes)
{
    struct error err = {0};
    if (card_read(hls ? both->hls : both->sim, to, from, bytes, NULL, 0, NULL, &err)) fail_msg("%s", err.text);
}

/* The pool at `first` as both cards have it, page after page, is `want`. */
static inline void assert_same_pool(struct both *both, const char *what, card_addr first, uint32_t banks,
                                    uint64_t page_bytes, const uint8_t *want)
{
    const uint32_t bank = CARD_ADDR_BANK(first);
    uint8_t *page = malloc(page_bytes);
    for (uint32_t i = 0; i < 2 * PAGES; i++) {
        const uint32_t p = i / 2;
        const uint64_t offset = card_tile_offset(bank, CARD_ADDR_OFFSET(first), p, banks, page_bytes);
        read_both(both, i % 2, page, CARD_ADDR(card_tile_bank(bank, p, banks), offset), page_bytes);
        if (memcmp(page, want + p * page_bytes, page_bytes))
            fail_msg("%s: page %u over %u banks on card %u: other bytes", what, p, banks, i % 2);
    }
    free(page);
}

/*
 * After d[n], KV_WRITE, ATTENTION or INDEX of the uploaded image, ran on both: run on its pool dealt over 1 to BANKS banks
 * it gives the same bits. result_bytes: of what is read at dst, but for KV_WRITE.
 */
static inline void assert_same_when_dealt(struct both *both, const char *what, const struct card_descriptor *d,
                                          unsigned n, uint64_t result_bytes)
{
    const int writes = d->opcode == CARD_OP_KV_WRITE;
    struct card_descriptor dealt[2] = {d[0], {.opcode = CARD_OP_EXTENSION}};
    if (n == 2) dealt[1] = d[1];
    const uint64_t page_bytes = card_pool_page_bytes(d, n == 2 ? &d[1] : NULL);
    const uint32_t banks = 1 + draw(both, BANKS);
    const uint64_t bytes = writes ? PAGES * page_bytes : result_bytes;
    uint8_t *want = malloc(bytes), *got = malloc(bytes);
    read_both(both, 0, want, d->dst, bytes);
    both->dealt_used = 0;
    const card_addr pool = deal_tiles(both, writes ? d->dst : d->weight, PAGES * page_bytes, page_bytes, 4, banks);
    *(writes ? &dealt[0].dst : &dealt[0].weight) = pool;
    *(writes ? &dealt[0].param[2] : &dealt[1].rows) = banks;
    if (!writes) dealt[0].flags |= CARD_FLAG_EXTENDED;
    assert_int_equal(both_run(both, what, dealt, writes ? 1 : 2), 0);
    if (writes) assert_same_pool(both, what, pool, banks, page_bytes, want);
    for (int hls = 0; hls < 2 && !writes; hls++) {
        read_both(both, hls, got, d->dst, bytes);
        if (memcmp(got, want, bytes)) fail_msg("%s: over %u banks on card %d: other bits", what, banks, hls);
    }
    assert_same_memory(both, what, d->dst, 0);
    free(want);
    free(got);
}

#endif
