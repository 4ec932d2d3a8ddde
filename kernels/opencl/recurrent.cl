/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCAN and CONV: what remembers a sequence in a state. The items of the first token of a state do all of that state, in
 * the order of the batch: also where they are no neighbours, as they should be, no two items meet.
 */

/* Whether no token before this one is of its state. */
static int is_first(__global const uint *batch, uint token)
{
    const uint state = ENTRY(batch, token).w;
    while (token > 0) {
        if (ENTRY(batch, --token).w == state) return 0;
    }
    return 1;
}

/*
 * An item a column of a head's state: columns do not meet. A state is used where it lies; what is stored in passing has
 * the one NaN, which changes no number.
 */
GROUP_OF(64)
scan(__global const uint *status, OPERAND(dst), OPERAND(query), OPERAND(key), OPERAND(batch), OPERAND(state),
     OPERAND(value), OPERAND(decay), OPERAND(beta), uint tokens, uint heads, uint cols, uint value_dims, uint key_heads,
     uint flags)
{
    const uint blocks = (value_dims + 63) / 64, column = (uint)(get_group_id(0) % blocks) * 64 + (uint)get_local_id(0);
    const uint head = (uint)(get_group_id(0) / blocks % heads), first = (uint)(get_group_id(0) / blocks / heads);
    if (status[STATUS_FAILED] || column >= value_dims) return;
    __global const uint *batch = AT(const uint, batch_bank, batch_at);
    if (!is_first(batch, first)) return;
    const uint own = ENTRY(batch, first).w;
    const uint key_head = flags & FLAG_INTERLEAVED ? head % key_heads : head / (heads / key_heads);
    __global float *state = AT(float, state_bank, state_at) +
                            ((size_t)own * heads + head) * cols * value_dims + column;
    for (uint t = first; t < tokens; t++) {
        if (ENTRY(batch, t).w != own) continue;
        const size_t row = (size_t)t * heads + head;
        __global const float *key = AT(const float, key_bank, key_at) + ((size_t)t * key_heads + key_head) * cols;
        __global const float *query = AT(const float, query_bank, query_at) + ((size_t)t * key_heads + key_head) * cols;
        __global const float *rate = AT(const float, decay_bank, decay_at) + row * (flags & FLAG_EACH ? cols : 1);
        const int fresh = ENTRY(batch, t).x == 0;
        float d = card_exp(rate[0]), sum = 0.0f, result = 0.0f;
        for (uint i = 0; i < cols; i++) {
            if (flags & FLAG_EACH) d = card_exp(rate[i]);
            const float s = (fresh ? 0.0f : state[(size_t)i * value_dims]) * d;
            state[(size_t)i * value_dims] = s;
            sum = fma(key[i], s, sum);
        }
        const float delta = (AT(const float, value_bank, value_at)[row * value_dims + column] - sum) *
                            AT(const float, beta_bank, beta_at)[row];
        for (uint i = 0; i < cols; i++) {
            const float s = fma(key[i], delta, state[(size_t)i * value_dims]);
            state[(size_t)i * value_dims] = written(s);
            result = fma(query[i], s, result);
        }
        AT(float, dst_bank, dst_at)[row * value_dims + column] = written(result);
    }
}

/* An item a column. Inputs are remembered as bits. */
GROUP_OF(64)
conv(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(weight), OPERAND(batch), OPERAND(state),
     OPERAND(bias), uint tokens, uint cols, uint width, uint flags)
{
    const uint blocks = (cols + 63) / 64, column = (uint)(get_group_id(0) % blocks) * 64 + (uint)get_local_id(0);
    const uint first = (uint)(get_group_id(0) / blocks), past = width - 1;
    if (status[STATUS_FAILED] || column >= cols) return;
    __global const uint *batch = AT(const uint, batch_bank, batch_at);
    if (!is_first(batch, first)) return;
    const uint own = ENTRY(batch, first).w;
    __global uint *state = AT(uint, state_bank, state_at) + (size_t)own * past * cols + column;
    __global const float *weight = AT(const float, weight_bank, weight_at) + (size_t)column * width;
    uint inputs[8]; /* oldest first; a width is at most 8 */
    for (uint i = 0; i < past; i++) inputs[i] = state[(size_t)i * cols];
    for (uint t = first; t < tokens; t++) {
        if (ENTRY(batch, t).w != own) continue;
        if (ENTRY(batch, t).x == 0) {
            for (uint i = 0; i < past; i++) inputs[i] = 0;
        }
        inputs[past] = AT(const uint, src_bank, src_at)[(size_t)t * cols + column];
        float acc = 0.0f;
        for (uint i = 0; i < width; i++) acc = fma(weight[i], as_float(inputs[i]), acc);
        if (flags & FLAG_BIAS) acc = acc + AT(const float, bias_bank, bias_at)[column];
        AT(float, dst_bank, dst_at)[(size_t)t * cols + column] = written(acc);
        for (uint i = 0; i < past; i++) inputs[i] = inputs[i + 1];
    }
    for (uint i = 0; i < past; i++) state[(size_t)i * cols] = inputs[i];
}
