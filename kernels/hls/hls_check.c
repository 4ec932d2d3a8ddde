/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that a descriptor reads, held against the card's allocations. */
#include "kernels/hls/hls_batch.h"
#include "kernels/hls/hls_engine.h"
#include "kernels/hls/hls_page.h"

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

/* What a batch entry says of itself. */
static struct hls_fault check_token(const struct hls_step *step, struct card_batch_token token, uint32_t t)
{
    HLS_INLINE
    const int sees = step->opcode == CARD_OP_ATTENTION || step->opcode == CARD_OP_INDEX;
    const int remembers = step->opcode == CARD_OP_SCAN || step->opcode == CARD_OP_CONV;
    if (token.position >= CARD_MAX_POSITIONS) return fault_of(HLS_POSITION, t, token.position);
    if (sees && token.visible > CARD_MAX_POSITIONS) return fault_of(HLS_VISIBLE, t, token.visible);
    if (remembers && token.state >= step->param[0]) return fault_of(HLS_STATE, t, token.state);
    return fault_of(HLS_OK, 0, 0);
}

/* Entries [from, to] of the token's pages; entries: how many the table has. */
static struct hls_fault check_pages(HLS_BANKS, const struct hls_step *step, struct card_batch_token token, uint32_t t,
                                    uint32_t from, uint32_t to, uint64_t entries)
{
    HLS_NO_INLINE
    if ((uint64_t)token.first_page + to >= entries) return fault_of(HLS_PAGE_ENTRY, t, to);
    return check_numbers(HLS_BANK_ARGS, hls_token_pages(step, token), from, to, step->param[0], t);
}

/* The list of positions of token t: it ascends, to CARD_NO_POSITION and no further; of those seen, the pages. */
static struct hls_fault check_sparse(HLS_BANKS, const struct hls_step *step, struct card_batch_token token, uint32_t t,
                                     uint64_t entries)
{
    struct hls_word list[HLS_CHUNK_WORDS];
    struct hls_fault fault = {HLS_OK, 0, 0};
    const uint32_t n = step->e_param[3];
    const struct hls_span seen = hls_seen(step, token);
    const card_addr at = step->e_aux + 4ull * t * n;
    uint32_t least = 0, good = UINT32_MAX; /* what the next position must reach; the last page known to be good */
sparse_chunks:
    for (uint64_t base = 0; base < n && fault.status == HLS_OK; base += HLS_CHUNK) {
        HLS_TRIPS(1, 16)
        const uint32_t count = hls_min(n - base, HLS_CHUNK);
        hls_load(HLS_BANK_ARGS, at + 4 * base, count, list);
    sparse_positions:
        for (uint32_t i = 0; i < count && fault.status == HLS_OK; i++) {
            HLS_TRIPS(1, 4096)
            const uint32_t position = list[i / HLS_LANES].lane[i % HLS_LANES], page = position / CARD_PAGE_TOKENS;
            const int ends = position == CARD_NO_POSITION;
            if (position < least || (!ends && position >= token.visible))
                fault = fault_of(HLS_SPARSE, t, position);
            else if (!ends && position >= seen.from && position < seen.to && page != good)
                fault = check_pages(HLS_BANK_ARGS, step, token, t, page, page, entries);
            if (!ends && position >= seen.from && position < seen.to) good = page;
            least = ends ? CARD_NO_POSITION : position + 1;
        }
    }
    return fault;
}

/* The batch entries and, of KV_WRITE, ATTENTION and INDEX, the pages that each token writes or reads. */
static struct hls_fault check_batch(HLS_BANKS, const struct hls_step *step, uint64_t table_bytes)
{
    struct hls_fault fault = {HLS_OK, 0, 0};
    const uint64_t batch_bytes = 4ull * HLS_BATCH_LANES * step->tokens;
    const uint64_t entries = table_bytes > batch_bytes ? (table_bytes - batch_bytes) / 4 : 0;
    const int writes = step->opcode == CARD_OP_KV_WRITE;
    const int pages = writes || step->opcode == CARD_OP_ATTENTION || step->opcode == CARD_OP_INDEX;
    /* Neighbours are mostly of one sequence: what is checked for one is not read again for the next. */
    uint32_t sequence = 0, good_from = 1, good_to = 0;
batch_tokens:
    for (uint32_t t = 0; t < step->tokens && fault.status == HLS_OK; t++) {
        HLS_TRIPS(1, 4096)
        const struct card_batch_token token = hls_load_token(HLS_BANK_ARGS, step, t);
        const struct hls_span own = {token.position, token.position + 1};
        const struct hls_span seen = writes ? own : hls_seen(step, token);
        const uint32_t last = (seen.to - 1) / CARD_PAGE_TOKENS, first = seen.from / CARD_PAGE_TOKENS;
        const int known = good_from <= good_to && token.first_page == sequence && first >= good_from;
        const int all_known = known && last <= good_to;
        fault = check_token(step, token, t);
        if (fault.status == HLS_OK && hls_is_sparse(step)) {
            fault = check_sparse(HLS_BANK_ARGS, step, token, t, entries);
        } else if (fault.status == HLS_OK && pages && seen.from < seen.to && !all_known) {
            const uint32_t from = known && first <= good_to ? good_to + 1 : first;
            fault = check_pages(HLS_BANK_ARGS, step, token, t, from, last, entries);
            if (!known || first > good_to + 1) good_from = first;
            sequence = token.first_page;
            good_to = last;
        }
    }
    return fault;
}

/* Whether a matrix can lie at `address`: in each bank over which it is dealt its tiles are one run. */
static int matrix_fits(const struct hls_step *step, const struct hls_word *extents, uint32_t n_extents,
                       card_addr address)
{
    const uint32_t banks = step->param[2] > 1 ? step->param[2] : 1, bank = CARD_ADDR_BANK(address);
    const uint32_t align = step->format == CARD_FORMAT_F32 ? 4u : CARD_WORD_BYTES;
    const uint64_t tiles = card_round_up(step->rows, CARD_TILE_ROWS) / CARD_TILE_ROWS;
    const uint64_t tile_bytes = card_tile_bytes(step->format, step->cols);
    if (address % align != 0) return 0;
    if (banks == 1) {
        return bytes_at(extents, n_extents, address) >= card_matrix_bytes(step->format, step->rows, step->cols);
    }
    const uint32_t part = card_first_bank(bank, banks), start = bank - part;
    int fits = 1;
slot_banks:
    for (uint32_t k = 0; k < banks && fits; k++) {
        HLS_TRIPS(1, 32)
        const uint64_t first = (k + banks - start) % banks; /* the first tile that lies in the kth of its banks */
        const uint64_t offset = card_tile_offset(bank, CARD_ADDR_OFFSET(address), first, banks, tile_bytes);
        const uint64_t run = tiles > first ? (tiles - first + banks - 1) / banks * tile_bytes : 0;
        if (run != 0)
            fits = offset >> 56 == 0 && part + k < HLS_MAX_PORTS &&
                   bytes_at(extents, n_extents, CARD_ADDR(part + k, offset)) >= run;
    }
    return fits;
}

static struct hls_fault check_slot(HLS_BANKS, const struct hls_step *step, const struct hls_word *extents,
                                   uint32_t n_extents, uint32_t choice, uint32_t expert)
{
    HLS_NO_INLINE
    struct hls_word slot[1];
    const int each = step->opcode == CARD_OP_EXPERT_MATMUL && (step->flags & CARD_FLAG_EACH) != 0;
    if (!each && expert == CARD_NO_EXPERT) return fault_of(HLS_OK, 0, 0);
    if (expert >= step->param[1]) return fault_of(HLS_EXPERT, choice, expert);
    if (step->opcode == CARD_OP_AWAIT) return fault_of(HLS_OK, 0, 0); /* its slots are what it waits for */
    hls_load(HLS_BANK_ARGS, step->weight + 8ull * expert, 2, slot);
    const card_addr address = (uint64_t)slot[0].lane[1] << 32 | slot[0].lane[0];
    if (!matrix_fits(step, extents, n_extents, address)) return fault_of(HLS_SLOT, choice, expert);
    return fault_of(HLS_OK, 0, 0);
}

/* EACH: every expert of the table, else those that the choices name. */
static struct hls_fault check_slots(HLS_BANKS, const struct hls_step *step, const struct hls_word *extents,
                                    uint32_t n_extents)
{
    struct hls_word choice[HLS_WINDOW / 8];
    struct hls_fault fault = {HLS_OK, 0, 0};
    const int each = step->opcode == CARD_OP_EXPERT_MATMUL && (step->flags & CARD_FLAG_EACH) != 0;
    const uint32_t choices = each ? step->param[1] : step->tokens * step->param[0];
slot_windows:
    for (uint32_t base = 0; base < choices && fault.status == HLS_OK; base += HLS_WINDOW) {
        HLS_TRIPS(1, 16384)
        const uint32_t count = hls_min(choices - base, HLS_WINDOW);
        if (!each) hls_load(HLS_BANK_ARGS, step->aux + 8ull * base, 2 * count, choice);
    slot_choices:
        for (uint32_t i = 0; i < count && fault.status == HLS_OK; i++) {
            HLS_TRIPS(1, 64)
            const uint32_t expert = each ? base + i : choice[i / 8].lane[i % 8 * 2];
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

/* Where the result begins in the bank of `table`; 0 if nothing of it lies there. */
static card_addr result_start(const struct hls_step *step, card_addr table)
{
    HLS_INLINE
    const uint32_t banks = step->opcode == CARD_OP_KV_WRITE ? hls_pool_banks(step) : 1;
    const uint32_t k = CARD_ADDR_BANK(table), bank = CARD_ADDR_BANK(step->dst);
    if (banks <= 1) return k == bank ? step->dst : 0;
    if (k >= banks) return 0;
    const uint32_t first = (k + banks - bank) % banks; /* the first page that lies in bank k */
    const uint64_t page_bytes = card_page_bytes(step->format, step->rows, step->cols, step->param[1]);
    return first < step->param[0] ? hls_page_address(step->dst, banks, first, page_bytes) : 0;
}

struct hls_fault hls_check_tables(HLS_BANKS, const struct hls_step *step, const struct hls_word *extents,
                                  uint32_t n_extents)
{
    HLS_NO_INLINE
    uint64_t bytes;
    card_addr result;
    switch (step->opcode) {
    case CARD_OP_EXPERT_MATMUL:
    case CARD_OP_AWAIT: return check_slots(HLS_BANK_ARGS, step, extents, n_extents);
    case CARD_OP_GATHER: return check_indexes(HLS_BANK_ARGS, step);
    case CARD_OP_ROPE:
    case CARD_OP_KV_WRITE:
    case CARD_OP_ATTENTION:
    case CARD_OP_INDEX:
    case CARD_OP_SCAN:
    case CARD_OP_CONV:
        bytes = bytes_at(extents, n_extents, step->aux);
        /* A table ends where the result begins: what the operation writes must not change numbers already checked. */
        result = result_start(step, step->aux);
        if (result > step->aux && result - step->aux < bytes) bytes = result - step->aux;
        return check_batch(HLS_BANK_ARGS, step, bytes);
    default: return fault_of(HLS_OK, 0, 0);
    }
}
