/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every PCI function of a machine with its configuration space, through libpci: of this machine, of a copy of another's sysfs, or
 * of what `lspci -xxxx` printed there.
 */
#ifndef SLUICE_DRIVER_PCI_ACCESS_H
#define SLUICE_DRIVER_PCI_ACCESS_H

#include "driver/pci_config.h"
#include "host/base/error.h"

#include <stddef.h>

#define PCI_ADDRESS_BYTES 20 /* "10000:3b:00.1" and its end */
#define PCI_MAX_FUNCTIONS 8192u
#define PCI_MAX_DUMP_BYTES (16u << 20)

/*
 * Where to look; texts are borrowed. {0}: this machine. root is a folder that holds sys, proc, dev, etc of a machine (NULL: "").
 * dump is a file as `lspci -xxxx` (-x, -xxx) prints it; with it, sysfs is looked at only if there is a root too.
 */
struct pci_source {
    const char *root, *dump;
    bool everything; /* functions that are no FPGA cards too (but no bridges), as PCI_ROLE_NONE */
};

/* What stands before "/sys". */
static inline const char *pci_source_root(const struct pci_source *source) { return source->root ? source->root : ""; }

/* Whether there is a sysfs to ask. */
static inline bool pci_source_has_sysfs(const struct pci_source *source) { return source->root || !source->dump; }

struct pci_address {
    uint32_t domain;
    uint8_t bus, device, function;
};

struct pci_raw {
    struct pci_address address;
    struct pci_config config;
};

/*
 * All functions in order of address, *out owned by the caller (free): cards with all that is readable of their configuration space,
 * bridges with 256 bytes, others with the header. A machine without PCI has none. ERROR_NOT_FOUND for a dump that is not there,
 * ERROR_BAD_FILE for one that is no dump, ERROR_TOO_LARGE for more than PCI_MAX_FUNCTIONS, ERROR_IO if the bus cannot be listed.
 */
int pci_access_read(const struct pci_source *source, struct pci_raw **out, size_t *n, struct error *err);

/* "0000:3b:00.1". */
void pci_address_text(const struct pci_address *address, char out[PCI_ADDRESS_BYTES]);

/* Of "0000:3b:00.1" or "3b:00.1". False if it is neither. */
bool pci_address_parse(const char *text, struct pci_address *out);

/* Below zero, zero or above as strcmp. */
int pci_address_compare(const struct pci_address *a, const struct pci_address *b);

#endif
