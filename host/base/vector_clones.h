/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_BASE_VECTOR_CLONES_H
#define SLUICE_BASE_VECTOR_CLONES_H

#include <features.h> /* __GLIBC__ */

/*
 * Functions marked VECTOR_CLONES are compiled three times and the best one is chosen when the program starts: with AVX-512,
 * with AVX2 and FMA, and for any x86-64. The bits are the same. Sanitizers cannot run the chooser, so they get the plain
 * one.
 */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) &&                           \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTOR_CLONES
#endif

#endif
