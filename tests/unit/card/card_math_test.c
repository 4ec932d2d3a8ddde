/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card_math.h against long double, over every exponent and sign, in units in the last place of the exact result; and
 * its conversions over every half. The bounds are the ones that the header states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/abi/card_math.h"

#include <math.h>
#include <stdlib.h>

_Static_assert(__LDBL_MANT_DIG__ >= 64, "the reference needs more bits than double has");

static double ulps(float got, long double want)
{
    int exponent;
    if (isnan(want)) return isnan(got) ? 0 : INFINITY;
    if (isinf(got)) return (got > 0) == (want > 0) && fabsl(want) >= 0x1.ffffffp127L ? 0 : INFINITY;
    if (want == 0) return got == 0 ? 0 : INFINITY;
    frexpl(want, &exponent);
    int unit = exponent - 24 < -149 ? -149 : exponent - 24;
    return (double)(fabsl((long double)got - want) / ldexpl(1, unit));
}

static float sine(float x)
{
    float s, c;
    card_sincos(x, &s, &c);
    return s;
}
static float cosine(float x)
{
    float s, c;
    card_sincos(x, &s, &c);
    return c;
}
static float third(float x) { return card_div(x, 3.0f); }
static long double exact_recip(long double x) { return 1 / x; }
static long double exact_rsqrt(long double x) { return 1 / sqrtl(x); }
static long double exact_third(long double x) { return x / 3; }
static long double exact_sigmoid(long double x) { return 1 / (1 + expl(-x)); }
static long double exact_silu(long double x) { return x / (1 + expl(-x)); }
/* The tanh form, written as x / (1 + e^-2u): 1 + tanh(u) would lose the digits of negative arguments. */
static long double exact_gelu(long double x)
{
    const long double v = 2 * sqrtl(2 / 3.14159265358979323846264338327950288L) * (x + 0.044715L * x * x * x);
    return x / (1 + expl(-v));
}

static const struct function {
    const char *name;
    float (*function)(float);
    long double (*exact)(long double);
    float low, high; /* where the bound holds; ends included */
    double bound;
} functions[] = {
    {"recip", card_recip, exact_recip, -INFINITY, INFINITY, 0.76},
    {"div", third, exact_third, -0x1.8p127f, 0x1.8p127f, 1.0},
    {"rsqrt", card_rsqrt, exact_rsqrt, 0x1p-149f, INFINITY, 1.01},
    {"sqrt", card_sqrt, sqrtl, 0, INFINITY, 0.51},
    {"exp", card_exp, expl, -INFINITY, INFINITY, 1.0},
    {"log", card_log, logl, 0, INFINITY, 0.8},
    {"sin", sine, sinl, -0x1p22f, 0x1p22f, 1.6},
    {"cos", cosine, cosl, -0x1p22f, 0x1p22f, 1.6},
    {"sigmoid", card_sigmoid, exact_sigmoid, -INFINITY, INFINITY, 1.5},
    {"silu", card_silu, exact_silu, -87.0f, INFINITY, 2.2},
    {"tanh", card_tanh, tanhl, -INFINITY, INFINITY, 1.5},
    {"gelu", card_gelu, exact_gelu, -9.9f, INFINITY, 3.3},
};

#define MANTISSAS 601 /* a prime number of steps through the 2^23 of each exponent, the ends included */

static void errors_stay_within_the_stated_bounds(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        const struct function *function = &functions[f];
        for (uint32_t top = 0; top < 512; top++) { /* sign and exponent */
            for (uint32_t i = 0; i < MANTISSAS; i++) {
                float x = card_float(top << 23 | (uint32_t)((uint64_t)i * 0x7fffff / (MANTISSAS - 1)));
                if (isnan(x) || !(x >= function->low && x <= function->high)) continue;
                double error = ulps(function->function(x), function->exact(x));
                if (!(error <= function->bound)) {
                    fail_msg("%s(%a) = %a is %g ulp off", function->name, (double)x, (double)function->function(x),
                             error);
                }
            }
        }
    }
}

/* Where the interesting arguments are dense: angles of RoPE, logits, gates. */
static void errors_stay_within_the_bounds_on_dense_ranges(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        const struct function *function = &functions[f];
        for (int i = -60000; i <= 60000; i++) {
            float x = (float)i * 0.00171f;
            if (!(x >= function->low && x <= function->high)) continue;
            assert_true(ulps(function->function(x), function->exact(x)) <= function->bound);
        }
    }
    /* Near multiples of pi/2 the reduced angle is small and every bit of it comes from the low parts of pi/2. */
    for (int k = 1; k < 600000; k += 7) {
        float x = (float)(k * 1.57079632679489661923L);
        assert_true(ulps(sine(x), sinl((long double)x)) <= 1.6 && ulps(cosine(x), cosl((long double)x)) <= 1.6);
    }
}

static void special_values_are_defined(void **state)
{
    (void)state;
    assert_true(isnan(card_exp(NAN)) && card_exp(INFINITY) == INFINITY && card_exp(-INFINITY) == 0);
    assert_true(card_exp(0.0f) == 1 && card_exp(-0.0f) == 1);
    assert_true(isnan(card_log(NAN)) && isnan(card_log(-1)) && card_log(1) == 0);
    assert_true(card_log(0.0f) == -INFINITY && card_log(-0.0f) == -INFINITY && card_log(INFINITY) == INFINITY);
    assert_true(card_recip(0.0f) == INFINITY && card_recip(-0.0f) == -INFINITY && isnan(card_recip(NAN)));
    assert_true(card_recip(INFINITY) == 0 && signbit(card_recip(-INFINITY)));
    assert_true(isnan(card_rsqrt(-1)) && isnan(card_rsqrt(NAN)) && isnan(card_rsqrt(-INFINITY)));
    assert_true(card_rsqrt(0.0f) == INFINITY && card_rsqrt(-0.0f) == INFINITY && card_rsqrt(INFINITY) == 0);
    assert_true(isnan(card_sqrt(-1)) && isnan(card_sqrt(NAN)) && card_sqrt(0.0f) == 0);
    assert_true(card_sqrt(INFINITY) == INFINITY && card_sqrt(0x1p-148f) == 0x1p-74f);
    const float outside[] = {0x1.000002p22f, -0x1.000002p22f, 1e30f, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < 6; i++) assert_true(isnan(sine(outside[i])) && isnan(cosine(outside[i])));
    assert_true(card_sigmoid(INFINITY) == 1 && card_sigmoid(-INFINITY) == 0 && isnan(card_sigmoid(NAN)));
    assert_true(card_tanh(INFINITY) == 1 && card_tanh(-INFINITY) == -1 && isnan(card_tanh(NAN)));
    assert_true(card_tanh(0.0f) == 0 && signbit(card_tanh(-0.0f)) && card_tanh(0x1p-149f) == 0x1p-149f);
    assert_true(card_gelu(INFINITY) == INFINITY && isnan(card_gelu(-INFINITY)) && isnan(card_gelu(NAN)));
    assert_true(card_gelu(-1e30f) == 0 && card_gelu(1e30f) == 1e30f && card_gelu(0.0f) == 0 &&
                signbit(card_gelu(-0.0f)));
    assert_true(card_div(1, 0) == INFINITY && card_div(-1, INFINITY) == 0 && isnan(card_div(0, 0)));
    assert_true(isnan(card_div(INFINITY, INFINITY)) && card_div(6, 3) == 2 && card_div(1, 10) == 0.1f);
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

/* The value of a half by its definition. */
static double half_value(uint32_t half)
{
    int exponent = (int)(half >> 10 & 31);
    double fraction = half & 1023;
    double magnitude = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}

static void every_half_converts_and_comes_back(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 65536; half++) {
        const float value = card_f16_to_f32((uint16_t)half);
        if ((half & 0x7fff) > 0x7c00) {
            assert_int_equal(card_bits(value), 0x7fc00000);
            assert_int_equal(card_f32_to_f16(value), 0x7e00);
            continue;
        }
        if ((half & 0x7fff) == 0x7c00)
            assert_true(isinf(value));
        else
            assert_true((double)value == half_value(half));
        assert_int_equal(signbit(value) != 0, half >> 15);
        assert_int_equal(card_f32_to_f16(value), half);
    }
}

/* Between two neighbouring halves: below the middle, the middle (to the even one), above the middle. */
static void floats_round_to_the_nearest_half(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x7bff; half++) {
        const double a = half_value(half), b = half_value(half + 1);
        const float middle = (float)((a + b) / 2);
        assert_true((double)middle == (a + b) / 2);
        assert_int_equal(card_f32_to_f16(middle), half & 1 ? half + 1 : half);
        assert_int_equal(card_f32_to_f16(nextafterf(middle, 0)), half);
        assert_int_equal(card_f32_to_f16(nextafterf(middle, INFINITY)), half + 1);
        assert_int_equal(card_f32_to_f16(-middle), 0x8000 | (half & 1 ? half + 1 : half));
    }
    assert_int_equal(card_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(card_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(card_f32_to_f16(-1e30f), 0xfc00);
    assert_int_equal(card_f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(card_f32_to_f16(card_float(0xff800001)), 0x7e00);
    assert_int_equal(card_f32_to_f16(1e-45f), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_stay_within_the_stated_bounds),
        cmocka_unit_test(errors_stay_within_the_bounds_on_dense_ranges),
        cmocka_unit_test(special_values_are_defined),
        cmocka_unit_test(round_even_rounds_ties_to_even),
        cmocka_unit_test(every_half_converts_and_comes_back),
        cmocka_unit_test(floats_round_to_the_nearest_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
