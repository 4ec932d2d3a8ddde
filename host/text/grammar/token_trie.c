/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/token_trie.h"
#include "host/base/memory.h"

#include <string.h>

void token_trie_close(struct token_trie *trie)
{
    free(trie->nodes);
    free(trie->tokens);
    *trie = (struct token_trie){0};
}

static int compare_items(const void *a, const void *b)
{
    const struct trie_item *x = a, *y = b;
    if (x->lead != y->lead) return x->lead < y->lead ? -1 : 1;
    uint32_t shorter = x->length < y->length ? x->length : y->length;
    int order = shorter > 0 ? memcmp(x->bytes, y->bytes, shorter) : 0;
    if (order != 0) return order;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

static uint32_t full_length(const struct trie_item *item) { return item->length + (item->lead >= 0); }

static uint8_t byte_at(const struct trie_item *item, uint32_t i)
{
    if (item->lead < 0) return item->bytes[i];
    return i == 0 ? (uint8_t)item->lead : item->bytes[i - 1];
}

static uint32_t shared_length(const struct trie_item *a, const struct trie_item *b)
{
    uint32_t most = full_length(a) < full_length(b) ? full_length(a) : full_length(b), n = 0;
    while (n < most && byte_at(a, n) == byte_at(b, n)) n++;
    return n;
}

/* Nodes that the sorted items need. */
static uint64_t count_nodes(const struct trie_item *items, size_t n_items)
{
    uint64_t n = 0;
    for (size_t i = 0; i < n_items; i++)
        n += full_length(&items[i]) - (i > 0 ? shared_length(&items[i - 1], &items[i]) : 0);
    return n;
}

int token_trie_make(struct trie_item *items, size_t n_items, struct token_trie *out, struct error *err)
{
    *out = (struct token_trie){0};
    if (n_items > 1) qsort(items, n_items, sizeof *items, compare_items);
    uint64_t n_nodes = count_nodes(items, n_items);
    if (n_nodes >= UINT32_MAX || n_items >= UINT32_MAX)
        return error_set(err, ERROR_TOO_LARGE, "the vocabulary is too large for grammars");
    out->nodes = memory_array((size_t)n_nodes + 1, sizeof *out->nodes);
    out->tokens = memory_array(n_items, sizeof *out->tokens);
    uint32_t *open = memory_array(TRIE_MOST_DEPTH + 2, sizeof *open); /* the nodes from the root to the last one */
    if (!out->nodes || !out->tokens || !open) {
        free(open);
        token_trie_close(out);
        return error_set(err, ERROR_NO_MEMORY, "no memory for a trie of %zu tokens", n_items);
    }
    uint32_t depth = 0;
    for (size_t i = 0; i < n_items; i++) {
        uint32_t shared = i > 0 ? shared_length(&items[i - 1], &items[i]) : 0;
        while (depth > shared) out->nodes[open[--depth]].skip = out->n_nodes;
        while (depth < full_length(&items[i])) {
            uint8_t byte = byte_at(&items[i], depth);
            open[depth++] = out->n_nodes;
            out->nodes[out->n_nodes++] =
                (struct trie_node){.first_token = (uint32_t)i, .depth = (uint16_t)depth, .byte = byte};
        }
        if (depth > out->max_depth) out->max_depth = depth;
        out->tokens[i] = items[i].token;
    }
    while (depth > 0) out->nodes[open[--depth]].skip = out->n_nodes;
    out->nodes[out->n_nodes] = (struct trie_node){.skip = out->n_nodes + 1, .first_token = (uint32_t)n_items};
    out->n_tokens = (uint32_t)n_items;
    free(open);
    return 0;
}
