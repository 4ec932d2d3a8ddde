/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator and the HLS C engine with one arena of memory each, alike to the bit. A test lays operands into the
 * arena's image, runs a program on both and compares everything that both hold afterwards. Each bank has room besides
 * for matrices that are dealt over banks. Include after cmocka.h.
 */
#ifndef SLUICE_TEST_BOTH_CARDS_H
#define SLUICE_TEST_BOTH_CARDS_H

#include "host/base/bytes.h"
#include "host/card/card.h"
#include "tests/kernels/hls_card.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARENA_BYTES (5u << 20)
#define DEALT_BYTES (4u << 20) /* in each bank */
#define BANKS 4u

struct both {
    struct card *sim, *hls;
    card_addr arena; /* the same on both */
    uint8_t *image;  /* what both hold before a program runs */
    uint64_t used;
    uint64_t dealt, dealt_used; /* the room for dealt matrices: its offset in every bank, how much is taken */
    uint32_t part; /* of the banks, which the next matrices are dealt over: as many as go into all of them */
    uint64_t random;
};

/* xorshift64*, Marsaglia and Vigna. */
static inline uint32_t draw(struct both *both, uint32_t below)
{
    both->random ^= both->random >> 12;
    both->random ^= both->random << 25;
    both->random ^= both->random >> 27;
    return (uint32_t)((both->random * 0x2545f4914f6cdd1dull) >> 33) % below;
}

/* SEED of the environment, or the clock; printed, so that a failure can be had again. */
static inline uint64_t seed_of_run(void)
{
    const char *text = getenv("SEED");
    const uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    printf("SEED=%llu\n", (unsigned long long)seed);
    return seed | 1;
}

static inline void both_open(struct both *both, uint64_t seed)
{
    struct error err = {0};
    const struct card_options options = {.threads = 2, .banks = BANKS, .memory_bytes = BANKS * 4ull * ARENA_BYTES};
    card_addr other = 0;
    uint64_t other_dealt = 0;
    *both = (struct both){.random = seed};
    int rc = card_open("sim", &options, &both->sim, &err);
    if (!rc) rc = card_open_backend(&hls_card_ops, &options, &both->hls, &err);
    if (!rc) rc = card_alloc(both->sim, 0, ARENA_BYTES, &both->arena, &err);
    if (!rc) rc = card_alloc(both->hls, 0, ARENA_BYTES, &other, &err);
    if (!rc) rc = card_alloc_dealt(both->sim, BANKS, DEALT_BYTES, &both->dealt, &err);
    if (!rc) rc = card_alloc_dealt(both->hls, BANKS, DEALT_BYTES, &other_dealt, &err);
    if (rc) fail_msg("%s", err.text);
    assert_true(other == both->arena && other_dealt == both->dealt);
    both->image = calloc(ARENA_BYTES, 1);
    assert_non_null(both->image);
}

static inline void both_close(struct both *both)
{
    card_close(both->sim);
    card_close(both->hls);
    free(both->image);
}

/* A range of the arena at a random multiple of `align`, 4 or more; its content is random bytes. */
static inline card_addr take(struct both *both, uint64_t bytes, uint32_t align)
{
    const uint64_t at = card_round_up(both->used + draw(both, 64), align);
    both->used = at + bytes;
    assert_true(both->used <= ARENA_BYTES);
    for (uint64_t i = at; i < at + bytes; i++) both->image[i] = (uint8_t)draw(both, 256);
    return both->arena + at;
}

static inline uint8_t *image_at(struct both *both, card_addr address) { return both->image + (address - both->arena); }

/* Floats of ordinary size; one in `special` (0: none) is an infinity, a NaN, a zero, a subnormal or huge. */
static inline card_addr take_floats(struct both *both, uint64_t n, uint32_t special)
{
    static const uint32_t odd[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f812345, 0x80000000,
                                   0x00000001, 0x807fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x00000000};
    const card_addr address = take(both, 4 * n, 4);
    for (uint64_t i = 0; i < n; i++) {
        float value = ((float)draw(both, 1u << 24) - 0x1p23f) * 0x1p-21f;
        if (draw(both, 8) == 0) value *= 30.0f;
        uint32_t bits = bits_of_float(value);
        if (special && draw(both, special) == 0) bits = odd[draw(both, sizeof odd / sizeof *odd)];
        store_u32(image_at(both, address) + 4 * i, bits);
    }
    return address;
}

static inline card_addr take_words(struct both *both, const void *words, uint64_t bytes, uint32_t align)
{
    const card_addr address = take(both, bytes, align);
    memcpy(image_at(both, address), words, bytes);
    return address;
}

/* Halves of a block's scales: below 2 in magnitude, subnormals among them; one in 500 anything. */
static inline void set_halves(struct both *both, uint8_t *at, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const uint32_t bits = draw(both, 65536);
        store_u16(at + 2 * i, (uint16_t)(draw(both, 500) ? bits & 0xbfff : bits));
    }
}

/* Exponents of an MXFP4 block: some below the least; one in 500 anything. */
static inline void set_exponents(struct both *both, uint8_t *at)
{
    for (unsigned i = 0; i < 64; i++) {
        if (draw(both, 500)) at[i] = (uint8_t)(CARD_MXFP4_LEAST - 4 + draw(both, 44));
    }
}

static inline card_addr take_matrix(struct both *both, unsigned format, uint32_t rows, uint32_t cols)
{
    if (format == CARD_FORMAT_F32) return take_floats(both, (uint64_t)rows * cols, 0);
    const uint64_t bytes = card_matrix_bytes(format, rows, cols), block = card_block_bytes(format);
    const card_addr address = take(both, bytes, 64);
    if (format == CARD_FORMAT_MXFP4) {
        for (uint64_t at = 0; at < bytes; at += block) set_exponents(both, image_at(both, address) + at);
        return address;
    }
    const unsigned halves =
        card_block_cols(format) == 256 || format == CARD_FORMAT_INT4 || format == CARD_FORMAT_INT8 ? 32 : 64;
    for (uint64_t at = 0; at < bytes; at += block) set_halves(both, image_at(both, address) + at, halves);
    return address;
}

/* Bytes of the image, in tiles or pages of tile_bytes dealt over banks (1 to BANKS) on both cards; where the first lies. */
static inline card_addr deal_tiles(struct both *both, card_addr first, uint64_t bytes, uint64_t tile_bytes,
                                   uint32_t align, uint32_t banks)
{
    const uint64_t tiles = (bytes + tile_bytes - 1) / tile_bytes;
    const uint32_t start = draw(both, banks), bank = both->part * banks + start;
    both->dealt_used += align * draw(both, align < 64 ? 16 : 4);
    const uint64_t offset = both->dealt + both->dealt_used;
    both->dealt_used = card_round_up(both->dealt_used + ((tiles + start) / banks + 1) * tile_bytes, 64);
    assert_true(both->dealt_used <= DEALT_BYTES);
    for (uint64_t t = 0; t < tiles; t++) {
        struct error err = {0};
        const uint64_t left = bytes - t * tile_bytes, n = left < tile_bytes ? left : tile_bytes; /* F32: rows left */
        const card_addr to =
            CARD_ADDR(card_tile_bank(bank, t, banks), card_tile_offset(bank, offset, t, banks, tile_bytes));
        const uint8_t *from = image_at(both, first) + t * tile_bytes;
        int rc = card_write(both->sim, to, from, n, NULL, 0, NULL, &err);
        if (!rc) rc = card_write(both->hls, to, from, n, NULL, 0, NULL, &err);
        if (rc) fail_msg("%s", err.text);
    }
    return CARD_ADDR(bank, offset);
}

/* The same of a matrix. */
static inline card_addr deal(struct both *both, card_addr matrix, unsigned format, uint32_t rows, uint32_t cols,
                             uint32_t banks)
{
    return deal_tiles(both, matrix, card_matrix_bytes(format, rows, cols), card_tile_bytes(format, cols),
                      format == CARD_FORMAT_F32 ? 4 : 64, banks);
}

/* Puts the image on both cards, and starts the next one. */
static inline void both_upload(struct both *both)
{
    struct error err = {0};
    int rc = card_write(both->sim, both->arena, both->image, ARENA_BYTES, NULL, 0, NULL, &err);
    if (!rc) rc = card_write(both->hls, both->arena, both->image, ARENA_BYTES, NULL, 0, NULL, &err);
    if (rc) fail_msg("%s", err.text);
    both->used = both->dealt_used = 0;
}

/* Everything in both arenas is equal, NaN too. The result is [floats, floats + n): what is wrong outside it is said. */
static inline void assert_same_memory(struct both *both, const char *what, card_addr floats, uint64_t n)
{
    static uint8_t sim[ARENA_BYTES], hls[ARENA_BYTES];
    struct error err = {0};
    int rc = card_read(both->sim, sim, both->arena, ARENA_BYTES, NULL, 0, NULL, &err);
    if (!rc) rc = card_read(both->hls, hls, both->arena, ARENA_BYTES, NULL, 0, NULL, &err);
    if (rc) fail_msg("%s", err.text);
    for (uint64_t at = 0; at < ARENA_BYTES; at += 4) {
        const uint32_t a = load_u32(sim + at), b = load_u32(hls + at);
        if (a == b) continue;
        const long long value = (long long)(both->arena + at - floats) / 4;
        fail_msg("%s: value %lld of dst%s: sim 0x%08x, HLS C 0x%08x", what, value,
                 value < 0 || (uint64_t)value >= n ? " (outside it)" : "", a, b);
    }
}

/* Runs the program on both. Both succeed, or both fail at the same descriptor (returns ERROR_CARD then). */
static inline int both_run(struct both *both, const char *what, const struct card_descriptor *program, unsigned n)
{
    struct error sim = {0}, hls = {0};
    const int a = card_submit(both->sim, program, n, NULL, 0, NULL, &sim);
    const int b = card_submit(both->hls, program, n, NULL, 0, NULL, &hls);
    if (a != b) fail_msg("%s: sim: %d %s; HLS C: %d %s", what, a, sim.text, b, hls.text);
    if (a && a != ERROR_CARD) fail_msg("%s: %s", what, sim.text);
    if (a && strncmp(sim.text, hls.text, strcspn(sim.text, ":"))) fail_msg("%s: %s / %s", what, sim.text, hls.text);
    return a;
}

#endif
