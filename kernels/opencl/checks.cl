/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the tables that operations read, run before them: the first entry that lies, in order, goes to the status,
 * and everything after stops. One group of 128 items; when one of them finds a fault, item 0 looks again for the first.
 * Each check also counts what depends on the table.
 */
#define CHECK_ITEMS 128u

static void put64(__global uint *status, uint at, ulong value)
{
    status[at] = (uint)value;
    status[at + 1] = (uint)(value >> 32);
}

static void add64(__global uint *status, uint at, ulong value)
{
    put64(status, at, (status[at] | (ulong)status[at + 1] << 32) + value);
}

static void fault(__global uint *status, uint descriptor, uint kind, uint item, ulong value, ulong limit)
{
    status[STATUS_KIND] = kind;
    status[STATUS_ITEM] = item;
    put64(status, STATUS_VALUE, value);
    put64(status, STATUS_LIMIT, limit);
    status[STATUS_FAILED] = descriptor + 1;
}

/* ---- batch tables ---- */

#define CHECK_POSITION 0u /* what the opcode reads: ROPE */
#define CHECK_PAGE 1u     /* KV_WRITE: its own page */
#define CHECK_SEEN 2u     /* ATTENTION, INDEX: the pages of what it sees */
#define CHECK_STATE 3u    /* SCAN, CONV */

struct table {
    __global const uint *batch, *sparse; /* sparse: NULL if there are none */
    ulong entries;                       /* page entries before the table ends */
    uint tokens, reads, window, chunk, most, n_sparse; /* most: pages or states in the pool */
};

/* Page entries [from, end) of a token, every stride-th. */
static uint pages_fault(const struct table *table, uint first_page, uint from, uint end, uint stride, ulong *value)
{
    __global const uint *pages = table->batch + BATCH_WORDS * (size_t)table->tokens + first_page;
    *value = (ulong)first_page + end - 1;
    if (from < end && *value >= table->entries) return FAULT_ENTRY;
    for (uint p = from; p < end; p += stride) {
        *value = pages[p];
        if (pages[p] >= table->most) return FAULT_PAGE;
    }
    return 0;
}

/* value: what is wrong; limit: what it should be below. Items `offset`, offset + stride, ... of the list. */
static uint sparse_fault(const struct table *table, uint t, uint4 entry, uint offset, uint stride, ulong *value,
                         ulong *limit)
{
    __global const uint *list = table->sparse + (size_t)t * table->n_sparse;
    const uint2 seen = seen_by(entry, table->window, table->chunk);
    for (uint i = offset; i < table->n_sparse; i += stride) {
        const uint position = list[i], before = i ? list[i - 1] : 0;
        *value = position;
        *limit = before;
        if (i && position <= before && !(position == NO_POSITION && before == NO_POSITION)) return FAULT_SPARSE_ORDER;
        if (position == NO_POSITION) continue;
        *limit = entry.z;
        if (position >= entry.z) return FAULT_SPARSE;
        if (position < seen.x || position >= seen.y) continue;
        const uint page = position / CARD_PAGE_TOKENS;
        const uint kind = pages_fault(table, entry.y, page, page + 1, 1, value);
        *limit = kind == FAULT_ENTRY ? table->entries : table->most;
        if (kind) return kind;
    }
    return 0;
}

/* What is wrong with a token's entry, looking at every stride-th of its pages. 0: nothing. */
static uint batch_fault(const struct table *table, uint t, uint offset, uint stride, ulong *value, ulong *limit)
{
    const uint4 entry = ENTRY(table->batch, t);
    *value = entry.x;
    *limit = 1u << 22; /* CARD_MAX_POSITIONS */
    if (entry.x >= *limit) return FAULT_POSITION;
    *value = entry.z;
    if (table->reads == CHECK_SEEN && entry.z > *limit) return FAULT_VISIBLE;
    *value = entry.w;
    *limit = table->most;
    if (table->reads == CHECK_STATE) return entry.w >= table->most ? FAULT_STATE : 0;
    if (table->reads == CHECK_POSITION) return 0;
    if (table->sparse) return sparse_fault(table, t, entry, offset, stride, value, limit);
    uint2 seen = seen_by(entry, table->window, table->chunk);
    if (table->reads == CHECK_PAGE) seen = (uint2)(entry.x, entry.x + 1);
    if (seen.x >= seen.y) return 0;
    const uint from = seen.x / CARD_PAGE_TOKENS, end = (seen.y - 1) / CARD_PAGE_TOKENS + 1;
    const uint kind = pages_fault(table, entry.y, min(from + offset, end), end, stride, value);
    if (kind == FAULT_ENTRY) *limit = table->entries;
    return kind;
}

/*
 * What a token moves: positions that it sees (items of a list as in sparse_fault); of states the first token of each that
 * is read and written 2, or 1 if it starts from zeros.
 */
static uint moved_by(const struct table *table, uint t, uint offset, uint stride)
{
    const uint2 seen = seen_by(ENTRY(table->batch, t), table->window, table->chunk);
    uint n = 0;
    if (table->reads == CHECK_STATE) {
        const uint4 entry = ENTRY(table->batch, t);
        if (offset || (t && ENTRY(table->batch, t - 1).w == entry.w)) return 0;
        return entry.x ? 2 : 1;
    }
    if (!table->sparse) return offset == 0 && seen.x < seen.y ? seen.y - seen.x : 0;
    for (uint i = offset; i < table->n_sparse; i += stride) {
        const uint position = table->sparse[(size_t)t * table->n_sparse + i];
        n += position != NO_POSITION && position >= seen.x && position < seen.y;
    }
    return n;
}

/* table_bytes: from the table to where it ends; kv_bytes, multiply_adds: of each that moved_by counts. */
GROUP_OF(128)
check_batch(__global uint *status, OPERAND(batch), OPERAND(sparse), ulong table_bytes, ulong kv_bytes,
            ulong multiply_adds, uint tokens, uint reads, uint window, uint chunk, uint most, uint n_sparse,
            uint descriptor)
{
    __local uint first;
    __local ulong seen[CHECK_ITEMS];
    const int runs = !status[STATUS_FAILED];
    struct table table = {AT(const uint, batch_bank, batch_at), 0, 0, tokens, reads, window, chunk, most, n_sparse};
    const ulong entry_bytes = (ulong)tokens * BATCH_WORDS * 4;
    if (table_bytes > entry_bytes) table.entries = (table_bytes - entry_bytes) / 4;
    if (n_sparse) table.sparse = AT(const uint, sparse_bank, sparse_at);
    const uint item = get_local_id(0), lane = item % 32;
    ulong value = 0, limit = 0, mine = 0;
    if (item == 0) first = UINT_MAX;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint t = item / 32; runs && t < tokens; t += CHECK_ITEMS / 32) {
        if (batch_fault(&table, t, lane, 32, &value, &limit)) {
            atomic_min(&first, t);
            break;
        }
        if (kv_bytes) mine += moved_by(&table, t, lane, 32);
    }
    seen[item] = mine;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0 && runs) {
        if (first != UINT_MAX) {
            const uint kind = batch_fault(&table, first, 0, 1, &value, &limit);
            fault(status, descriptor, kind, first, value, limit);
        } else {
            for (uint i = 1; i < CHECK_ITEMS; i++) mine += seen[i];
            add64(status, STATUS_KV_BYTES, mine * kv_bytes);
            add64(status, STATUS_MULTIPLY_ADDS, mine * multiply_adds);
        }
    }
}

/* ---- experts ---- */

/* Bytes from address to the end of the allocation that holds it. ranges: n pairs of address and bytes, ascending. */
static ulong extent(__global const ulong *ranges, uint n, ulong address)
{
    uint low = 0, high = n; /* the last range that starts at or before address is below `low` at the end */
    while (low < high) {
        const uint middle = low + (high - low) / 2;
        if (ranges[2 * middle] <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return 0;
    const ulong into = address - ranges[2 * (low - 1)], bytes = ranges[2 * (low - 1) + 1];
    return into < bytes ? bytes - into : 0;
}

/* The matrices that a slot table may name. */
struct slots {
    __global const uint *choice; /* NULL: choice i is expert i */
    __global const ulong *slot, *ranges;
    ulong matrix_bytes, tile_bytes;
    uint experts, n_ranges, banks, align;
};

/* Whether such a matrix can lie at an address: card_operand_range of kernels/abi/card_operands.h, for every bank. */
static int can_lie(const struct slots *s, ulong address)
{
    const ulong offset = address & 0x00ffffffffffffffUL;
    const uint bank = (uint)(address >> 56);
    if (offset % s->align) return 0;
    if (s->banks <= 1) return extent(s->ranges, s->n_ranges, address) >= s->matrix_bytes;
    const ulong tiles = s->matrix_bytes / s->tile_bytes;
    for (uint k = 0; k < s->banks; k++) {
        const uint first = (k + s->banks - bank % s->banks) % s->banks; /* the first tile in the kth of its banks */
        const ulong at = card_tile_offset(bank, offset, first, s->banks, s->tile_bytes);
        if (tiles <= first) continue;
        const ulong bytes = (tiles - first + s->banks - 1) / s->banks * s->tile_bytes;
        const ulong in = card_first_bank(bank, s->banks) + k;
        if (at >> 56 || in >> 8 || extent(s->ranges, s->n_ranges, in << 56 | at) < bytes) return 0;
    }
    return 1;
}

static uint expert_of(const struct slots *s, uint i) { return s->choice ? s->choice[2 * (size_t)i] : i; }

static uint slot_fault(const struct slots *s, uint i, ulong *value)
{
    const uint expert = expert_of(s, i);
    *value = expert;
    if (s->choice && expert == CARD_NO_EXPERT) return 0;
    if (expert >= s->experts) return FAULT_EXPERT;
    *value = s->slot[expert];
    return can_lie(s, *value) ? 0 : FAULT_SLOT;
}

/* matrix_bytes: what lies in memory; weight_bytes: what of it is read. */
GROUP_OF(128)
check_slots(__global uint *status, OPERAND(choice), OPERAND(slot), OPERAND(ranges), ulong matrix_bytes,
            ulong tile_bytes, ulong weight_bytes, ulong multiply_adds, uint n_ranges, uint choices, uint experts, uint banks, uint align, uint each,
            uint descriptor)
{
    __local uint first, in_use, rows;
    __local uint chosen[2048]; /* a bit for each of the most experts that a slot table has */
    const int runs = !status[STATUS_FAILED];
    const struct slots s = {each ? 0 : AT(const uint, choice_bank, choice_at), AT(const ulong, slot_bank, slot_at),
                            AT(const ulong, ranges_bank, ranges_at), matrix_bytes, tile_bytes, experts, n_ranges, banks,
                            align};
    const uint item = get_local_id(0);
    ulong value = 0;
    if (item == 0) first = UINT_MAX;
    if (item == 0) in_use = rows = 0;
    for (uint i = item; i < (experts + 31) / 32; i += CHECK_ITEMS) chosen[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = item; runs && i < choices; i += CHECK_ITEMS) {
        if (slot_fault(&s, i, &value)) {
            atomic_min(&first, i);
            break;
        }
        const uint expert = expert_of(&s, i);
        if (!each && expert == CARD_NO_EXPERT) continue;
        atomic_inc(&rows);
        atomic_or(&chosen[expert / 32], 1u << expert % 32);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = item; i < (experts + 31) / 32; i += CHECK_ITEMS) {
        if (chosen[i]) atomic_add(&in_use, popcount(chosen[i]));
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0 && runs) {
        if (first != UINT_MAX) {
            const uint kind = slot_fault(&s, first, &value);
            fault(status, descriptor, kind, kind == FAULT_SLOT ? expert_of(&s, first) : first, value,
                  kind == FAULT_SLOT ? matrix_bytes : experts);
        } else {
            add64(status, STATUS_WEIGHT_BYTES, in_use * weight_bytes);
            add64(status, STATUS_MULTIPLY_ADDS, rows * multiply_adds);
        }
    }
}

/* Words `distance` apart that must be below `limit`: indexes of rows (1), experts of choices, or none (2). */
GROUP_OF(128)
check_indexes(__global uint *status, OPERAND(index), uint n, uint distance, uint limit, uint kind, uint descriptor)
{
    __local uint first;
    const int runs = !status[STATUS_FAILED];
    __global const uint *index = AT(const uint, index_bank, index_at);
    const uint item = get_local_id(0);
    if (item == 0) first = UINT_MAX;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = item; runs && i < n; i += CHECK_ITEMS) {
        if (index[(size_t)i * distance] < limit) continue;
        if (distance == 2 && index[(size_t)i * distance] == CARD_NO_EXPERT) continue;
        atomic_min(&first, i);
        break;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0 && runs && first != UINT_MAX)
        fault(status, descriptor, kind, first, index[(size_t)first * distance], limit);
}

/* A program does not run after one that failed. */
GROUP_OF(1) follow(__global uint *status, __global const uint *earlier)
{
    if (earlier[STATUS_FAILED] && !status[STATUS_FAILED]) fault(status, 0, FAULT_FOLLOWS, 0, 0, 0);
}
