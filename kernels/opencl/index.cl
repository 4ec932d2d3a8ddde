/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INDEX: the best positions of a token. Positions are scored in chunks; after each chunk the best of it and of what was
 * kept are kept, in ascending order. The best of a list are found by the bytes of their keys (order_of), from the highest
 * on: four histograms tell the last key that is kept and how many of those equal to it.
 */
#define INDEXERS 128u
#define INDEX_CHUNK 1024u /* host/card/opencl.h */

/* What is kept of a token, and where it is moved to: keys and positions, `most` + INDEX_CHUNK each. */
struct kept {
    __global uint *key, *position;
};

struct selection {
    uint histogram[256];
    uint before[INDEXERS], equal_before[INDEXERS]; /* of items before this one: above the last key, equal to it */
    uint key, equal; /* the last key that is kept, and how many equal to it */
};

/* Finds the last of the `want` best of n keys. 0 < want <= n, or both are 0. */
static void find_last(__local struct selection *s, __global const uint *key, uint n, uint want)
{
    const uint item = get_local_id(0);
    uint found = 0; /* the bytes of the key so far */
    for (uint shift = 32; shift > 0; shift -= 8) {
        for (uint i = item; i < 256; i += INDEXERS) s->histogram[i] = 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = item; i < n; i += INDEXERS) {
            const uint high = shift == 32 ? 0 : key[i] >> shift;
            if (high == found) atomic_inc(&s->histogram[key[i] >> (shift - 8) & 255u]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item == 0) {
            uint left = want, byte = 255;
            while (byte > 0 && s->histogram[byte] < left) left -= s->histogram[byte--];
            s->key = byte;
            s->equal = left;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        found = found << 8 | s->key;
        want = s->equal;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (item == 0) s->key = found;
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* Moves the `want` best of n from one list to another, in their order. Item i looks at the i-th part of the list. */
static void keep_best(__local struct selection *s, struct kept from, struct kept to, uint n, uint want)
{
    const uint item = get_local_id(0), part = (n + INDEXERS - 1) / INDEXERS;
    const uint begin = min(item * part, n), end = min(begin + part, n);
    find_last(s, from.key, n, want);
    uint above = 0, equal = 0;
    for (uint i = begin; i < end; i++) {
        above += from.key[i] > s->key;
        equal += from.key[i] == s->key;
    }
    s->before[item] = above;
    s->equal_before[item] = equal;
    barrier(CLK_LOCAL_MEM_FENCE);
    above = equal = 0;
    for (uint i = 0; i < item; i++) {
        above += s->before[i];
        equal += s->equal_before[i];
    }
    uint at = above + min(equal, s->equal);
    for (uint i = begin; i < end; i++) {
        const uint key = from.key[i];
        if (key < s->key || (key == s->key && equal++ >= s->equal)) continue;
        to.key[at] = key;
        to.position[at++] = from.position[i];
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
}

/* A descriptor's part that scores need. */
struct indexer {
    __global const float *src, *weight;
    __global const uchar *act;
    __global const uint *pages;
    struct dealt pool;
    uint rows, heads, cols, format;
    float scale;
};

static float index_score(const struct indexer *x, uint token, uint position, POOL)
{
    __global const uchar *page = page_of(&x->pool, x->pages[position / CARD_PAGE_TOKENS], POOL_BANKS);
    const struct block keys = block_of(page, x->format, x->cols);
    float sum = 0.0f;
    for (uint h = 0; h < x->heads; h++) {
        const size_t row = (size_t)token * x->heads + h;
        const struct query query = query_of(x->src, x->act, row, x->rows, x->cols);
        const float a = key_dot(&query, &keys, position % CARD_PAGE_TOKENS) * x->scale;
        sum = fma(x->weight[row], a > 0.0f ? a : 0.0f, sum);
    }
    return sum;
}

/* One group of 128 items a token, from token `first` on; lists: 4 (most + INDEX_CHUNK) words for each group. */
GROUP_OF(128)
index_positions(__global const uint *status, POOL, OPERAND(dst), OPERAND(src), OPERAND(batch), OPERAND(act),
                OPERAND(weight), OPERAND(lists), ulong pool_at, ulong page_bytes, uint pool_bank, uint pool_banks,
                uint first, uint tokens, uint heads, uint cols, uint most, float scale, uint format)
{
    __local struct selection selection;
    const uint item = get_local_id(0), token = first + (uint)get_group_id(0), room = most + INDEX_CHUNK;
    __global const uint *batch = AT(const uint, batch_bank, batch_at);
    uint4 entry = ENTRY(batch, token);
    if (status[STATUS_FAILED]) entry = (uint4)(0); /* sees nothing */
    const struct indexer x = {AT(const float, src_bank, src_at),
                              AT(const float, weight_bank, weight_at),
                              act_bank + act_at,
                              batch + BATCH_WORDS * (size_t)tokens + entry.y,
                              {pool_at, page_bytes, pool_bank, pool_banks},
                              tokens * heads,
                              heads,
                              cols,
                              format,
                              scale};
    __global uint *words = AT(uint, lists_bank, lists_at) + get_group_id(0) * 4 * (size_t)room;
    struct kept now = {words, words + room}, next = {words + 2 * room, words + 3 * room};
    uint n = 0;
    for (uint start = 0; start < entry.z; start += INDEX_CHUNK) {
        const uint more = min(entry.z - start, INDEX_CHUNK);
        for (uint i = item; i < more; i += INDEXERS) {
            now.key[n + i] = order_of(index_score(&x, token, start + i, POOL_BANKS));
            now.position[n + i] = start + i;
        }
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
        const uint keep = min(n + more, most);
        keep_best(&selection, now, next, n + more, keep);
        const struct kept last = now;
        now = next;
        next = last;
        n = keep;
    }
    if (status[STATUS_FAILED]) most = 0;
    __global uint *dst = AT(uint, dst_bank, dst_at) + (size_t)token * most;
    for (uint i = item; i < most; i += INDEXERS) dst[i] = i < n ? now.position[i] : NO_POSITION;
}
