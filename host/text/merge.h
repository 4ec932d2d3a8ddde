/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heart of both kinds of BPE: join the two neighbours with the best rank, until no two can be joined. A heap of
 * candidates makes it O(n log n) in the number of symbols, so that one word of a megabyte is no attack; many candidates at once
 * are sorted by radix, which a heap of a million does not keep up with.
 * Internal to host/text.
 */
#ifndef SLUICE_TEXT_MERGE_H
#define SLUICE_TEXT_MERGE_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MERGE_END UINT32_MAX

struct merge_symbol {
    uint32_t start, length; /* bytes of the word */
    uint32_t prev, next;    /* neighbours' indexes, or MERGE_END */
    uint32_t id;            /* token, or TOKEN_NONE */
    uint32_t rank, result;  /* of joining it with next; rank MERGE_END: cannot be joined */
};

/* Rank (lower is better, below MERGE_END) and token of left and right joined; false if they cannot be. */
typedef bool (*merge_lookup)(const void *context, const struct merge_symbol *left, const struct merge_symbol *right,
                             uint32_t *rank, uint32_t *result);

struct merge_space {
    struct merge_symbol *symbols; /* owned; the caller sets start, length and id of the first n */
    uint64_t *heap;               /* owned; candidates: rank in the upper half, index of the left symbol in the lower */
    uint64_t *sorted;             /* owned; more of them, those from next_sorted on in order */
    size_t capacity;              /* symbols */
    size_t n_heap, n_sorted, next_sorted;
};

/* Room for n symbols; grows only. ERROR_TOO_LARGE above 2^31 symbols. */
int merge_reserve(struct merge_space *space, size_t n, struct error *err);
void merge_free(struct merge_space *space);

/* Joins the first n symbols (n > 0). What is left is read from symbol 0 by next. Equal ranks: the left pair first. */
void merge_run(struct merge_space *space, size_t n, merge_lookup lookup, const void *context);

#endif
