/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of card_math.h by name, each as a loop over an array, with two references: long double, and double for
 * the long form of card_math_test.c. glibc's double functions are within 10 units of their last place, which is 2^-26 of
 * a float's; arguments of exp and erfc are rounded in double, at most 2^-46 relative. The short form compares the two.
 */
#ifndef SLUICE_TESTS_CARD_MATH_FUNCTIONS_H
#define SLUICE_TESTS_CARD_MATH_FUNCTIONS_H

#include "host/base/vector_clones.h"
#include "kernels/abi/card_math.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__LDBL_MANT_DIG__ >= 64, "the reference needs more bits than double has");

#define CHUNK 1024 /* arguments in one call; constant, so that the loops become vectors */

/* Never inlined: the compiler may fold arguments that it knows, or move the arithmetic out of the float mode. */
#define CARD_LOOP(name, value)                                                                                         \
    __attribute__((noinline))                                                                                          \
    VECTOR_CLONES static void card_loop_##name(const float *restrict in, float *restrict out)                          \
    {                                                                                                                  \
        for (int i = 0; i < CHUNK; i++) {                                                                              \
            float x = in[i];                                                                                           \
            out[i] = (value);                                                                                          \
        }                                                                                                              \
    }
#define FAST_LOOP(name, value)                                                                                         \
    __attribute__((noinline))                                                                                          \
    VECTOR_CLONES static void fast_loop_##name(const float *restrict in, double *restrict out)                         \
    {                                                                                                                  \
        for (int i = 0; i < CHUNK; i++) {                                                                              \
            double x = (double)in[i];                                                                                  \
            out[i] = (value);                                                                                          \
        }                                                                                                              \
    }
#define EXACT(name, value)                                                                                             \
    static long double exact_##name(long double x) { return (value); }

CARD_INLINE float card_sine(float x)
{
    float s, c;
    card_sincos(x, &s, &c);
    return s;
}
CARD_INLINE float card_cosine(float x)
{
    float s, c;
    card_sincos(x, &s, &c);
    return c;
}

/* The tanh form, written as x / (1 + e^-v): 1 + tanh would lose the digits of negative arguments. */
#define GELU_V(x) (1.59576912160573071176L * ((x) + 0.044715L * (x) * (x) * (x))) /* 2 sqrt(2 / pi) */
#define GELU_V_FAST(x) (1.5957691216057307 * ((x) + 0.044715 * (x) * (x) * (x)))
#define HALF_ROOT 0.70710678118654752440L /* sqrt(1 / 2) */

CARD_LOOP(recip, card_recip(x))
CARD_LOOP(div, card_div(x, 3.0f))
CARD_LOOP(rsqrt, card_rsqrt(x))
CARD_LOOP(sqrt, card_sqrt(x))
CARD_LOOP(exp, card_exp(x))
CARD_LOOP(log, card_log(x))
CARD_LOOP(sin, card_sine(x))
CARD_LOOP(cos, card_cosine(x))
CARD_LOOP(sigmoid, card_sigmoid(x))
CARD_LOOP(silu, card_silu(x))
CARD_LOOP(tanh, card_tanh(x))
CARD_LOOP(gelu, card_gelu(x))
CARD_LOOP(gelu_erf, card_gelu_erf(x))
CARD_LOOP(softplus, card_softplus(x))

FAST_LOOP(recip, 1 / x)
FAST_LOOP(div, x / 3)
FAST_LOOP(rsqrt, 1 / sqrt(x == 0 ? 0 : x))
FAST_LOOP(sqrt, sqrt(x))
FAST_LOOP(exp, exp(x))
FAST_LOOP(log, log(x))
FAST_LOOP(sin, sin(x))
FAST_LOOP(cos, cos(x))
FAST_LOOP(sigmoid, 1 / (1 + exp(-x)))
FAST_LOOP(silu, x / (1 + exp(-x)))
FAST_LOOP(tanh, tanh(x))
FAST_LOOP(gelu, x / (1 + exp(-GELU_V_FAST(x))))
FAST_LOOP(gelu_erf, x * 0.5 * erfc(-x * (double)HALF_ROOT))
FAST_LOOP(softplus, (x > 0 ? x : 0) + log1p(exp(-fabs(x))))

EXACT(recip, 1 / x)
EXACT(div, x / 3)
EXACT(rsqrt, 1 / sqrtl(x == 0 ? 0 : x))
EXACT(sqrt, sqrtl(x))
EXACT(exp, expl(x))
EXACT(log, logl(x))
EXACT(sin, sinl(x))
EXACT(cos, cosl(x))
EXACT(sigmoid, 1 / (1 + expl(-x)))
EXACT(silu, x / (1 + expl(-x)))
EXACT(tanh, tanhl(x))
EXACT(gelu, x / (1 + expl(-GELU_V(x))))
EXACT(gelu_erf, x * 0.5L * erfcl(-x * HALF_ROOT))
EXACT(softplus, (x > 0 ? x : 0) + log1pl(expl(-fabsl(x))))

struct function {
    const char *name;
    void (*card)(const float *restrict in, float *restrict out);
    void (*fast)(const float *restrict in, double *restrict out);
    long double (*exact)(long double x);
    float low, high; /* where the bound holds, ends included; outside the function is 0 or NaN */
    double bound;    /* the header's figure */
};

#define FUNCTION(name, low, high, bound)                                                                               \
    {                                                                                                                  \
#name, card_loop_##name, fast_loop_##name, exact_##name, low, high, bound                                      \
    }
static const struct function functions[] = {
    FUNCTION(recip, -INFINITY, INFINITY, 0.501), FUNCTION(div, -INFINITY, INFINITY, 0.501),
    FUNCTION(rsqrt, -INFINITY, INFINITY, 1.001), FUNCTION(sqrt, -INFINITY, INFINITY, 0.501),
    FUNCTION(exp, -INFINITY, INFINITY, 1.02),    FUNCTION(log, -INFINITY, INFINITY, 0.81),
    FUNCTION(sin, -0x1p22f, 0x1p22f, 0.79),      FUNCTION(cos, -0x1p22f, 0x1p22f, 0.79),
    FUNCTION(sigmoid, -INFINITY, INFINITY, 1.5), FUNCTION(silu, -87.336f, INFINITY, 2.5),
    FUNCTION(tanh, -INFINITY, INFINITY, 1.5),    FUNCTION(gelu, -10.0f, INFINITY, 3.3),
    FUNCTION(gelu_erf, -FLT_MAX, INFINITY, 3.9), FUNCTION(softplus, -INFINITY, INFINITY, 1.7),
};
#define FUNCTIONS (sizeof functions / sizeof *functions)

/*
 * How far `got` is from `want`, in units of want's last place; infinite for a wrong NaN, infinity or sign. An exact result
 * below 2^-126 counts as zero, and a zero as everything below 2^-126. Selections only: it runs in vectors.
 */
static inline float error_in_ulps(float got, double want)
{
    const double size = fabs(want) > 0x1p128 ? 0x1p128 : fabs(want), border = 0x1p-126;
    union {
        double value;
        uint64_t bits;
    } scale = {.value = size > border ? size : border};
    scale.bits =
        (UINT64_C(2069) << 52) - (scale.bits & UINT64_C(0x7ff) << 52); /* 2^(e - 23) upside down: 2069 = 2 bias + 23 */
    const double magnitude = fabsf(got) > 0x1.fffffep127f ? 0x1p128 : (double)fabsf(got);
    double error = fabs(magnitude - size) * scale.value;
    error = size < border ? magnitude * scale.value : error;
    error = got == 0 ? (size > border ? (size - border) * scale.value : 0) : error;
    error = (double)copysignf(1, got) * want < 0 ? INFINITY : error;
    error = fabs(want) > DBL_MAX && (double)got != want ? INFINITY : error;
    error = want != want ? (got != got ? 0 : INFINITY) : (got != got ? INFINITY : error);
    return (float)error;
}

#endif
