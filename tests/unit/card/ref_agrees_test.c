/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim against ref for operations on vectors, choices and states, with random shapes and flags; matrices, pages and
 * attention are in ref_agrees_matrix_test.c. Tolerances are of float rounding only: tolerance.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/agrees_for_test.h"

enum { ROUNDS = 60 };

static struct test_run of(unsigned opcode, uint32_t tokens, uint32_t rows, uint32_t cols)
{
    return (struct test_run){.d = {.opcode = (uint8_t)opcode, .tokens = tokens, .rows = rows, .cols = cols}};
}

/* ---- vectors ---- */

static void norm_round(struct agree *a, unsigned i)
{
    const uint32_t t = between(a, 1, 5), r = between(a, 1, 4), c = between(a, 16, 300);
    struct test_run run = of(CARD_OP_NORM, t, r, c);
    run.d.flags =
        (uint16_t)((i & 1 ? CARD_FLAG_LAYER : 0) | (i & 2 ? CARD_FLAG_SUM : 0) | (i & 4 ? CARD_FLAG_BIAS : 0) |
                   (i & 8 ? CARD_FLAG_EACH : 0) | (i & 16 ? CARD_FLAG_UNWEIGHTED : 0));
    run.d.param[0] = bits_of(1e-5f);
    run.dst = nothing(a, (size_t)t * r * c * 4);
    run.src = some_floats(a, (size_t)t * r * c, 3);
    run.weight = some_floats(a, (size_t)r * c, 2);
    run.aux = some_floats(a, (size_t)r * c, 1);
    agree_floats(a, "NORM", run, RMS_FLOAT);
}

/*
 * Scales agree, integers are the same but for what lies within a float's rounding of the middle between two, and each sum
 * is of its own integers; groups of huge, of tiny and of no magnitude are among them.
 */
static void quantize_round(struct agree *a, unsigned i)
{
    const uint32_t t = between(a, 1, 4), c = between(a, 1, 300);
    struct test_run run = of(CARD_OP_QUANTIZE, t, 0, c);
    const float ranges[] = {1, 1e30f, 1e-15f, 0x1p-60f, 0};
    run.dst = nothing(a, card_act_bytes(t, c));
    run.src = some_floats(a, (size_t)t * c, ranges[i % 5]);
    const struct both b = run_both_cards(a, run);
    const size_t scales = card_act_scale_offset(t, c), sums = card_act_sum_offset(t, c);
    const int8_t *sim = b.sim, *ref = b.ref;
    unsigned differ = 0;
    for (size_t k = 0; k < scales; k++) {
        assert_in_range(sim[k] - ref[k] + 1, 0, 2);
        differ += sim[k] != ref[k];
    }
    assert_true(differ <= 2);
    compare(a, "QUANTIZE", (const float *)b.sim + scales / 4, (const float *)b.ref + scales / 4, (sums - scales) / 4,
            RMS_FLOAT);
    for (size_t g = 0; g < scales / 32; g++) {
        int32_t of_sim = 0, of_ref = 0;
        for (size_t k = 0; k < 32; k++) {
            of_sim += sim[32 * g + k];
            of_ref += ref[32 * g + k];
        }
        assert_int_equal(((const int32_t *)b.sim)[sums / 4 + g], of_sim);
        assert_int_equal(((const int32_t *)b.ref)[sums / 4 + g], of_ref);
    }
}

static struct host_data some_batch(struct agree *a, uint32_t tokens)
{
    struct card_batch_token *batch = room(a, tokens * sizeof *batch);
    for (uint32_t t = 0; t < tokens; t++) batch[t].position = random_u32(&a->random) >> between(a, 10, 31);
    return (struct host_data){batch, tokens * sizeof *batch};
}

static void rope_round(struct agree *a, unsigned i)
{
    const uint32_t t = between(a, 1, 6), r = between(a, 1, 4), c = between(a, 2, 200);
    struct test_run run = of(CARD_OP_ROPE, t, r, c);
    const uint32_t turn = 2 * between(a, 1, c / 2);
    run.d.flags = i & 1 ? CARD_FLAG_INTERLEAVED : 0;
    run.d.param[0] = turn;
    run.d.param[1] = bits_of(1.25f);
    run.d.param[2] = between(a, 0, c - turn);
    run.dst = some_floats(a, (size_t)t * r * c, 1);
    run.weight = nothing(a, turn / 2 * 4);
    for (uint32_t k = 0; k < turn / 2; k++) {
        ((float *)(uintptr_t)run.weight.data)[k] = powf(10000.0f, -2.0f * (float)k / (float)turn);
    }
    run.aux = some_batch(a, t);
    agree_floats(a, "ROPE", run, RMS_FLOAT);
}

static void glu_round(struct agree *a, unsigned i)
{
    const uint32_t t = between(a, 1, 5), c = between(a, 1, 300);
    struct test_run run = of(CARD_OP_GLU, t, 0, c);
    run.d.format = (uint8_t)(i % CARD_ACTIVATION_END);
    run.d.flags = (uint16_t)((maybe(a) ? CARD_FLAG_UNWEIGHTED : 0) | (maybe(a) ? CARD_FLAG_BROADCAST : 0));
    run.d.param[0] = maybe(a) ? bits_of(1.5f) : 0;
    run.d.param[1] = bits_of(1.702f);
    run.dst = nothing(a, (size_t)t * c * 4);
    run.src = some_floats(a, (size_t)t * c, 6);
    run.weight = some_floats(a, (size_t)t * c, 3);
    agree_floats(a, "GLU", run, RMS_FLOAT);
}

/* ADD, SCALE, SOFT_CAP and DECAY in turn; half of the time in place. */
static void elementwise_round(struct agree *a, unsigned i)
{
    const unsigned opcodes[] = {CARD_OP_ADD, CARD_OP_SCALE, CARD_OP_SOFT_CAP, CARD_OP_DECAY};
    const uint32_t t = between(a, 1, 5), c = between(a, 1, 300);
    struct test_run run = of(opcodes[i % 4], t, 0, c);
    if (run.d.opcode == CARD_OP_ADD && maybe(a)) run.d.flags = CARD_FLAG_BROADCAST;
    if (run.d.opcode == CARD_OP_SCALE && maybe(a)) run.d.flags = CARD_FLAG_PER_TOKEN;
    run.d.param[0] = bits_of(run.d.opcode == CARD_OP_SOFT_CAP ? 3.5f : -0.7f);
    run.dst = nothing(a, (size_t)t * c * 4);
    run.src = some_floats(a, (size_t)t * c, 8);
    run.weight = some_floats(a, (size_t)t * c, 2);
    run.aux = some_floats(a, c, 4);
    agree_floats(a, card_opcode_name(run.d.opcode), run, RMS_FLOAT);
}

/* COPY and GATHER move bits, NaN and subnormals too. */
static void moves_round(struct agree *a, unsigned i)
{
    const uint32_t t = between(a, 1, 5), r = between(a, 1, 5), c = between(a, 1, 40);
    struct test_run run = of(i & 1 ? CARD_OP_GATHER : CARD_OP_COPY, t, r, c);
    const uint32_t vector = c + between(a, 0, 9), token = (r - 1) * vector + c + between(a, 0, 9);
    uint32_t *src = room(a, 4 * 4096), *index = room(a, t * 4);
    for (size_t k = 0; k < 4096; k++) src[k] = random_u32(&a->random);
    for (uint32_t k = 0; k < t; k++) index[k] = random_below(&a->random, r);
    run.d.param[0] = between(a, 0, 300); /* sources may overlap each other */
    run.d.param[1] = between(a, 0, 300);
    run.d.param[2] = token;
    run.d.param[3] = vector;
    run.src = (struct host_data){src, 4 * 4096};
    run.aux = (struct host_data){index, t * 4};
    const size_t floats = i & 1 ? (size_t)t * c : (size_t)(t - 1) * token + (r - 1) * vector + c;
    uint32_t *dst = room(a, floats * 4);
    for (size_t k = 0; k < floats; k++) dst[k] = (uint32_t)k;
    run.dst = (struct host_data){dst, floats * 4}; /* what lies between the vectors must stay */
    const struct both b = run_both_cards(a, run);
    assert_memory_equal(b.sim, b.ref, floats * 4);
    assert_memory_equal(b.ref, i & 1 ? src + (size_t)index[0] * c : src, c * 4);
}

/* ---- choices ---- */

static void compare_choices(struct agree *a, const char *what, const struct both *b, size_t n)
{
    const struct card_choice *sim = b->sim, *ref = b->ref;
    for (size_t i = 0; i < n; i++) {
        if (sim[i].expert != ref[i].expert) {
            fail_msg("%s: choice %zu is %u on sim, %u on ref", what, i, sim[i].expert, ref[i].expert);
        }
        compare(a, what, &sim[i].weight, &ref[i].weight, 1, RMS_FLOAT);
    }
}

static void router_round(struct agree *a, unsigned i)
{
    const uint32_t groups = between(a, 1, 6), size = between(a, 2, 20), kept = between(a, 1, groups);
    const uint32_t c = groups * size, most = groups > 1 ? kept * size : c;
    const uint32_t t = between(a, 1, 5), r = between(a, 1, most < 12 ? most : 12);
    struct test_run run = of(CARD_OP_ROUTER, t, r, c);
    run.d.format = i & 1 ? CARD_SCORING_SIGMOID : CARD_SCORING_SOFTMAX;
    run.d.flags = (uint16_t)((i & 2 ? CARD_FLAG_BIAS : 0) | (i & 4 ? CARD_FLAG_GROUP_PAIRS : 0) |
                             (i & 8 ? CARD_FLAG_RENORMALIZE : 0));
    run.d.param[0] = bits_of(2.5f);
    run.d.param[1] = groups;
    run.d.param[2] = kept;
    run.dst = nothing(a, (size_t)t * r * 8);
    run.src = some_floats(a, (size_t)t * c, 4);
    run.aux = some_floats(a, c, 0.5f);
    const struct both b = run_both_cards(a, run);
    compare_choices(a, "ROUTER", &b, (size_t)t * r);
}

/* Many ties, NaN and infinities, so that the order of the contract shows: values of a few kinds only. */
static void order_round(struct agree *a, unsigned i)
{
    const float kinds[] = {1, 2, 2.5f, -1, 0, -INFINITY, NAN};
    const uint32_t c = between(a, 2, 60), t = between(a, 1, 4), r = between(a, 1, c);
    struct test_run run = of(i & 1 ? CARD_OP_TOP_K : CARD_OP_ROUTER, t, r, c);
    float *x = room(a, (size_t)t * c * 4);
    for (size_t k = 0; k < (size_t)t * c; k++) x[k] = kinds[random_below(&a->random, 7)];
    run.d.param[0] = bits_of(1);
    run.dst = nothing(a, (size_t)t * r * 8);
    run.src = (struct host_data){x, (size_t)t * c * 4};
    const struct both b = run_both_cards(a, run);
    const struct card_choice *sim = b.sim, *ref = b.ref;
    for (size_t k = 0; k < (size_t)t * r; k++) {
        assert_int_equal(sim[k].expert, ref[k].expert);
        if (i & 1) assert_int_equal(written_bits(sim[k].weight), written_bits(ref[k].weight));
    }
}

static void top_k_round(struct agree *a, unsigned i)
{
    (void)i;
    const uint32_t c = between(a, 1, 3000), t = between(a, 1, 3), r = between(a, 1, c < 256 ? c : 256);
    struct test_run run = of(CARD_OP_TOP_K, t, r, c);
    run.dst = nothing(a, (size_t)t * r * 8);
    run.src = some_floats(a, (size_t)t * c, 9);
    const struct both b = run_both_cards(a, run);
    assert_memory_equal(b.sim, b.ref, (size_t)t * r * 8);
}

static void expert_sum_and_spread_round(struct agree *a, unsigned i)
{
    const uint32_t t = between(a, 1, 5), k = between(a, 1, 9), c = between(a, 1, 200);
    struct test_run run = of(i & 1 ? CARD_OP_EXPERT_SPREAD : CARD_OP_EXPERT_SUM, t, 0, c);
    const size_t one = (size_t)t * c, each = one * k;
    if (!(i & 1) && maybe(a)) run.d.flags = CARD_FLAG_UNWEIGHTED;
    run.d.param[0] = k;
    run.dst = some_floats(a, i & 1 ? each : one, 1);
    run.src = some_floats(a, i & 1 ? one : each, 1);
    run.aux = some_choices(a, (size_t)t * k, 7);
    agree_floats(a, card_opcode_name(run.d.opcode), run, RMS_FLOAT);
}

static void publish_and_await_round(struct agree *a, unsigned i)
{
    (void)i;
    const uint32_t t = between(a, 1, 5), r = between(a, 1, 9);
    struct test_run run = of(CARD_OP_PUBLISH, t, r, 0);
    const size_t bytes = (size_t)t * r * 8;
    run.d.param[0] = random_u32(&a->random);
    run.dst = nothing(a, 64 + bytes);
    memset((void *)(uintptr_t)run.dst.data, 0x5a, 64);
    run.src = some_choices(a, (size_t)t * r, 40);
    const struct both b = run_both_cards(a, run);
    assert_memory_equal(b.sim, b.ref, 64 + bytes);
    assert_int_equal(load_u32(b.ref), run.d.param[0]);
    assert_memory_equal((const char *)b.ref + 64, run.src.data, bytes);
    run = of(CARD_OP_AWAIT, t, 0, 0);
    run.d.param[0] = r;
    run.d.param[1] = 40;
    run.d.param[2] = 1;
    run.weight = nothing(a, 40 * 8); /* all are there */
    run.aux = some_choices(a, (size_t)t * r, 40);
    run_on(a->sim, &run);
    run_on(a->ref, &run);
}

/* ---- states ---- */

/* Sequences in neighbouring tokens, each with a state of its own; some start at position 0, some go on. */
static struct host_data some_sequences(struct agree *a, uint32_t tokens, uint32_t states)
{
    struct card_batch_token *batch = room(a, tokens * sizeof *batch);
    uint32_t sequence = random_below(&a->random, states), position = maybe(a) ? 0 : between(a, 1, 100), n = 1;
    for (uint32_t t = 0; t < tokens; t++, position++) {
        if (t > 0 && n < states && between(a, 0, 3) == 0) {
            sequence = (sequence + 1) % states;
            position = maybe(a) ? 0 : between(a, 1, 100);
            n++;
        }
        batch[t] = (struct card_batch_token){.position = position, .state = sequence};
    }
    return (struct host_data){batch, tokens * sizeof *batch};
}

static struct host_data positive(struct host_data x)
{
    for (size_t i = 0; i < x.bytes / 4; i++) ((float *)(uintptr_t)x.data)[i] = fabsf(((const float *)x.data)[i]);
    return x;
}
static struct host_data negative(struct host_data x)
{
    positive(x);
    for (size_t i = 0; i < x.bytes / 4; i++) ((float *)(uintptr_t)x.data)[i] *= -1;
    return x;
}

/*
 * Keys shorter than 1, beta in 0 to 1 and decay below 0, as models have them: others let rounding errors grow. Several
 * tokens and heads, as a product of key and query that cancels is a factor of all that one of them gives.
 */
static void scan_round(struct agree *a, unsigned i)
{
    const uint32_t t = between(a, 4, 12), key_heads = between(a, 2, 4), r = key_heads * between(a, 1, 3);
    const uint32_t c = between(a, 8, 40), v = between(a, 8, 40), states = between(a, 1, 4);
    struct test_run run = of(CARD_OP_SCAN, t, r, c);
    const size_t decays = (size_t)t * r * (i & 2 ? c : 1);
    run.d.flags = (uint16_t)((i & 1 ? CARD_FLAG_INTERLEAVED : 0) | (i & 2 ? CARD_FLAG_EACH : 0));
    run.d.param[0] = states;
    run.d.param[1] = v;
    run.d.param[2] = key_heads;
    run.e.opcode = CARD_OP_EXTENSION;
    run.dst = nothing(a, (size_t)t * r * v * 4);
    run.src = some_floats(a, (size_t)t * key_heads * c, 1);
    run.weight = some_floats(a, (size_t)t * key_heads * c, 1 / sqrtf((float)c));
    run.aux = some_sequences(a, t, states);
    run.e_dst = some_floats(a, (size_t)states * r * c * v, 1);
    run.e_src = some_floats(a, (size_t)t * r * v, 1);
    run.e_weight = negative(some_floats(a, decays, 0.5f));
    run.e_aux = positive(some_floats(a, (size_t)t * r, 1));
    agree_floats(a, "SCAN", run, RMS_FLOAT);
}

static void conv_round(struct agree *a, unsigned i)
{
    const uint32_t t = between(a, 1, 12), c = between(a, 1, 100), width = between(a, 2, 8), states = between(a, 1, 4);
    struct test_run run = of(CARD_OP_CONV, t, 0, c);
    run.d.param[0] = states;
    run.d.param[1] = width;
    run.e.opcode = CARD_OP_EXTENSION;
    run.e.flags = i & 1 ? CARD_FLAG_BIAS : 0;
    run.dst = nothing(a, (size_t)t * c * 4);
    run.src = some_floats(a, (size_t)t * c, 1);
    run.weight = some_floats(a, (size_t)c * width, 1);
    run.aux = some_sequences(a, t, states);
    run.e_dst = some_floats(a, (size_t)states * (width - 1) * c, 1);
    run.e_src = some_floats(a, c, 1);
    agree_floats(a, "CONV", run, RMS_FLOAT);
}

#define TEST(name)                                                                                                     \
    static void name##_agrees(void **state)                                                                            \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        agree_rounds(#name, ROUNDS, name##_round);                                                                     \
    }
TEST(norm)
TEST(quantize)
TEST(rope)
TEST(glu)
TEST(elementwise)
TEST(moves)
TEST(router)
TEST(order)
TEST(top_k)
TEST(expert_sum_and_spread)
TEST(publish_and_await)
TEST(scan)
TEST(conv)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_agrees),
        cmocka_unit_test(quantize_agrees),
        cmocka_unit_test(rope_agrees),
        cmocka_unit_test(glu_agrees),
        cmocka_unit_test(elementwise_agrees),
        cmocka_unit_test(moves_agrees),
        cmocka_unit_test(router_agrees),
        cmocka_unit_test(order_agrees),
        cmocka_unit_test(top_k_agrees),
        cmocka_unit_test(expert_sum_and_spread_agrees),
        cmocka_unit_test(publish_and_await_agrees),
        cmocka_unit_test(scan_agrees),
        cmocka_unit_test(conv_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
