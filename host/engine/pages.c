/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/pages.h"

#include "host/base/memory.h"

int page_pool_open(struct page_pool *pool, uint32_t n_pages, struct error *err)
{
    *pool = (struct page_pool){.n_pages = n_pages, .n_free = n_pages};
    pool->free_pages = memory_array(n_pages, sizeof *pool->free_pages);
    pool->taken = memory_array(n_pages, sizeof *pool->taken);
    if (!pool->free_pages || !pool->taken) {
        page_pool_close(pool);
        return error_set(err, ERROR_NO_MEMORY, "no host memory for the list of %u KV pages", n_pages);
    }
    /* A stack with page 0 on top: low pages are used first, so untouched card memory stays untouched. */
    for (uint32_t i = 0; i < n_pages; i++) pool->free_pages[i] = n_pages - 1 - i;
    return 0;
}

void page_pool_close(struct page_pool *pool)
{
    free(pool->free_pages);
    free(pool->taken);
    *pool = (struct page_pool){0};
}

bool pages_reserve(struct page_pool *pool, struct page_table *table, uint32_t n)
{
    if (n > pool->n_pages - pool->n_reserved) return false;
    pool->n_reserved += n;
    table->n_reserved = n;
    return true;
}

void pages_take(struct page_pool *pool, struct page_table *table, uint32_t n)
{
    while (table->n_pages < n) {
        uint32_t page = pool->free_pages[--pool->n_free];
        pool->taken[page] = true;
        table->pages[table->n_pages++] = page;
    }
}

void pages_release(struct page_pool *pool, struct page_table *table)
{
    while (table->n_pages > 0) {
        uint32_t page = table->pages[--table->n_pages];
        pool->taken[page] = false;
        pool->free_pages[pool->n_free++] = page;
    }
    pool->n_reserved -= table->n_reserved;
    table->n_reserved = 0;
}

/* Marks page as seen in a set; false if it is no page of the pool, was seen before, or is not in the state expected. */
static bool see_page(const struct page_pool *pool, bool *seen, uint32_t page, bool taken)
{
    if (page >= pool->n_pages || seen[page] || pool->taken[page] != taken) return false;
    seen[page] = true;
    return true;
}

int pages_validate(const struct page_pool *pool, const struct page_table *const *tables, size_t n_tables,
                   struct error *err)
{
    uint64_t n_taken = 0, n_reserved = 0;
    int status = 0;
    bool *seen = memory_array(pool->n_pages, sizeof *seen);
    if (!seen) return error_set(err, ERROR_NO_MEMORY, "no host memory to check the KV pages");
    for (uint32_t i = 0; i < pool->n_free && status == 0; i++) {
        if (!see_page(pool, seen, pool->free_pages[i], false))
            status = error_set(err, ERROR_INTERNAL, "KV page %u is free twice, or free and taken", pool->free_pages[i]);
    }
    for (size_t t = 0; t < n_tables && status == 0; t++) {
        const struct page_table *table = tables[t];
        if (table->n_pages > table->n_reserved)
            status = error_set(err, ERROR_INTERNAL, "a sequence holds %u KV pages but reserved %u", table->n_pages,
                               table->n_reserved);
        n_taken += table->n_pages;
        n_reserved += table->n_reserved;
        for (uint32_t i = 0; i < table->n_pages && status == 0; i++) {
            if (!see_page(pool, seen, table->pages[i], true))
                status = error_set(err, ERROR_INTERNAL, "KV page %u is held twice, or held and free", table->pages[i]);
        }
    }
    if (status == 0 && n_taken + pool->n_free != pool->n_pages)
        status = error_set(err, ERROR_INTERNAL, "%llu KV pages held and %u free are not %u",
                           (unsigned long long)n_taken, pool->n_free, pool->n_pages);
    if (status == 0 && (n_reserved != pool->n_reserved || n_reserved > pool->n_pages))
        status = error_set(err, ERROR_INTERNAL, "sequences reserved %llu KV pages, the pool counts %u of %u",
                           (unsigned long long)n_reserved, pool->n_reserved, pool->n_pages);
    free(seen);
    return status;
}
