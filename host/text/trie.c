/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/trie.h"
#include "host/base/memory.h"
#include "host/text/vocabulary.h"

#include <string.h>

#define MANY 8 /* children from which on a node gets a table */

static int compare(const void *a, const void *b)
{
    const struct trie_entry *left = a, *right = b;
    uint32_t common = left->length < right->length ? left->length : right->length;
    int order = memcmp(left->text, right->text, common);
    if (order) return order;
    if (left->length != right->length) return left->length < right->length ? -1 : 1;
    return (left->id > right->id) - (left->id < right->id);
}

/* The entries of a node that is yet to get its children. They agree in their first depth bytes. */
struct waiting {
    uint32_t from, to, depth;
};

struct maker {
    const struct trie_entry *entries;
    struct trie *trie;
    struct waiting *queue; /* [n_nodes], by node */
    uint32_t room;
};

static int add_node(struct maker *maker, uint8_t byte, struct waiting entries, struct error *err)
{
    struct trie *trie = maker->trie;
    if (trie->n_nodes == maker->room) {
        if (maker->room > UINT32_MAX / 2)
            return error_set(err, ERROR_TOO_LARGE, "vocabulary: its texts are too long in all");
        uint32_t room = maker->room ? maker->room * 2 : 1024;
        struct trie_node *nodes = memory_grow(trie->nodes, room, sizeof *nodes);
        if (nodes) trie->nodes = nodes;
        struct waiting *queue = nodes ? memory_grow(maker->queue, room, sizeof *queue) : NULL;
        if (!queue) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory");
        maker->queue = queue;
        maker->room = room;
    }
    maker->queue[trie->n_nodes] = entries;
    trie->nodes[trie->n_nodes++] = (struct trie_node){.id = TOKEN_NONE, .byte = byte};
    return 0;
}

/* A node's token and children. The nodes are made level by level, so children lie together. */
static int grow(struct maker *maker, uint32_t node, struct error *err)
{
    struct waiting now = maker->queue[node];
    const struct trie_entry *entries = maker->entries;
    struct trie_node *made = &maker->trie->nodes[node];
    made->first = maker->trie->n_nodes;
    while (now.from < now.to && entries[now.from].length == now.depth) {
        if (made->id == TOKEN_NONE) made->id = entries[now.from].id;
        now.from++;
    }
    uint16_t n = 0;
    while (now.from < now.to) {
        uint8_t byte = (uint8_t)entries[now.from].text[now.depth];
        uint32_t end = now.from;
        while (end < now.to && (uint8_t)entries[end].text[now.depth] == byte) end++;
        int status = add_node(maker, byte, (struct waiting){now.from, end, now.depth + 1}, err);
        if (status) return status;
        now.from = end;
        n++;
    }
    maker->trie->nodes[node].n = n;
    return 0;
}

/* Nodes with many children are mostly the first ones: they get a table as far as no node without is between. */
static int make_tables(struct trie *trie, struct error *err)
{
    while (trie->n_wide < trie->n_nodes && (trie->n_wide < 257 || trie->nodes[trie->n_wide].n >= MANY)) trie->n_wide++;
    trie->wide = memory_array(trie->n_wide, 256 * sizeof *trie->wide);
    if (!trie->wide) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory");
    for (uint32_t i = 0; i < trie->n_wide; i++)
        for (uint32_t k = 0; k < trie->nodes[i].n; k++) {
            uint32_t child = trie->nodes[i].first + k;
            trie->wide[256 * (size_t)i + trie->nodes[child].byte] = child;
        }
    return 0;
}

int trie_open(struct trie_entry *entries, uint32_t n, struct trie *trie, struct error *err)
{
    *trie = (struct trie){0};
    qsort(entries, n, sizeof *entries, compare);
    struct maker maker = {.entries = entries, .trie = trie};
    int status = add_node(&maker, 0, (struct waiting){0, n, 0}, err);
    for (uint32_t node = 0; !status && node < trie->n_nodes; node++) status = grow(&maker, node, err);
    if (!status) status = make_tables(trie, err);
    free(maker.queue);
    if (status) trie_close(trie);
    return status;
}

void trie_close(struct trie *trie)
{
    free(trie->nodes);
    free(trie->wide);
    *trie = (struct trie){0};
}

uint32_t trie_step(const struct trie *trie, uint32_t node, uint8_t byte)
{
    if (node < trie->n_wide) return trie->wide[256 * (size_t)node + byte];
    const struct trie_node *parent = &trie->nodes[node];
    uint32_t low = parent->first, high = low + parent->n;
    while (high - low > 4) {
        uint32_t middle = low + (high - low) / 2;
        if (trie->nodes[middle].byte <= byte)
            low = middle;
        else
            high = middle;
    }
    for (; low < high; low++)
        if (trie->nodes[low].byte == byte) return low;
    return 0;
}
