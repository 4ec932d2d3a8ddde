/* SPDX-License-Identifier: Apache-2.0 */
/* ATTENTION. */

/* Positions [from, to) that a token may see; none if from >= to. window, chunk: 0 if there is none. */
static uint2 seen_by(uint4 entry, uint window, uint chunk)
{
    uint from = 0, to = entry.z;
    if (window && entry.x + 1 > window) from = entry.x + 1 - window;
    if (chunk) {
        const uint first = entry.x / chunk * chunk;
        from = max(from, first);
        if (to > first && to - first > chunk) to = first + chunk;
    }
    return (uint2)(from, to);
}

/* What a token has still to see: the next page and which of its positions (a bit a slot). */
struct walk {
    uint2 seen;
    __global const uint *sparse; /* its listed positions, or NULL: all of `seen` */
    uint at, end;                /* next of the list, or next page; where it ends */
};

static struct walk begin_walk(uint2 seen, __global const uint *sparse, uint n_sparse)
{
    struct walk walk = {seen, sparse, 0, n_sparse};
    if (!sparse && seen.x < seen.y) {
        walk.at = seen.x / CARD_PAGE_TOKENS;
        walk.end = (seen.y - 1) / CARD_PAGE_TOKENS + 1;
    } else if (!sparse) {
        walk.end = 0;
    }
    return walk;
}

/* The next page that has positions which are seen, and these; 0 at the end. */
static uint next_page(struct walk *walk, uint *page)
{
    uint mask = 0;
    if (!walk->sparse) {
        if (walk->at >= walk->end) return 0;
        *page = walk->at++;
        const uint start = *page * CARD_PAGE_TOKENS;
        const uint from = walk->seen.x > start ? walk->seen.x - start : 0, to = min(walk->seen.y - start, 32u);
        return (0xffffffffu >> (32 - (to - from))) << from;
    }
    while (walk->at < walk->end) {
        const uint position = walk->sparse[walk->at];
        if (position == NO_POSITION || (mask && position / CARD_PAGE_TOKENS != *page)) break;
        walk->at++;
        if (position < walk->seen.x || position >= walk->seen.y) continue;
        *page = position / CARD_PAGE_TOKENS;
        mask |= 1u << position % CARD_PAGE_TOKENS;
    }
    return mask;
}

/* What the heads of a descriptor have in common. */
struct heads {
    float scale, cap;
    uint distance; /* D of the bias */
};

/* Score of the key in a slot, which is `position` of its sequence. bias: of this head, NULL: none. */
static float score_of(const struct heads *h, const struct query *query, const struct block *keys, uint slot,
                      uint position, uint own, __global const float *bias)
{
    float score = key_dot(query, keys, slot) * h->scale;
    if (h->cap != 0.0f) score = h->cap * card_tanh(score * card_recip(h->cap));
    if (bias) {
        const int apart = clamp((int)position - (int)own, -(int)h->distance, (int)h->distance);
        score = score + bias[apart + (int)h->distance];
    }
    return score;
}

/*
 * One group of 32 items a query head of a token: item s scores slot s of a page, then the items share the dimensions of
 * the result. The running maximum and sum are computed by every item alike, which needs no further barrier. act: the
 * queries quantized, for pages of integers. value_dims: V.
 */
GROUP_OF(32)
attention(__global const uint *status, POOL, OPERAND(dst), OPERAND(src), OPERAND(batch), OPERAND(act), OPERAND(sink),
          OPERAND(bias), OPERAND(sparse), ulong pool_at, ulong page_bytes, ulong key_block, ulong value_block,
          uint pool_bank, uint pool_banks, uint tokens, uint heads, uint kv_heads, uint cols, uint value_dims,
          uint window, uint chunk, uint distance, uint n_sparse, float scale, float cap, uint format, uint flags)
{
    const struct dealt pool = {pool_at, page_bytes, pool_bank, pool_banks};
    __local float score[CARD_PAGE_TOKENS], weight[CARD_PAGE_TOKENS], acc[1024]; /* CARD_MAX_HEAD_DIM */
    const uint head = get_group_id(0) % heads, token = get_group_id(0) / heads, item = get_local_id(0);
    const struct heads all = {scale, cap, distance};
    const struct query query = query_of(AT(const float, src_bank, src_at), act_bank + act_at, get_group_id(0),
                                        tokens * heads, cols);
    __global const float *biases = AT(const float, bias_bank, bias_at) + head * (2 * (size_t)distance + 1);
    if (!(flags & FLAG_BIAS)) biases = 0;
    __global const uint *batch = AT(const uint, batch_bank, batch_at);
    uint4 entry = ENTRY(batch, token);
    if (status[STATUS_FAILED]) entry = (uint4)(0); /* sees nothing */
    __global const uint *pages = batch + BATCH_WORDS * (size_t)tokens + entry.y;
    __global const uint *list = AT(const uint, sparse_bank, sparse_at) + (size_t)token * n_sparse;
    struct walk walk = begin_walk(seen_by(entry, window, chunk), flags & FLAG_SPARSE ? list : 0,
                                  status[STATUS_FAILED] ? 0 : n_sparse);
    const size_t key_at = head / (heads / kv_heads) * key_block;
    const size_t value_at =
        flags & FLAG_LATENT ? key_at : kv_heads * key_block + head / (heads / kv_heads) * value_block;
    float largest = -INFINITY, sum = 0.0f;
    if (flags & FLAG_SINKS) {
        largest = AT(const float, sink_bank, sink_at)[head];
        sum = 1.0f;
    }
    for (uint k = item; k < value_dims; k += 32) acc[k] = 0.0f;
    uint page = 0, any = 0;
    for (uint slots = next_page(&walk, &page); slots; slots = next_page(&walk, &page)) {
        __global const uchar *at = page_of(&pool, pages[page], POOL_BANKS);
        const struct block keys = block_of(at + key_at, format, cols);
        const struct block values = block_of(at + value_at, format, flags & FLAG_LATENT ? cols : value_dims);
        any = 1;
        float mine = 0.0f;
        if (slots >> item & 1u)
            mine = score_of(&all, &query, &keys, item, page * CARD_PAGE_TOKENS + item, entry.x, biases);
        score[item] = mine;
        barrier(CLK_LOCAL_MEM_FENCE);
        const float before = largest;
        for (uint s = 0; s < CARD_PAGE_TOKENS; s++) {
            if (slots >> s & 1u) largest = score[s] > largest ? score[s] : largest;
        }
        const float rescale = before == -INFINITY ? 0.0f : card_exp(before - largest);
        weight[item] = card_exp(mine - largest);
        barrier(CLK_LOCAL_MEM_FENCE);
        sum *= rescale;
        for (uint s = 0; s < CARD_PAGE_TOKENS; s++) {
            if (slots >> s & 1u) sum += weight[s];
        }
        for (uint k = item; k < value_dims; k += 32) {
            float a = acc[k] * rescale;
            for (uint s = 0; s < CARD_PAGE_TOKENS; s++) {
                if (slots >> s & 1u) a = fma(weight[s], block_element(&values, s, k), a);
            }
            acc[k] = a;
        }
    }
    const float inverse = card_recip(sum);
    __global float *dst = AT(float, dst_bank, dst_at) + get_group_id(0) * value_dims;
    if (status[STATUS_FAILED]) value_dims = 0;
    for (uint k = item; k < value_dims; k += 32) dst[k] = any ? written(acc[k] * inverse) : 0.0f;
}
