/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card's mathematics: every function that a card computes beyond add, multiply and fused multiply-add, spelled out
 * in these three, comparison, conversion and integer operations on the bits, all in float32 with rounding to nearest
 * even. Compiled with -ffp-contract=off every implementation (gcc, clang, HLS C, OpenCL C after it) gives the same bits
 * whether or not its processor has fma: card_fma is exact by IEEE 754 either way. No library calls, no tables, no
 * branches: selections only, so that loops over these functions vectorize and HLS pipelines them.
 *
 * No subnormals (kernels/README.md): the caller's processor flushes them, operands and results, intermediate ones too.
 * A subnormal argument counts as zero. On a processor that keeps subnormals the results for other arguments are the same
 * once flushed, except in the tails of silu and gelu (tests/unit/card/card_math_test.c), so tables may be made there.
 *
 * Errors below are in units in the last place of the exact result, the largest over all float32 arguments (the long form
 * of that test; for card_div over random ones), where the exact result is 2^-126 or more. A NaN result is a NaN of any
 * sign and payload. Coefficients: own minimax fits, kernels/abi/card_math_minimax.py prints them with method and error.
 */
#ifndef SLUICE_CARD_MATH_H
#define SLUICE_CARD_MATH_H

/* The same text is C11, HLS C and OpenCL C 1.2 (whose types and bit moves are made alike here). */
#ifdef __OPENCL_VERSION__
#define CARD_INLINE static inline
#define CARD_INFINITY INFINITY
#define CARD_NAN card_float(0x7fc00000u)
#else
#include <stdint.h>

/* Inlined always: a caller compiled for a processor with fma then uses its instruction. */
#define CARD_INLINE static inline __attribute__((always_inline))
#define CARD_INFINITY (__builtin_inff())
#define CARD_NAN (__builtin_nanf(""))
#endif
#define CARD_RECIP_127 0x1.020408p-7f /* 1/127 rounded: scale of an 8-bit group per unit of its largest value */

#ifdef __OPENCL_VERSION__
CARD_INLINE float card_fma(float a, float b, float c) { return fma(a, b, c); }
CARD_INLINE uint32_t card_bits(float value) { return as_uint(value); }
CARD_INLINE float card_float(uint32_t bits) { return as_float(bits); }
#else
/* a * b + c rounded once. */
CARD_INLINE float card_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

/* Bits move by a union: HLS takes neither memcpy of scalars nor casts of pointers. */
union card_scalar {
    float value;
    uint32_t bits;
};
CARD_INLINE uint32_t card_bits(float value) { return (union card_scalar){.value = value}.bits; }
CARD_INLINE float card_float(uint32_t bits) { return (union card_scalar){.bits = bits}.value; }
#endif

/* condition ? a : b. By masks, as compilers make branches of some selections, and then nothing vectorizes. */
CARD_INLINE uint32_t card_select_bits(int condition, uint32_t a, uint32_t b)
{
    uint32_t mask = 0u - (uint32_t)condition;
    return (a & mask) | (b & ~mask);
}
CARD_INLINE float card_select(int condition, float a, float b)
{
    return card_float(card_select_bits(condition, card_bits(a), card_bits(b)));
}

/* 2^n for n in [-126, 127], 0 for -127, infinity for 128; some float for any other n. */
CARD_INLINE float card_pow2(int32_t n) { return card_float(((uint32_t)n + 127u) << 23); }

/* x rounded to the nearest integer, ties to even; |x| at most 2^22. Adding 1.5 * 2^23 leaves no bits for a fraction. */
CARD_INLINE float card_round_even(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

/* The float32 value of an IEEE half. Exact, subnormals too; every NaN becomes one. */
CARD_INLINE float card_f16_to_f32(uint16_t half)
{
    uint32_t magnitude = (uint32_t)half & 0x7fffu;
    uint32_t sign = ((uint32_t)half & 0x8000u) << 16;
    uint32_t normal = (magnitude << 13) + (112u << 23);
    /* A subnormal half counts units of 2^-24: as the fraction of a number with exponent -14, less the leading one. */
    uint32_t small = card_bits(card_float((magnitude << 13) + (113u << 23)) - 0x1p-14f);
    uint32_t bits = card_select_bits(magnitude < 0x0400u, small, normal);
    bits = card_select_bits(magnitude > 0x7bffu, 0x7f800000u, bits) | sign;
    return card_float(card_select_bits(magnitude > 0x7c00u, 0x7fc00000u, bits));
}

/* The IEEE half nearest to value, ties to even: overflow becomes infinity, every NaN becomes 0x7e00. */
CARD_INLINE uint16_t card_f32_to_f16(float value)
{
    uint32_t bits = card_bits(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    /* Normal: rebias the exponent, then round away 13 bits; a carry into the exponent is the right answer. */
    uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    /* Below 2^-14: adding 0.5 puts the unit 2^-24 at the end of the fraction, and the addition rounds. */
    uint32_t below = card_select_bits(magnitude < 0x38800000u, magnitude, 0);
    uint32_t small = card_bits(card_float(below) + 0.5f) - 0x3f000000u;
    uint32_t half = card_select_bits(magnitude < 0x38800000u, small, normal);
    half = card_select_bits(magnitude >= 0x477ff000u, 0x7c00u, half) | sign; /* 65520 and more round to infinity */
    return (uint16_t)card_select_bits(magnitude > 0x7f800000u, 0x7e00u, half);
}

/*
 * 1 / m for m in [1, 2). The first guess (32 m^2 - 144 m + 210) / 99 has the relative error T3(2 m - 3) / 99 of the
 * Chebyshev polynomial T3, at most 1/99; Newton steps square it.
 */
CARD_INLINE float card_recip_mantissa(float m)
{
    float r = card_fma(card_fma(32.0f / 99.0f, m, -144.0f / 99.0f), m, 210.0f / 99.0f);
    r = card_fma(card_fma(-m, r, 1.0f), r, r);
    r = card_fma(card_fma(-m, r, 1.0f), r, r);
    return card_fma(card_fma(-m, r, 1.0f), r, r);
}

/* The fraction of x with the exponent 0, in [1, 2); and x's exponent, -127 for zeros, 128 for infinities and NaN. */
CARD_INLINE float card_mantissa(float x) { return card_float((card_bits(x) & 0x007fffffu) | 0x3f800000u); }
CARD_INLINE int32_t card_exponent(float x) { return (int32_t)(card_bits(x) >> 23 & 0xffu) - 127; }

/* 1 / x; 0.5 ulp. 1 / +-0 is +-infinity and back. */
CARD_INLINE float card_recip(float x)
{
    /* Half of 1 / m, as the power is then 2^-126 or more for every finite x, infinity for 0 and 0 for infinity. */
    float r = (0.5f * card_recip_mantissa(card_mantissa(x))) * card_pow2(1 - card_exponent(x));
    r = card_float(card_bits(r) | (card_bits(x) & 0x80000000u));
    return card_select((card_bits(x) & 0x7fffffffu) > 0x7f800000u, CARD_NAN, r);
}

/* a / b; 0.5 ulp. The quotient of the mantissas, corrected by its remainder, then scaled in two steps: both are exact. */
CARD_INLINE float card_div(float a, float b)
{
    float m = card_mantissa(b);
    float r = card_recip_mantissa(m);
    float q = card_mantissa(a) * r;
    q = card_fma(card_fma(-q, m, card_mantissa(a)), r, q);
    int32_t over = card_exponent(a), under = card_exponent(b);
    int32_t half = (over - under) >> 1;
    q = (q * card_pow2(half)) * card_pow2(over - under - half);
    q = card_select((over == -127) | (under == 128), 0.0f, q);
    q = card_select((over == 128) | (under == -127), CARD_INFINITY, q);
    q = card_float(card_bits(q) | ((card_bits(a) ^ card_bits(b)) & 0x80000000u));
    int32_t none =
        ((over == -127) & (under == -127)) | ((over == 128) & (under == 128)); /* 0 / 0, infinity / infinity */
    none |= (card_bits(a) & 0x7fffffffu) > 0x7f800000u;
    none |= (card_bits(b) & 0x7fffffffu) > 0x7f800000u;
    return card_select(none, CARD_NAN, q);
}

/*
 * x = m * 4^k with m in [1, 4), for x > 0; returns 1 / sqrt(m). First guess: minimax cubic, error 2^-7.2; each Newton
 * step makes an error e 1.5 e^2.
 */
CARD_INLINE float card_rsqrt_parts(float x, float *m, int32_t *k)
{
    int32_t exponent = card_exponent(x);
    int32_t odd = exponent & 1;
    *k = (exponent - odd) / 2;
    float v = card_float((card_bits(x) & 0x007fffffu) | (uint32_t)(127 + odd) << 23);
    float y = card_fma(card_fma(card_fma(-0x1.381f22p-6f, v, 0x1.8eb74ap-3f), v, -0x1.7a4c34p-1f), v, 0x1.8e6242p+0f);
    for (int step = 0; step < 3; step++) y = card_fma(0.5f * y, card_fma(-(v * y), y, 1.0f), y);
    *m = v;
    return y;
}

/* 1 / sqrt(x); 1 ulp. rsqrt(+-0) is infinity, of a negative number NaN, of infinity 0. */
CARD_INLINE float card_rsqrt(float x)
{
    uint32_t bits = card_bits(x);
    float m;
    int32_t k;
    float y = card_rsqrt_parts(x, &m, &k) * card_pow2(-k);
    y = card_select(bits >= 0x7f800000u, CARD_NAN, y);
    y = card_select(bits == 0x7f800000u, 0.0f, y);
    return card_select((bits & 0x7fffffffu) < 0x00800000u, CARD_INFINITY, y);
}

/* sqrt(x); 0.5 ulp. Zeros keep their sign. NaN for a negative number. */
CARD_INLINE float card_sqrt(float x)
{
    uint32_t bits = card_bits(x);
    float m;
    int32_t k;
    float y = card_rsqrt_parts(x, &m, &k);
    float s = m * y;
    s = card_fma(card_fma(-s, s, m), 0.5f * y, s) * card_pow2(k);
    s = card_select(bits >= 0x7f800000u, CARD_NAN, s);
    s = card_select(bits == 0x7f800000u, x, s);
    return card_select((bits & 0x7fffffffu) < 0x00800000u, card_float(bits & 0x80000000u), s);
}

/*
 * e^x = 2^n (e + low) for |x| at most 2^21: e and n are returned, of which e is in [0.70, 1.42]. x = n ln 2 + r with |r| at
 * most ln 2 / 2, in two steps (Cody and Waite), then a minimax polynomial of degree 6. For NaN n is some integer.
 */
CARD_INLINE float card_exp_parts(float x, float *low, int32_t *n)
{
    float shifted = x * 0x1.715476p+0f + 0x1.8p23f;
    float k = shifted - 0x1.8p23f;
    float r = card_fma(-k, 0x1.62e43p-1f, x);
    r = card_fma(-k, -0x1.05c61p-29f, r);
    float p = card_fma(0x1.6a3d08p-10f, r, 0x1.123856p-7f);
    p = card_fma(p, r, 0x1.5558bep-5f);
    p = card_fma(p, r, 0x1.555494p-3f);
    p = card_fma(p, r, 0x1.fffffcp-2f);
    p = card_fma(r * r, p, r);
    float e = p + 1.0f;
    *low = p - (e - 1.0f);
    *n = (int32_t)(card_bits(shifted) - card_bits(0x1.8p23f));
    return e;
}

/* e^x; 1.02 ulp. 2^n is two factors, as n is 128 below the largest result; both products are exact. */
CARD_INLINE float card_exp(float x)
{
    float v = card_select(x > 128.0f, 128.0f, x);
    v = card_select(v < -160.0f, -160.0f, v);
    float low;
    int32_t n;
    float e = card_exp_parts(v, &low, &n);
    int32_t half = n >> 1;
    return (e * card_pow2(half)) * card_pow2(n - half);
}

/*
 * Natural logarithm; 0.81 ulp. x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), then log(1 + f) by a minimax
 * polynomial. log(+-0) is -infinity, of a negative number NaN.
 */
CARD_INLINE float card_log(float x)
{
    uint32_t bits = card_bits(x) + (0x3f800000u - 0x3f3504f3u);
    float e = (float)((int32_t)(bits >> 23) - 127);
    float f = card_float((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float z = f * f;
    float p = card_fma(0x1.147338p-4f, f, -0x1.de01dap-4f);
    p = card_fma(p, f, 0x1.e6c00ap-4f);
    p = card_fma(p, f, -0x1.fc28cap-4f);
    p = card_fma(p, f, 0x1.233ba2p-3f);
    p = card_fma(p, f, -0x1.555c44p-3f);
    p = card_fma(p, f, 0x1.99a476p-3f);
    p = card_fma(p, f, -0x1.000006p-2f);
    p = card_fma(p, f, 0x1.555548p-2f);
    float y = card_fma(f * z, p, e * -0x1.05c61p-29f);
    y = card_fma(-0.5f, z, y);
    y = card_fma(e, 0x1.62e43p-1f, f + y);
    y = card_select(card_bits(x) >= 0x7f800000u, CARD_NAN, y);
    y = card_select(card_bits(x) == 0x7f800000u, x, y);
    return card_select((card_bits(x) & 0x7fffffffu) < 0x00800000u, -CARD_INFINITY, y);
}

/*
 * sin and cos of x in radians; 0.79 ulp for |x| up to 2^22, NaN beyond, so that no wrong angle passes for a right one.
 * x = k pi/2 + r + low: the first fma is exact (x and k times the first 24 bits of pi/2 differ by a multiple of 2^-24
 * below 1), then the next 48 bits of pi/2 are subtracted, and what rounding loses of that is kept in low.
 */
CARD_INLINE void card_sincos(float x, float *sine, float *cosine)
{
    /* The first k may be one off for large x, as 2/pi has 24 bits only; what it leaves tells by how much. */
    float k = card_fma(x, 0x1.45f306p-1f, 0x1.8p23f) - 0x1.8p23f;
    float r = card_fma(-k, -0x1.777a5cp-25f, card_fma(-k, 0x1.921fb6p+0f, x));
    float shifted = card_fma(r, 0x1.45f306p-1f, k + 0x1.8p23f);
    k = shifted - 0x1.8p23f;
    float high = card_fma(-k, 0x1.921fb6p+0f, x);
    float next = k * 0x1.777a5cp-25f;
    float next_low = card_fma(k, 0x1.777a5cp-25f, -next);
    r = high + next;
    float back = r - high; /* Knuth's two-sum */
    float low = card_fma(k, 0x1.ee59dap-50f, ((high - (r - back)) + (next - back)) + next_low);
    float z = r * r;
    float s = card_fma(card_fma(-0x1.9952fap-13f, z, 0x1.110776p-7f), z, -0x1.555546p-3f);
    float c = card_fma(card_fma(0x1.99e80cp-16f, z, -0x1.6c0c28p-10f), z, 0x1.55554ap-5f);
    /* cos(r + low) = (1 - z / 2) - r low + z^2 c, sin(r + low) = r + low (1 - z / 2) + r z s */
    float first_two = card_fma(-0.5f, z, 1.0f);
    s = r + card_fma(r * z, s, low * first_two);
    c = first_two + card_fma(z * z, c, card_fma(-r, low, card_fma(-0.5f, z, 1.0f - first_two)));
    uint32_t quadrant = card_bits(shifted) & 3u;
    float first = card_select(quadrant & 1u, c, s);
    float second = card_select(quadrant & 1u, s, c);
    first = card_float(card_bits(first) ^ (quadrant & 2u) << 30);
    second = card_float(card_bits(second) ^ ((quadrant + 1u) & 2u) << 30);
    int32_t inside = (card_bits(x) & 0x7fffffffu) <= 0x4a800000u; /* 2^22 */
    *sine = card_select(inside, first, CARD_NAN);
    *cosine = card_select(inside, second, CARD_NAN);
}

/*
 * 1 / (1 + e^-x); 1.5 ulp. Written on e = e^-|x|, which cannot overflow; the bits that 1 + e drops come back in the
 * remainder of the division.
 */
CARD_INLINE float card_sigmoid(float x)
{
    float e = card_exp(card_float(card_bits(x) | 0x80000000u));
    float top = card_select(x < 0.0f, e, 1.0f);
    float bottom = 1.0f + e;
    float dropped = e - (bottom - 1.0f);
    float r = card_recip(bottom);
    float q = top * r;
    float remainder = card_fma(-q, dropped, card_fma(-q, bottom, top));
    return card_fma(remainder, r, q);
}

/*
 * x * sigmoid(x), the gate of SwiGLU; 2.5 ulp from -87.336 on. Below -87.3366 the sigmoid is 0 and silu -0, which is
 * 1.1e-36 off at most. silu(-infinity) is NaN.
 */
CARD_INLINE float card_silu(float x) { return x * card_sigmoid(x); }

/*
 * tanh(x); 1.5 ulp. Below 9/16 a minimax polynomial in x^2, above 1 - 2 e / (1 + e) with e = e^-2|x|.
 */
CARD_INLINE float card_tanh(float x)
{
    uint32_t sign = card_bits(x) & 0x80000000u;
    float a = card_float(card_bits(x) ^ sign);
    float z = a * a;
    float p = card_fma(-0x1.9454f2p-8f, z, 0x1.5811f6p-6f);
    p = card_fma(p, z, -0x1.b905c4p-5f);
    p = card_fma(p, z, 0x1.110c5ep-3f);
    p = card_fma(p, z, -0x1.555548p-2f);
    float small = card_fma(a * z, p, a);
    float e = card_exp(-2.0f * a);
    float large = card_fma(-2.0f * e, card_recip(1.0f + e), 1.0f);
    return card_float(card_bits(card_select(a < 0.5625f, small, large)) | sign);
}

/*
 * The gate of GeGLU, gelu in its tanh form: x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x sigmoid(v) with
 * v = 2 sqrt(2/pi) (x + 0.044715 x^3); 3.3 ulp from -10 on. Below -10.002 the sigmoid is 0 and gelu -0, which is
 * 1.2e-37 off at most. gelu(-infinity) is NaN.
 * An error of v is one of the sigmoid's logarithm, so v is a sum of two numbers, v + low.
 */
CARD_INLINE float card_gelu(float x)
{
    /* Past 16 the sigmoid is 0 or 1, and x^3 would overflow. */
    float u = card_select(x > 16.0f, 16.0f, x);
    u = card_select(u < -16.0f, -16.0f, u);
    float z = u * u;
    float z_low = card_fma(u, u, -z);
    float p = 0x1.2444f2p-4f * z;
    float p_low = card_fma(0x1.2444f2p-4f, z, -p) + card_fma(0x1.2444f2p-4f, z_low, 0x1.49b16ap-29f * z);
    /* w + w_low = 2 sqrt(2/pi) + p + p_low: Knuth's two-sum. */
    float w = 0x1.988454p+0f + p;
    float back = w - 0x1.988454p+0f;
    float w_low = (0x1.988454p+0f - (w - back)) + (p - back);
    w_low = w_low + (p_low + -0x1.857936p-25f);
    float v = u * w;
    float low = card_fma(u, w_low, card_fma(u, w, -v));
    /* As card_sigmoid, with e^-|v + low| = e^-|v| (1 - low) for positive v and e^-|v| (1 + low) for negative. */
    float e = card_exp(card_float(card_bits(v) | 0x80000000u));
    e = card_fma(e, card_select(v < 0.0f, low, -low), e);
    float top = card_select(v < 0.0f, e, 1.0f);
    float bottom = 1.0f + e;
    float dropped = e - (bottom - 1.0f);
    float r = card_recip(bottom);
    float q = top * r;
    float remainder = card_fma(-q, dropped, card_fma(-q, bottom, top));
    return x * card_fma(remainder, r, q);
}

/*
 * log(1 + e^x); 1.7 ulp. It is max(x, 0) + log(1 + t) with t = e^-|x|. 1 + t = 2^k (1 + f) with 1 + f in [3/4, 3/2), where f is exact, then
 * as card_log with its own minimax polynomial.
 */
CARD_INLINE float card_softplus(float x)
{
    float t = card_exp(card_float(card_bits(x) | 0x80000000u));
    float k = card_select(t < 0.5f, 0.0f, 1.0f);
    float f = card_select(t < 0.5f, t, card_fma(0.5f, t, -0.5f));
    float z = f * f;
    float p = card_fma(0x1.341cd6p-5f, f, -0x1.75060cp-4f);
    p = card_fma(p, f, 0x1.df1c66p-4f);
    p = card_fma(p, f, -0x1.04ad32p-3f);
    p = card_fma(p, f, 0x1.246388p-3f);
    p = card_fma(p, f, -0x1.5519d6p-3f);
    p = card_fma(p, f, 0x1.999764p-3f);
    p = card_fma(p, f, -0x1.00006ep-2f);
    p = card_fma(p, f, 0x1.55555ap-2f);
    float y = card_fma(f * z, p, k * -0x1.05c61p-29f);
    y = card_fma(-0.5f, z, y);
    y = card_fma(k, 0x1.62e43p-1f, f + y);
    return card_select(x < 0.0f, 0.0f, x) + y;
}

/*
 * Gelu in its exact form, x / 2 (1 + erf(x / sqrt 2)); 3.9 ulp down to where the result is below 2^-126, near -13.15. From
 * there to -infinity it is -0. It is max(x, 0) - h, h = |x| Phi(-|x|) = |x| e^(-x^2 / 2) G(t) u with
 * u = 1 / (1 + |x| / 4), t = 37/64 - u and G a minimax polynomial. What u and x^2 drop comes back by `dropped`.
 */
CARD_INLINE float card_gelu_erf(float x)
{
    float a = card_float(card_bits(x) & 0x7fffffffu);
    a = card_select(a > 13.25f, 13.25f, a); /* h is below 2^-126 from 13.15 on, and n below never less than -127 */
    float z = a * a;
    float low;
    int32_t n;
    float e = card_exp_parts(-0.5f * z, &low, &n);
    float v = card_fma(a, 0.25f, 1.0f);
    float u = card_recip(v);
    float dropped = card_fma(-u, card_fma(a, 0.25f, 1.0f - v), card_fma(-u, v, 1.0f));
    float t = card_fma(-u, dropped, 0x1.28p-1f - u);
    float p = card_fma(-0x1.097f76p-6f, t, 0x1.85228cp-6f);
    p = card_fma(p, t, 0x1.414b1ep-5f);
    p = card_fma(p, t, -0x1.4c5014p-4f);
    p = card_fma(p, t, -0x1.c77612p-6f);
    p = card_fma(p, t, 0x1.096978p-2f);
    p = card_fma(p, t, -0x1.ce773cp-2f);
    p = card_fma(p, t, 0x1.ef4750p-2f);
    p = card_fma(p, t, -0x1.7ca972p-2f);
    p = card_fma(p, t, 0x1.b88f5cp-3f);
    p = p * u;
    low = card_fma(e, card_fma(-0.5f, card_fma(a, a, -z), dropped), low);
    /* The factor that may be small comes last: |x| near 0, else 2^n. */
    float scale = card_pow2(n);
    float last = card_select(a < 1.0f, a, scale);
    p = p * card_select(a < 1.0f, scale, a);
    p = card_fma(p, e, p * low);
    /* By the sign bit: of x < 0.0f ? -0.0f : x clang 14 makes a maximum that takes +0 for -0. */
    uint32_t above = card_select_bits((int32_t)(card_bits(x) >> 31), 0x80000000u, card_bits(x));
    return card_fma(-last, p, card_float(above));
}

#endif
