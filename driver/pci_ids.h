/* SPDX-License-Identifier: Apache-2.0 */
/* Which PCI functions are FPGA cards, and which of a card's functions each is. */
#ifndef SLUICE_DRIVER_PCI_IDS_H
#define SLUICE_DRIVER_PCI_IDS_H

#include <stdint.h>

#define PCI_VENDOR_XILINX 0x10eeu
#define PCI_VENDOR_ADVANTECH 0x13feu
#define PCI_VENDOR_AMAZON 0x1d0fu

enum pci_role {
    PCI_ROLE_NONE,       /* no FPGA card */
    PCI_ROLE_USER,       /* what programs use: memory, DMA, kernels */
    PCI_ROLE_MANAGEMENT, /* loads shells and resets; only the administrator's */
    PCI_ROLE_GOLDEN,     /* the factory image: no shell has been loaded yet */
    PCI_ROLE_OTHER,      /* of such a vendor, but not known */
};

struct pci_model {
    const char *name;       /* "Alveo U55C"; static storage */
    const char *profile;    /* of bitstreams/profiles: "u55c"; NULL: none */
    const char *runtime;    /* what serves it: "XRT", or why none here does; static storage */
    const char *xrt_driver; /* kernel driver that this function needs: "xocl", "xclmgmt"; NULL: none */
    unsigned last_xrt;      /* minor number of the last XRT 2.x that serves it; 0: today's does */
};

/*
 * What a function is by its numbers: *model is set unless the role is PCI_ROLE_NONE. Source of the numbers: the device tables of
 * XRT's kernel driver (xocl/devices.h), pci.ids for the factory images, aws-fpga for F1 and F2.
 */
enum pci_role pci_identify(uint16_t vendor, uint16_t device, struct pci_model *model);

/* "user", "management", ...; static storage. */
const char *pci_role_name(enum pci_role role);

#endif
