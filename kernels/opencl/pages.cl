/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KV pages: what lies in a block of one KV head's keys or values (card_layout.h), products of queries with keys, and
 * KV_WRITE.
 */
#define LARGEST_HALF 0x477fe000u /* bits of 65504 */
#define HALF_NAN 0x7e00u

/*
 * The memory of a pool that may be dealt over banks: a kernel takes all that a card can have, as a page lies in any of
 * them; banks that the pool does not have are whatever memory. Named by bank number in two octal digits. Their 512 bytes and
 * the other arguments stay below the 1024 that every device takes (CL_DEVICE_MAX_PARAMETER_SIZE).
 */
#define POOL_8(what, a) what(a, 0), what(a, 1), what(a, 2), what(a, 3), what(a, 4), what(a, 5), what(a, 6), what(a, 7)
#define POOL_64(what)                                                                                                  \
    POOL_8(what, 0), POOL_8(what, 1), POOL_8(what, 2), POOL_8(what, 3), POOL_8(what, 4), POOL_8(what, 5),              \
        POOL_8(what, 6), POOL_8(what, 7)
#define POOL_PARAMETER(a, b) BANK pool##a##b
#define POOL_NAME(a, b) pool##a##b
#define POOL POOL_64(POOL_PARAMETER)
#define POOL_BANKS POOL_64(POOL_NAME)

/* Where a pool begins and how it is dealt. */
struct dealt {
    ulong offset, page_bytes;
    uint bank, banks; /* bank: of its first page */
};

/* The start of a page. */
static BANK page_of(const struct dealt *pool, uint page, POOL)
{
    const ulong at = card_tile_offset(pool->bank, pool->offset, page, pool->banks, pool->page_bytes);
#define POOL_CASE(a, b)                                                                                                \
    case 0##a##b: return pool##a##b + at
#define POOL_CASES(a)                                                                                                  \
    POOL_CASE(a, 0);                                                                                                   \
    POOL_CASE(a, 1);                                                                                                   \
    POOL_CASE(a, 2);                                                                                                   \
    POOL_CASE(a, 3);                                                                                                   \
    POOL_CASE(a, 4);                                                                                                   \
    POOL_CASE(a, 5);                                                                                                   \
    POOL_CASE(a, 6);                                                                                                   \
    POOL_CASE(a, 7)
    switch (card_tile_bank(pool->bank, page, pool->banks)) {
        POOL_CASES(1);
        POOL_CASES(2);
        POOL_CASES(3);
        POOL_CASES(4);
        POOL_CASES(5);
        POOL_CASES(6);
        POOL_CASES(7);
        POOL_CASE(0, 1);
        POOL_CASE(0, 2);
        POOL_CASE(0, 3);
        POOL_CASE(0, 4);
        POOL_CASE(0, 5);
        POOL_CASE(0, 6);
        POOL_CASE(0, 7);
    default: return pool00 + at;
    }
}

/* A block of vectors: one KV head's keys or values of a page. */
struct block {
    __global const uchar *at;
    uint format, dims, groups; /* groups of 32, of dims padded */
};

static struct block block_of(__global const uchar *at, uint format, uint dims)
{
    const struct block block = {at, format, dims, (dims + 31) / 32};
    return block;
}

/* Where an integer block's scales (which 0) and minima (which 1) of a slot start. */
static size_t scales_at(uint format, uint groups, uint slot, uint which)
{
    const size_t packed = (size_t)CARD_PAGE_TOKENS * groups * (format == CARD_FORMAT_INT4 ? 16 : 32);
    return packed + ((size_t)which * CARD_PAGE_TOKENS + slot) * groups * 2;
}

static float scale_of(const struct block *block, uint slot, uint g, uint which)
{
    const size_t at = scales_at(block->format, block->groups, slot, which);
    return card_f16_to_f32(((__global const ushort *)(block->at + at))[g]);
}

/* ---- reading ---- */

/* Dimension k of the vector in a slot, as a float. */
static float block_element(const struct block *block, uint slot, uint k)
{
    const size_t i = (size_t)slot * block->dims + k;
    if (block->format == CARD_FORMAT_F32) return ((__global const float *)block->at)[i];
    if (block->format == CARD_FORMAT_F16) return card_f16_to_f32(((__global const ushort *)block->at)[i]);
    const size_t group = (size_t)slot * block->groups + k / 32;
    const float scale = scale_of(block, slot, k / 32, 0);
    if (block->format == CARD_FORMAT_INT8) return scale * (float)((__global const char *)block->at)[group * 32 + k % 32];
    const uint packed = block->at[group * 16 + k % 16];
    return fma(scale, (float)(k % 32 < 16 ? packed & 15u : packed >> 4), scale_of(block, slot, k / 32, 1));
}

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

/* dot16 of a query and n halves. */
static float dot16_halves(__global const float *query, __global const ushort *halves, uint n)
{
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

static int dot_bytes(__global const char *a, short16 b)
{
    const int16 p = convert_int16(vload16(0, a)) * convert_int16(b);
    const int8 x = p.lo + p.hi;
    const int4 y = x.lo + x.hi;
    return y.x + y.y + y.z + y.w;
}

/* A query: floats, and the same quantized (act[rows][dims], made by QUANTIZE) when it meets integer keys. */
struct query {
    __global const float *x;
    __global const char *q;
    __global const float *scale;
    __global const int *sum;
};

/* Query number `row` of `rows`; act is used for integer formats only. */
static struct query query_of(__global const float *x, __global const uchar *act, size_t row, uint rows, uint dims)
{
    const size_t groups = (size_t)card_act_groups(dims);
    struct query query;
    query.x = x + row * dims;
    query.q = (__global const char *)act + row * groups * 32;
    query.scale = (__global const float *)(act + card_act_scale_offset(rows, dims)) + row * groups;
    query.sum = (__global const int *)(act + card_act_sum_offset(rows, dims)) + row * groups;
    return query;
}

/* The product of a query and the key in a slot, of the page's format. */
static float key_dot(const struct query *query, const struct block *block, uint slot)
{
    const size_t at = (size_t)slot * block->dims;
    if (block->format == CARD_FORMAT_F32) return dot16(query->x, (__global const float *)block->at + at, block->dims);
    if (block->format == CARD_FORMAT_F16)
        return dot16_halves(query->x, (__global const ushort *)block->at + at, block->dims);
    float acc = 0.0f;
    for (uint g = 0; g < block->groups; g++) {
        const size_t group = (size_t)slot * block->groups + g;
        __global const char *q = query->q + g * 32;
        int dot;
        if (block->format == CARD_FORMAT_INT8) {
            __global const char *key = (__global const char *)block->at + group * 32;
            dot = dot_bytes(q, convert_short16(vload16(0, key))) + dot_bytes(q + 16, convert_short16(vload16(1, key)));
        } else {
            const uchar16 packed = vload16(group, block->at);
            dot = dot_bytes(q, convert_short16(packed & (uchar)15)) +
                  dot_bytes(q + 16, convert_short16(packed >> (uchar)4));
        }
        acc = fma(scale_of(block, slot, g, 0) * query->scale[g], (float)dot, acc);
        if (block->format == CARD_FORMAT_INT4)
            acc = fma(scale_of(block, slot, g, 1) * query->scale[g], (float)query->sum[g], acc);
    }
    return acc;
}

/* ---- writing ---- */

/* Group g of x, as INT8, into a slot. */
static void write_int8(BANK block, uint groups, uint slot, uint g, __global const float *x, uint n)
{
    const uint largest = largest_magnitude(x, n);
    const ushort scale =
        largest > LARGEST_HALF ? (ushort)HALF_NAN : card_f32_to_f16(as_float(largest) * CARD_RECIP_127);
    const int used = largest <= LARGEST_HALF && scale != 0;
    const float inverse = used ? card_recip(card_f16_to_f32(scale)) : 0.0f;
    BANK to = block + ((size_t)slot * groups + g) * 32;
    for (uint i = 0; i < 32; i++) to[i] = (uchar)(used && i < n ? to_int8(x[i], inverse) : 0);
    ((__global ushort *)(block + scales_at(CARD_FORMAT_INT8, groups, slot, 0)))[g] = scale;
}

static uint to_int4(float x, float low, float inverse)
{
    float q = (x - low) * inverse;
    q = q > 15.0f ? 15.0f : q;
    return (uint)card_round_even(q < 0.0f ? 0.0f : q);
}

static void write_int4(BANK block, uint groups, uint slot, uint g, __global const float *x, uint n)
{
    const int wrong = largest_magnitude(x, n) > LARGEST_HALF;
    float low = x[0], high = x[0];
    for (uint i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    ushort least = wrong ? (ushort)HALF_NAN : card_f32_to_f16(low);
    if ((least & 0x7fffu) == 0) least = 0; /* +0: it does not tell which zero was compared first */
    const ushort scale = wrong ? (ushort)HALF_NAN : card_f32_to_f16((high - low) * 0x1.111112p-4f);
    const int used = !wrong && scale != 0;
    const float inverse = used ? card_recip(card_f16_to_f32(scale)) : 0.0f, base = card_f16_to_f32(least);
    BANK to = block + ((size_t)slot * groups + g) * 16;
    for (uint i = 0; i < 16; i++) {
        const uint first = used && i < n ? to_int4(x[i], base, inverse) : 0;
        const uint second = used && i + 16 < n ? to_int4(x[i + 16], base, inverse) : 0;
        to[i] = (uchar)(first | second << 4);
    }
    ((__global ushort *)(block + scales_at(CARD_FORMAT_INT4, groups, slot, 0)))[g] = scale;
    ((__global ushort *)(block + scales_at(CARD_FORMAT_INT4, groups, slot, 1)))[g] = least;
}

/* Group g of x[dims] into a slot of a block. */
static void write_vector_group(BANK block, uint format, uint dims, uint slot, uint g, __global const float *x)
{
    const uint n = min(dims - g * 32, 32u), groups = (dims + 31) / 32;
    x += g * 32;
    if (format == CARD_FORMAT_INT8) {
        write_int8(block, groups, slot, g, x, n);
    } else if (format == CARD_FORMAT_INT4) {
        write_int4(block, groups, slot, g, x, n);
    } else {
        const size_t at = (size_t)slot * dims + g * 32;
        for (uint i = 0; i < n; i++) {
            if (format == CARD_FORMAT_F32)
                ((__global float *)block)[at + i] = written(x[i]);
            else
                ((__global ushort *)block)[at + i] = card_f32_to_f16(x[i]);
        }
    }
}

/* Page number and slot of a token, as one number. */
static ulong place_of(__global const uint *batch, uint tokens, uint t)
{
    const uint4 entry = ENTRY(batch, t);
    const ulong page =
        batch[BATCH_WORDS * (size_t)tokens + (size_t)entry.y + entry.x / CARD_PAGE_TOKENS];
    return page * CARD_PAGE_TOKENS + entry.x % CARD_PAGE_TOKENS;
}

/*
 * A group of 64 items a token, an item for each 32 dimensions of its vectors. Of tokens that name one slot the last one
 * writes it, as if they were written in the order of the batch.
 */
GROUP_OF(64)
kv_write(__global const uint *status, POOL, OPERAND(key), OPERAND(value), OPERAND(batch), ulong pool_at,
         ulong page_bytes, ulong key_block, ulong value_block, uint pool_bank, uint pool_banks, uint tokens, uint heads,
         uint key_dims, uint value_dims, uint format)
{
    const struct dealt pool = {pool_at, page_bytes, pool_bank, pool_banks};
    __local uint later;
    const int runs = !status[STATUS_FAILED];
    const uint token = (uint)get_group_id(0), item = get_local_id(0);
    __global const uint *batch = AT(const uint, batch_bank, batch_at);
    const ulong place = runs ? place_of(batch, tokens, token) : 0;
    if (item == 0) later = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint t = token + 1 + item; runs && t < tokens; t += 64) {
        if (ENTRY(batch, t).x % CARD_PAGE_TOKENS != place % CARD_PAGE_TOKENS) continue;
        if (place_of(batch, tokens, t) == place) atomic_or(&later, 1u);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint key_groups = (key_dims + 31) / 32, value_groups = (value_dims + 31) / 32;
    const uint groups = key_groups + value_groups, all = runs && !later ? heads * groups : 0;
    BANK page = page_of(&pool, (uint)(place / CARD_PAGE_TOKENS), POOL_BANKS);
    const uint slot = (uint)(place % CARD_PAGE_TOKENS);
    for (uint i = item; i < all; i += 64) {
        const uint head = i / groups, g = i % groups;
        const size_t row = (size_t)token * heads + head;
        if (g < key_groups)
            write_vector_group(page + head * key_block, format, key_dims, slot, g,
                               AT(const float, key_bank, key_at) + row * key_dims);
        else
            write_vector_group(page + heads * key_block + head * value_block, format, value_dims, slot, g - key_groups,
                               AT(const float, value_bank, value_at) + row * value_dims);
    }
}
