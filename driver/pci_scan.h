/* SPDX-License-Identifier: Apache-2.0 */
/* Finds FPGA cards on PCIe by their vendor number in sysfs. Reading only; needs no rights. */
#ifndef SLUICE_DRIVER_PCI_SCAN_H
#define SLUICE_DRIVER_PCI_SCAN_H

#include "host/base/error.h"

#include <stdint.h>

#define PCI_VENDOR_XILINX 0x10eeu

struct pci_function {
    char address[16]; /* "0000:3b:00.1" */
    uint16_t vendor, device;
    char link_speed[32]; /* as the kernel says it, e.g. "8.0 GT/s PCIe"; empty if unknown */
    unsigned link_width; /* lanes in use; 0 if unknown */
};

/*
 * Fills functions[0..max) with the Xilinx functions under root (normally "/sys/bus/pci/devices"), in order of address;
 * *n_found is how many there are, which may be more than max. A machine without that folder has none. ERROR_IO if the
 * folder cannot be read.
 */
int pci_scan(const char *root, struct pci_function *functions, unsigned max, unsigned *n_found, struct error *err);

#endif
