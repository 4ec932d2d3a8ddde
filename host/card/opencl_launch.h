/* SPDX-License-Identifier: Apache-2.0 */
/* What opencl_launch.c, opencl_operations.c and opencl_checks.c share: one kernel with its arguments. */
#ifndef SLUICE_CARD_OPENCL_LAUNCH_H
#define SLUICE_CARD_OPENCL_LAUNCH_H

#include "host/card/opencl.h"

/* The program that is being enqueued. */
struct opencl_run {
    struct opencl_machine *machine;
    unsigned slot;
};

/* Addresses outside the banks: the machine's scratch memory, and the list of allocations. */
#define OPENCL_SCRATCH(offset) CARD_ADDR(255u, offset)
#define OPENCL_RANGES CARD_ADDR(254u, 0)
/* An operand that the descriptor does not have: somewhere, as the kernel does not look at it. */
#define OPENCL_ABSENT CARD_ADDR(0, 0)

/*
 * Arguments after the program's status, in this order: a pool's banks (CARD_MAX_BANKS of them), operands (memory and
 * offset), the pool's offset and page bytes, 64-bit numbers, the pool's first bank and how many, 32-bit numbers.
 */
struct opencl_arguments {
    const struct opencl_pool *pool; /* NULL: the kernel has none */
    const card_addr *operand;
    const uint64_t *wide;
    const uint32_t *word;
    unsigned n_operands, n_wides, n_words;
};
struct opencl_pool {
    card_addr address;
    uint64_t page_bytes;
    uint32_t banks; /* over which it is dealt, at least 1 */
};
#define OPERANDS(...)                                                                                                  \
    .operand = (const card_addr[]){__VA_ARGS__},                                                                       \
    .n_operands = sizeof((const card_addr[]){__VA_ARGS__}) / sizeof(card_addr)
#define WIDES(...)                                                                                                     \
    .wide = (const uint64_t[]){__VA_ARGS__}, .n_wides = sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)
#define WORDS(...)                                                                                                     \
    .word = (const uint32_t[]){__VA_ARGS__}, .n_words = sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)

/* Enqueues at least `items` work-items in groups of `group`. */
int opencl_launch(const struct opencl_run *run, enum opencl_kernel kernel, const struct opencl_arguments *arguments,
                  uint64_t items, size_t group, struct error *err);

/* Enqueues tiles x parts work-groups of 16 x 8 items: those of quantized matrices. */
int opencl_launch_tiles(const struct opencl_run *run, enum opencl_kernel kernel,
                        const struct opencl_arguments *arguments, uint64_t tiles, uint64_t parts, struct error *err);

/* ---- opencl_operations.c ---- */

/* Enqueues the kernels of one descriptor, which is no AWAIT. e: its extension, or NULL. */
int opencl_enqueue_operation(const struct opencl_run *run, const struct card_descriptor *d,
                             const struct card_descriptor *e, struct error *err);

/* Bytes of scratch memory that the descriptor needs. */
uint64_t opencl_scratch_bytes(const struct card_descriptor *d, const struct card_descriptor *e);

/* ---- opencl_checks.c ---- */

struct opencl_checks; /* those of a part of a program */

/*
 * Plans the checks of batch tables of descriptors [first, end): one that the part has made already, of a table that it
 * has not written since, is not made again. *out is owned by the caller: free. ERROR_NO_MEMORY.
 */
int opencl_plan_checks(const struct opencl_machine *machine, const struct card_descriptor *program, unsigned first,
                       unsigned end, struct opencl_checks **out, struct error *err);

/* Enqueues the checks that go before descriptor `index`; called for all of them in order. e: its extension, or NULL. */
int opencl_enqueue_checks(const struct opencl_run *run, struct opencl_checks *checks, const struct card_descriptor *d,
                          const struct card_descriptor *e, uint32_t index, struct error *err);

#endif
