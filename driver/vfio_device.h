/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card without a driver of its own, through the kernel's vfio-pci: registers, DMA into memory of this process, interrupts, reset.
 * For cards that XRT does not serve and for tests of what is below it. The IOMMU keeps the card to the memory that was mapped for it.
 */
#ifndef SLUICE_DRIVER_VFIO_DEVICE_H
#define SLUICE_DRIVER_VFIO_DEVICE_H

#include "driver/pci_bar.h"
#include "driver/pci_scan.h"

struct vfio_device {
    int container, group, device; /* file descriptors; -1: not open */
};

/*
 * Opens a function that is bound to vfio-pci (pci_bind) and in an IOMMU group, and lets it be master of the bus. ERROR_UNSUPPORTED
 * without an IOMMU, ERROR_BUSY if another process has the group or a neighbour in it has another driver, ERROR_IO says what is missing.
 * On error nothing stays open.
 */
int vfio_device_open(const struct pci_function *function, struct vfio_device *out, struct error *err);
void vfio_device_close(struct vfio_device *device); /* mappings end with it, registers do not: close those first */

/* As pci_bar_open, closed by pci_bar_close. */
int vfio_map_bar(const struct vfio_device *device, unsigned number, struct pci_registers *out, struct error *err);

/*
 * The card sees bytes of host memory at bus address iova until vfio_unmap_memory; all three are multiples of the page size. The
 * pages stay in memory: counts against the limit of locked memory (ulimit -l), and ERROR_NO_MEMORY says so.
 */
int vfio_map_memory(const struct vfio_device *device, void *memory, uint64_t iova, uint64_t bytes, struct error *err);
int vfio_unmap_memory(const struct vfio_device *device, uint64_t iova, uint64_t bytes, struct error *err);

/* MSI, or the interrupt line if it has none: *fd is an eventfd that counts them, owned by the caller (close it after the device). */
int vfio_await_interrupts(const struct vfio_device *device, int *fd, struct error *err);

/* The kernel's choice of reset; ERROR_UNSUPPORTED if the function has none. */
int vfio_device_reset(const struct vfio_device *device, struct error *err);

#endif
