/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GLU, ADD, SCALE, SOFT_CAP, DECAY, COPY, EXPERT_SUM, EXPERT_SPREAD, NORM and ROPE of the simulated card against plain C:
 * bit for bit where the contract is one rounding, else against double.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/float_mode.h"
#include "tests/unit/card/run_for_test.h"

static const uint32_t lengths[] = {1, 2, 15, 16, 17, 33, 100};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)

/* Values that arithmetic must get right: NaNs of other patterns, infinities, zeros, subnormals, the border. */
static const uint32_t special_bits[] = {
    0x7fc00001, 0xffc12345, 0x7f800001, 0x7f800000, 0xff800000, 0x00000000, 0x80000000, 0x00000001, 0x807fffff,
    0x007fffff, 0x00800000, 0x80800000, 0x00800001, 0x7f7fffff, 0xff7fffff, 0x3f800000, 0xbf800000, 0x41200000,
};
#define N_SPECIAL (sizeof special_bits / sizeof *special_bits)

/* Random values within +-range, every fifth a special one. */
static void fill_mixed(struct test_random *random, float *to, size_t n, float range)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = random_float(random) * range;
        if (random_below(random, 5) == 0) to[i] = float_of_bits(special_bits[random_below(random, N_SPECIAL)]);
    }
}

/* An operand as the card reads it. */
static float operand(float x) { return bits_of(x) & 0x7f800000u ? x : float_of_bits(bits_of(x) & 0x80000000u); }

/* 13264529 * 10610063 = 2^47 - 1: a product that is below 2^-126 and rounds up to it. */
#define BORDER_A 13264529.0f
#define BORDER_B 10610063.0f

static void products_at_the_border_round_before_they_are_tiny(void **state)
{
    struct card *card = *state;
    assert_true((double)BORDER_A * BORDER_B == 0x1p47 - 1);
    const float a = ldexpf(BORDER_A, -86), b = ldexpf(BORDER_B, -87);
    /* The product, one that is exactly the largest below, both signs, and subnormals in and out. */
    const float src[] = {a, -a, 0x1.fffffep-1f * 0x1p-40f, 0x1p-100f, 0x1.fffffcp-127f, -0x1p-149f, 0x1p-126f};
    const float factor[] = {b, b, 0x1p-86f, 0x1p-27f, 0x1p60f, 0x1p60f, 0.5f};
    uint32_t want[] = {0x00800000, 0x80800000, 0, 0, 0, 0x80000000, 0};
    if (!float_mode_is_exact()) { /* AArch64 without FEAT_AFP: the first two are tiny before they are rounded */
        print_message("this processor flushes before it rounds: the border's products are 0, not 2^-126\n");
        want[0] = 0;
        want[1] = 0x80000000;
    }
    for (int i = 0; i < 7; i++) {
        float result;
        struct test_run run = {.d = {.opcode = CARD_OP_SCALE, .tokens = 1, .cols = 1}, .dst = {NULL, 4}};
        run.src = (struct host_data){&src[i], 4};
        run.d.param[0] = bits_of(factor[i]);
        run.result = &result;
        run_on(card, &run);
        if (bits_of(result) != want[i]) fail_msg("SCALE %d: 0x%08x, not 0x%08x", i, bits_of(result), want[i]);
        /* The same through fma: ADD of a product to a zero. */
        const float zero = signbit(src[i]) ? -0.0f : 0.0f;
        run.d.opcode = CARD_OP_ADD;
        run.src = (struct host_data){&zero, 4};
        run.weight = (struct host_data){&src[i], 4};
        run_on(card, &run);
        if (bits_of(result) != want[i]) fail_msg("ADD %d: 0x%08x, not 0x%08x", i, bits_of(result), want[i]);
    }
}

static void the_callers_subnormals_stay(void **state)
{
    struct card *card = *state;
    const float src[32] = {1};
    float result[32];
    struct test_run run = {.d = {.opcode = CARD_OP_SCALE, .tokens = 1, .cols = 32, .param = {0x3f800000}}};
    run.dst = run.src = (struct host_data){src, sizeof src};
    run.result = result;
    run_on(card, &run);
    volatile float small = 0x1p-130f;
    assert_true(small * 0.5f == 0x1p-131f);
    /* Also after a program that fails. */
    struct error err = {0};
    const uint32_t index = 1;
    struct card_descriptor d = {.opcode = CARD_OP_GATHER, .tokens = 1, .rows = 1, .cols = 32};
    d.src = put(card, src, sizeof src);
    d.dst = put(card, NULL, sizeof src);
    d.aux = put(card, &index, 4);
    assert_int_equal(card_submit(card, &d, 1, NULL, 0, NULL, &err), ERROR_CARD);
    assert_true(small * 0.5f == 0x1p-131f);
    card_free(card, d.src);
    card_free(card, d.dst);
    card_free(card, d.aux);
}

/* Operations large enough for several threads; dst is [T][C] floats or smaller. */
static void threads_do_not_change_bits(void **state)
{
    (void)state;
    enum { T = 37, C = 4001 };
    struct test_random random = seeded("threads");
    float *x = malloc(T * C * 4), *y = malloc(T * C * 4), *first = malloc(T * C * 4), *again = malloc(T * C * 4);
    fill_mixed(&random, x, T * C, 8);
    fill_mixed(&random, y, T * C, 8);
    const struct {
        unsigned opcode, format, flags;
        uint32_t rows, param[4];
    } ops[] = {
        {CARD_OP_NORM, 0, CARD_FLAG_LAYER | CARD_FLAG_BIAS, 1, {0x358637bd}},
        {CARD_OP_GLU, CARD_ACTIVATION_SILU, 0, 0, {0}},
        {CARD_OP_GLU, CARD_ACTIVATION_SWIGLU_OAI, 0, 0, {0x40e00000, 0x3fd9db23}},
        {CARD_OP_GLU, CARD_ACTIVATION_GELU_ERF, CARD_FLAG_UNWEIGHTED, 0, {0}},
        {CARD_OP_ADD, 0, 0, 0, {0x40000000}},
        {CARD_OP_SCALE, 0, CARD_FLAG_PER_TOKEN, 0, {0x40000000}},
        {CARD_OP_SOFT_CAP, 0, 0, 0, {0x41f00000}},
        {CARD_OP_DECAY, 0, 0, 0, {0}},
        {CARD_OP_COPY, 0, 0, 1, {C, C, C, C}},
        {CARD_OP_ROUTER, CARD_SCORING_SOFTMAX, CARD_FLAG_BIAS, 16, {0x40000000}},
        {CARD_OP_ROUTER, CARD_SCORING_SIGMOID, CARD_FLAG_RENORMALIZE, 16, {0x40000000}},
        {CARD_OP_TOP_K, 0, 0, 200, {0}},
    };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        for (unsigned threads = 1; threads <= 3; threads++) {
            struct card *card = open_card("sim", threads);
            float *result = threads == 1 ? first : again;
            memset(result, 0, T * C * 4);
            struct test_run run = {
                .d = {.opcode = (uint8_t)ops[i].opcode, .tokens = T, .rows = ops[i].rows, .cols = C}};
            run.d.format = (uint8_t)ops[i].format;
            run.d.flags = (uint16_t)ops[i].flags;
            memcpy(run.d.param, ops[i].param, sizeof run.d.param);
            const int chooses = ops[i].opcode == CARD_OP_ROUTER || ops[i].opcode == CARD_OP_TOP_K;
            run.dst = (struct host_data){NULL, chooses ? T * ops[i].rows * sizeof(struct card_choice) : T * C * 4};
            run.src = (struct host_data){x, T * C * 4};
            run.weight = run.aux = (struct host_data){y, T * C * 4};
            run.result = result;
            run_on(card, &run);
            if (threads > 1 && memcmp(first, again, T * C * 4) != 0)
                fail_msg("%s (case %zu) with %u threads", card_opcode_name(ops[i].opcode), i, threads);
            card_close(card);
        }
    }
    free(x);
    free(y);
    free(first);
    free(again);
}

static void quantize_has_no_scale_below_its_border(void **state)
{
    struct card *card = *state;
    enum { GROUPS = 4 };
    /* Largest magnitudes whose scale is just below 2^-64, just not below, tiny, subnormal. */
    const float largest[GROUPS] = {0x1.fbfffep-58f, 0x1.fcp-58f, 0x1p-120f, 0x1p-130f};
    float src[32 * GROUPS] = {0};
    for (int g = 0; g < GROUPS; g++) src[32 * g + 3] = -largest[g];
    uint8_t act[32 * GROUPS + 8 * GROUPS];
    struct test_run run = {.d = {.opcode = CARD_OP_QUANTIZE, .tokens = 1, .cols = 32 * GROUPS}};
    run.src = (struct host_data){src, sizeof src};
    run.dst = (struct host_data){NULL, sizeof act};
    run.result = act;
    run_on(card, &run);
    for (int g = 0; g < GROUPS; g++) {
        const float product = largest[g] * 0x1.020408p-7f;
        const float want = product >= 0x1p-64f ? product : 0.0f;
        const float scale = load_f32(act + 32 * GROUPS + 4 * g);
        assert_int_equal(bits_of(scale), bits_of(want));
        assert_int_equal((int8_t)act[32 * g + 3], want > 0 ? -127 : 0);
        assert_int_equal((int32_t)load_u32(act + 36 * GROUPS + 4 * g), want > 0 ? -127 : 0);
    }
    assert_true(largest[0] * 0x1.020408p-7f < 0x1p-64f && largest[1] * 0x1.020408p-7f >= 0x1p-64f);
}

static void add_and_scale_are_one_rounding(void **state)
{
    struct card *card = *state;
    struct test_random random = seeded("add_and_scale");
    for (size_t i = 0; i < N_LENGTHS; i++) {
        const uint32_t tokens = 3, cols = lengths[i];
        const size_t n = (size_t)tokens * cols;
        float src[300], weight[300], result[300], want[300];
        const float factor = i % 3 == 0 ? 1.0f : random_float(&random) * 4;
        fill_mixed(&random, src, n, 100);
        fill_mixed(&random, weight, n, 100);
        for (unsigned broadcast = 0; broadcast < 2; broadcast++) {
            struct test_run run = {.d = {.opcode = CARD_OP_ADD, .tokens = tokens, .cols = cols}, .result = result};
            run.d.flags = broadcast ? CARD_FLAG_BROADCAST : 0;
            run.d.param[0] = bits_of(factor);
            run.dst = (struct host_data){NULL, n * 4};
            run.src = (struct host_data){src, n * 4};
            run.weight = (struct host_data){weight, broadcast ? cols * 4u : n * 4};
            run_on(card, &run);
            for (size_t k = 0; k < n; k++) {
                want[k] = fmaf(factor, operand(weight[broadcast ? k % cols : k]), operand(src[k]));
            }
            assert_same_bits("ADD", result, want, n);
            run.d.opcode = CARD_OP_SCALE;
            run.d.flags = broadcast ? CARD_FLAG_PER_TOKEN : 0;
            run.weight.bytes = broadcast ? tokens * 4u : 0;
            run_on(card, &run);
            for (size_t k = 0; k < n; k++) {
                want[k] = operand(src[k]) * factor;
                if (broadcast) want[k] = operand(want[k]) * operand(weight[k / cols]);
            }
            assert_same_bits("SCALE", result, want, n);
        }
    }
}

static double activation(unsigned which, double x, double steepness)
{
    switch (which) {
    case CARD_ACTIVATION_SILU: return x / (1 + exp(-x));
    case CARD_ACTIVATION_GELU: return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case CARD_ACTIVATION_GELU_ERF: return x / 2 * erfc(-x / sqrt(2));
    case CARD_ACTIVATION_RELU: return x > 0 ? x : x <= 0 ? 0 : x;
    case CARD_ACTIVATION_SIGMOID: return 1 / (1 + exp(-x));
    default: return x / (1 + exp(-steepness * x));
    }
}

/* One GLU with random flags, limits and shape. */
static void check_glu(struct card *card, struct test_random *random, unsigned which, uint32_t cols, unsigned variant)
{
    enum { T = 3 };
    const size_t n = (size_t)T * cols;
    const int weighted = variant & 1, broadcast = variant & 2, limited = variant & 4;
    const float limit = limited ? 2.5f : 0, steepness = 1.702f;
    float src[300], weight[300], result[300];
    double want[300];
    for (size_t k = 0; k < n; k++) src[k] = random_float(random) * 12;
    for (size_t k = 0; k < n; k++) weight[k] = random_float(random) * 6;
    if (n > 4) {
        src[1] = NAN;
        weight[2] = -NAN;
        src[3] = INFINITY;
        src[0] = src[4] = -1.5f; /* meets the infinite weight: an activation that is no tiny number */
        weight[4] = -INFINITY;
    }
    for (size_t k = 0; k < n; k++) {
        double x = src[broadcast ? k / cols : k], y = weight[k];
        if (limited) x = x > limit ? limit : x;
        if (limited) y = y > limit ? limit : y < -limit ? -limit : y;
        want[k] = activation(which, x, steepness);
        if (weighted) want[k] *= which == CARD_ACTIVATION_SWIGLU_OAI ? y + 1 : y;
    }
    struct test_run run = {.d = {.opcode = CARD_OP_GLU, .format = (uint8_t)which, .tokens = T, .cols = cols}};
    run.d.flags = (uint16_t)((weighted ? 0 : CARD_FLAG_UNWEIGHTED) | (broadcast ? CARD_FLAG_BROADCAST : 0));
    run.d.param[0] = bits_of(limit);
    run.d.param[1] = bits_of(steepness);
    run.dst = (struct host_data){NULL, n * 4};
    run.src = (struct host_data){src, broadcast ? T * 4 : n * 4};
    run.weight = (struct host_data){weight, weighted ? n * 4 : 0};
    run.result = result;
    run_on(card, &run);
    assert_close("GLU", result, want, n, 4e-6);
}

static void glu_is_its_activation(void **state)
{
    struct test_random random = seeded("glu");
    for (unsigned which = 0; which < CARD_ACTIVATION_END; which++) {
        for (size_t i = 0; i < N_LENGTHS; i++) {
            for (unsigned variant = 0; variant < 8; variant++) check_glu(*state, &random, which, lengths[i], variant);
        }
    }
}

static void soft_cap_and_decay_agree_with_double(void **state)
{
    struct card *card = *state;
    struct test_random random = seeded("soft_cap_and_decay");
    for (size_t i = 0; i < N_LENGTHS; i++) {
        enum { T = 3 };
        const uint32_t cols = lengths[i];
        const size_t n = (size_t)T * cols;
        float src[300], bias[100], weight[100], result[300];
        double want[300];
        for (size_t k = 0; k < n; k++) src[k] = random_float(&random) * 90;
        fill_random(&random, bias, cols);
        fill_random(&random, weight, cols);
        src[0] = INFINITY;
        src[n / 2] = -INFINITY;
        src[n - 1] = -NAN;
        struct test_run run = {.d = {.opcode = CARD_OP_SOFT_CAP, .tokens = T, .cols = cols}, .result = result};
        run.d.param[0] = bits_of(30.0f);
        run.dst = (struct host_data){NULL, n * 4};
        run.src = (struct host_data){src, n * 4};
        run_on(card, &run);
        for (size_t k = 0; k < n; k++) want[k] = 30 * tanh(src[k] / 30.0);
        assert_close("SOFT_CAP", result, want, n, 1e-6);
        run.d.opcode = CARD_OP_DECAY;
        run.weight = (struct host_data){weight, cols * 4};
        run.aux = (struct host_data){bias, cols * 4};
        run_on(card, &run);
        for (size_t k = 0; k < n; k++) {
            const double x = (double)src[k] + bias[k % cols];
            want[k] = weight[k % cols] * (fmax(x, 0) + log1p(exp(-fabs(x))));
            if (isnan(x)) want[k] = NAN;
        }
        assert_close("DECAY", result, want, n, 1e-6);
    }
}

static void copy_moves_bits_by_its_strides(void **state)
{
    struct card *card = *state;
    enum { T = 3, R = 2, C = 19, SRC_TOKEN = 50, SRC_VECTOR = 7, DST_TOKEN = 60, DST_VECTOR = 25 };
    enum { N_SRC = 2 * SRC_TOKEN + SRC_VECTOR + C, N_DST = 2 * DST_TOKEN + DST_VECTOR + C };
    struct test_random random = seeded("copy");
    uint32_t src[N_SRC], dst[N_DST], want[N_DST], result[N_DST];
    for (int i = 0; i < N_SRC; i++) src[i] = i % 4 ? random_u32(&random) : special_bits[(size_t)i % N_SPECIAL];
    for (int i = 0; i < N_DST; i++) want[i] = dst[i] = random_u32(&random);
    for (int t = 0; t < T; t++) {
        for (int r = 0; r < R; r++)
            memcpy(want + t * DST_TOKEN + r * DST_VECTOR, src + t * SRC_TOKEN + r * SRC_VECTOR, C * 4);
    }
    struct test_run run = {.d = {.opcode = CARD_OP_COPY, .tokens = T, .rows = R, .cols = C}, .result = result};
    const uint32_t strides[4] = {SRC_TOKEN, SRC_VECTOR, DST_TOKEN, DST_VECTOR};
    memcpy(run.d.param, strides, sizeof strides);
    run.dst = (struct host_data){dst, sizeof dst};
    run.src = (struct host_data){src, sizeof src};
    run_on(card, &run);
    assert_memory_equal(result, want, sizeof want);
}

static void experts_are_summed_and_spread_in_order(void **state)
{
    struct card *card = *state;
    struct test_random random = seeded("expert_sum");
    for (size_t i = 0; i < N_LENGTHS; i++) {
        enum { T = 2, K = 3 };
        const uint32_t cols = lengths[i];
        float src[T * K * 100], old[T * 100], want[T * K * 100], result[T * K * 100];
        struct card_choice choice[T * K];
        fill_mixed(&random, src, (size_t)T * K * cols, 10);
        fill_mixed(&random, old, (size_t)T * cols, 10);
        for (int k = 0; k < T * K; k++) fill_mixed(&random, &choice[k].weight, 1, 2);
        for (int k = 0; k < T * K; k++) choice[k].expert = random_u32(&random); /* of no interest here */
        for (unsigned unweighted = 0; unweighted < 2; unweighted++) {
            struct test_run run = {.d = {.opcode = CARD_OP_EXPERT_SUM, .tokens = T, .cols = cols, .param = {K}}};
            run.d.flags = unweighted ? CARD_FLAG_UNWEIGHTED : 0;
            run.dst = (struct host_data){old, T * cols * 4u};
            run.src = (struct host_data){src, T * K * cols * 4u};
            run.aux = (struct host_data){choice, unweighted ? 0 : sizeof choice};
            run.result = result;
            run_on(card, &run);
            for (size_t t = 0; t < T; t++) {
                for (size_t c = 0; c < cols; c++) {
                    float sum = operand(old[t * cols + c]);
                    for (size_t j = t * K; j < (t + 1) * K; j++) {
                        sum =
                            operand(fmaf(unweighted ? 1 : operand(choice[j].weight), operand(src[j * cols + c]), sum));
                    }
                    want[t * cols + c] = sum;
                }
            }
            assert_same_bits("EXPERT_SUM", result, want, (size_t)T * cols);
        }
        struct test_run run = {.d = {.opcode = CARD_OP_EXPERT_SPREAD, .tokens = T, .cols = cols, .param = {K}}};
        run.dst = (struct host_data){NULL, T * K * cols * 4u};
        run.src = (struct host_data){src, T * cols * 4u};
        run.aux = (struct host_data){choice, sizeof choice};
        run.result = result;
        run_on(card, &run);
        for (size_t j = 0; j < T * K; j++) {
            for (size_t c = 0; c < cols; c++)
                want[j * cols + c] = operand(choice[j].weight) * operand(src[j / K * cols + c]);
        }
        assert_same_bits("EXPERT_SPREAD", result, want, (size_t)T * K * cols);
    }
}

/* NORM by its words in double. */
static void norm_plainly(const float *src, uint32_t n, unsigned flags, const float *weight, const float *bias,
                         double *want)
{
    double mean = 0, squares = 0;
    for (uint32_t i = 0; i < n; i++) mean += src[i] / (double)n;
    if (!(flags & CARD_FLAG_LAYER)) mean = 0;
    for (uint32_t i = 0; i < n; i++) squares += (src[i] - mean) * (src[i] - mean);
    if (!(flags & CARD_FLAG_SUM)) squares /= n;
    for (uint32_t i = 0; i < n; i++) {
        want[i] = (src[i] - mean) / sqrt(squares + 1e-3);
        if (!(flags & CARD_FLAG_UNWEIGHTED)) want[i] *= weight[i];
        if (flags & CARD_FLAG_BIAS) want[i] += bias[i];
    }
}

static void norm_knows_its_flags(void **state)
{
    struct card *card = *state;
    struct test_random random = seeded("norm");
    const unsigned known[] = {CARD_FLAG_LAYER, CARD_FLAG_SUM, CARD_FLAG_BIAS, CARD_FLAG_EACH, CARD_FLAG_UNWEIGHTED};
    for (unsigned set = 0; set < 32; set++) {
        enum { T = 2, R = 3 };
        const uint32_t cols = lengths[set % N_LENGTHS];
        float src[T * R * 100], weight[R * 100], bias[R * 100], result[T * R * 100], in_place[T * R * 100];
        double want[T * R * 100];
        unsigned flags = 0;
        for (unsigned i = 0; i < 5; i++) flags |= set >> i & 1 ? known[i] : 0;
        const size_t vectors = flags & CARD_FLAG_EACH ? R : 1, n = (size_t)T * R * cols;
        fill_random(&random, src, n);
        fill_random(&random, weight, vectors * cols);
        fill_random(&random, bias, vectors * cols);
        struct test_run run = {.d = {.opcode = CARD_OP_NORM, .tokens = T, .rows = R, .cols = cols}, .result = result};
        run.d.flags = (uint16_t)flags;
        run.d.param[0] = bits_of(1e-3f);
        run.dst = (struct host_data){NULL, n * 4};
        run.src = (struct host_data){src, n * 4};
        run.weight = (struct host_data){weight, flags & CARD_FLAG_UNWEIGHTED ? 0 : vectors * cols * 4};
        run.aux = (struct host_data){bias, flags & CARD_FLAG_BIAS ? vectors * cols * 4 : 0};
        run_on(card, &run);
        for (size_t v = 0; v < T * R; v++) {
            const size_t of = flags & CARD_FLAG_EACH ? v % R * cols : 0;
            norm_plainly(src + v * cols, cols, flags, weight + of, bias + of, want + v * cols);
        }
        assert_close("NORM", result, want, n, 4e-6);
        /* dst as src gives the same bits. */
        run.d.dst = run.d.src = put_floats(card, src, n);
        run.d.weight = put_data(card, run.weight);
        run.d.aux = put_data(card, run.aux);
        run_program(card, &run.d, 1);
        get(card, in_place, run.d.dst, n * 4);
        assert_memory_equal(result, in_place, n * 4);
        card_free(card, run.d.dst);
        card_free(card, run.d.weight);
        card_free(card, run.d.aux);
    }
}

static void rope_turns_from_its_first_dimension_on(void **state)
{
    struct card *card = *state;
    struct test_random random = seeded("rope");
    enum { T = 3, R = 2, C = 40, TURN = 24, FIRST = 12 };
    const struct card_batch_token batch[T] = {{.position = 0}, {.position = 7}, {.position = 100000}};
    float x[T * R * C], frequency[TURN / 2], result[T * R * C];
    double want[T * R * C];
    fill_random(&random, x, T * R * C);
    for (int i = 0; i < TURN / 2; i++) frequency[i] = powf(10000.0f, -2.0f * (float)i / TURN);
    for (unsigned interleaved = 0; interleaved < 2; interleaved++) {
        for (int i = 0; i < T * R * C; i++) want[i] = x[i];
        for (int v = 0; v < T * R; v++) {
            for (int i = 0; i < TURN / 2; i++) {
                const int first = v * C + FIRST + (interleaved ? 2 * i : i);
                const int second = interleaved ? first + 1 : first + TURN / 2;
                const double angle = (double)((float)batch[v / R].position * frequency[i]);
                const double a = x[first], b = x[second];
                want[first] = 1.5 * (a * cos(angle) - b * sin(angle));
                want[second] = 1.5 * (b * cos(angle) + a * sin(angle));
            }
        }
        struct test_run run = {.d = {.opcode = CARD_OP_ROPE, .tokens = T, .rows = R, .cols = C}, .result = result};
        run.d.flags = interleaved ? CARD_FLAG_INTERLEAVED : 0;
        run.d.param[0] = TURN;
        run.d.param[1] = bits_of(1.5f);
        run.d.param[2] = FIRST;
        run.dst = (struct host_data){x, sizeof x};
        run.weight = (struct host_data){frequency, sizeof frequency};
        run.aux = (struct host_data){batch, sizeof batch};
        run_on(card, &run);
        assert_close("ROPE", result, want, T * R * C, 1e-6);
    }
}

static int setup(void **state)
{
    *state = open_card("sim", 2);
    return 0;
}

static int teardown(void **state)
{
    card_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_at_the_border_round_before_they_are_tiny),
        cmocka_unit_test(the_callers_subnormals_stay),
        cmocka_unit_test(threads_do_not_change_bits),
        cmocka_unit_test(quantize_has_no_scale_below_its_border),
        cmocka_unit_test(add_and_scale_are_one_rounding),
        cmocka_unit_test(glu_is_its_activation),
        cmocka_unit_test(soft_cap_and_decay_agree_with_double),
        cmocka_unit_test(copy_moves_bits_by_its_strides),
        cmocka_unit_test(experts_are_summed_and_spread_in_order),
        cmocka_unit_test(norm_knows_its_flags),
        cmocka_unit_test(rope_turns_from_its_first_dimension_on),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
