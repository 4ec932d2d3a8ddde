/* SPDX-License-Identifier: Apache-2.0 */
/* NORM, QUANTIZE, ROPE, ROUTER, GLU, EXPERT_SUM, GATHER, and the sums that others use too. */

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

/* One group of 64 items a vector; items 0..15 are the lanes. dst may be src: nobody writes before the sum is known. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void
norm(__global const uint *status, BANK dst_bank, ulong dst_at, BANK src_bank, ulong src_at, BANK weight_bank,
     ulong weight_at, uint cols, float epsilon)
{
    __local float lanes[16];
    if (status[STATUS_FAILED]) cols = 0;
    const size_t first = get_group_id(0) * cols;
    __global float *dst = AT(float, dst_bank, dst_at) + first;
    __global const float *src = AT(const float, src_bank, src_at) + first, *weight = AT(const float, weight_bank, weight_at);
    const uint item = get_local_id(0);
    if (item < 16) {
        float sum = 0.0f;
        for (uint i = item; i < cols; i += 16) sum = fma(src[i], src[i], sum);
        lanes[item] = sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const float scale = card_rsqrt(fma(lanes_tree(vload16(0, lanes)), card_recip((float)cols), epsilon));
    for (uint i = item; i < cols; i += 64) dst[i] = (src[i] * scale) * weight[i];
}

/* An item quantizes one group of 32. n: tokens * groups. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void
quantize(__global const uint *status, BANK dst_bank, ulong dst_at, BANK src_bank, ulong src_at, uint tokens, uint cols)
{
    const uint groups = (uint)card_act_groups(cols);
    const size_t at = get_global_id(0);
    if (status[STATUS_FAILED] || at >= (size_t)tokens * groups) return;
    const size_t token = at / groups;
    const uint from = (uint)(at % groups) * 32;
    const uint n = from >= cols ? 0 : min(cols - from, 32u);
    __global const float *x = AT(const float, src_bank, src_at) + token * cols + from;
    BANK act = dst_bank + dst_at;
    uint largest = 0; /* as bits: NaN is above infinity is above every number */
    for (uint i = 0; i < n; i++) largest = max(largest, as_uint(x[i]) & 0x7fffffffu);
    const float step = as_float(largest) * CARD_RECIP_127;
    const int normal = step >= 0x1p-126f && largest < 0x7f800000u;
    const float inverse = normal ? card_recip(step) : 1.0f;
    int total = 0;
    for (uint i = 0; i < 32; i++) {
        float q = card_round_even((normal && i < n ? x[i] : 0.0f) * inverse);
        q = q > 127.0f ? 127.0f : q;
        q = q < -127.0f ? -127.0f : q;
        total += (int)q;
        ((__global char *)act)[at * 32 + i] = (char)(int)q;
    }
    AT(float, act, card_act_scale_offset(tokens, cols))[at] = normal                  ? step
                                                              : largest < 0x7f800000u ? 0.0f
                                                                                      : CARD_NAN;
    AT(int, act, card_act_sum_offset(tokens, cols))[at] = total;
}

/* An item turns one pair of dimensions of all heads of one token. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void
rope(__global const uint *status, BANK dst_bank, ulong dst_at, BANK frequency_bank, ulong frequency_at, BANK batch_bank,
     ulong batch_at, uint tokens, uint heads, uint cols, uint turn, float factor, uint flags)
{
    const uint half_turn = turn / 2;
    const size_t at = get_global_id(0);
    if (status[STATUS_FAILED] || at >= (size_t)tokens * half_turn) return;
    const size_t token = at / half_turn;
    const uint i = (uint)(at % half_turn);
    const float position = (float)AT(const uint, batch_bank, batch_at)[2 * token];
    float sine, cosine;
    card_sincos(position * AT(const float, frequency_bank, frequency_at)[i], &sine, &cosine);
    sine *= factor;
    cosine *= factor;
    const uint first = flags & FLAG_INTERLEAVED ? 2 * i : i;
    const uint second = flags & FLAG_INTERLEAVED ? 2 * i + 1 : i + half_turn;
    __global float *head = AT(float, dst_bank, dst_at) + token * heads * cols;
    for (uint h = 0; h < heads; h++, head += cols) {
        const float x = head[first], y = head[second];
        head[first] = fma(-y, sine, x * cosine);
        head[second] = fma(y, cosine, x * sine);
    }
}

/* Whether logit a at index i comes before logit b at index j: larger first, NaN last, ties to the lower index. */
static int comes_before(float a, uint i, float b, uint j)
{
    if (a > b) return 1;
    if (a < b) return 0;
    const int a_is_nan = a != a, b_is_nan = b != b;
    if (a_is_nan != b_is_nan) return b_is_nan;
    return i < j;
}

/* Weights of the chosen experts; choice: pairs of expert and weight. */
static void choice_weights(__global uint *choice, __global const float *logit, float largest, float all, uint choices,
                           float factor, uint flags)
{
    __global float *weight = (__global float *)choice + 1;
    float inverse = card_recip(all), total = 0.0f;
    for (uint j = 0; j < choices; j++) {
        const float w = card_exp(logit[choice[2 * j]] - largest) * inverse;
        weight[2 * j] = w;
        total += w;
    }
    inverse = card_recip(total);
    for (uint j = 0; j < choices; j++) {
        const float w = weight[2 * j];
        weight[2 * j] = (flags & FLAG_RENORMALIZE ? w * inverse : w) * factor;
    }
}

/* One group of 64 items a token: each finds the rank of its logits by counting who comes before. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void
router(__global const uint *status, BANK dst_bank, ulong dst_at, BANK src_bank, ulong src_at, uint choices, uint n,
       float factor, uint flags)
{
    __local float lanes[16];
    __local uint best;
    if (status[STATUS_FAILED]) n = choices = 0;
    const size_t token = get_group_id(0);
    const uint item = get_local_id(0);
    if (item == 0) best = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    __global const float *logit = AT(const float, src_bank, src_at) + token * n;
    __global uint *expert = AT(uint, dst_bank, dst_at) + token * choices * 2;
    for (uint i = item; i < n; i += 64) {
        const float mine = logit[i];
        uint rank = 0;
        for (uint j = 0; j < n; j++) rank += (uint)comes_before(logit[j], j, mine, i);
        if (rank < choices) expert[2 * rank] = i;
        if (rank == 0) best = i;
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    const float largest = logit[best];
    if (item < 16) {
        float sum = 0.0f;
        for (uint i = item; i < n; i += 16) sum += card_exp(logit[i] - largest);
        lanes[item] = sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0) choice_weights(expert, logit, largest, lanes_tree(vload16(0, lanes)), choices, factor, flags);
}

/* An item a float; dst may be src. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void
glu(__global const uint *status, BANK dst_bank, ulong dst_at, BANK src_bank, ulong src_at, BANK up_bank, ulong up_at,
    ulong n)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= n) return;
    AT(float, dst_bank, dst_at)[i] = card_silu(AT(const float, src_bank, src_at)[i]) * AT(const float, up_bank, up_at)[i];
}

/* An item a float of the result. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void
expert_sum(__global const uint *status, BANK dst_bank, ulong dst_at, BANK src_bank, ulong src_at, BANK choice_bank,
           ulong choice_at, uint tokens, uint cols, uint choices)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= (size_t)tokens * cols) return;
    const size_t token = i / cols, col = i % cols;
    __global const float *weight = AT(const float, choice_bank, choice_at) + token * choices * 2 + 1;
    __global const float *src = AT(const float, src_bank, src_at) + token * choices * cols + col;
    float sum = AT(const float, dst_bank, dst_at)[i];
    for (uint j = 0; j < choices; j++) sum = fma(weight[2 * j], src[(size_t)j * cols], sum);
    AT(float, dst_bank, dst_at)[i] = sum;
}

/* An item a word. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void
gather(__global const uint *status, BANK dst_bank, ulong dst_at, BANK src_bank, ulong src_at, BANK index_bank,
       ulong index_at, uint tokens, uint cols)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= (size_t)tokens * cols) return;
    const size_t row = AT(const uint, index_bank, index_at)[i / cols];
    AT(uint, dst_bank, dst_at)[i] = AT(const uint, src_bank, src_at)[row * cols + i % cols];
}
