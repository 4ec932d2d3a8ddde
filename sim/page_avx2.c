/* SPDX-License-Identifier: Apache-2.0 */
/* The page kernels with AVX2: 16 lanes are two registers, and four dot products fill them. */
#include "sim/page_kernels.h"

#if defined(__x86_64__)
#include "kernels/abi/card_math.h"

#include <immintrin.h>

#define UNROLL _Pragma("GCC unroll 16")
#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define PAGE_KERNELS page_avx2
#define V16_SUMS 4
#define V16_ACROSS 2

typedef struct {
    __m256 low, high;
} v16;

INLINE v16 v16_load(const float *from) { return (v16){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
INLINE void v16_store(float *to, v16 a)
{
    _mm256_storeu_ps(to, a.low);
    _mm256_storeu_ps(to + 8, a.high);
}
INLINE v16 v16_set(float a) { return (v16){_mm256_set1_ps(a), _mm256_set1_ps(a)}; }
INLINE v16 v16_mul(v16 a, v16 b) { return (v16){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return (v16){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
INLINE v16 v16_fma_some(const float *a, const float *b, v16 c, uint32_t n)
{
    float lane[16];
    v16_store(lane, c);
    for (uint32_t i = 0; i < n; i++) lane[i] = card_fma(a[i], b[i], lane[i]);
    return v16_load(lane);
}
INLINE v16 v16_bytes(const int8_t *from)
{
    const __m128i byte = _mm_loadu_si128((const __m128i *)(const void *)from);
    return (v16){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(byte)),
                 _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(byte, 8)))};
}
INLINE v16 v16_halves(const uint16_t *from)
{
    const __m128i *half = (const __m128i *)(const void *)from;
    return (v16){_mm256_cvtph_ps(_mm_loadu_si128(half)), _mm256_cvtph_ps(_mm_loadu_si128(half + 1))};
}

INLINE void v16_trees(const v16 acc[V16_SUMS], float sum[V16_SUMS])
{
    __m256 eight[4]; /* lanes l + l + 8 */
    UNROLL
    for (int i = 0; i < 4; i++) eight[i] = _mm256_add_ps(acc[i].low, acc[i].high);
    __m256 pair[2]; /* lanes l + l + 4 of sums i and i + 2 */
    UNROLL
    for (int i = 0; i < 2; i++)
        pair[i] = _mm256_add_ps(_mm256_permute2f128_ps(eight[i], eight[i + 2], 0x20),
                                _mm256_permute2f128_ps(eight[i], eight[i + 2], 0x31));
    /* Sums 0, 1, 0, 1 | 2, 3, 2, 3. */
    const __m256 two = _mm256_add_ps(_mm256_unpacklo_ps(pair[0], pair[1]), _mm256_unpackhi_ps(pair[0], pair[1]));
    const __m128 low = _mm256_castps256_ps128(two), high = _mm256_extractf128_ps(two, 1);
    _mm_storeu_ps(sum, _mm_add_ps(_mm_shuffle_ps(low, high, 0x44), _mm_shuffle_ps(low, high, 0xee)));
}

#include "sim/page_template.h"
#endif
