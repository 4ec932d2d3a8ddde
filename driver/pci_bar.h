/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of a card: a base address range mapped from sysfs, and the only way in and out of it. A register is read and written
 * by an access of its own width, little-endian, once, in the order of the calls; what the host wrote to memory before a write
 * is there when the card sees the write (a doorbell), and what it reads after a read is not older than that read.
 */
#ifndef SLUICE_DRIVER_PCI_BAR_H
#define SLUICE_DRIVER_PCI_BAR_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct pci_registers {
    volatile uint8_t *base; /* NULL: not open */
    uint64_t bytes;
};

/*
 * Maps BAR number 0 to 5 of the function whose sysfs folder this is. Needs root. ERROR_NOT_FOUND without such a BAR, ERROR_UNSUPPORTED
 * for one of ports, ERROR_BAD_ARGUMENT while the function does not answer memory accesses. On error *out is {0}.
 */
int pci_bar_open(const char *folder, unsigned number, struct pci_registers *out, struct error *err);
void pci_bar_close(struct pci_registers *registers); /* leaves {0} */

/* Whether offset holds a register of width bytes: inside, and aligned to its width. */
static inline bool pci_bar_holds(const struct pci_registers *registers, uint64_t offset, unsigned width)
{
    return registers->base && offset % width == 0 && offset <= registers->bytes && width <= registers->bytes - offset;
}

/* Orders accesses of a device against those of the host's memory: the fences of C11 are for threads alone. */
static inline void pci_barrier(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("mfence" ::: "memory");
#elif defined(__aarch64__)
    __asm__ volatile("dmb osh" ::: "memory");
#else
    __sync_synchronize();
#endif
}

/*
 * Compilers do not merge, split or move volatile accesses of a machine word; the fences order them against the host's memory for
 * compiler and processor. A read past the end gives all ones, as a card does that is gone; a write there does nothing.
 */
#define PCI_BAR_ACCESSORS(width, bits)                                                                                 \
    static inline uint##bits##_t pci_read##bits(const struct pci_registers *registers, uint64_t offset)                \
    {                                                                                                                  \
        if (!pci_bar_holds(registers, offset, width)) return (uint##bits##_t)UINT64_MAX;                               \
        uint##bits##_t value = *(const volatile uint##bits##_t *)(const volatile void *)(registers->base + offset);    \
        pci_barrier();                                                                                                 \
        return value;                                                                                                  \
    }                                                                                                                  \
    static inline void pci_write##bits(const struct pci_registers *registers, uint64_t offset, uint##bits##_t value)   \
    {                                                                                                                  \
        if (!pci_bar_holds(registers, offset, width)) return;                                                          \
        pci_barrier();                                                                                                 \
        *(volatile uint##bits##_t *)(volatile void *)(registers->base + offset) = value;                               \
    }

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "registers are little-endian, and so is every host we know");
PCI_BAR_ACCESSORS(1, 8)
PCI_BAR_ACCESSORS(2, 16)
PCI_BAR_ACCESSORS(4, 32)
PCI_BAR_ACCESSORS(8, 64)
#undef PCI_BAR_ACCESSORS

#endif
