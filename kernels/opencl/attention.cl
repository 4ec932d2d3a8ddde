/* SPDX-License-Identifier: Apache-2.0 */
/* KV_WRITE and ATTENTION over paged keys and values. */

/* The 16 halves at from as floats: card_f16_to_f32 on vectors. */
static float16 halves_to_floats(__global const ushort *from)
{
    const uint16 half_bits = convert_uint16(vload16(0, from));
    const uint16 magnitude = half_bits & 0x7fffu, sign = (half_bits & 0x8000u) << 16;
    const uint16 normal = (magnitude << 13) + (112u << 23);
    const uint16 tiny = as_uint16(as_float16((magnitude << 13) + (113u << 23)) - 0x1p-14f);
    uint16 bits = select(normal, tiny, magnitude < 0x0400u);
    bits = select(bits, (uint16)(0x7f800000u), magnitude > 0x7bffu) | sign;
    return as_float16(select(bits, (uint16)(0x7fc00000u), magnitude > 0x7c00u));
}

static float kv_element(__global const uchar *from, size_t i, uint format)
{
    if (format == CARD_FORMAT_F32) return ((__global const float *)from)[i];
    return card_f16_to_f32(((__global const ushort *)from)[i]);
}

/* dot16 of a query and a key of the page's format. */
static float key_dot(__global const float *query, __global const uchar *key, uint n, uint format)
{
    if (format == CARD_FORMAT_F32) return dot16(query, (__global const float *)key, n);
    __global const ushort *halves = (__global const ushort *)key;
    float16 lane = (float16)(0.0f);
    const uint whole = n / 16 * 16;
    for (uint i = 0; i < whole; i += 16) lane = fma(vload16(0, query + i), halves_to_floats(halves + i), lane);
    if (whole < n) {
        float each[16];
        vstore16(lane, 0, each);
        for (uint i = whole; i < n; i++) each[i - whole] = fma(query[i], card_f16_to_f32(halves[i]), each[i - whole]);
        lane = vload16(0, each);
    }
    return lanes_tree(lane);
}

/* An item a dimension of a KV head, all tokens: two that name one slot write it in the order of the batch. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void
kv_write(__global const uint *status, BANK pool_bank, ulong pool_at, BANK key_bank, ulong key_at, BANK value_bank,
         ulong value_at, BANK batch_bank, ulong batch_at, uint tokens, uint heads, uint cols, uint format)
{
    const size_t item = get_global_id(0);
    if (status[STATUS_FAILED] || item >= (size_t)heads * cols) return;
    __global const uint *batch = AT(const uint, batch_bank, batch_at), *pages = batch + 2 * (size_t)tokens;
    const size_t head = item / cols, col = item % cols, page_floats = (size_t)2 * CARD_PAGE_TOKENS * heads * cols;
    for (uint t = 0; t < tokens; t++) {
        const uint position = batch[2 * t], page = position / CARD_PAGE_TOKENS;
        const size_t from = (size_t)t * heads * cols + item;
        const float key = AT(const float, key_bank, key_at)[from], value = AT(const float, value_bank, value_at)[from];
        const size_t at = (size_t)pages[(size_t)batch[2 * t + 1] + page] * page_floats +
                          (head * CARD_PAGE_TOKENS + position % CARD_PAGE_TOKENS) * cols + col;
        if (format == CARD_FORMAT_F32) {
            AT(float, pool_bank, pool_at)[at] = key;
            AT(float, pool_bank, pool_at)[at + page_floats / 2] = value;
        } else {
            AT(ushort, pool_bank, pool_at)[at] = card_f32_to_f16(key);
            AT(ushort, pool_bank, pool_at)[at + page_floats / 2] = card_f32_to_f16(value);
        }
    }
}

/*
 * One group of 32 items a query head of a token: item s scores position s of a page, then the items share the head's
 * dimensions. The running maximum and sum are computed by every item alike, which needs no further barrier. Pages up to
 * `end`, which is past the token's own.
 */
static void attend(__local float *score, __local float *weight, __local float *acc, __global const float *query,
                   __global float *dst, __global const uchar *pool, __global const uint *pages, uint position, uint seen, uint end,
                   size_t head_elements, size_t page_elements, uint n, float scale, uint format)
{
    const uint item = get_local_id(0), element = format == CARD_FORMAT_F32 ? 4 : 2;
    float largest = -INFINITY, sum = 0.0f;
    for (uint k = item; k < n; k += 32) acc[k] = 0.0f;
    for (uint p = seen / CARD_PAGE_TOKENS; p < end; p++) {
        const uint start = p * CARD_PAGE_TOKENS, from = seen > start ? seen - start : 0;
        const uint to = min(position - start + 1, CARD_PAGE_TOKENS);
        __global const uchar *keys = pool + ((size_t)pages[p] * page_elements + head_elements) * element;
        __global const uchar *values = keys + page_elements / 2 * element;
        float mine = 0.0f;
        if (item >= from && item < to) mine = key_dot(query, keys + (size_t)item * n * element, n, format) * scale;
        score[item] = mine;
        barrier(CLK_LOCAL_MEM_FENCE);
        const float before = largest;
        for (uint s = from; s < to; s++) largest = score[s] > largest ? score[s] : largest;
        const float rescale = before == -INFINITY ? 0.0f : card_exp(before - largest);
        weight[item] = card_exp(mine - largest);
        barrier(CLK_LOCAL_MEM_FENCE);
        sum *= rescale;
        for (uint s = from; s < to; s++) sum += weight[s];
        for (uint k = item; k < n; k += 32) {
            float a = acc[k] * rescale;
            for (uint s = from; s < to; s++) a = fma(weight[s], kv_element(values, (size_t)s * n + k, format), a);
            acc[k] = a;
        }
    }
    const float inverse = card_recip(sum);
    for (uint k = item; k < n; k += 32) dst[k] = acc[k] * inverse;
}

__kernel __attribute__((reqd_work_group_size(32, 1, 1))) void
attention(__global const uint *status, BANK dst_bank, ulong dst_at, BANK src_bank, ulong src_at, BANK pool_bank,
          ulong pool_at, BANK batch_bank, ulong batch_at, uint tokens, uint heads, uint kv_heads, uint cols, uint window,
          float scale, uint format)
{
    __local float score[CARD_PAGE_TOKENS], weight[CARD_PAGE_TOKENS], acc[1024]; /* CARD_MAX_HEAD_DIM */
    const int runs = !status[STATUS_FAILED];
    const size_t head = get_group_id(0) % heads, token = get_group_id(0) / heads;
    __global const uint *batch = AT(const uint, batch_bank, batch_at);
    const uint position = batch[2 * token], seen = window && position + 1 > window ? position + 1 - window : 0;
    __global const uint *pages = batch + 2 * (size_t)tokens + batch[2 * token + 1];
    const size_t page_elements = (size_t)2 * CARD_PAGE_TOKENS * kv_heads * cols;
    const size_t head_elements = head / (heads / kv_heads) * CARD_PAGE_TOKENS * cols;
    const size_t at = get_group_id(0) * cols;
    attend(score, weight, acc, AT(const float, src_bank, src_at) + at, AT(float, dst_bank, dst_at) + at,
           pool_bank + pool_at, pages, position, seen, runs ? position / CARD_PAGE_TOKENS + 1 : 0, head_elements,
           page_elements, runs ? cols : 0, scale, format);
}
