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

/* What is wrong with a token's entry; of its pages every stride-th from the offset-th on is looked at. 0: nothing. */
static uint batch_fault(__global const uint *batch, uint tokens, uint t, uint opcode, uint window, ulong entries,
                        uint pool_pages, uint offset, uint stride, ulong *value)
{
    const uint position = batch[2 * (size_t)t];
    *value = position;
    if (position >= 1u << 22) return FAULT_POSITION; /* CARD_MAX_POSITIONS */
    if (opcode == 4) return 0;                       /* ROPE */
    const uint last = position / CARD_PAGE_TOKENS;
    const uint seen = window && position + 1 > window ? position + 1 - window : 0;
    const ulong first_page = batch[2 * (size_t)t + 1];
    *value = first_page + last;
    if (first_page + last >= entries) return FAULT_ENTRY;
    __global const uint *pages = batch + 2 * (size_t)tokens + first_page;
    for (uint p = (opcode == 6 ? seen / CARD_PAGE_TOKENS : last) + offset; p <= last; p += stride) {
        *value = pages[p];
        if (pages[p] >= pool_pages) return FAULT_PAGE;
    }
    return 0;
}

/* opcode: of ROPE, KV_WRITE or ATTENTION; table_bytes: from the table to where it ends; factors: per position seen. */
__kernel __attribute__((reqd_work_group_size(128, 1, 1))) void
check_batch(__global uint *status, BANK batch_bank, ulong batch_at, ulong table_bytes, uint tokens, uint opcode,
            uint window, uint pool_pages, uint descriptor, ulong kv_bytes, ulong multiply_adds)
{
    __local uint first;
    __local ulong seen[CHECK_ITEMS];
    const int runs = !status[STATUS_FAILED];
    __global const uint *batch = AT(const uint, batch_bank, batch_at);
    const uint item = get_local_id(0), lane = item % 32;
    const ulong entries = table_bytes / 4 - (ulong)tokens * 2;
    ulong value, mine = 0;
    if (item == 0) first = UINT_MAX;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint t = item / 32; runs && t < tokens; t += CHECK_ITEMS / 32) {
        if (batch_fault(batch, tokens, t, opcode, window, entries, pool_pages, lane, 32, &value)) {
            atomic_min(&first, t);
            break;
        }
        const uint position = batch[2 * (size_t)t];
        if (lane == 0) mine += position + 1 - (window && position + 1 > window ? position + 1 - window : 0);
    }
    seen[item] = mine;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0 && runs) {
        if (first != UINT_MAX) {
            const uint kind = batch_fault(batch, tokens, first, opcode, window, entries, pool_pages, 0, 1, &value);
            fault(status, descriptor, kind, first, value, kind == FAULT_ENTRY ? entries : pool_pages);
        } else {
            for (uint i = 1; i < CHECK_ITEMS; i++) mine += seen[i];
            add64(status, STATUS_KV_BYTES, mine * kv_bytes);
            add64(status, STATUS_MULTIPLY_ADDS, mine * multiply_adds);
        }
    }
}

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

static uint slot_fault(__global const uint *choice, __global const ulong *slots, uint i, uint experts,
                       __global const ulong *ranges, uint n_ranges, ulong matrix_bytes, uint align, ulong *value)
{
    const uint expert = choice[2 * (size_t)i];
    *value = expert;
    if (expert >= experts) return FAULT_EXPERT;
    *value = slots[expert];
    return *value % align || extent(ranges, n_ranges, *value) < matrix_bytes ? FAULT_SLOT : 0;
}

__kernel __attribute__((reqd_work_group_size(128, 1, 1))) void
check_slots(__global uint *status, BANK choice_bank, ulong choice_at, BANK slot_bank, ulong slot_at,
            __global const ulong *ranges, uint n_ranges, uint choices, uint experts, ulong matrix_bytes, uint align,
            uint descriptor)
{
    __local uint first, in_use;
    __local uint chosen[2048]; /* a bit for each of the most experts that a slot table has */
    const int runs = !status[STATUS_FAILED];
    __global const uint *choice = AT(const uint, choice_bank, choice_at);
    __global const ulong *slots = AT(const ulong, slot_bank, slot_at);
    const uint item = get_local_id(0);
    ulong value;
    if (item == 0) first = UINT_MAX;
    if (item == 0) in_use = 0;
    for (uint i = item; i < (experts + 31) / 32; i += CHECK_ITEMS) chosen[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = item; runs && i < choices; i += CHECK_ITEMS) {
        if (slot_fault(choice, slots, i, experts, ranges, n_ranges, matrix_bytes, align, &value)) {
            atomic_min(&first, i);
            break;
        }
        const uint expert = choice[2 * (size_t)i];
        atomic_or(&chosen[expert / 32], 1u << expert % 32);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = item; i < (experts + 31) / 32; i += CHECK_ITEMS) {
        if (chosen[i]) atomic_add(&in_use, popcount(chosen[i]));
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0 && runs) {
        if (first != UINT_MAX) {
            const uint kind = slot_fault(choice, slots, first, experts, ranges, n_ranges, matrix_bytes, align, &value);
            fault(status, descriptor, kind, kind == FAULT_SLOT ? choice[2 * (size_t)first] : first, value,
                  kind == FAULT_SLOT ? matrix_bytes : experts);
        } else {
            add64(status, STATUS_WEIGHT_BYTES, in_use * matrix_bytes);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(128, 1, 1))) void
check_indexes(__global uint *status, BANK index_bank, ulong index_at, uint tokens, uint rows, uint descriptor)
{
    __local uint first;
    const int runs = !status[STATUS_FAILED];
    __global const uint *index = AT(const uint, index_bank, index_at);
    const uint item = get_local_id(0);
    if (item == 0) first = UINT_MAX;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint t = item; runs && t < tokens; t += CHECK_ITEMS) {
        if (index[t] < rows) continue;
        atomic_min(&first, t);
        break;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0 && runs && first != UINT_MAX) fault(status, descriptor, FAULT_INDEX, first, index[first], rows);
}

/* A program does not run after one that failed. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void follow(__global uint *status, __global const uint *earlier)
{
    if (earlier[STATUS_FAILED] && !status[STATUS_FAILED]) fault(status, 0, FAULT_FOLLOWS, 0, 0, 0);
}
