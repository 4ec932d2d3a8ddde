/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/merge.h"
#include "host/base/memory.h"

#define FEW 24        /* symbols from which on the heap is faster */
#define SORT_FROM 512 /* candidates from which on sorting them all is faster than taking them from the heap */
#define DIGIT_BITS 11u

int merge_reserve(struct merge_space *space, size_t n, struct error *err)
{
    if (n <= space->capacity) return 0;
    if (n > UINT32_C(1) << 31) return error_set(err, ERROR_TOO_LARGE, "tokenize: a text of %zu symbols is too long", n);
    size_t capacity = n + n / 2 + 64;
    struct merge_symbol *symbols = memory_grow(space->symbols, capacity, sizeof *symbols);
    if (symbols) space->symbols = symbols;
    /* n - 1 candidates at first; each join takes one out and puts at most two in. */
    uint64_t *heap = symbols ? memory_grow(space->heap, 2 * capacity, sizeof *heap) : NULL;
    if (heap) space->heap = heap;
    uint64_t *sorted = heap ? memory_grow(space->sorted, 2 * capacity, sizeof *sorted) : NULL;
    if (!sorted) return error_set(err, ERROR_NO_MEMORY, "tokenize: out of memory for %zu symbols", capacity);
    space->sorted = sorted;
    space->capacity = capacity;
    return 0;
}

void merge_free(struct merge_space *space)
{
    free(space->symbols);
    free(space->heap);
    free(space->sorted);
    *space = (struct merge_space){0};
}

/* A heap with four children to a node: half the levels, and the children lie in one line of the cache. */
static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    uint64_t moving = heap[i];
    for (size_t child; (child = 4 * i + 1) < n; i = child) {
        size_t end = child + 4 < n ? child + 4 : n, best = child;
        for (size_t k = child + 1; k < end; k++)
            if (heap[k] < heap[best]) best = k;
        child = best;
        if (heap[child] >= moving) break;
        heap[i] = heap[child];
    }
    heap[i] = moving;
}

static void heap_push(struct merge_space *space, uint64_t value)
{
    size_t i = space->n_heap++;
    while (i > 0 && space->heap[(i - 1) / 4] > value) {
        space->heap[i] = space->heap[(i - 1) / 4];
        i = (i - 1) / 4;
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

/* One pass of a radix sort by these bits; false if all keys have them alike, and then nothing has moved. */
static bool sort_digit(const uint64_t *from, uint64_t *to, size_t n, unsigned shift)
{
    size_t place[1u << DIGIT_BITS] = {0};
    const uint64_t mask = (1u << DIGIT_BITS) - 1;
    for (size_t i = 0; i < n; i++) place[from[i] >> shift & mask]++;
    if (place[from[0] >> shift & mask] == n) return false;
    size_t before = 0;
    for (size_t d = 0; d <= mask; d++) {
        const size_t count = place[d];
        place[d] = before;
        before += count;
    }
    for (size_t i = 0; i < n; i++) to[place[from[i] >> shift & mask]++] = from[i];
    return true;
}

/* All candidates of the heap become the sorted ones, of which none is left. */
static void sort_candidates(struct merge_space *space)
{
    static const unsigned shifts[] = {0, 11, 22, 32, 43, 54}; /* the index's digits, then the rank's */
    for (unsigned i = 0; i < sizeof shifts / sizeof *shifts; i++) {
        if (!sort_digit(space->heap, space->sorted, space->n_heap, shifts[i])) continue;
        uint64_t *sorted = space->sorted;
        space->sorted = space->heap;
        space->heap = sorted;
    }
    uint64_t *sorted = space->heap;
    space->heap = space->sorted;
    space->sorted = sorted;
    space->n_sorted = space->n_heap;
    space->next_sorted = 0;
    space->n_heap = 0;
}

/*
 * The best candidate leaves. False: there is none. New ones go to the heap; what has gathered there is sorted once the others
 * are used up.
 */
static bool take_best(struct merge_space *space, uint64_t *best)
{
    if (space->next_sorted == space->n_sorted && space->n_heap >= SORT_FROM) sort_candidates(space);
    if (space->next_sorted < space->n_sorted &&
        (space->n_heap == 0 || space->sorted[space->next_sorted] < space->heap[0]))
        *best = space->sorted[space->next_sorted++];
    else if (space->n_heap > 0)
        *best = heap_pop(space);
    else
        return false;
    return true;
}

/* Looks up the pair that starts at symbol left. Returns false if there is none. */
static bool rank_pair(struct merge_symbol *symbols, uint32_t left, merge_lookup lookup, const void *context)
{
    struct merge_symbol *symbol = &symbols[left];
    symbol->rank = MERGE_END;
    return symbol->next != MERGE_END &&
           lookup(context, symbol, &symbols[symbol->next], &symbol->rank, &symbol->result) && symbol->rank != MERGE_END;
}

/* Joins symbol left with its neighbour and looks up the new pairs; returns the symbol before it, or MERGE_END. */
static uint32_t join(struct merge_symbol *symbols, uint32_t index)
{
    struct merge_symbol *left = &symbols[index], *right = &symbols[left->next];
    left->length += right->length;
    left->id = left->result;
    left->next = right->next;
    right->rank = MERGE_END;
    if (left->next != MERGE_END) symbols[left->next].prev = index;
    return left->prev;
}

/* For few symbols: the best pair is looked for among all. */
static void run_few(struct merge_symbol *symbols, merge_lookup lookup, const void *context)
{
    for (;;) {
        uint32_t best = 0;
        for (uint32_t i = symbols[0].next; i != MERGE_END; i = symbols[i].next)
            if (symbols[i].rank < symbols[best].rank) best = i;
        if (symbols[best].rank == MERGE_END) return;
        uint32_t before = join(symbols, best);
        (void)rank_pair(symbols, best, lookup, context);
        if (before != MERGE_END) (void)rank_pair(symbols, before, lookup, context);
    }
}

void merge_run(struct merge_space *space, size_t n, merge_lookup lookup, const void *context)
{
    struct merge_symbol *symbols = space->symbols;
    for (uint32_t i = 0; i < n; i++) {
        symbols[i].prev = i ? i - 1 : MERGE_END;
        symbols[i].next = i + 1 < n ? i + 1 : MERGE_END;
        (void)rank_pair(symbols, i, lookup, context);
    }
    if (n <= FEW) {
        run_few(symbols, lookup, context);
        return;
    }
    space->n_heap = space->n_sorted = space->next_sorted = 0;
    for (uint32_t i = 0; i < n; i++)
        if (symbols[i].rank != MERGE_END) space->heap[space->n_heap++] = (uint64_t)symbols[i].rank << 32 | i;
    for (size_t i = space->n_heap < SORT_FROM ? space->n_heap / 4 + 1 : 0; i-- > 0;)
        if (i < space->n_heap) sift_down(space->heap, space->n_heap, i);

    for (uint64_t best; take_best(space, &best);) {
        uint32_t index = (uint32_t)best;
        /* A candidate is stale if its left symbol has since become part of another pair (or of nothing). */
        if (symbols[index].rank != best >> 32) continue;
        uint32_t before = join(symbols, index);
        if (rank_pair(symbols, index, lookup, context)) heap_push(space, (uint64_t)symbols[index].rank << 32 | index);
        if (before != MERGE_END && rank_pair(symbols, before, lookup, context))
            heap_push(space, (uint64_t)symbols[before].rank << 32 | before);
    }
}
