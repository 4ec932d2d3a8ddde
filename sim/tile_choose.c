/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/tile_kernels.h"

#include <stdbool.h>
#include <string.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

/* Fastest first. */
static const struct {
    const char *name;
    tile_kernel *run;
    row_kernel *row;     /* NULL: none */
    panel_kernel *panel; /* NULL: none */
} kernels[] = {
#if defined(__x86_64__)
    {"avx512", tile_avx512, row_avx512, panel_avx512},
    {"avx2", tile_avx2, NULL, NULL},
#elif defined(__aarch64__)
    {"neon", tile_neon, NULL, NULL},
#endif
    {"generic", tile_generic, NULL, NULL},
};

#if defined(__x86_64__)
/* By CPUID: not every compiler's __builtin_cpu_supports knows it. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}
#endif

static bool processor_has(const char *name)
{
#if defined(__x86_64__)
    if (strcmp(name, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma") && has_f16c();
    if (strcmp(name, "avx2") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
#elif defined(__aarch64__)
    if (strcmp(name, "neon") == 0) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
    return strcmp(name, "generic") == 0;
}

tile_kernel *tile_kernel_find(const char *asked, const char **name)
{
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        if (asked && strcmp(asked, kernels[i].name) != 0) continue;
        if (!processor_has(kernels[i].name)) continue;
        *name = kernels[i].name;
        return kernels[i].run;
    }
    return NULL;
}

row_kernel *row_kernel_of(tile_kernel *kernel)
{
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        if (kernels[i].run == kernel) return kernels[i].row;
    }
    return NULL;
}

panel_kernel *panel_kernel_of(tile_kernel *kernel)
{
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        if (kernels[i].run == kernel) return kernels[i].panel;
    }
    return NULL;
}
