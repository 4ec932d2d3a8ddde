/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread's float mode for card arithmetic: no subnormals (kernels/README.md). Subnormal operands count as zero with
 * their sign, and so do results below 2^-126.
 *
 * On x86-64 this is MXCSR's DAZ and FTZ, which is the contract's rule: a result is tiny if it is below 2^-126 after
 * rounding to 24 bits. AArch64 has the same rule with FEAT_AFP (FPCR.AH, FIZ and FZ). Without it there is FPCR.FZ, which
 * looks before rounding: an exact product or fma in the one rounding interval [2^-126 - 2^-151, 2^-126) becomes zero
 * there and 2^-126 by the contract. Sums, and so quantized matmuls, whose products stay far above, are the same on
 * all. Other processors keep their subnormals.
 */
#ifndef SLUICE_BASE_FLOAT_MODE_H
#define SLUICE_BASE_FLOAT_MODE_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#define FLOAT_MODE_CARD UINT64_C(0x8040) /* FTZ, DAZ */
static inline uint64_t float_mode_get(void) { return __builtin_ia32_stmxcsr(); }
static inline void float_mode_set(uint64_t mode) { __builtin_ia32_ldmxcsr((unsigned)mode); }
/* Whether the card's mode has the contract's rule in the last interval below 2^-126 too. */
static inline bool float_mode_is_exact(void) { return true; }
static inline uint64_t float_mode_card(void) { return FLOAT_MODE_CARD; }
#elif defined(__aarch64__)
#include <sys/auxv.h>
#define FLOAT_MODE_CARD (UINT64_C(1) << 24) /* FZ */
static inline uint64_t float_mode_get(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void float_mode_set(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
static inline bool float_mode_is_exact(void)
{
    uint64_t features; /* Linux gives programs what they may use of it, where HWCAP_CPUID says so */
    if (!(getauxval(AT_HWCAP) & 1u << 11)) return false;
    __asm__("mrs %0, id_aa64mmfr1_el1" : "=r"(features));
    return (features >> 44 & 15) != 0; /* AFP */
}
static inline uint64_t float_mode_card(void)
{
    return FLOAT_MODE_CARD | (float_mode_is_exact() ? UINT64_C(3) : 0); /* AH, FIZ */
}
#else
#define FLOAT_MODE_CARD UINT64_C(0)
static inline uint64_t float_mode_get(void) { return 0; }
static inline void float_mode_set(uint64_t mode) { (void)mode; }
static inline bool float_mode_is_exact(void) { return false; }
static inline uint64_t float_mode_card(void) { return FLOAT_MODE_CARD; }
#endif

/*
 * Turns the card's mode on for this thread and returns the mode before, for float_mode_set. Compilers move float
 * operations past either: call them around calls of functions, not amid arithmetic.
 */
static inline uint64_t float_mode_enter(void)
{
    uint64_t before = float_mode_get();
    float_mode_set(before | float_mode_card());
    return before;
}

#endif
