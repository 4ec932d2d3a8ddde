/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card_math.h under the card's float mode against long double, in units in the last place of the exact result: every
 * sign and exponent with edge and random mantissas, or, with SLUICE_LONG in the environment, every float32 there is.
 * The bounds are the ones that the header states; the largest errors are printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/float_mode.h"
#include "tests/unit/card/card_math_functions.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The largest error of a function over some chunks of arguments. */
struct worst {
    float error, at, got;
};

struct chunk {
    float in[CHUNK], flushed[CHUNK], out[CHUNK], kept[CHUNK], error[CHUNK];
    double want[CHUNK];
};

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* SEED of the environment, or the clock; printed, so that a failure can be had again. */
static uint64_t seed_of_run(void)
{
    const char *text = getenv("SEED");
    const uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    print_message("SEED=%llu\n", (unsigned long long)seed);
    return seed | 1;
}

static float flush(float x)
{
    uint32_t bits = card_bits(x);
    return card_float((bits & 0x7f800000u) ? bits : bits & 0x80000000u);
}

__attribute__((noinline)) VECTOR_CLONES static void flush_all(const float *restrict in, float *restrict out)
{
    for (int i = 0; i < CHUNK; i++) out[i] = flush(in[i]);
}

__attribute__((noinline)) VECTOR_CLONES static uint32_t largest_error(const struct function *f, struct chunk *c)
{
    const float low = f->low, high = f->high;
    uint32_t largest = 0;
    for (int i = 0; i < CHUNK; i++) {
        float x = c->flushed[i], y = c->out[i];
        float error = error_in_ulps(y, c->want[i]);
        float outside = ((y == 0) | (y != y)) ? 0 : error;
        c->error[i] = ((x < low) | (x > high)) ? outside : error;
        uint32_t bits = card_bits(c->error[i]);
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

/*
 * How many results, where the bound holds, differ between a processor that flushes and one that keeps subnormals, of whose
 * arguments and results those are flushed. What the latter rounds to 2^-126 may be below that with 24 bits: not counted.
 */
__attribute__((noinline)) VECTOR_CLONES static uint32_t mode_differences(const struct function *f,
                                                                         const struct chunk *c)
{
    const float low = f->low, high = f->high;
    uint32_t count = 0;
    for (int i = 0; i < CHUNK; i++) {
        uint32_t a = card_bits(c->out[i]), b = card_bits(flush(c->kept[i]));
        uint32_t nan = ((a & 0x7fffffffu) > 0x7f800000u) & ((b & 0x7fffffffu) > 0x7f800000u);
        uint32_t border = ((b & 0x7fffffffu) == 0x00800000u) & ((a & 0x7fffffffu) == 0);
        uint32_t outside = (uint32_t)(c->flushed[i] < low) | (uint32_t)(c->flushed[i] > high);
        count += (a != b) & !nan & !border & !outside;
    }
    return count;
}

/* c->in through the function, c->want known unless fast; returns how many results the float mode changes. */
static uint32_t measure(const struct function *f, struct chunk *c, int fast, struct worst *worst)
{
    const uint64_t mode = float_mode_enter();
    f->card(c->in, c->out);
    float_mode_set(mode);
    flush_all(c->in, c->flushed);
    f->card(c->flushed, c->kept);
    if (fast) f->fast(c->flushed, c->want);
    const uint32_t largest = largest_error(f, c);
    if (largest > card_bits(worst->error)) {
        int i = 0;
        while (card_bits(c->error[i]) != largest) i++;
        *worst = (struct worst){.error = c->error[i], .at = c->in[i], .got = c->out[i]};
    }
    return mode_differences(f, c);
}

static void judge(const struct function *f, const struct worst *worst, uint64_t differences)
{
    print_message("%-9s %.4f ulp at %a\n", f->name, (double)worst->error, (double)worst->at);
    if (!((double)worst->error <= f->bound)) {
        fail_msg("%s(%a) = %a is %g ulp off, more than %g", f->name, (double)worst->at, (double)worst->got,
                 (double)worst->error, f->bound);
    }
    if (differences) fail_msg("%s: %llu results depend on subnormals", f->name, (unsigned long long)differences);
}

static void fill_exact(const struct function *f, struct chunk *c)
{
    flush_all(c->in, c->flushed);
    f->fast(c->flushed, c->want);
    for (int i = 0; i < CHUNK; i++) {
        const double fast = c->want[i], exact = (double)f->exact((long double)c->flushed[i]);
        const int both_nan = isnan(fast) && isnan(exact), tiny = fabs(exact) < 0x1p-150;
        if (!both_nan && !(fast == exact) && !(fabs(fast - exact) <= 0x1p-31 * fabs(exact)) && !tiny) {
            fail_msg("%s(%a): the references differ, %a and %a", f->name, (double)c->in[i], fast, exact);
        }
        c->want[i] = exact;
    }
}

/* Mantissas where something changes: ends, the middle, sqrt(2), 4/3, 3/2 and neighbours. */
static const uint32_t edges[] = {0,        1,        2,        3,        0x3504f2, 0x3504f3, 0x3504f4, 0x2aaaaa,
                                 0x2aaaab, 0x3fffff, 0x400000, 0x400001, 0x7ffffc, 0x7ffffd, 0x7ffffe, 0x7fffff};
#define EDGES (sizeof edges / sizeof *edges)

/*
 * Chunks 0..511 are signs and exponents. Further ones: where arguments are dense, and near multiples of pi/2. One in
 * eleven if SLUICE_SHORT is set: long double is slow where a processor is emulated.
 */
#define SHORT_CHUNKS 900

static void fill_short(struct chunk *c, unsigned chunk, uint64_t *random)
{
    for (unsigned i = 0; i < CHUNK; i++) {
        const uint32_t any = (uint32_t)(next_random(random) >> 32);
        if (chunk < 512) {
            c->in[i] = card_float(chunk << 23 | (i < EDGES ? edges[i] : any & 0x7fffffu));
        } else if (chunk < 700) {
            c->in[i] = ((float)(int32_t)any * 0x1p-31f) * (chunk & 1 ? 110.0f : 8.0f);
        } else {
            c->in[i] = (float)((long double)(int32_t)(any >> 10) * 1.57079632679489661923L * (chunk & 1 ? 0.5L : 1.0L));
        }
    }
}

static void check_short(const struct function *f)
{
    static struct chunk c;
    struct worst worst = {0};
    uint64_t random = seed_of_run(), differences = 0;
    for (unsigned chunk = 0; chunk < SHORT_CHUNKS; chunk += getenv("SLUICE_SHORT") ? 11 : 1) {
        fill_short(&c, chunk, &random);
        fill_exact(f, &c);
        differences += measure(f, &c, 0, &worst);
    }
    judge(f, &worst, differences);
}

struct sweep {
    const struct function *function;
    atomic_uint next; /* of 2^16 blocks */
};
struct sweep_part {
    struct sweep *sweep;
    struct worst worst;
    uint64_t differences;
    pthread_t thread;
};

static void *sweep_blocks(void *argument)
{
    struct sweep_part *part = argument;
    struct chunk *c = malloc(sizeof *c);
    if (!c) abort();
    for (uint32_t block; (block = atomic_fetch_add(&part->sweep->next, 1)) < 0x10000;) {
        for (uint32_t from = 0; from < 0x10000; from += CHUNK) {
            for (uint32_t i = 0; i < CHUNK; i++) c->in[i] = card_float(block << 16 | (from + i));
            part->differences += measure(part->sweep->function, c, 1, &part->worst);
        }
    }
    free(c);
    return NULL;
}

static void check_all_floats(const struct function *f)
{
    struct sweep sweep = {.function = f};
    struct sweep_part parts[64] = {0};
    long threads = sysconf(_SC_NPROCESSORS_ONLN);
    threads = threads < 1 ? 1 : threads > 64 ? 64 : threads;
    for (long i = 0; i < threads; i++) {
        parts[i].sweep = &sweep;
        assert_int_equal(pthread_create(&parts[i].thread, NULL, sweep_blocks, &parts[i]), 0);
    }
    for (long i = 0; i < threads; i++) {
        pthread_join(parts[i].thread, NULL);
        if (card_bits(parts[i].worst.error) > card_bits(parts[0].worst.error)) parts[0].worst = parts[i].worst;
        if (i) parts[0].differences += parts[i].differences;
    }
    judge(f, &parts[0].worst, parts[0].differences);
}

static void errors_stay_within_the_stated_bounds(void **state)
{
    (void)state;
    if (!FLOAT_MODE_CARD) skip();
    for (size_t i = 0; i < FUNCTIONS; i++) {
        if (getenv("SLUICE_LONG"))
            check_all_floats(&functions[i]);
        else
            check_short(&functions[i]);
    }
}

__attribute__((noinline)) static void divide_all(const float *a, const float *b, float *out)
{
    for (int i = 0; i < CHUNK; i++) out[i] = card_div(a[i], b[i]);
}

/* Every pair of exponents, both signs, edge and random mantissas. */
static void quotients_of_all_exponents(void **state)
{
    (void)state;
    static float a[CHUNK], b[CHUNK], got[CHUNK];
    uint64_t random = seed_of_run();
    float worst = 0;
    if (!FLOAT_MODE_CARD) skip();
    for (unsigned round = 0; round < 1024; round++) { /* 16 pairs of each of 2^16 */
        for (unsigned i = 0; i < CHUNK; i++) {
            const uint32_t pair = (round * CHUNK + i) >> 4;
            const uint64_t any = next_random(&random);
            const uint32_t edge_a = edges[any >> 8 & 15], edge_b = edges[any >> 16 & 15];
            const uint32_t mantissa_a = any & 1 ? edge_a : (uint32_t)(any >> 41),
                           mantissa_b = any & 2 ? edge_b : (uint32_t)(any >> 18 & 0x7fffff);
            a[i] = card_float((uint32_t)(any & 4) << 29 | pair >> 8 << 23 | mantissa_a);
            b[i] = card_float((uint32_t)(any & 8) << 28 | (pair & 255) << 23 | mantissa_b);
        }
        const uint64_t mode = float_mode_enter();
        divide_all(a, b, got);
        float_mode_set(mode);
        for (unsigned i = 0; i < CHUNK; i++) {
            const float error = error_in_ulps(got[i], (double)flush(a[i]) / (double)flush(b[i]));
            worst = card_bits(error) > card_bits(worst) ? error : worst;
            if (!(error <= 0.501f)) fail_msg("%a / %a = %a", (double)a[i], (double)b[i], (double)got[i]);
        }
    }
    print_message("a / b     %.4f ulp\n", (double)worst);
}

static const struct special {
    const char *function;
    float x, want; /* zeros by sign, any NaN for NaN */
} specials[] = {
    {"recip", 0.0f, INFINITY},
    {"recip", -0.0f, -INFINITY},
    {"recip", 0x1.fffffcp-127f, INFINITY},
    {"recip", -0x1p-149f, -INFINITY},
    {"recip", 0x1p-126f, 0x1p126f},
    {"recip", 0x1p126f, 0x1p-126f},
    {"recip", 0x1.000002p126f, 0.0f},
    {"recip", -0x1.fffffep127f, -0.0f},
    {"recip", -INFINITY, -0.0f},
    {"recip", NAN, NAN},
    {"div", 0x1.8p-125f, 0x1p-126f},
    {"div", 0x1.7ffffep-125f, 0.0f},
    {"div", -0x1p-149f, -0.0f},
    {"div", -INFINITY, -INFINITY},
    {"rsqrt", 0.0f, INFINITY},
    {"rsqrt", -0.0f, INFINITY},
    {"rsqrt", 0x1.fffffcp-127f, INFINITY},
    {"rsqrt", -0x1.fffffcp-127f, INFINITY},
    {"rsqrt", 0x1p-126f, 0x1p63f},
    {"rsqrt", -0x1p-126f, NAN},
    {"rsqrt", INFINITY, 0.0f},
    {"rsqrt", -INFINITY, NAN},
    {"rsqrt", NAN, NAN},
    {"sqrt", 0.0f, 0.0f},
    {"sqrt", -0.0f, -0.0f},
    {"sqrt", 0x1.fffffcp-127f, 0.0f},
    {"sqrt", -0x1p-149f, -0.0f},
    {"sqrt", 0x1p-126f, 0x1p-63f},
    {"sqrt", -0x1p-126f, NAN},
    {"sqrt", INFINITY, INFINITY},
    {"sqrt", NAN, NAN},
    {"exp", 0x1.fffffcp-127f, 1.0f},
    {"exp", -0.0f, 1.0f},
    {"exp", -87.34f, 0.0f},
    {"exp", -INFINITY, 0.0f},
    {"exp", INFINITY, INFINITY},
    {"exp", NAN, NAN},
    {"log", 1.0f, 0.0f},
    {"log", 0.0f, -INFINITY},
    {"log", -0.0f, -INFINITY},
    {"log", 0x1.fffffcp-127f, -INFINITY},
    {"log", -0x1p-149f, -INFINITY},
    {"log", -0x1p-126f, NAN},
    {"log", INFINITY, INFINITY},
    {"log", -INFINITY, NAN},
    {"log", NAN, NAN},
    {"sin", 0x1.fffffcp-127f, 0.0f},
    {"sin", -0x1p-126f, -0x1p-126f},
    {"cos", 0x1.fffffcp-127f, 1.0f},
    {"sin", 0x1.000002p22f, NAN},
    {"cos", -0x1.000002p22f, NAN},
    {"sin", INFINITY, NAN},
    {"cos", NAN, NAN},
    {"sigmoid", INFINITY, 1.0f},
    {"sigmoid", -INFINITY, 0.0f},
    {"sigmoid", -87.34f, 0.0f},
    {"sigmoid", NAN, NAN},
    {"silu", -0x1.fffffcp-127f, -0.0f},
    {"silu", -87.34f, -0.0f},
    {"silu", INFINITY, INFINITY},
    {"silu", -INFINITY, NAN},
    {"silu", NAN, NAN},
    {"tanh", INFINITY, 1.0f},
    {"tanh", -INFINITY, -1.0f},
    {"tanh", -0.0f, -0.0f},
    {"tanh", -0x1.fffffcp-127f, -0.0f},
    {"tanh", 0x1p-126f, 0x1p-126f},
    {"tanh", NAN, NAN},
    {"gelu", INFINITY, INFINITY},
    {"gelu", 1e30f, 1e30f},
    {"gelu", -1e30f, -0.0f},
    {"gelu", -0.0f, -0.0f},
    {"gelu", -INFINITY, NAN},
    {"gelu", NAN, NAN},
    {"gelu_erf", INFINITY, INFINITY},
    {"gelu_erf", 1e30f, 1e30f},
    {"gelu_erf", -1e30f, -0.0f},
    {"gelu_erf", -INFINITY, -0.0f},
    {"gelu_erf", 0.0f, 0.0f},
    {"gelu_erf", -0.0f, -0.0f},
    {"gelu_erf", -0x1.fffffcp-127f, -0.0f},
    {"gelu_erf", 0x1.fffffep-126f, 0.0f},
    {"gelu_erf", -0x1.8p-125f, -0x1.8p-126f},
    {"gelu_erf", NAN, NAN},
    {"softplus", INFINITY, INFINITY},
    {"softplus", -INFINITY, 0.0f},
    {"softplus", 0x1.fffffep127f, 0x1.fffffep127f},
    {"softplus", -87.34f, 0.0f},
    {"softplus", -0x1p-149f, 0x1.62e430p-1f},
    {"softplus", NAN, NAN},
};

static void special_values_are_defined(void **state)
{
    (void)state;
    static float in[CHUNK], out[CHUNK];
    if (!FLOAT_MODE_CARD) skip();
    for (size_t s = 0; s < sizeof specials / sizeof *specials; s++) {
        const struct special *special = &specials[s];
        for (size_t i = 0; i < CHUNK; i++) in[i] = special->x;
        const struct function *f = functions;
        while (strcmp(f->name, special->function) != 0) f++;
        const uint64_t mode = float_mode_enter();
        f->card(in, out);
        float_mode_set(mode);
        if (isnan(special->want) ? !isnan(out[0]) : card_bits(out[0]) != card_bits(special->want))
            fail_msg("%s(%a) = %a", f->name, (double)special->x, (double)out[0]);
    }
}

static void round_even_rounds_ties_to_even(void **state)
{
    (void)state;
    for (int i = -2000; i <= 2000; i++) {
        float x = (float)i / 8;
        assert_true(card_round_even(x) == nearbyintf(x));
    }
    assert_true(card_round_even(0x1p22f) == 0x1p22f);
}

/* The value of a half by its definition; 65536 for infinity, as rounding has it. */
static double half_value(uint32_t half)
{
    int exponent = (int)(half >> 10 & 31);
    double fraction = half & 1023;
    double magnitude = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}

__attribute__((noinline)) VECTOR_CLONES static void halves_of(const float *restrict in, uint16_t *restrict out)
{
    for (int i = 0; i < CHUNK; i++) out[i] = card_f32_to_f16(in[i]);
}
__attribute__((noinline)) VECTOR_CLONES static void floats_of(const uint16_t *restrict in, float *restrict out)
{
    for (int i = 0; i < CHUNK; i++) out[i] = card_f16_to_f32(in[i]);
}

/* x rounded to a multiple of 2^-24 or 2^(e - 10), by adding and subtracting 1.5 2^52 of these. */
static double nearest_half(float x)
{
    const double clamped = fabsf(x) > 0x1p17f ? copysign(0x1p17, (double)x) : (double)x;
    union {
        double value;
        uint64_t bits;
    } large = {.value = fabs(clamped) < 0x1p-14 ? 0x1p-14 : fabs(clamped)};
    large.bits = (large.bits & UINT64_C(0x7ff) << 52) + (UINT64_C(42) << 52);
    const double rounded = (clamped + 1.5 * large.value) - 1.5 * large.value;
    return fabs(rounded) > 65536 ? copysign(65536, rounded) : rounded;
}

static void check_halves(const float *in)
{
    static double values[65536];
    uint16_t half[CHUNK];
    if (values[1] == 0) {
        for (uint32_t i = 0; i < 65536; i++) values[i] = half_value(i);
    }
    const uint64_t mode = float_mode_enter();
    halves_of(in, half);
    float_mode_set(mode);
    for (int i = 0; i < CHUNK; i++) {
        const int right = isnan(in[i]) ? half[i] == 0x7e00
                                       : values[half[i]] == nearest_half(in[i]) && (half[i] & 0x7fff) <= 0x7c00 &&
                                             half[i] >> 15 == card_bits(in[i]) >> 31;
        if (!right) fail_msg("half(%a) = 0x%04x", (double)in[i], half[i]);
    }
}

static void every_half_converts_and_comes_back(void **state)
{
    (void)state;
    uint16_t half[CHUNK], back[CHUNK];
    float value[CHUNK];
    for (uint32_t from = 0; from < 65536; from += CHUNK) {
        for (uint32_t i = 0; i < CHUNK; i++) half[i] = (uint16_t)(from + i);
        const uint64_t mode = float_mode_enter();
        floats_of(half, value);
        halves_of(value, back);
        float_mode_set(mode);
        for (uint32_t i = 0; i < CHUNK; i++) {
            const int nan = (half[i] & 0x7fff) > 0x7c00;
            const double exact =
                (half[i] & 0x7fff) == 0x7c00 ? copysign(INFINITY, half_value(half[i])) : half_value(half[i]);
            assert_true(nan ? card_bits(value[i]) == 0x7fc00000 : (double)value[i] == exact);
            assert_true(nan || (signbit(value[i]) != 0) == half[i] >> 15);
            assert_int_equal(back[i], nan ? 0x7e00 : half[i]);
        }
    }
}

/* Between two neighbouring halves: below the middle, the middle, above the middle; then any float, or every one. */
static void floats_round_to_the_nearest_half(void **state)
{
    (void)state;
    float in[CHUNK];
    uint64_t random = seed_of_run();
    for (uint32_t from = 0; from < 65536; from += CHUNK / 4) {
        for (uint32_t i = 0; i < CHUNK; i += 4) {
            const uint32_t half = from + i / 4, inner = (half & 0x7fff) < 0x7c00 ? half : 0x7bff;
            const float middle = (float)((half_value(inner) + half_value(inner + 1)) / 2);
            in[i] = nextafterf(middle, 0);
            in[i + 1] = middle;
            in[i + 2] = nextafterf(middle, copysignf(INFINITY, middle));
            in[i + 3] = card_float((uint32_t)next_random(&random));
        }
        check_halves(in);
    }
    if (!getenv("SLUICE_LONG")) return;
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += CHUNK) {
        for (uint32_t i = 0; i < CHUNK; i++) in[i] = card_float((uint32_t)bits + i);
        check_halves(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_stay_within_the_stated_bounds), cmocka_unit_test(quotients_of_all_exponents),
        cmocka_unit_test(special_values_are_defined),           cmocka_unit_test(round_even_rounds_ties_to_even),
        cmocka_unit_test(every_half_converts_and_comes_back),   cmocka_unit_test(floats_round_to_the_nearest_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
