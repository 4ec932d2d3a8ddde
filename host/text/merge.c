/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/merge.h"
#include "host/base/memory.h"

int merge_reserve(struct merge_space *space, size_t n, struct error *err)
{
    if (n <= space->capacity) return 0;
    if (n > UINT32_C(1) << 31) return error_set(err, ERROR_TOO_LARGE, "tokenize: a text of %zu symbols is too long", n);
    size_t capacity = n + n / 2 + 64;
    struct merge_symbol *symbols = memory_grow(space->symbols, capacity, sizeof *symbols);
    if (symbols) space->symbols = symbols;
    /* n - 1 candidates at first; each join takes one out and puts at most two in. */
    uint64_t *heap = symbols ? memory_grow(space->heap, 2 * capacity, sizeof *heap) : NULL;
    if (!heap) return error_set(err, ERROR_NO_MEMORY, "tokenize: out of memory for %zu symbols", capacity);
    space->heap = heap;
    space->capacity = capacity;
    return 0;
}

void merge_free(struct merge_space *space)
{
    free(space->symbols);
    free(space->heap);
    *space = (struct merge_space){0};
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    uint64_t moving = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= moving) break;
        heap[i] = heap[child];
    }
    heap[i] = moving;
}

static void heap_push(struct merge_space *space, uint64_t value)
{
    size_t i = space->n_heap++;
    while (i > 0 && space->heap[(i - 1) / 2] > value) {
        space->heap[i] = space->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    space->heap[i] = value;
}

static uint64_t heap_pop(struct merge_space *space)
{
    uint64_t top = space->heap[0];
    space->heap[0] = space->heap[--space->n_heap];
    if (space->n_heap) sift_down(space->heap, space->n_heap, 0);
    return top;
}

/* Looks up the pair that starts at symbol left. Returns false if there is none. */
static bool rank_pair(struct merge_symbol *symbols, uint32_t left, merge_lookup lookup, const void *context)
{
    struct merge_symbol *symbol = &symbols[left];
    symbol->rank = MERGE_END;
    return symbol->next != MERGE_END &&
           lookup(context, symbol, &symbols[symbol->next], &symbol->rank, &symbol->result) && symbol->rank != MERGE_END;
}

void merge_run(struct merge_space *space, size_t n, merge_lookup lookup, const void *context)
{
    struct merge_symbol *symbols = space->symbols;
    space->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        symbols[i].prev = i ? i - 1 : MERGE_END;
        symbols[i].next = i + 1 < n ? i + 1 : MERGE_END;
        if (rank_pair(symbols, i, lookup, context)) space->heap[space->n_heap++] = (uint64_t)symbols[i].rank << 32 | i;
    }
    for (size_t i = space->n_heap / 2; i-- > 0;) sift_down(space->heap, space->n_heap, i);

    while (space->n_heap) {
        uint64_t best = heap_pop(space);
        uint32_t index = (uint32_t)best;
        struct merge_symbol *left = &symbols[index];
        /* A candidate is stale if its left symbol has since become part of another pair (or of nothing). */
        if (left->rank != best >> 32) continue;
        struct merge_symbol *right = &symbols[left->next];
        left->length += right->length;
        left->id = left->result;
        left->next = right->next;
        right->rank = MERGE_END;
        if (left->next != MERGE_END) symbols[left->next].prev = index;
        if (rank_pair(symbols, index, lookup, context)) heap_push(space, (uint64_t)left->rank << 32 | index);
        if (left->prev != MERGE_END && rank_pair(symbols, left->prev, lookup, context))
            heap_push(space, (uint64_t)symbols[left->prev].rank << 32 | left->prev);
    }
}
