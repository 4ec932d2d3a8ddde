/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration space of a PCI function says. The bytes are foreign: a dump may be cut, a capability list may run in a
 * circle, and a card that fell off the bus reads as ones; no offset is followed out of the bytes that were read.
 *
 *   0x00 vendor, 0x02 device, 0x04 command, 0x06 status, 0x08 revision, 0x09 class, 0x0e header type (bit 7: more functions)
 *   0x10 base addresses (6; a bridge: 2), 0x19 secondary bus (bridge), 0x2c subsystem, 0x34 first capability
 *   0x40 capabilities: id, next, ...; 0x100 extended capabilities: id 16, version 4, next 12 bits
 *
 * Source: PCI Local Bus 3.0 chapter 6; PCI Express Base 4.0 chapter 7 (the same names in linux/pci_regs.h).
 */
#ifndef SLUICE_DRIVER_PCI_CONFIG_H
#define SLUICE_DRIVER_PCI_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_CONFIG_BYTES 4096u
#define PCI_CONFIG_HEADER_BYTES 64u
#define PCI_CONFIG_LEGACY_BYTES 256u
#define PCI_BARS 6u

/* Configuration space as far as it could be read: n_bytes from the beginning. */
struct pci_config {
    uint8_t bytes[PCI_CONFIG_BYTES];
    uint32_t n_bytes;
};

struct pci_link {
    unsigned generation, lanes; /* 0: unknown */
};

enum pci_power { PCI_POWER_UNKNOWN = -1, PCI_POWER_D0, PCI_POWER_D1, PCI_POWER_D2, PCI_POWER_D3 };

struct pci_config_bar {
    uint64_t address;
    bool present, io, wide, prefetchable; /* wide: 64 bits, takes the next place too */
};

/* Error status bits of the Advanced Error Reporting capability, which stay set until written. */
struct pci_config_aer {
    bool found;
    uint32_t uncorrectable, correctable;
};

struct pci_facts {
    uint16_t vendor, device, subsystem_vendor, subsystem, command;
    uint8_t revision, header_type; /* 0 a function, 1 a bridge; without the bit for more functions */
    uint32_t class_code;           /* 24 bits: class, subclass, interface */
    uint8_t secondary_bus;         /* of a bridge */
    struct pci_config_bar bar[PCI_BARS];
    bool express;        /* has the PCI Express capability */
    bool link_training;  /* right now */
    bool function_reset; /* FLR */
    struct pci_link now, most;
    enum pci_power power;
    struct pci_config_aer aer;
    bool gone;                /* all ones: the function does not answer */
    bool short_header;        /* fewer than 64 bytes: nothing else here holds */
    bool capabilities_hidden; /* there are some, but bytes beyond 64 were not readable: that needs root */
    bool damaged;             /* a capability list leaves the space or runs in a circle */
};

void pci_config_decode(const struct pci_config *config, struct pci_facts *facts);

/* Names of the error bits that are set, e.g. "Bad TLP, Replay Timeout"; "" for none. Returns out. */
const char *pci_aer_names(const struct pci_config_aer *aer, char *out, unsigned size);

#endif
