/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of KV pages: who holds which page, and how many are promised. A sequence first reserves its worst case and
 * then takes pages one by one as it grows, so taking never fails. One thread owns a pool.
 */
#ifndef SLUICE_ENGINE_PAGES_H
#define SLUICE_ENGINE_PAGES_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct page_pool {
    uint32_t n_pages;
    uint32_t n_free;     /* entries of free_pages */
    uint32_t n_reserved; /* promised, taken ones included: n_pages - n_free <= n_reserved <= n_pages */
    uint32_t *free_pages;
    bool *taken; /* of each page */
};

/* What one sequence holds of a pool. */
struct page_table {
    uint32_t *pages; /* page numbers in order of position; room for n_reserved, owned by the sequence */
    uint32_t n_pages, n_reserved;
};

/* n_pages >= 1. ERROR_NO_MEMORY. */
int page_pool_open(struct page_pool *pool, uint32_t n_pages, struct error *err);
void page_pool_close(struct page_pool *pool); /* a zeroed pool is allowed */

/* Promises n pages to an empty table; false, and nothing changes, if so many are not left. */
bool pages_reserve(struct page_pool *pool, struct page_table *table, uint32_t n);

/* Takes pages out of the table's reservation until it has n; n <= table->n_reserved. */
void pages_take(struct page_pool *pool, struct page_table *table, uint32_t n);

/* Gives back the table's pages and what is left of its reservation. An empty table is allowed. */
void pages_release(struct page_pool *pool, struct page_table *table);

/*
 * The invariants: every page is either free or in exactly one table, tables stay within their reservations, and the
 * reservations add up. ERROR_INTERNAL names the first that is broken. For tests: O(pages), allocates.
 */
int pages_validate(const struct page_pool *pool, const struct page_table *const *tables, size_t n_tables,
                   struct error *err);

#endif
