/* SPDX-License-Identifier: Apache-2.0 */
/* The page kernels for any processor. */
#include "kernels/abi/card_math.h"
#include "sim/lanes.h"
#include "sim/page_kernels.h"

#include <string.h>

#define UNROLL SIM_UNROLL
#define TARGET SIM_CLONES
#define INLINE SIM_INLINE
#define PAGE_KERNELS page_generic
#define V16_SUMS 4
#define V16_ACROSS 2

typedef struct {
    float lane[LANES];
} v16;

INLINE v16 v16_load(const float *from)
{
    v16 a;
    memcpy(a.lane, from, sizeof a.lane);
    return a;
}
INLINE void v16_store(float *to, v16 a) { memcpy(to, a.lane, sizeof a.lane); }
INLINE v16 v16_set(float x)
{
    v16 a;
    for (unsigned l = 0; l < LANES; l++) a.lane[l] = x;
    return a;
}
INLINE v16 v16_mul(v16 a, v16 b)
{
    for (unsigned l = 0; l < LANES; l++) a.lane[l] = a.lane[l] * b.lane[l];
    return a;
}
INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    for (unsigned l = 0; l < LANES; l++) c.lane[l] = card_fma(a.lane[l], b.lane[l], c.lane[l]);
    return c;
}
INLINE v16 v16_fma_some(const float *a, const float *b, v16 c, uint32_t n)
{
    for (uint32_t l = 0; l < n; l++) c.lane[l] = card_fma(a[l], b[l], c.lane[l]);
    return c;
}
INLINE v16 v16_bytes(const int8_t *from)
{
    v16 a;
    for (unsigned l = 0; l < LANES; l++) a.lane[l] = (float)from[l];
    return a;
}
INLINE v16 v16_halves(const uint16_t *from)
{
    v16 a;
    for (unsigned l = 0; l < LANES; l++) a.lane[l] = card_f16_to_f32(from[l]);
    return a;
}
INLINE void v16_trees(const v16 acc[V16_SUMS], float sum[V16_SUMS])
{
    for (unsigned i = 0; i < V16_SUMS; i++) {
        v16 a = acc[i];
        sum[i] = lanes_tree(a.lane);
    }
}

#include "sim/page_template.h"

const struct page_kernels *page_kernels_find(const char *name)
{
#if defined(__x86_64__)
    if (strcmp(name, "avx512") == 0) return &page_avx512;
    if (strcmp(name, "avx2") == 0) return &page_avx2;
#elif defined(__aarch64__)
    if (strcmp(name, "neon") == 0) return &page_neon;
#endif
    (void)name;
    return &page_generic;
}
