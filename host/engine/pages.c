/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/pages.h"

#include "host/base/memory.h"

int page_pool_open(struct page_pool *pool, uint32_t n_pages, struct error *err)
{
    *pool = (struct page_pool){.n_pages = n_pages, .n_free = n_pages};
    pool->free_pages = memory_array(n_pages, sizeof *pool->free_pages);
    pool->holders = memory_array(n_pages, sizeof *pool->holders);
    int status = 0;
    if (!pool->free_pages || !pool->holders)
        status = error_set(err, ERROR_NO_MEMORY, "no host memory for the list of %u KV pages", n_pages);
    if (status == 0) status = prefix_cache_open(&pool->cache, n_pages, err);
    if (status < 0) {
        page_pool_close(pool);
        return status;
    }
    /* A stack with page 0 on top: low pages are used first, so untouched card memory stays untouched. */
    for (uint32_t i = 0; i < n_pages; i++) pool->free_pages[i] = n_pages - 1 - i;
    return 0;
}

void page_pool_close(struct page_pool *pool)
{
    prefix_cache_close(&pool->cache);
    free(pool->free_pages);
    free(pool->holders);
    *pool = (struct page_pool){0};
}

static void hold(struct page_pool *pool, uint32_t page)
{
    if (pool->holders[page]++ > 0) return;
    pool->n_held++;
    pool->n_reserved++;
    prefix_cache_wake(&pool->cache, page);
}

static void let_go(struct page_pool *pool, uint32_t page)
{
    if (--pool->holders[page] > 0) return;
    pool->n_held--;
    pool->n_reserved--;
    if (prefix_cache_has(&pool->cache, page))
        prefix_cache_rest(&pool->cache, page);
    else
        pool->free_pages[pool->n_free++] = page;
}

/* Takes the pages of the first whole blocks of tokens that the cache knows. */
static void take_prefix(struct page_pool *pool, struct page_table *table, const uint32_t *tokens, uint32_t n_tokens)
{
    for (uint32_t at = 0; n_tokens - at >= CARD_PAGE_TOKENS; at += CARD_PAGE_TOKENS) {
        const uint32_t page = prefix_cache_find(&pool->cache, table->last_block, tokens + at);
        if (page == PREFIX_NO_PAGE) return;
        hold(pool, page);
        table->pages[table->n_pages++] = page;
        table->n_blocks++;
        table->last_block = pool->cache.blocks[page].id;
    }
}

bool pages_reserve(struct page_pool *pool, struct page_table *table, uint32_t n, const uint32_t *tokens,
                   uint32_t n_tokens)
{
    take_prefix(pool, table, tokens, n_tokens);
    const uint32_t promised = n - table->n_pages;
    table->n_reserved = table->n_pages;
    /* Idle pages that were taken may have been promised to others: then more than all are reserved for a moment. */
    if (pool->n_reserved > pool->n_pages || promised > pool->n_pages - pool->n_reserved) {
        pages_release(pool, table);
        return false;
    }
    pool->n_reserved += promised;
    table->n_reserved = n;
    return true;
}

void pages_take(struct page_pool *pool, struct page_table *table, uint32_t n)
{
    while (table->n_pages < n) {
        const uint32_t page = pool->n_free > 0 ? pool->free_pages[--pool->n_free] : prefix_cache_evict(&pool->cache);
        pool->n_reserved--; /* was promised, and hold counts it as held */
        hold(pool, page);
        table->pages[table->n_pages++] = page;
    }
}

void pages_remember(struct page_pool *pool, struct page_table *table, const uint32_t *tokens, uint32_t n_tokens)
{
    for (; table->n_blocks < n_tokens / CARD_PAGE_TOKENS; table->n_blocks++) {
        table->last_block = prefix_cache_add(&pool->cache, table->pages[table->n_blocks], table->last_block,
                                             tokens + (size_t)table->n_blocks * CARD_PAGE_TOKENS);
    }
}

/* Last page first: of a chain the end is evicted before the beginning, which more sequences may share. */
void pages_release(struct page_pool *pool, struct page_table *table)
{
    pool->n_reserved -= table->n_reserved - table->n_pages;
    while (table->n_pages > 0) let_go(pool, table->pages[--table->n_pages]);
    table->n_reserved = table->n_blocks = 0;
    table->last_block = 0;
}

void pages_forget_all(struct page_pool *pool)
{
    while (pool->cache.n_idle > 0) pool->free_pages[pool->n_free++] = prefix_cache_evict(&pool->cache);
    for (uint32_t page = 0; page < pool->n_pages; page++) prefix_cache_forget(&pool->cache, page);
}

/* ---- invariants ---- */

/* Free and idle pages: each once, with no holders. */
static int validate_unheld(const struct page_pool *pool, bool *seen, struct error *err)
{
    for (uint32_t i = 0; i < pool->n_free; i++) {
        const uint32_t page = pool->free_pages[i];
        if (page >= pool->n_pages || seen[page] || pool->holders[page] > 0 || prefix_cache_has(&pool->cache, page))
            return error_set(err, ERROR_INTERNAL, "KV page %u is free twice, or free and in use", page);
        seen[page] = true;
    }
    uint32_t n = 0;
    for (uint32_t page = pool->cache.oldest; page != PREFIX_NO_PAGE; page = pool->cache.blocks[page].newer, n++) {
        if (seen[page] || pool->holders[page] > 0 || !prefix_cache_has(&pool->cache, page))
            return error_set(err, ERROR_INTERNAL, "KV page %u is idle and in use, or idle and in no chain", page);
        seen[page] = true;
    }
    if (n == pool->cache.n_idle) return 0;
    return error_set(err, ERROR_INTERNAL, "%u KV pages are idle, the cache counts %u", n, pool->cache.n_idle);
}

/* Counts what the tables hold in `held`, and checks each table for itself. */
static int count_held(const struct page_pool *pool, const struct page_table *const *tables, size_t n_tables,
                      uint32_t *held, uint64_t *n_promised, struct error *err)
{
    for (size_t t = 0; t < n_tables; t++) {
        const struct page_table *table = tables[t];
        if (table->n_pages > table->n_reserved)
            return error_set(err, ERROR_INTERNAL, "a sequence holds %u KV pages but reserved %u", table->n_pages,
                             table->n_reserved);
        if (table->n_blocks > table->n_pages)
            return error_set(err, ERROR_INTERNAL, "a sequence of %u KV pages remembers %u", table->n_pages,
                             table->n_blocks);
        *n_promised += table->n_reserved - table->n_pages;
        for (uint32_t i = 0; i < table->n_pages; i++) {
            if (table->pages[i] >= pool->n_pages)
                return error_set(err, ERROR_INTERNAL, "a sequence holds KV page %u of %u", table->pages[i],
                                 pool->n_pages);
            held[table->pages[i]]++;
        }
    }
    return 0;
}

static int validate_held(const struct page_pool *pool, const bool *seen, const uint32_t *held, uint64_t n_promised,
                         struct error *err)
{
    uint64_t n_held = 0;
    for (uint32_t page = 0; page < pool->n_pages; page++) {
        n_held += held[page] > 0;
        if (held[page] != pool->holders[page] || (held[page] > 0) == seen[page])
            return error_set(err, ERROR_INTERNAL, "KV page %u is held by %u sequences, the pool counts %u%s", page,
                             held[page], pool->holders[page], seen[page] ? " and has it free" : "");
    }
    if (n_held == pool->n_held && n_held + n_promised == pool->n_reserved && pool->n_reserved <= pool->n_pages)
        return 0;
    return error_set(err, ERROR_INTERNAL, "%llu KV pages held and %llu promised, the pool counts %u and %u of %u",
                     (unsigned long long)n_held, (unsigned long long)n_promised, pool->n_held, pool->n_reserved,
                     pool->n_pages);
}

int pages_validate(const struct page_pool *pool, const struct page_table *const *tables, size_t n_tables,
                   struct error *err)
{
    uint64_t n_promised = 0;
    int status = 0;
    bool *seen = memory_array(pool->n_pages, sizeof *seen);
    uint32_t *held = memory_array(pool->n_pages, sizeof *held);
    if (!seen || !held) status = error_set(err, ERROR_NO_MEMORY, "no host memory to check the KV pages");
    if (status == 0) status = validate_unheld(pool, seen, err);
    if (status == 0) status = count_held(pool, tables, n_tables, held, &n_promised, err);
    if (status == 0) status = validate_held(pool, seen, held, n_promised, err);
    free(held);
    free(seen);
    return status;
}
