/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FPGA cards of a machine: every function of theirs with what configuration space (through libpci) and sysfs tell of it.
 * Reading only. Works without root; what the kernel keeps from others than root is named by pci_hidden_text.
 */
#ifndef SLUICE_DRIVER_PCI_SCAN_H
#define SLUICE_DRIVER_PCI_SCAN_H

#include "driver/pci_access.h"
#include "driver/pci_config.h"
#include "driver/pci_ids.h"
#include "host/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define PCI_FOLDER_BYTES 512

struct pci_bar {
    uint64_t address, bytes; /* bytes 0: the source does not tell */
    bool present, io, wide, prefetchable;
};

/* Errors that the kernel has counted since boot; known is false where it does not count (no AER, or a dump). */
struct pci_error_counts {
    bool known;
    uint64_t correctable, nonfatal, fatal;
    char most[40]; /* the kind of correctable error that there were most of, "BadTLP"; "" for none */
};

/* Things that were not to be read, as bits. */
enum pci_hidden {
    PCI_HIDDEN_CAPABILITIES = 1, /* configuration space beyond 64 bytes: root (CAP_SYS_ADMIN) */
    PCI_HIDDEN_SYSFS = 2,        /* all that sysfs would tell: the source is a dump */
};

struct pci_function {
    struct pci_address address;
    char text[PCI_ADDRESS_BYTES];  /* the address */
    char folder[PCI_FOLDER_BYTES]; /* in sysfs; "" where there is none */
    enum pci_role role;
    struct pci_model model;
    struct pci_facts facts; /* of configuration space; numbers that sysfs knows better are corrected */
    struct pci_bar bar[PCI_BARS];
    struct pci_link now, most, slot; /* {0, 0}: unknown; slot: of the port above */
    char port[PCI_ADDRESS_BYTES];    /* the port above; "" unknown */
    int numa_node, iommu_group;      /* -1: unknown or none */
    char driver[64];                 /* bound; "" none */
    bool driver_known;               /* whether "" means none */
    char reset_methods[64];          /* "flr bus"; "" unknown or none */
    char power[16];                  /* "D0", "D3hot", ...; "" unknown */
    struct pci_error_counts errors;
    unsigned hidden; /* enum pci_hidden */
};

/*
 * The functions of FPGA cards, in order of address, *out owned by the caller (free). A machine without PCI has none. Functions of
 * the same slot that pci_identify does not know but that share vendor and slot with a known one are PCI_ROLE_MANAGEMENT. Errors
 * as pci_access_read.
 */
int pci_scan(const struct pci_source *source, struct pci_function **out, size_t *n, struct error *err);

/* What is not readable and what to do about it; "" if all is. Returns out. */
const char *pci_hidden_text(unsigned hidden, char *out, unsigned size);

/* Whether two functions are of one card: same domain, bus and device. */
bool pci_same_slot(const struct pci_function *a, const struct pci_function *b);

#endif
