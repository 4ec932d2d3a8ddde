/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MATMUL and EXPERT_MATMUL. A group of 128 items computes a tile of 16 rows for up to 8 tokens. The contract adds the
 * groups of 32 columns in ascending order, so the integer products of 8 groups are made side by side (item = row and
 * group) and then added one after the other (item = row and token).
 */
#define SLICES 8u
#define ROWS 16u

/* 32 weights of one row as integers, less the format's offset. */
struct weights {
    short16 low, high;
};

static short16 nibbles(uint first, uint second)
{
    const uint4 bytes = (uint4)(first, first >> 4, second, second >> 4) & 0x0f0f0f0fu;
    return convert_short16(as_uchar16(bytes));
}

/* words: the row's four bytes in the first of the group's words. */
static struct weights unpack4(__global const uint *words, short offset)
{
    struct weights w;
    w.low = nibbles(words[0], words[16]) - offset;
    w.high = nibbles(words[32], words[48]) - offset;
    return w;
}

static struct weights unpack8(__global const uint *words)
{
    struct weights w;
    w.low = convert_short16(as_char16((uint4)(words[0], words[16], words[32], words[48])));
    w.high = convert_short16(as_char16((uint4)(words[64], words[80], words[96], words[112])));
    return w;
}

#define COUNT16 ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))

/* Bits 4 and up of 16 columns: `width` bits each, those of column 4i + b at bit width * i of byte b of mask. */
static short16 extra_bits(uint mask, uint width)
{
    const uint16 at = (COUNT16 & 3u) * 8u + (COUNT16 >> 2u) * width;
    return convert_short16(((((uint16)(mask)) >> at) & ((1u << width) - 1)) << 4);
}

/* CARD_MXFP4_VALUE of codes 0 to 15. */
static short16 mxfp4_values(short16 code)
{
    const short16 v = code & (short16)(7);
    const short16 more = select((short16)(0), select(v - (short16)(4), (short16)(5), v == (short16)(7)), v > (short16)(4));
    return select(v + more, -(v + more), (code & (short16)(8)) != (short16)(0));
}

/* The scale of an MXFP4 group; an exponent below CARD_MXFP4_LEAST counts as none. */
static float mxfp4_scale(uint exponent) { return exponent < CARD_MXFP4_LEAST ? 0.0f : as_float((exponent - 1) << 23); }

static float half_at(__global const uchar *from, uint i) { return card_f16_to_f32(((__global const ushort *)from)[i]); }

/* Group g of a row: integers, scale of each half (the same but for Q6_K) and minimum. format is a constant. */
static struct weights load_group(uint format, __global const uchar *tile, uint g, uint row, float *scale, float *scale2,
                                 float *minimum)
{
    if (card_block_cols(format) == 64) {
        __global const uchar *block = tile + (size_t)(g / 2) * card_block_bytes(format);
        const int has_minimum = format == CARD_FORMAT_INT4_MIN || format == CARD_FORMAT_INT8_MIN;
        __global const uchar *words = block + (has_minimum ? 128 : 64);
        *scale = half_at(block, g % 2 * ROWS + row);
        if (has_minimum) *minimum = half_at(block + 64, g % 2 * ROWS + row);
        if (format == CARD_FORMAT_INT8 || format == CARD_FORMAT_INT8_MIN)
            return unpack8((__global const uint *)(words + g % 2 * 512) + row);
        return unpack4((__global const uint *)(words + g % 2 * 256) + row, format == CARD_FORMAT_INT4 ? 8 : 0);
    }
    if (format == CARD_FORMAT_MXFP4) {
        __global const uchar *block = tile + (size_t)(g / 4) * card_block_bytes(format);
        struct weights codes = unpack4((__global const uint *)(block + 64 + g % 4 * 256) + row, 0);
        codes.low = mxfp4_values(codes.low);
        codes.high = mxfp4_values(codes.high);
        *scale = mxfp4_scale(block[g % 4 * ROWS + row]);
        return codes;
    }
    __global const uchar *block = tile + (size_t)(g / 8) * card_block_bytes(format);
    const uint k = g % 8;
    const float d = half_at(block, row);
    struct weights w = unpack4((__global const uint *)(block + 320 + 256 * k) + row, 0);
    if (format == CARD_FORMAT_Q6_K) {
        __global const char *scales = (__global const char *)block + 64 + 2 * ROWS * k + row;
        __global const uint *masks = (__global const uint *)(block + 2368 + 128 * k) + row;
        *scale = d * (float)scales[0];
        *scale2 = d * (float)scales[ROWS];
        w.low = (w.low | extra_bits(masks[0], 2)) - (short)32;
        w.high = (w.high | extra_bits(masks[CARD_WORD_BYTES / 4], 2)) - (short)32;
        return w;
    }
    *scale = d * (float)block[64 + ROWS * k + row];
    *minimum = -(half_at(block + 32, row) * (float)block[192 + ROWS * k + row]);
    if (format == CARD_FORMAT_Q5_K) {
        const uint mask = ((__global const uint *)(block + 2368 + 64 * k))[row];
        w.low |= extra_bits(mask, 1);
        w.high |= extra_bits(mask >> 4, 1);
    }
    return w;
}

static int product(short16 weight, __global const char *value)
{
    const int16 p = convert_int16(weight) * convert_int16(vload16(0, value));
    const int8 a = p.lo + p.hi;
    const int4 b = a.lo + a.hi;
    return b.x + b.y + b.z + b.w;
}

/* What a group needs in local memory: products of two halves, and of each slice the rows' scales. */
#define MATMUL_LOCAL(most)                                                                                             \
    __local int dot[2 * (most)*SLICES * ROWS];                                                                         \
    __local float scales[3 * SLICES * ROWS]

/*
 * Unless `runs` is 0: tile number `tile`, which lies at `matrix`, x output rows [first, first + n) with n <= most (1 or
 * 8). Activation row of output row i is i / divisor. format and most are constants of the kernel.
 */
static void tile_rows(int runs, uint format, uint most, __local int *dot, __local float *scales, BANK dst,
                      __global const uchar *act, __global const uchar *matrix, __global const float *bias, uint tile,
                      uint first, uint n, uint act_rows, uint divisor, uint rows, uint cols, uint flags)
{
    const uint row = get_local_id(0), slice = get_local_id(1), parts = format == CARD_FORMAT_Q6_K ? 2 : 1;
    const int has_minimum = format == CARD_FORMAT_INT4_MIN || format == CARD_FORMAT_INT8_MIN ||
                            format == CARD_FORMAT_Q4_K || format == CARD_FORMAT_Q5_K;
    const uint groups = runs ? (uint)card_act_groups(cols) : 0, half_dots = most * SLICES * ROWS;
    __global const char *value = (__global const char *)act;
    __global const float *act_scale = (__global const float *)(act + card_act_scale_offset(act_rows, cols));
    __global const int *act_sum = (__global const int *)(act + card_act_sum_offset(act_rows, cols));
    float acc = 0.0f;
    for (uint strip = 0; strip < groups; strip += SLICES) {
        const uint g = strip + slice;
        if (g < groups) {
            float scale = 0.0f, scale2 = 0.0f, minimum = 0.0f;
            const struct weights w = load_group(format, matrix, g, row, &scale, &scale2, &minimum);
            scales[slice * ROWS + row] = scale;
            if (parts == 2) scales[(SLICES + slice) * ROWS + row] = scale2;
            if (has_minimum) scales[(2 * SLICES + slice) * ROWS + row] = minimum;
            for (uint t = 0; t < n; t++) {
                __global const char *x = value + ((size_t)((first + t) / divisor) * groups + g) * 32;
                const int low = product(w.low, x), high = product(w.high, x + 16);
                dot[(t * SLICES + slice) * ROWS + row] = parts == 2 ? low : low + high;
                if (parts == 2) dot[half_dots + (t * SLICES + slice) * ROWS + row] = high;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (slice < n) {
            const size_t at = (size_t)((first + slice) / divisor) * groups + strip;
            const uint left = min(groups - strip, SLICES);
            for (uint s = 0; s < left; s++) {
                const uint i = s * ROWS + row, j = (slice * SLICES + s) * ROWS + row;
                const float by = act_scale[at + s];
                acc = fma(scales[i] * by, (float)dot[j], acc);
                if (parts == 2) acc = fma(scales[SLICES * ROWS + i] * by, (float)dot[half_dots + j], acc);
                if (has_minimum) acc = fma(scales[2 * SLICES * ROWS + i] * by, (float)act_sum[at + s], acc);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const uint feature = tile * ROWS + row;
    if (!runs || slice >= n || feature >= rows) return;
    __global float *to = (__global float *)dst + (size_t)(first + slice) * rows + feature;
    if (flags & FLAG_BIAS) acc = acc + bias[feature];
    *to = written(flags & FLAG_ADD ? *to + acc : acc);
}

/* ---- the chosen experts ---- */

/* What the operands of EXPERT_MATMUL say of one output row. EACH: its choice is its expert. */
struct chosen {
    uint expert, bank;
    ulong offset;
};

static struct chosen chosen_matrix(__global const ulong *slots, __global const uint *choice, uint output, uint choices,
                                   uint flags)
{
    struct chosen chosen;
    chosen.expert = flags & FLAG_EACH ? output % choices : choice[2 * (size_t)output];
    chosen.bank = 0;
    chosen.offset = 0;
    if (chosen.expert == CARD_NO_EXPERT) return chosen;
    chosen.bank = (uint)(slots[chosen.expert] >> 56);
    chosen.offset = slots[chosen.expert] & 0x00ffffffffffffffUL;
    return chosen;
}

/*
 * A dense kernel sees one bank and the tiles of the matrix in it: every `banks`-th from first_tile on. base: the bank in
 * which the matrix starts. An expert kernel has a group for every tile, which works if the tile lies in `bank`.
 */
#define MATMUL_KERNELS(name, format)                                                                                   \
    MATMUL_DENSE(name##_1, format, 1)                                                                                  \
    MATMUL_DENSE(name##_8, format, 8)                                                                                  \
    __kernel __attribute__((reqd_work_group_size(ROWS, SLICES, 1))) void expert_##name(                                \
        __global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(slot), OPERAND(choice), OPERAND(bias),        \
        OPERAND(matrix), uint bank, uint banks, uint choices, uint act_rows, uint divisor, uint rows, uint cols,       \
        uint flags)                                                                                                    \
    {                                                                                                                  \
        MATMUL_LOCAL(1);                                                                                               \
        const uint i = (uint)get_group_id(1), tile = (uint)get_group_id(0);                                            \
        struct chosen chosen = {0, 0, 0};                                                                              \
        int runs = !status[STATUS_FAILED];                                                                             \
        if (runs) {                                                                                                    \
            chosen = chosen_matrix(AT(const ulong, slot_bank, slot_at), AT(const uint, choice_bank, choice_at), i,     \
                                   choices, flags);                                                                    \
        }                                                                                                              \
        if (chosen.expert == CARD_NO_EXPERT) {                                                                         \
            chosen.expert = 0;                                                                                         \
            runs = 0;                                                                                                  \
        }                                                                                                              \
        const ulong offset = card_tile_offset(chosen.bank, chosen.offset, tile, banks, card_tile_bytes(format, cols)); \
        tile_rows(runs && card_tile_bank(chosen.bank, tile, banks) == bank, format, 1, dot, scales,                    \
                  dst_bank + dst_at, src_bank + src_at, matrix_bank + matrix_at + offset,                              \
                  AT(const float, bias_bank, bias_at) + (size_t)chosen.expert * rows, tile, i, 1, act_rows, divisor,   \
                  rows, cols, flags);                                                                                  \
    }
#define MATMUL_DENSE(name, format, most)                                                                               \
    __kernel __attribute__((reqd_work_group_size(ROWS, SLICES, 1))) void matmul_##name(                                \
        __global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(matrix), OPERAND(bias), uint base,            \
        uint banks, uint first_tile, uint tokens, uint rows, uint cols, uint flags)                                    \
    {                                                                                                                  \
        MATMUL_LOCAL(most);                                                                                            \
        const uint first = (uint)get_group_id(1) * most, tile = first_tile + (uint)get_group_id(0) * max(banks, 1u);   \
        const ulong offset = card_tile_offset(base, matrix_at, tile, banks, card_tile_bytes(format, cols));            \
        tile_rows(!status[STATUS_FAILED], format, most, dot, scales, dst_bank + dst_at, src_bank + src_at,             \
                  matrix_bank + offset, AT(const float, bias_bank, bias_at), tile, first,                              \
                  most == 1 ? 1 : min(tokens - first, (uint)most), tokens, 1, rows, cols, flags);                      \
    }
MATMUL_KERNELS(int4, CARD_FORMAT_INT4)
MATMUL_KERNELS(int4_min, CARD_FORMAT_INT4_MIN)
MATMUL_KERNELS(int8, CARD_FORMAT_INT8)
MATMUL_KERNELS(int8_min, CARD_FORMAT_INT8_MIN)
MATMUL_KERNELS(q4_k, CARD_FORMAT_Q4_K)
MATMUL_KERNELS(q5_k, CARD_FORMAT_Q5_K)
MATMUL_KERNELS(q6_k, CARD_FORMAT_Q6_K)
MATMUL_KERNELS(mxfp4, CARD_FORMAT_MXFP4)

/* Matrices of floats: an item an output feature of a token, which works if its row lies in `bank`. */
static ulong row_offset(uint base, ulong offset, uint row, uint banks, uint cols)
{
    return card_tile_offset(base, offset, row / ROWS, banks, card_tile_bytes(CARD_FORMAT_F32, cols)) +
           (ulong)(row % ROWS) * cols * 4;
}

GROUP_OF(64)
matmul_f32(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(matrix), OPERAND(bias), uint base,
           uint banks, uint bank, uint tokens, uint rows, uint cols, uint flags)
{
    const size_t at = get_global_id(0);
    if (status[STATUS_FAILED] || at >= (size_t)tokens * rows) return;
    const size_t token = at / rows;
    const uint row = (uint)(at % rows);
    if (card_tile_bank(base, row / ROWS, banks) != bank) return;
    float sum = dot16(AT(const float, matrix_bank, row_offset(base, matrix_at, row, banks, cols)),
                      AT(const float, src_bank, src_at) + token * cols, cols);
    __global float *to = AT(float, dst_bank, dst_at) + at;
    if (flags & FLAG_BIAS) sum = sum + AT(const float, bias_bank, bias_at)[row];
    *to = written(flags & FLAG_ADD ? *to + sum : sum);
}

GROUP_OF(64)
expert_f32(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(slot), OPERAND(choice), OPERAND(bias),
           OPERAND(matrix), uint bank, uint banks, uint choices, uint outputs, uint divisor, uint rows, uint cols,
           uint flags)
{
    const size_t at = get_global_id(0);
    if (status[STATUS_FAILED] || at >= (size_t)outputs * rows) return;
    const size_t output = at / rows;
    const uint row = (uint)(at % rows);
    const struct chosen chosen = chosen_matrix(AT(const ulong, slot_bank, slot_at),
                                               AT(const uint, choice_bank, choice_at), (uint)output, choices, flags);
    if (chosen.expert == CARD_NO_EXPERT) return;
    if (card_tile_bank(chosen.bank, row / ROWS, banks) != bank) return;
    float sum = dot16(AT(const float, matrix_bank, matrix_at + row_offset(chosen.bank, chosen.offset, row, banks, cols)),
                      AT(const float, src_bank, src_at) + output / divisor * cols, cols);
    if (flags & FLAG_BIAS) sum = sum + AT(const float, bias_bank, bias_at)[(size_t)chosen.expert * rows + row];
    AT(float, dst_bank, dst_at)[at] = written(sum);
}
