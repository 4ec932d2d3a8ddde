/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card_bank.h"

#include "host/base/error.h"
#include "host/base/memory.h"
#include "host/card/card.h"

#include <string.h>

/* Never handed out, so that address 0 can mean "none". */
#define FIRST_OFFSET CARD_ALIGNMENT

void bank_init(struct bank_allocator *bank, uint64_t bytes)
{
    *bank = (struct bank_allocator){.bytes = bytes, .taken = FIRST_OFFSET};
}

void bank_clear(struct bank_allocator *bank)
{
    free(bank->range);
    bank_init(bank, bank->bytes);
}

static uint64_t rounded(uint64_t bytes) { return card_round_up(bytes, CARD_ALIGNMENT); }
static uint64_t end_of(const struct bank_range *range) { return range->offset + rounded(range->bytes); }

static int grow(struct bank_allocator *bank)
{
    if (bank->n < bank->capacity) return 0;
    size_t capacity = bank->capacity ? bank->capacity * 2 : 64;
    struct bank_range *range = memory_grow(bank->range, capacity, sizeof *range);
    if (!range) return ERROR_NO_MEMORY;
    bank->range = range;
    bank->capacity = capacity;
    return 0;
}

/* Index of the first range that ends behind offset. */
static size_t first_behind(const struct bank_allocator *bank, uint64_t offset)
{
    size_t at = 0;
    while (at < bank->n && end_of(&bank->range[at]) <= offset) at++;
    return at;
}

uint64_t bank_find(const struct bank_allocator *bank, uint64_t bytes, uint64_t start)
{
    if (bytes == 0 || bytes > bank->bytes || rounded(bytes) > bank->bytes - bank->taken) return 0;
    if (start < FIRST_OFFSET) start = FIRST_OFFSET;
    start = rounded(start);
    size_t at = first_behind(bank, start);
    while (at < bank->n && (bank->range[at].offset < start || bank->range[at].offset - start < rounded(bytes)))
        start = end_of(&bank->range[at++]);
    return range_fits(start, rounded(bytes), bank->bytes) ? start : 0;
}

int bank_take_at(struct bank_allocator *bank, uint64_t bytes, uint64_t offset)
{
    if (grow(bank)) return ERROR_NO_MEMORY;
    size_t at = first_behind(bank, offset);
    memmove(&bank->range[at + 1], &bank->range[at], (bank->n - at) * sizeof bank->range[0]);
    bank->range[at] = (struct bank_range){.offset = offset, .bytes = bytes};
    bank->n++;
    bank->taken += rounded(bytes);
    return 0;
}

int bank_take(struct bank_allocator *bank, uint64_t bytes, uint64_t *offset)
{
    uint64_t found = bank_find(bank, bytes, 0);
    if (found == 0 || bank_take_at(bank, bytes, found)) return ERROR_NO_MEMORY;
    *offset = found;
    return 0;
}

/* Index of the last range that starts at or before offset; n if there is none. */
static size_t find(const struct bank_allocator *bank, uint64_t offset)
{
    size_t low = 0, high = bank->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bank->range[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : bank->n;
}

uint64_t bank_give(struct bank_allocator *bank, uint64_t offset)
{
    size_t at = find(bank, offset);
    if (at == bank->n || bank->range[at].offset != offset) return 0;
    uint64_t bytes = bank->range[at].bytes;
    bank->taken -= rounded(bytes);
    bank->n--;
    memmove(&bank->range[at], &bank->range[at + 1], (bank->n - at) * sizeof bank->range[0]);
    return bytes;
}

uint64_t bank_extent(const struct bank_allocator *bank, uint64_t offset)
{
    size_t at = find(bank, offset);
    if (at == bank->n) return 0;
    uint64_t into = offset - bank->range[at].offset;
    return into < bank->range[at].bytes ? bank->range[at].bytes - into : 0;
}

bool bank_validate(const struct bank_allocator *bank)
{
    uint64_t taken = FIRST_OFFSET, free_from = FIRST_OFFSET;
    if (bank->n > bank->capacity) return false;
    for (size_t i = 0; i < bank->n; i++) {
        const struct bank_range *range = &bank->range[i];
        if (range->bytes == 0 || range->offset % CARD_ALIGNMENT || range->offset < free_from) return false;
        if (!range_fits(range->offset, rounded(range->bytes), bank->bytes)) return false;
        free_from = end_of(range);
        taken += rounded(range->bytes);
    }
    return taken == bank->taken && taken <= bank->bytes;
}
