/* SPDX-License-Identifier: Apache-2.0 */
/* PCIe links in words: what one is, what it could be, what stands in its way. */
#ifndef SLUICE_DRIVER_PCI_LINK_H
#define SLUICE_DRIVER_PCI_LINK_H

#include "driver/pci_config.h"

/* A direction's bytes a second before packet headers; 0 if unknown. Generations 1 to 6, any width. */
double pci_link_bytes_per_s(const struct pci_link *link);

/* "Gen3 x16", "unknown". Returns out. */
const char *pci_link_text(const struct pci_link *link, char *out, unsigned size);

/* From what sysfs says, "8.0 GT/s PCIe" and "16"; 0 where it says "Unknown" or nothing. */
struct pci_link pci_link_of_sysfs(const char *speed, const char *width);

enum pci_link_state {
    PCI_LINK_UNKNOWN, /* too little is readable */
    PCI_LINK_GOOD,    /* all that the card can do */
    PCI_LINK_SLOT,    /* all that this slot can do, but the card could do more */
    PCI_LINK_DOWN,    /* card and slot could do more: it was trained down */
    PCI_LINK_NONE,    /* no lanes: the link is down */
};

/* slot: of the port above; {0, 0} if unknown. */
enum pci_link_state pci_link_judge(const struct pci_link *now, const struct pci_link *most,
                                   const struct pci_link *slot);

/*
 * A sentence for a person: "Gen1 x4, 1.0 GB/s: 6 % of what the card can do (Gen3 x16); the slot could do Gen3 x16, ...". With
 * what to do about it where something is wrong. Returns out.
 */
const char *pci_link_sentence(const struct pci_link *now, const struct pci_link *most, const struct pci_link *slot,
                              char *out, unsigned size);

#endif
