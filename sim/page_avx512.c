/* SPDX-License-Identifier: Apache-2.0 */
/* The page kernels with AVX-512: 16 lanes are one register, 16 dot products are summed by one transposition. */
#include "sim/page_kernels.h"

#if defined(__x86_64__)
#include "sim/quantize.h"

#include <immintrin.h>

#define UNROLL _Pragma("GCC unroll 16")
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define PAGE_KERNELS page_avx512
#define V16_SUMS 16
#define V16_ACROSS 4

typedef __m512 v16;

INLINE v16 v16_load(const float *from) { return _mm512_loadu_ps(from); }
INLINE void v16_store(float *to, v16 a) { _mm512_storeu_ps(to, a); }
INLINE v16 v16_set(float a) { return _mm512_set1_ps(a); }
INLINE v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
INLINE v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
INLINE v16 v16_fma_some(const float *a, const float *b, v16 c, uint32_t n)
{
    const __mmask16 some = (__mmask16)((1u << n) - 1);
    return _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(some, a), _mm512_maskz_loadu_ps(some, b), c, some);
}
INLINE v16 v16_bytes(const int8_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
}
INLINE v16 v16_halves(const uint16_t *from)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
}

/* Lanes l + l + 8, then l + l + 4, of four: four lanes of each are left, those of `a` first. */
INLINE v16 fold(v16 a, v16 b, v16 c, v16 d)
{
    const v16 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    const v16 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

INLINE void v16_trees(const v16 acc[V16_SUMS], float sum[V16_SUMS])
{
    v16 part[4];
    UNROLL
    for (int i = 0; i < 4; i++) part[i] = fold(acc[i], acc[4 + i], acc[8 + i], acc[12 + i]);
    /* Within 128 bits: lanes l + l + 2 of two, then lanes 0 + 1 of four. */
    const v16 first = _mm512_add_ps(_mm512_unpacklo_ps(part[0], part[1]), _mm512_unpackhi_ps(part[0], part[1]));
    const v16 second = _mm512_add_ps(_mm512_unpacklo_ps(part[2], part[3]), _mm512_unpackhi_ps(part[2], part[3]));
    v16_store(sum, _mm512_add_ps(_mm512_shuffle_ps(first, second, 0x44), _mm512_shuffle_ps(first, second, 0xee)));
}

/* ---- QUANTIZE, 16 groups at once ---- */

#define V16_QUANTIZE

INLINE __m512i join(__m512i a, __m512i b, int largest)
{
    return largest ? _mm512_max_epu32(a, b) : _mm512_add_epi32(a, b);
}

/* Of 16 vectors of 16 integers, lane i of the result is the sum or the largest of vector i. */
INLINE __m512i join_all(const __m512i of[16], int largest)
{
    __m512i part[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        const __m512i a = of[i], b = of[4 + i], c = of[8 + i], d = of[12 + i];
        const __m512i ab = join(_mm512_shuffle_i32x4(a, b, 0x44), _mm512_shuffle_i32x4(a, b, 0xee), largest);
        const __m512i cd = join(_mm512_shuffle_i32x4(c, d, 0x44), _mm512_shuffle_i32x4(c, d, 0xee), largest);
        part[i] = join(_mm512_shuffle_i32x4(ab, cd, 0x88), _mm512_shuffle_i32x4(ab, cd, 0xdd), largest);
    }
    const __m512i first =
        join(_mm512_unpacklo_epi32(part[0], part[1]), _mm512_unpackhi_epi32(part[0], part[1]), largest);
    const __m512i second =
        join(_mm512_unpacklo_epi32(part[2], part[3]), _mm512_unpackhi_epi32(part[2], part[3]), largest);
    return join(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second), largest);
}

/* As quantize_group of 16 groups. */
INLINE void quantize16(const float *x, int8_t *value, float *scale, int32_t *sum)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i of[16];
    UNROLL
    for (int g = 0; g < 16; g++) {
        const __m512i a = _mm512_castps_si512(v16_load(x + 32 * g)), b = _mm512_castps_si512(v16_load(x + 32 * g + 16));
        of[g] = _mm512_max_epu32(_mm512_and_si512(a, magnitude), _mm512_and_si512(b, magnitude));
    }
    const __m512i largest = join_all(of, 1);
    const __m512 step = _mm512_mul_ps(_mm512_castsi512_ps(largest), v16_set(CARD_RECIP_127));
    const __mmask16 finite = _mm512_cmplt_epu32_mask(largest, _mm512_set1_epi32(0x7f800000));
    const __mmask16 used = finite & _mm512_cmp_ps_mask(step, v16_set(0x1p-64f), _CMP_GE_OQ);
    float each[16], inverse[16];
    v16_store(each, step);
    for (int g = 0; g < 16; g++) inverse[g] = card_recip(each[g]);
    v16_store(scale, _mm512_mask_mov_ps(_mm512_maskz_mov_ps(used, step), (__mmask16)~finite, v16_set(CARD_NAN)));
    UNROLL
    for (int g = 0; g < 16; g++) {
        /* The conversion rounds to even, and products are within +-127 and what one rounding adds. */
        const __mmask16 all = (__mmask16) - (used >> g & 1);
        const v16 by = v16_set(inverse[g]);
        const __m512i a = _mm512_maskz_cvtps_epi32(all, v16_mul(v16_load(x + 32 * g), by));
        const __m512i b = _mm512_maskz_cvtps_epi32(all, v16_mul(v16_load(x + 32 * g + 16), by));
        _mm_storeu_si128((__m128i *)(void *)(value + 32 * g), _mm512_cvtepi32_epi8(a));
        _mm_storeu_si128((__m128i *)(void *)(value + 32 * g + 16), _mm512_cvtepi32_epi8(b));
        of[g] = _mm512_add_epi32(a, b);
    }
    _mm512_storeu_si512(sum, join_all(of, 0));
}

TARGET static void quantize(const float *x, size_t n, int8_t *value, float *scale, int32_t *sum)
{
    size_t g = 0;
    for (; g + 16 <= n; g += 16) quantize16(x + 32 * g, value + 32 * g, scale + g, sum + g);
    for (; g < n; g++) quantize_group(x + 32 * g, 32, value + 32 * g, scale + g, sum + g);
}

#include "sim/page_template.h"
#endif
