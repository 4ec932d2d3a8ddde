/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which KV pages hold which tokens. A full page is a block: its tokens and the block before it name it, so a chain of
 * blocks from the start of a sequence stands for the sequence's whole prefix. Tokens are compared, not only their hash: a
 * page that is found holds exactly what the prefix would compute. Pages that no sequence holds are idle and are evicted
 * in the order in which they became so. Nothing is allocated after open. One thread owns a cache.
 */
#ifndef SLUICE_ENGINE_PREFIX_CACHE_H
#define SLUICE_ENGINE_PREFIX_CACHE_H

#include "host/base/error.h"
#include "kernels/abi/card_layout.h"

#include <stdbool.h>
#include <stdint.h>

#define PREFIX_NO_PAGE UINT32_MAX

struct prefix_block {
    uint64_t id;           /* never used twice; 0: the page is in no chain */
    uint64_t parent;       /* id of the block before; 0: the first of a sequence */
    uint32_t next;         /* page in the same bucket */
    uint32_t older, newer; /* neighbours among the idle pages */
    bool idle;
    uint32_t tokens[CARD_PAGE_TOKENS];
};

struct prefix_cache {
    struct prefix_block *blocks; /* of each page */
    uint32_t *buckets;           /* first page of each; a power of two */
    uint32_t n_pages, bucket_mask;
    uint64_t next_id;
    uint32_t oldest, newest, n_idle;
};

/* ERROR_NO_MEMORY. */
int prefix_cache_open(struct prefix_cache *cache, uint32_t n_pages, struct error *err);
void prefix_cache_close(struct prefix_cache *cache); /* a zeroed cache is allowed */

/* The page with these tokens (uint32[CARD_PAGE_TOKENS]) after block `parent`; PREFIX_NO_PAGE if there is none. */
uint32_t prefix_cache_find(const struct prefix_cache *cache, uint64_t parent, const uint32_t *tokens);

/*
 * Makes a page that a sequence holds, and that is in no chain, the block with these tokens after `parent`. Returns the
 * block's id; if another page is that block already, that one's, and page stays outside.
 */
uint64_t prefix_cache_add(struct prefix_cache *cache, uint32_t page, uint64_t parent, const uint32_t *tokens);

/* The page is held by no sequence any more, or by one again. Both do nothing for a page in no chain. */
void prefix_cache_rest(struct prefix_cache *cache, uint32_t page);
void prefix_cache_wake(struct prefix_cache *cache, uint32_t page);

/* Takes the page that has been idle longest out of its chain and returns it; n_idle must not be 0. */
uint32_t prefix_cache_evict(struct prefix_cache *cache);

/* Takes a page that is not idle out of its chain, if it is in one. */
void prefix_cache_forget(struct prefix_cache *cache, uint32_t page);

static inline bool prefix_cache_has(const struct prefix_cache *cache, uint32_t page)
{
    return cache->blocks[page].id != 0;
}

#endif
