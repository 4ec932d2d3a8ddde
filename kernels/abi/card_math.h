/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card's mathematics: every function that a card computes beyond add, multiply and fused multiply-add, spelled out
 * in these three, comparison, conversion and integer operations on the bits, all in float32 with rounding to nearest
 * even. Compiled with -ffp-contract=off every implementation (gcc, clang, HLS C, OpenCL C after it) gives the same bits
 * whether or not its processor has fma: card_fma is exact by IEEE 754 either way. No library calls, no tables, no
 * branches: selections only, so that loops over these functions vectorize and HLS pipelines them.
 *
 * Errors below are in units in the last place of the exact result, the largest that tests/unit/card/card_math_test.c
 * sees; results below 2^-126 are gradual. A NaN result is a NaN of any sign and payload.
 * Coefficients: own minimax fits, kernels/abi/card_math_minimax.py prints them with method and error.
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

/* 2^n for n in [-126, 127]; some float for any other n. */
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
 * 1 / x; 0.5 ulp, 0.75 if the result is subnormal. 1 / +-0 is +-infinity and back. On the mantissa m in [1, 2) the
 * first guess (32 m^2 - 144 m + 210) / 99 has the relative error T3(2 m - 3) / 99 of the Chebyshev polynomial T3, at
 * most 1/99; Newton steps square it.
 */
CARD_INLINE float card_recip(float x)
{
    uint32_t sign = card_bits(x) & 0x80000000u;
    uint32_t magnitude = card_bits(x) & 0x7fffffffu;
    int32_t tiny = magnitude < 0x00800000u;
    uint32_t bits = card_select_bits(tiny, card_bits(card_float(magnitude) * 0x1p24f), magnitude);
    int32_t exponent = (int32_t)(bits >> 23) - 127;
    float m = card_float((bits & 0x007fffffu) | 0x3f800000u);
    float r = card_fma(card_fma(32.0f / 99.0f, m, -144.0f / 99.0f), m, 210.0f / 99.0f);
    r = card_fma(card_fma(-m, r, 1.0f), r, r);
    r = card_fma(card_fma(-m, r, 1.0f), r, r);
    r = card_fma(card_fma(-m, r, 1.0f), r, r);
    /* Two factors, as 2^-exponent alone may be no normal number; the first product is exact. */
    int32_t scale = tiny * 24 - exponent;
    int32_t half = scale >> 1;
    r = (r * card_pow2(half)) * card_pow2(scale - half);
    r = card_select(magnitude == 0x7f800000u, 0.0f, r);
    r = card_select(magnitude > 0x7f800000u, CARD_NAN, r);
    return card_float(card_bits(r) | sign);
}

/*
 * a / b: a * (1 / b) with one correction by the remainder; 1 ulp while b, 1/b and a/b are normal numbers. Where the
 * correction is infinite or NaN the result is a * (1 / b).
 */
CARD_INLINE float card_div(float a, float b)
{
    float r = card_recip(b);
    float q = a * r;
    float corrected = card_fma(card_fma(-q, b, a), r, q);
    return card_select((card_bits(corrected) & 0x7f800000u) == 0x7f800000u, q, corrected);
}

/*
 * x = m * 4^k with m in [1, 4), for x > 0; returns 1 / sqrt(m). First guess: minimax cubic, error 2^-7.2; each Newton
 * step makes an error e 1.5 e^2.
 */
CARD_INLINE float card_rsqrt_parts(float x, float *m, int32_t *k)
{
    int32_t tiny = card_bits(x) < 0x00800000u;
    uint32_t bits = card_select_bits(tiny, card_bits(x * 0x1p24f), card_bits(x));
    int32_t exponent = (int32_t)(bits >> 23) - 127;
    int32_t odd = exponent & 1;
    *k = (exponent - odd) / 2 - tiny * 12;
    float v = card_float((bits & 0x007fffffu) | (uint32_t)(127 + odd) << 23);
    float y = card_fma(card_fma(card_fma(-0x1.381f22p-6f, v, 0x1.8eb74ap-3f), v, -0x1.7a4c34p-1f), v, 0x1.8e6242p+0f);
    for (int step = 0; step < 3; step++) y = card_fma(0.5f * y, card_fma(-(v * y), y, 1.0f), y);
    *m = v;
    return y;
}

/* 1 / sqrt(x); 1 ulp. rsqrt(+-0) is infinity, of a negative number NaN, of infinity 0. */
CARD_INLINE float card_rsqrt(float x)
{
    float m;
    int32_t k;
    float y =
        card_rsqrt_parts(x, &m, &k) * card_pow2(-(k > 100 ? 100 : k)); /* k is past 63 for infinity and NaN only */
    y = card_select(x == CARD_INFINITY, 0.0f, y);
    y = card_select(x == 0.0f, CARD_INFINITY, y);
    return card_select(x >= 0.0f, y, CARD_NAN);
}

/* sqrt(x); 0.5 ulp. NaN for a negative number. */
CARD_INLINE float card_sqrt(float x)
{
    float m;
    int32_t k;
    float y = card_rsqrt_parts(x, &m, &k);
    float s = m * y;
    s = card_fma(card_fma(-s, s, m), 0.5f * y, s);
    s *= card_pow2(k < -100 ? -100 : k);
    s = card_select((x == CARD_INFINITY) | (x == 0.0f), x, s);
    return card_select(x >= 0.0f, s, CARD_NAN);
}

/*
 * e^x; 1 ulp. x = n ln 2 + r with |r| at most ln 2 / 2, in two steps (Cody and Waite), then a minimax polynomial of
 * degree 6. 2^n is two factors, so that the last product rounds, overflows and underflows as it should.
 */
CARD_INLINE float card_exp(float x)
{
    float v = card_select(x > 128.0f, 128.0f, x);
    v = card_select(v < -160.0f, -160.0f, v);
    float shifted = v * 0x1.715476p+0f + 0x1.8p23f;
    float n = shifted - 0x1.8p23f;
    float r = card_fma(-n, 0x1.62e43p-1f, v);
    r = card_fma(-n, -0x1.05c61p-29f, r);
    float p = card_fma(0x1.6a3d08p-10f, r, 0x1.123856p-7f);
    p = card_fma(p, r, 0x1.5558bep-5f);
    p = card_fma(p, r, 0x1.555494p-3f);
    p = card_fma(p, r, 0x1.fffffcp-2f);
    float e = card_fma(r * r, p, r) + 1.0f;
    /* n is the integer in the low bits of shifted: taken from there it is some integer for NaN too, and e is NaN. */
    int32_t power = (int32_t)(card_bits(shifted) - card_bits(0x1.8p23f));
    int32_t half = power >> 1;
    return (e * card_pow2(half)) * card_pow2(power - half);
}

/*
 * Natural logarithm; 0.8 ulp. x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), then log(1 + f) by a minimax
 * polynomial. log(+-0) is -infinity, of a negative number NaN.
 */
CARD_INLINE float card_log(float x)
{
    int32_t tiny = card_bits(x) < 0x00800000u;
    uint32_t bits = card_select_bits(tiny, card_bits(x * 0x1p24f), card_bits(x));
    bits += 0x3f800000u - 0x3f3504f3u;
    float e = (float)((int32_t)(bits >> 23) - 127 - tiny * 24);
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
    y = card_select(x == CARD_INFINITY, x, y);
    y = card_select(x == 0.0f, -CARD_INFINITY, y);
    return card_select(x >= 0.0f, y, CARD_NAN);
}

/*
 * sin and cos of x in radians; 1.6 ulp for |x| up to 2^22, NaN beyond, so that no wrong angle passes for a right one.
 * x = k pi/2 + r: the first fma is exact (x and k times the first 24 bits of pi/2 differ by a multiple of 2^-24 below
 * 1), the others subtract the next 48 bits of pi/2.
 */
CARD_INLINE void card_sincos(float x, float *sine, float *cosine)
{
    /* The first k may be one off for large x, as 2/pi has 24 bits only; what it leaves tells by how much. */
    float k = card_fma(x, 0x1.45f306p-1f, 0x1.8p23f) - 0x1.8p23f;
    float r = card_fma(-k, -0x1.777a5cp-25f, card_fma(-k, 0x1.921fb6p+0f, x));
    float shifted = card_fma(r, 0x1.45f306p-1f, k + 0x1.8p23f);
    k = shifted - 0x1.8p23f;
    r = card_fma(-k, 0x1.921fb6p+0f, x);
    r = card_fma(-k, -0x1.777a5cp-25f, r);
    r = card_fma(-k, -0x1.ee59dap-50f, r);
    float z = r * r;
    float s = card_fma(card_fma(-0x1.9952fap-13f, z, 0x1.110776p-7f), z, -0x1.555546p-3f);
    s = card_fma(r * z, s, r);
    float c = card_fma(card_fma(0x1.99e80cp-16f, z, -0x1.6c0c28p-10f), z, 0x1.55554ap-5f);
    c = card_fma(z * z, c, card_fma(-0.5f, z, 1.0f));
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
 * x * sigmoid(x), the gate of SwiGLU; 2.2 ulp from -87 on, below that the sigmoid is subnormal. silu(-infinity) is NaN.
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
 * v = 2 sqrt(2/pi) (x + 0.044715 x^3); 3.3 ulp from -9.9 on, below that the sigmoid is subnormal. gelu(-infinity) is NaN.
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

#endif
