/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Card memory that lies in this process: banks that the operating system backs only where they are touched. The float
 * reference uses the same memory. Who may touch which part is the allocator's business (host/card); it is asked through
 * `extent`, because addresses that a program finds in card memory (slot tables) must be checked while it runs.
 */
#ifndef SLUICE_SIM_MEMORY_H
#define SLUICE_SIM_MEMORY_H

#include "host/base/error.h"
#include "kernels/abi/card_program.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_MAX_BANKS 64

struct sim_bank {
    char name[24];
    uint8_t *base;
    uint64_t bytes;
};

/* Bytes from address to the end of the allocation that holds it; 0 if none does. context is the allocator's. */
typedef uint64_t sim_extent_fn(const void *context, card_addr address);

struct sim_memory {
    unsigned n_banks;
    struct sim_bank bank[SIM_MAX_BANKS];
    sim_extent_fn *extent;
    const void *context;
};

/* Three quarters of what this host has available: the rest is for the process and for the page cache under the model file. */
uint64_t sim_memory_default_bytes(void);

/*
 * Banks (0: one; at most SIM_MAX_BANKS) of equal size, bytes (0: three quarters of what this host has available) in all,
 * each rounded down to whole huge pages but never to none. Closed by sim_memory_close.
 */
int sim_memory_open(struct sim_memory *memory, unsigned banks, uint64_t bytes, sim_extent_fn *extent,
                    const void *context, struct error *err);

/*
 * The same with n banks of these names and bytes. sparse: little of it will be touched, here and there. bank[].base is
 * not read.
 */
int sim_memory_open_banks(struct sim_memory *memory, const struct sim_bank *banks, unsigned n, bool sparse,
                          sim_extent_fn *extent, const void *context, struct error *err);
void sim_memory_close(struct sim_memory *memory);

/* Gives a range back to the operating system; its content is undefined after. */
void sim_memory_discard(struct sim_memory *memory, card_addr address, uint64_t bytes);

/* Where the range is in this process, valid until the bank closes; NULL if it is not inside one allocation. */
uint8_t *sim_memory_at(const struct sim_memory *memory, card_addr address, uint64_t bytes);

#endif
