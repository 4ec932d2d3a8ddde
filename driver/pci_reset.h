/* SPDX-License-Identifier: Apache-2.0 */
/* Resets of a card, each after a look whether anybody uses it. Root only. */
#ifndef SLUICE_DRIVER_PCI_RESET_H
#define SLUICE_DRIVER_PCI_RESET_H

#include "driver/pci_scan.h"

enum pci_reset_kind {
    PCI_RESET_FUNCTION, /* FLR: one function, the link stays up */
    PCI_RESET_BUS,      /* secondary-bus reset: all functions of the slot, the link is trained anew */
};

/*
 * Resets the function at address, which functions[0..n) (of pci_scan) holds. Before anything is touched: ERROR_NOT_FOUND if there is
 * no such card, ERROR_UNSUPPORTED for a dump, a function without FLR or a card without a port above, ERROR_BUSY names the process that
 * uses a function of the card, ERROR_IO what is missing (root). After a bus reset the functions are found and bound anew, which
 * has happened when this returns; ERROR_CARD if one did not come back.
 */
int pci_reset(const struct pci_source *source, const struct pci_function *functions, size_t n, const char *address,
              enum pci_reset_kind kind, struct error *err);

#endif
