/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that a descriptor reads, held against the card's allocations. */
#include "kernels/hls/hls_engine.h"
#include "kernels/hls/hls_memory.h"

#define RANGES_PER_WORD 4u

static struct hls_fault fault_of(uint32_t status, uint32_t item, uint32_t value)
{
    HLS_INLINE
    const struct hls_fault fault = {status, item, value};
    return fault;
}

static uint64_t range_u64(const struct hls_word *extents, uint32_t i, uint32_t lane)
{
    HLS_INLINE
    const struct hls_word word = extents[i / RANGES_PER_WORD];
    const uint32_t l = i % RANGES_PER_WORD * 4 + lane;
    return (uint64_t)word.lane[l + 1] << 32 | word.lane[l];
}

/* Bytes from address to the end of the allocation that holds it; 0 if none does. */
static uint64_t bytes_at(const struct hls_word *extents, uint32_t n, card_addr address)
{
    HLS_NO_INLINE
    uint32_t low = 0, high = n; /* the last range that starts at or before address is in [low, high) */
find_range:
    for (uint32_t i = 0; i < 32; i++) {
        if (high - low > 1) {
            const uint32_t middle = low + (high - low) / 2;
            if (range_u64(extents, middle, 0) <= address)
                low = middle;
            else
                high = middle;
        }
    }
    if (n == 0) return 0;
    const uint64_t start = range_u64(extents, low, 0), bytes = range_u64(extents, low, 2);
    return start <= address && address - start < bytes ? bytes - (address - start) : 0;
}

/* Entries [from, to] of the page table at `table`: the numbers are below `pages`. */
static struct hls_fault check_numbers(HLS_BANKS, card_addr table, uint32_t from, uint32_t to, uint32_t pages,
                                      uint32_t token)
{
    struct hls_word number[HLS_CHUNK_WORDS];
    struct hls_fault fault = {HLS_OK, 0, 0};
number_chunks:
    for (uint32_t p = from; p <= to && fault.status == HLS_OK; p += HLS_CHUNK) {
        HLS_TRIPS(1, 32)
        const uint32_t count = hls_min(to - p + 1, HLS_CHUNK);
        hls_load(HLS_BANK_ARGS, table + 4ull * p, count, number);
    numbers:
        for (uint32_t i = 0; i < count; i++) {
            HLS_TRIPS(1, 4096)
            HLS_PIPELINE(1) /* carried: the first fault, a selection of one cycle */
            const uint32_t value = number[i / HLS_LANES].lane[i % HLS_LANES];
            if (fault.status == HLS_OK && value >= pages) fault = fault_of(HLS_PAGE_NUMBER, token, value);
        }
    }
    return fault;
}

/* Positions and, but for ROPE, the pages that each token reads or writes. */
static struct hls_fault check_batch(HLS_BANKS, const struct hls_step *step, uint64_t table_bytes)
{
    struct hls_fault fault = {HLS_OK, 0, 0};
    const uint64_t entries = table_bytes / 4 - 2ull * step->tokens;
    const card_addr pages = step->aux + 8ull * step->tokens;
    /* Neighbours are mostly of one sequence: what is checked for one is not read again for the next. */
    uint32_t sequence = 0, good_from = 1, good_to = 0;
batch_tokens:
    for (uint32_t t = 0; t < step->tokens && fault.status == HLS_OK; t++) {
        HLS_TRIPS(1, 4096)
        struct hls_word token[1];
        hls_load(HLS_BANK_ARGS, step->aux + 8ull * t, 2, token);
        const uint32_t position = token[0].lane[0], first_page = token[0].lane[1];
        const uint32_t window = step->opcode == CARD_OP_ATTENTION ? step->param[3] : 1;
        const uint32_t seen = window != 0 && position + 1 > window ? position + 1 - window : 0;
        const uint32_t last = position / CARD_PAGE_TOKENS, first = seen / CARD_PAGE_TOKENS;
        const int known = good_from <= good_to && first_page == sequence && first >= good_from;
        const int all_known = known && last <= good_to;
        if (position >= CARD_MAX_POSITIONS) {
            fault = fault_of(HLS_POSITION, t, position);
        } else if (step->opcode != CARD_OP_ROPE && !all_known) {
            const uint32_t from = known && first <= good_to ? good_to + 1 : first;
            if ((uint64_t)first_page + last >= entries)
                fault = fault_of(HLS_PAGE_ENTRY, t, last);
            else
                fault = check_numbers(HLS_BANK_ARGS, pages + 4ull * first_page, from, last, step->param[0], t);
            if (!known || first > good_to + 1) good_from = first;
            sequence = first_page;
            good_to = last;
        }
    }
    return fault;
}

static struct hls_fault check_slot(HLS_BANKS, const struct hls_step *step, const struct hls_word *extents,
                                   uint32_t n_extents, uint32_t choice, uint32_t expert)
{
    struct hls_word slot[1];
    if (expert >= step->param[1]) return fault_of(HLS_EXPERT, choice, expert);
    hls_load(HLS_BANK_ARGS, step->weight + 8ull * expert, 2, slot);
    const card_addr address = (uint64_t)slot[0].lane[1] << 32 | slot[0].lane[0];
    const uint64_t bytes = card_matrix_bytes(step->format, step->rows, step->cols);
    const uint32_t align = step->format == CARD_FORMAT_F32 ? 4u : CARD_WORD_BYTES;
    if (address % align != 0 || bytes_at(extents, n_extents, address) < bytes) {
        return fault_of(HLS_SLOT, choice, expert);
    }
    return fault_of(HLS_OK, 0, 0);
}

static struct hls_fault check_slots(HLS_BANKS, const struct hls_step *step, const struct hls_word *extents,
                                    uint32_t n_extents)
{
    struct hls_word choice[HLS_WINDOW / 8];
    struct hls_fault fault = {HLS_OK, 0, 0};
    const uint32_t choices = step->tokens * step->param[0];
slot_windows:
    for (uint32_t base = 0; base < choices && fault.status == HLS_OK; base += HLS_WINDOW) {
        HLS_TRIPS(1, 16384)
        const uint32_t count = hls_min(choices - base, HLS_WINDOW);
        hls_load(HLS_BANK_ARGS, step->aux + 8ull * base, 2 * count, choice);
    slot_choices:
        for (uint32_t i = 0; i < count && fault.status == HLS_OK; i++) {
            HLS_TRIPS(1, 64)
            const uint32_t expert = choice[i / 8].lane[i % 8 * 2];
            fault = check_slot(HLS_BANK_ARGS, step, extents, n_extents, base + i, expert);
        }
    }
    return fault;
}

static struct hls_fault check_indexes(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word index[HLS_CHUNK_WORDS];
    struct hls_fault fault = {HLS_OK, 0, 0};
    hls_load(HLS_BANK_ARGS, step->aux, step->tokens, index); /* at most 4096, as card_check sees to */
indexes:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        HLS_PIPELINE(1) /* carried: the first fault, a selection of one cycle */
        const uint32_t row = index[t / HLS_LANES].lane[t % HLS_LANES];
        if (fault.status == HLS_OK && row >= step->rows) fault = fault_of(HLS_INDEX, t, row);
    }
    return fault;
}

struct hls_fault hls_check_tables(HLS_BANKS, const struct hls_step *step, const struct hls_word *extents,
                                  uint32_t n_extents)
{
    HLS_NO_INLINE
    if (step->opcode == CARD_OP_EXPERT_MATMUL) return check_slots(HLS_BANK_ARGS, step, extents, n_extents);
    if (step->opcode == CARD_OP_GATHER) return check_indexes(HLS_BANK_ARGS, step);
    if (step->opcode == CARD_OP_ROPE || step->opcode == CARD_OP_KV_WRITE || step->opcode == CARD_OP_ATTENTION) {
        uint64_t bytes = bytes_at(extents, n_extents, step->aux);
        /* A table ends where the result begins: what the operation writes must not change numbers already checked. */
        if (step->dst > step->aux && step->dst - step->aux < bytes) bytes = step->dst - step->aux;
        return check_batch(HLS_BANK_ARGS, step, bytes);
    }
    return fault_of(HLS_OK, 0, 0);
}
