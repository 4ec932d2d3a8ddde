/* SPDX-License-Identifier: Apache-2.0 */
/* The page kernels with NEON: 16 lanes are four registers, and four dot products are summed together. */
#include "sim/page_kernels.h"

#if defined(__aarch64__)
#include "kernels/abi/card_math.h"

#include <arm_neon.h>

#define UNROLL _Pragma("GCC unroll 16")
#define TARGET
#define INLINE static inline __attribute__((always_inline))
#define PAGE_KERNELS page_neon
#define V16_SUMS 4
#define V16_ACROSS 2

typedef struct {
    float32x4_t of[4];
} v16;

INLINE v16 v16_load(const float *from)
{
    return (v16){{vld1q_f32(from), vld1q_f32(from + 4), vld1q_f32(from + 8), vld1q_f32(from + 12)}};
}
INLINE void v16_store(float *to, v16 a)
{
    UNROLL
    for (int i = 0; i < 4; i++) vst1q_f32(to + 4 * i, a.of[i]);
}
INLINE v16 v16_set(float a) { return (v16){{vdupq_n_f32(a), vdupq_n_f32(a), vdupq_n_f32(a), vdupq_n_f32(a)}}; }
INLINE v16 v16_mul(v16 a, v16 b)
{
    UNROLL
    for (int i = 0; i < 4; i++) a.of[i] = vmulq_f32(a.of[i], b.of[i]);
    return a;
}
INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    UNROLL
    for (int i = 0; i < 4; i++) c.of[i] = vfmaq_f32(c.of[i], a.of[i], b.of[i]);
    return c;
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
    const int8x16_t byte = vld1q_s8(from);
    const int16x8_t half[2] = {vmovl_s8(vget_low_s8(byte)), vmovl_s8(vget_high_s8(byte))};
    v16 a;
    UNROLL
    for (int i = 0; i < 2; i++) {
        a.of[2 * i] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(half[i])));
        a.of[2 * i + 1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(half[i])));
    }
    return a;
}
INLINE v16 v16_halves(const uint16_t *from)
{
    v16 a;
    UNROLL
    for (int i = 0; i < 4; i++) a.of[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * i)));
    return a;
}

INLINE void v16_trees(const v16 acc[V16_SUMS], float sum[V16_SUMS])
{
    float32x4_t four[4]; /* lanes l + l + 8, then l + l + 4 */
    UNROLL
    for (int i = 0; i < 4; i++)
        four[i] = vaddq_f32(vaddq_f32(acc[i].of[0], acc[i].of[2]), vaddq_f32(acc[i].of[1], acc[i].of[3]));
    float32x4_t two[2]; /* lanes l + l + 2 of two sums */
    UNROLL
    for (int i = 0; i < 2; i++)
        two[i] = vaddq_f32(vcombine_f32(vget_low_f32(four[2 * i]), vget_low_f32(four[2 * i + 1])),
                           vcombine_f32(vget_high_f32(four[2 * i]), vget_high_f32(four[2 * i + 1])));
    vst1q_f32(sum, vaddq_f32(vuzp1q_f32(two[0], two[1]), vuzp2q_f32(two[0], two[1])));
}

#include "sim/page_template.h"
#endif
