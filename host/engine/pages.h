/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of KV pages: who holds which page, and how many are promised. A sequence first reserves its worst case and
 * then takes pages one by one as it grows, so taking never fails. Full pages are remembered by the tokens that they hold
 * (prefix_cache.h): sequences with the same prefix share them, and those that nobody holds any more stay until their
 * room is needed. One thread owns a pool.
 */
#ifndef SLUICE_ENGINE_PAGES_H
#define SLUICE_ENGINE_PAGES_H

#include "host/base/error.h"
#include "host/engine/prefix_cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct page_pool {
    uint32_t n_pages;
    uint32_t n_free;     /* entries of free_pages: with nothing in them; further pages are idle in the cache */
    uint32_t n_held;     /* pages with holders */
    uint32_t n_reserved; /* n_held, and what tables were promised and have not taken; at most n_pages */
    uint32_t *free_pages;
    uint32_t *holders; /* tables that hold each page */
    struct prefix_cache cache;
};

/* What one sequence holds of a pool. */
struct page_table {
    uint32_t *pages;              /* page numbers in order of position; room for n_reserved, owned by the sequence */
    uint32_t n_pages, n_reserved; /* held; held and promised */
    uint32_t n_blocks;            /* of the pages, those whose tokens the cache was told or asked */
    uint64_t last_block;          /* its id; 0: none */
};

/* n_pages >= 1. ERROR_NO_MEMORY. */
int page_pool_open(struct page_pool *pool, uint32_t n_pages, struct error *err);
void page_pool_close(struct page_pool *pool); /* a zeroed pool is allowed */

/*
 * Gives an empty table the pages that hold the first tokens of a sequence, as far as the cache has them, and promises it
 * the rest of n pages. Looks at whole pages within tokens[0..n_tokens) (0: takes nothing from the cache). False, and
 * nothing changes, if so many pages are not left.
 */
bool pages_reserve(struct page_pool *pool, struct page_table *table, uint32_t n, const uint32_t *tokens,
                   uint32_t n_tokens);

/* Takes pages out of the table's reservation until it has n; n <= table->n_reserved. */
void pages_take(struct page_pool *pool, struct page_table *table, uint32_t n);

/* Tells the cache that the pages of tokens[0..n_tokens) hold what these tokens compute, as far as they are full. */
void pages_remember(struct page_pool *pool, struct page_table *table, const uint32_t *tokens, uint32_t n_tokens);

/* Gives back the table's pages and what is left of its reservation. An empty table is allowed. */
void pages_release(struct page_pool *pool, struct page_table *table);

/* Nothing that is in the pages now will be found: what they hold may be lost. */
void pages_forget_all(struct page_pool *pool);

/*
 * The invariants: every page is free, idle in the cache, or held by just the tables that it counts; tables stay within
 * their reservations, and the reservations add up. ERROR_INTERNAL names the first that is broken. For tests: O(pages),
 * allocates.
 */
int pages_validate(const struct page_pool *pool, const struct page_table *const *tables, size_t n_tables,
                   struct error *err);

#endif
