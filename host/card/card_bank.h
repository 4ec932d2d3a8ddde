/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which parts of one bank are taken: first fit over a sorted array. Offsets only, so it serves memory that the host
 * cannot touch. The first CARD_ALIGNMENT bytes are never handed out: offset 0 means none. Looking up an address costs
 * O(log n) of the n live allocations, taking and freeing O(n).
 */
#ifndef SLUICE_CARD_BANK_H
#define SLUICE_CARD_BANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bank_range {
    uint64_t offset, bytes; /* bytes as asked for; the next range starts at a multiple of CARD_ALIGNMENT after them */
};

struct bank_allocator {
    uint64_t bytes;           /* of the bank */
    uint64_t taken;           /* with rounding, and the first bytes that are never handed out */
    struct bank_range *range; /* sorted by offset, never overlapping */
    size_t n, capacity;
};

void bank_init(struct bank_allocator *bank, uint64_t bytes); /* bytes: at least CARD_ALIGNMENT */
void bank_clear(struct bank_allocator *bank);                /* frees all; the allocator stays usable */

/* Takes bytes (at least 1): ERROR_NO_MEMORY if no gap is large enough or the host has no memory for the entry. */
int bank_take(struct bank_allocator *bank, uint64_t bytes, uint64_t *offset);

/* The first offset from `start` on that bank_take_at would take (start 0: of the whole bank); 0 if there is none. */
uint64_t bank_find(const struct bank_allocator *bank, uint64_t bytes, uint64_t start);

/* Takes bytes at an offset that bank_find gave: ERROR_NO_MEMORY if the host has no memory for the entry. */
int bank_take_at(struct bank_allocator *bank, uint64_t bytes, uint64_t offset);

/* Frees the range that starts at offset: its size, or 0 if none starts there. */
uint64_t bank_give(struct bank_allocator *bank, uint64_t offset);

/* Bytes from offset to the end of the range that holds it; 0 if none does. */
uint64_t bank_extent(const struct bank_allocator *bank, uint64_t offset);

/* Whether every invariant holds: for tests, after each step. */
bool bank_validate(const struct bank_allocator *bank);

#endif
