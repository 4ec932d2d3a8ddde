/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/prefix_cache.h"

#include "host/base/memory.h"

#include <string.h>

int prefix_cache_open(struct prefix_cache *cache, uint32_t n_pages, struct error *err)
{
    uint32_t n_buckets = 1;
    while (n_buckets < n_pages && n_buckets < 1u << 31) n_buckets *= 2;
    *cache = (struct prefix_cache){.n_pages = n_pages,
                                   .bucket_mask = n_buckets - 1,
                                   .next_id = 1,
                                   .oldest = PREFIX_NO_PAGE,
                                   .newest = PREFIX_NO_PAGE};
    cache->blocks = memory_array(n_pages, sizeof *cache->blocks);
    cache->buckets = memory_array(n_buckets, sizeof *cache->buckets);
    if (!cache->blocks || !cache->buckets) {
        prefix_cache_close(cache);
        return error_set(err, ERROR_NO_MEMORY, "no host memory for the prefix cache of %u KV pages", n_pages);
    }
    memset(cache->buckets, 0xff, (size_t)n_buckets * sizeof *cache->buckets); /* PREFIX_NO_PAGE */
    return 0;
}

void prefix_cache_close(struct prefix_cache *cache)
{
    free(cache->blocks);
    free(cache->buckets);
    *cache = (struct prefix_cache){0};
}

/* FNV-1a, a 64-bit prime and offset by its authors, over words instead of bytes; then the high bits folded in. */
static uint32_t bucket_of(const struct prefix_cache *cache, uint64_t parent, const uint32_t *tokens)
{
    uint64_t hash = 0xcbf29ce484222325u ^ parent;
    for (uint32_t i = 0; i < CARD_PAGE_TOKENS; i++) hash = (hash ^ tokens[i]) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 32) & cache->bucket_mask;
}

uint32_t prefix_cache_find(const struct prefix_cache *cache, uint64_t parent, const uint32_t *tokens)
{
    uint32_t page = cache->buckets[bucket_of(cache, parent, tokens)];
    while (page != PREFIX_NO_PAGE) {
        const struct prefix_block *block = &cache->blocks[page];
        if (block->parent == parent && memcmp(block->tokens, tokens, sizeof block->tokens) == 0) break;
        page = block->next;
    }
    return page;
}

uint64_t prefix_cache_add(struct prefix_cache *cache, uint32_t page, uint64_t parent, const uint32_t *tokens)
{
    const uint32_t known = prefix_cache_find(cache, parent, tokens);
    if (known != PREFIX_NO_PAGE) return cache->blocks[known].id;
    struct prefix_block *block = &cache->blocks[page];
    uint32_t *bucket = &cache->buckets[bucket_of(cache, parent, tokens)];
    block->id = cache->next_id++;
    block->parent = parent;
    block->next = *bucket;
    memcpy(block->tokens, tokens, sizeof block->tokens);
    *bucket = page;
    return block->id;
}

void prefix_cache_rest(struct prefix_cache *cache, uint32_t page)
{
    struct prefix_block *block = &cache->blocks[page];
    if (block->id == 0) return;
    block->idle = true;
    block->older = cache->newest;
    block->newer = PREFIX_NO_PAGE;
    if (cache->newest != PREFIX_NO_PAGE)
        cache->blocks[cache->newest].newer = page;
    else
        cache->oldest = page;
    cache->newest = page;
    cache->n_idle++;
}

void prefix_cache_wake(struct prefix_cache *cache, uint32_t page)
{
    struct prefix_block *block = &cache->blocks[page];
    if (!block->idle) return;
    block->idle = false;
    if (block->older != PREFIX_NO_PAGE)
        cache->blocks[block->older].newer = block->newer;
    else
        cache->oldest = block->newer;
    if (block->newer != PREFIX_NO_PAGE)
        cache->blocks[block->newer].older = block->older;
    else
        cache->newest = block->older;
    cache->n_idle--;
}

void prefix_cache_forget(struct prefix_cache *cache, uint32_t page)
{
    struct prefix_block *block = &cache->blocks[page];
    if (block->id == 0) return;
    uint32_t *at = &cache->buckets[bucket_of(cache, block->parent, block->tokens)];
    while (*at != page) at = &cache->blocks[*at].next;
    *at = block->next;
    block->id = 0;
}

uint32_t prefix_cache_evict(struct prefix_cache *cache)
{
    const uint32_t page = cache->oldest;
    prefix_cache_wake(cache, page);
    prefix_cache_forget(cache, page);
    return page;
}
