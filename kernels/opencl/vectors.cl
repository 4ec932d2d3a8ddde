/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums that others use too; NORM, QUANTIZE, ROPE, and what works float by float: GLU, ADD, SCALE, SOFT_CAP, DECAY,
 * GATHER, COPY.
 */

/* The tree of sum16 over lanes already filled. */
static float lanes_tree(float16 lane)
{
    float8 a = lane.lo + lane.hi;
    float4 b = a.lo + a.hi;
    float2 c = b.lo + b.hi;
    return c.x + c.y;
}

/* dot16(a, b) by one work-item. A tail touches its own lanes only: even adding +0 could change a -0. */
static float dot16(__global const float *a, __global const float *b, uint n)
{
    float16 lane = (float16)(0.0f);
    const uint whole = n / 16 * 16;
    for (uint i = 0; i < whole; i += 16) lane = fma(vload16(0, a + i), vload16(0, b + i), lane);
    if (whole < n) {
        float each[16];
        vstore16(lane, 0, each);
        for (uint i = whole; i < n; i++) each[i - whole] = fma(a[i], b[i], each[i - whole]);
        lane = vload16(0, each);
    }
    return lanes_tree(lane);
}

/* One group of 64 items a vector; items 0..15 are the lanes. dst may be src: nobody writes before the sums are known. */
GROUP_OF(64)
norm(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(weight), OPERAND(bias), uint rows, uint cols,
     float epsilon, uint flags)
{
    __local float sums[16], squares[16];
    if (status[STATUS_FAILED]) cols = 0;
    const size_t vector = get_group_id(0), first = vector * cols;
    const size_t of_row = flags & FLAG_EACH ? vector % rows * cols : 0;
    __global float *dst = AT(float, dst_bank, dst_at) + first;
    __global const float *src = AT(const float, src_bank, src_at) + first;
    const uint item = get_local_id(0);
    float mean = 0.0f;
    if (item < 16) {
        float sum = 0.0f;
        for (uint i = item; i < cols && flags & FLAG_LAYER; i += 16) sum += src[i];
        sums[item] = sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (flags & FLAG_LAYER) mean = lanes_tree(vload16(0, sums)) * card_recip((float)cols);
    if (item < 16) {
        float sum = 0.0f;
        for (uint i = item; i < cols; i += 16) {
            const float x = flags & FLAG_LAYER ? src[i] - mean : src[i];
            sum = fma(x, x, sum);
        }
        squares[item] = sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const float square = lanes_tree(vload16(0, squares));
    const float scale =
        card_rsqrt(flags & FLAG_SUM ? square + epsilon : fma(square, card_recip((float)cols), epsilon));
    for (uint i = item; i < cols; i += 64) {
        float x = (flags & FLAG_LAYER ? src[i] - mean : src[i]) * scale;
        if (!(flags & FLAG_UNWEIGHTED)) x = x * AT(const float, weight_bank, weight_at)[of_row + i];
        if (flags & FLAG_BIAS) x = x + AT(const float, bias_bank, bias_at)[of_row + i];
        dst[i] = written(x);
    }
}

/* Bits of the largest magnitude of x[n]: a NaN is above infinity, infinity above every number. */
static uint largest_magnitude(__global const float *x, uint n)
{
    uint largest = 0;
    for (uint i = 0; i < n; i++) largest = max(largest, as_uint(x[i]) & 0x7fffffffu);
    return largest;
}

/* x * inverse rounded to even and kept within +-127. */
static int to_int8(float x, float inverse)
{
    float q = card_round_even(x * inverse);
    q = q > 127.0f ? 127.0f : q;
    return (int)(q < -127.0f ? -127.0f : q);
}

/* An item quantizes one group of 32. */
GROUP_OF(64)
quantize(__global const uint *status, OPERAND(dst), OPERAND(src), uint tokens, uint cols)
{
    const uint groups = (uint)card_act_groups(cols);
    const size_t at = get_global_id(0);
    if (status[STATUS_FAILED] || at >= (size_t)tokens * groups) return;
    const size_t token = at / groups;
    const uint from = (uint)(at % groups) * 32;
    const uint n = from >= cols ? 0 : min(cols - from, 32u);
    __global const float *x = AT(const float, src_bank, src_at) + token * cols + from;
    BANK act = dst_bank + dst_at;
    const uint largest = largest_magnitude(x, n);
    const float step = as_float(largest) * CARD_RECIP_127;
    const int finite = largest < 0x7f800000u, used = finite && step >= 0x1p-64f;
    const float inverse = used ? card_recip(step) : 0.0f;
    int total = 0;
    for (uint i = 0; i < 32; i++) {
        const int q = used && i < n ? to_int8(x[i], inverse) : 0;
        total += q;
        ((__global char *)act)[at * 32 + i] = (char)q;
    }
    AT(float, act, card_act_scale_offset(tokens, cols))[at] = used ? step : finite ? 0.0f : CARD_NAN;
    AT(int, act, card_act_sum_offset(tokens, cols))[at] = total;
}

/* An item turns one pair of dimensions of all heads of one token; `first_dim` is the first that turns. */
GROUP_OF(64)
rope(__global const uint *status, OPERAND(dst), OPERAND(frequency), OPERAND(batch), uint tokens, uint heads, uint cols,
     uint turn, float factor, uint first_dim, uint flags)
{
    const uint half_turn = turn / 2;
    const size_t at = get_global_id(0);
    if (status[STATUS_FAILED] || at >= (size_t)tokens * half_turn) return;
    const size_t token = at / half_turn;
    const uint i = (uint)(at % half_turn);
    const float position = (float)ENTRY(AT(const uint, batch_bank, batch_at), token).x;
    float sine, cosine;
    card_sincos(position * AT(const float, frequency_bank, frequency_at)[i], &sine, &cosine);
    sine *= factor;
    cosine *= factor;
    const uint first = flags & FLAG_INTERLEAVED ? 2 * i : i;
    const uint second = flags & FLAG_INTERLEAVED ? 2 * i + 1 : i + half_turn;
    __global float *head = AT(float, dst_bank, dst_at) + token * heads * cols + first_dim;
    for (uint h = 0; h < heads; h++, head += cols) {
        const float x = head[first], y = head[second];
        head[first] = written(fma(-y, sine, x * cosine));
        head[second] = written(fma(y, cosine, x * sine));
    }
}

static float activate(uint activation, float x, float steepness)
{
    switch (activation) { /* enum card_activation */
    case 0: return card_silu(x);
    case 1: return card_gelu(x);
    case 2: return card_gelu_erf(x);
    case 3: return x > 0.0f || x != x ? x : 0.0f;
    case 4: return card_sigmoid(x);
    default: return x * card_sigmoid(steepness * x);
    }
}

/* An item a float; dst may be src or weight. */
GROUP_OF(64)
glu(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(weight), uint tokens, uint cols, uint activation,
    float limit, float steepness, uint flags)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= (size_t)tokens * cols) return;
    float x = AT(const float, src_bank, src_at)[flags & FLAG_BROADCAST ? i / cols : i];
    if (limit != 0.0f) x = x > limit ? limit : x;
    float result = activate(activation, x, steepness);
    if (!(flags & FLAG_UNWEIGHTED)) {
        float y = AT(const float, weight_bank, weight_at)[i];
        if (limit != 0.0f) y = y > limit ? limit : y < -limit ? -limit : y;
        result = result * (activation == 5 ? y + 1.0f : y);
    }
    AT(float, dst_bank, dst_at)[i] = written(result);
}

/* An item a float; dst may be src. */
GROUP_OF(64)
add(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(weight), uint tokens, uint cols, float factor,
    uint flags)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= (size_t)tokens * cols) return;
    const float y = AT(const float, weight_bank, weight_at)[flags & FLAG_BROADCAST ? i % cols : i];
    AT(float, dst_bank, dst_at)[i] = written(fma(factor, y, AT(const float, src_bank, src_at)[i]));
}

GROUP_OF(64)
scale(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(weight), uint tokens, uint cols, float factor,
      uint flags)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= (size_t)tokens * cols) return;
    float x = AT(const float, src_bank, src_at)[i] * factor;
    if (flags & FLAG_PER_TOKEN) x = x * AT(const float, weight_bank, weight_at)[i / cols];
    AT(float, dst_bank, dst_at)[i] = written(x);
}

GROUP_OF(64)
soft_cap(__global const uint *status, OPERAND(dst), OPERAND(src), uint tokens, uint cols, float cap)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= (size_t)tokens * cols) return;
    AT(float, dst_bank, dst_at)[i] =
        written(cap * card_tanh(AT(const float, src_bank, src_at)[i] * card_recip(cap)));
}

GROUP_OF(64)
decay(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(weight), OPERAND(bias), uint tokens, uint cols)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= (size_t)tokens * cols) return;
    const float x = AT(const float, src_bank, src_at)[i] + AT(const float, bias_bank, bias_at)[i % cols];
    AT(float, dst_bank, dst_at)[i] =
        written(AT(const float, weight_bank, weight_at)[i % cols] * card_softplus(x));
}

/* An item a word; bits move. */
GROUP_OF(64)
gather(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(index), uint tokens, uint cols)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= (size_t)tokens * cols) return;
    const size_t row = AT(const uint, index_bank, index_at)[i / cols];
    AT(uint, dst_bank, dst_at)[i] = AT(const uint, src_bank, src_at)[row * cols + i % cols];
}

/* An item a word; bits move. Distances in floats, from token to token and from vector to vector. */
GROUP_OF(64)
copy(__global const uint *status, OPERAND(dst), OPERAND(src), uint tokens, uint rows, uint cols, uint src_token,
     uint src_vector, uint dst_token, uint dst_vector)
{
    const size_t i = get_global_id(0), vector = i / cols, token = vector / rows, row = vector % rows, col = i % cols;
    if (status[STATUS_FAILED] || token >= tokens) return;
    AT(uint, dst_bank, dst_at)[token * dst_token + row * dst_vector + col] =
        AT(const uint, src_bank, src_at)[token * src_token + row * src_vector + col];
}
