/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation of untrusted sizes: every product is checked, and NULL means either overflow or no memory. */
#ifndef SLUICE_BASE_MEMORY_H
#define SLUICE_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* True if [offset, offset + length) lies within size bytes; cannot overflow. */
static inline bool range_fits(uint64_t offset, uint64_t length, uint64_t size)
{
    return offset <= size && length <= size - offset;
}

/* count * size zeroed bytes (owned by the caller, free()), or NULL. */
static inline void *memory_array(size_t count, size_t size)
{
    size_t bytes; /* calloc checks the product too, but a sanitizer's calloc ends the program */
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    return calloc(1, bytes ? bytes : 1);
}

/* realloc for count * size bytes; NULL on overflow or no memory, and the old block stays valid. */
static inline void *memory_grow(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    return realloc(block, bytes ? bytes : 1);
}

#endif
