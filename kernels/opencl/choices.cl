/* SPDX-License-Identifier: Apache-2.0 */
/* ROUTER and TOP_K, which make choices; EXPERT_SUM and EXPERT_SPREAD, which use them; PUBLISH. */
#define CHOOSERS 64u
#define NONE 0xffffffffu

/* What the items of a group that choose together share. */
struct chooser {
    uint key[CHOOSERS], index[CHOOSERS];
};

/*
 * Every item of the group offers a key (order_of) and its index, or key 0 and NONE; all learn the index of the best.
 * A NaN has key 0 too and wins over NONE by its index.
 */
static uint best_offer(__local struct chooser *chooser, uint key, uint index, uint *best_key)
{
    const uint item = get_local_id(0);
    chooser->key[item] = key;
    chooser->index[item] = index;
    barrier(CLK_LOCAL_MEM_FENCE);
    uint best = chooser->index[0], most = chooser->key[0];
    for (uint i = 1; i < CHOOSERS; i++) {
        const uint k = chooser->key[i], j = chooser->index[i];
        if (k < most || (k == most && j >= best)) continue;
        most = k;
        best = j;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    *best_key = most;
    return best;
}

/* Whether (key, index) comes after the last that was chosen; nothing was chosen yet when `round` is 0. */
static int comes_after(uint round, uint key, uint index, uint last_key, uint last)
{
    return round == 0 || key < last_key || (key == last_key && index > last);
}

/* What a router's scores are made of: x[n] and, if there is one, bias. */
struct scores {
    __global const float *x, *bias;
    uint scoring, flags;
    float largest, inverse;
};

static float score_at(const struct scores *s, uint i)
{
    return s->scoring == 0 ? card_exp(s->x[i] - s->largest) * s->inverse : card_sigmoid(s->x[i]);
}

static float key_at(const struct scores *s, uint i)
{
    return s->flags & FLAG_BIAS ? score_at(s, i) + s->bias[i] : s->x[i];
}

/* Rank of a group of `size` experts: its best key, GROUP_PAIRS: the sum of its best two. */
static uint group_order(const struct scores *s, uint group, uint size)
{
    float best = 0.0f, second = 0.0f;
    uint best_key = 0, second_key = 0, found = 0;
    for (uint i = group * size; i < (group + 1) * size; i++) {
        const float key = key_at(s, i);
        const uint order = order_of(key);
        if (found == 0 || order > best_key) {
            second = best;
            second_key = best_key;
            best = key;
            best_key = order;
        } else if (found == 1 || order > second_key) {
            second = key;
            second_key = order;
        }
        found++;
    }
    return order_of(s->flags & FLAG_GROUP_PAIRS ? best + second : best);
}

/* Marks the best `most` of n groups of `size` experts in taken, a bit each. */
static void choose_groups(__local struct chooser *chooser, __local uint *taken, const struct scores *s, uint n,
                          uint size, uint most)
{
    const uint item = get_local_id(0);
    for (uint i = item; i < (n + 31) / 32; i += CHOOSERS) taken[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    uint last = 0, last_key = 0;
    for (uint round = 0; round < most; round++) {
        uint mine = NONE, my_key = 0;
        for (uint g = item; g < n; g += CHOOSERS) {
            const uint order = group_order(s, g, size);
            if (!comes_after(round, order, g, last_key, last) || (mine != NONE && order <= my_key)) continue;
            mine = g;
            my_key = order;
        }
        last = best_offer(chooser, my_key, mine, &last_key);
        if (item == 0) taken[last / 32] |= 1u << last % 32;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* RENORMALIZE and the factor, of the weights of `choices` pairs of expert and weight. */
static void finish_weights(__global uint *choice, uint choices, float factor, uint flags)
{
    __global float *weight = (__global float *)choice + 1;
    float total = 0.0f;
    for (uint j = 0; j < choices; j++) total += weight[2 * j];
    const float inverse = card_recip(total);
    for (uint j = 0; j < choices; j++) {
        const float w = flags & FLAG_RENORMALIZE ? weight[2 * j] * inverse : weight[2 * j];
        weight[2 * j] = written(w * factor);
    }
}

/* One group of 64 items a token: round after round the best of what is left. groups: 0 or 1: no groups. */
GROUP_OF(64)
router(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(bias), uint choices, uint n, uint scoring,
       float factor, uint groups, uint groups_taken, uint flags)
{
    __local struct chooser chooser;
    __local uint taken[2048]; /* a bit a group, at most as many as a slot table has experts */
    __local float lanes[16];
    const size_t token = get_group_id(0);
    const uint item = get_local_id(0);
    __global uint *choice = AT(uint, dst_bank, dst_at) + token * choices * 2;
    struct scores s = {AT(const float, src_bank, src_at) + token * n, AT(const float, bias_bank, bias_at), scoring,
                       flags, 0.0f, 0.0f};
    if (status[STATUS_FAILED]) n = groups = choices = 0;
    const uint size = groups > 1 ? n / groups : 1;
    uint mine = NONE, my_key = 0, last = 0, last_key = 0;
    for (uint i = item; i < n; i += CHOOSERS) {
        const uint order = order_of(s.x[i]);
        if (mine != NONE && order <= my_key) continue;
        mine = i;
        my_key = order;
    }
    last = best_offer(&chooser, my_key, mine, &last_key);
    if (n) s.largest = s.x[last];
    if (item < 16) {
        float sum = 0.0f;
        for (uint i = item; i < n; i += 16) sum += card_exp(s.x[i] - s.largest);
        lanes[item] = sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    s.inverse = card_recip(lanes_tree(vload16(0, lanes)));
    choose_groups(&chooser, taken, &s, groups > 1 ? groups : 0, size, groups > 1 ? groups_taken : 0);
    for (uint round = 0; round < choices; round++) {
        mine = NONE;
        my_key = 0;
        for (uint i = item; i < n; i += CHOOSERS) {
            if (groups > 1 && !(taken[i / size / 32] >> i / size % 32 & 1u)) continue;
            const uint order = order_of(key_at(&s, i));
            if (!comes_after(round, order, i, last_key, last) || (mine != NONE && order <= my_key)) continue;
            mine = i;
            my_key = order;
        }
        last = best_offer(&chooser, my_key, mine, &last_key);
        if (item == 0) {
            choice[2 * round] = last;
            ((__global float *)choice)[2 * round + 1] = score_at(&s, last);
        }
    }
    if (item == 0) finish_weights(choice, choices, factor, flags);
}

GROUP_OF(64)
top_k(__global const uint *status, OPERAND(dst), OPERAND(src), uint choices, uint n)
{
    __local struct chooser chooser;
    const size_t token = get_group_id(0);
    const uint item = get_local_id(0);
    __global const float *x = AT(const float, src_bank, src_at) + token * n;
    __global uint *choice = AT(uint, dst_bank, dst_at) + token * choices * 2;
    if (status[STATUS_FAILED]) n = choices = 0;
    uint last = 0, last_key = 0;
    for (uint round = 0; round < choices; round++) {
        uint mine = NONE, my_key = 0;
        for (uint i = item; i < n; i += CHOOSERS) {
            const uint order = order_of(x[i]);
            if (!comes_after(round, order, i, last_key, last) || (mine != NONE && order <= my_key)) continue;
            mine = i;
            my_key = order;
        }
        last = best_offer(&chooser, my_key, mine, &last_key);
        if (item == 0) {
            choice[2 * round] = last;
            ((__global float *)choice)[2 * round + 1] = written(flushed(x[last]));
        }
    }
}

/* An item a float of the result. */
GROUP_OF(64)
expert_sum(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(choice), uint tokens, uint cols,
           uint choices, uint flags)
{
    const size_t i = get_global_id(0);
    if (status[STATUS_FAILED] || i >= (size_t)tokens * cols) return;
    const size_t token = i / cols, col = i % cols;
    __global const float *weight = AT(const float, choice_bank, choice_at) + token * choices * 2 + 1;
    __global const float *src = AT(const float, src_bank, src_at) + token * choices * cols + col;
    float sum = AT(const float, dst_bank, dst_at)[i];
    for (uint j = 0; j < choices; j++) {
        const float x = src[(size_t)j * cols];
        sum = flags & FLAG_UNWEIGHTED ? sum + x : fma(weight[2 * j], x, sum); /* a factor of 1 changes nothing */
    }
    AT(float, dst_bank, dst_at)[i] = written(sum);
}

/* An item a float of the result. */
GROUP_OF(64)
expert_spread(__global const uint *status, OPERAND(dst), OPERAND(src), OPERAND(choice), uint tokens, uint cols,
              uint choices)
{
    const size_t i = get_global_id(0), output = i / cols, col = i % cols;
    if (status[STATUS_FAILED] || output >= (size_t)tokens * choices) return;
    const float weight = AT(const float, choice_bank, choice_at)[2 * output + 1];
    AT(float, dst_bank, dst_at)[i] =
        written(weight * AT(const float, src_bank, src_at)[output / choices * cols + col]);
}

/* The word that tells the host that what lies behind it in the mailbox is written. */
GROUP_OF(1)
publish(__global const uint *status, OPERAND(dst), uint word)
{
    if (!status[STATUS_FAILED]) AT(uint, dst_bank, dst_at)[0] = word;
}
