/* SPDX-License-Identifier: Apache-2.0 */
/* Which process uses a card: has a device node of it open, or its registers mapped. Asked before a card is reset. */
#ifndef SLUICE_DRIVER_PCI_USAGE_H
#define SLUICE_DRIVER_PCI_USAGE_H

#include "driver/pci_scan.h"

struct pci_user {
    int pid;
    char program[32], what[128]; /* "sluice", "/dev/dri/renderD128" */
};

/*
 * Looks through all processes. 1 and the first *user found, 0 if nobody uses the function, ERROR_IO if that cannot be told: other
 * users' processes are visible to root only.
 */
int pci_usage_find(const struct pci_source *source, const struct pci_function *function, struct pci_user *user,
                   struct error *err);

/* Calls node for each device node of a function ("dri/renderD128", below /dev) until it returns false. */
void pci_usage_nodes(const struct pci_function *function, bool (*node)(void *context, const char *name), void *context);

#endif
