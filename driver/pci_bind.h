/* SPDX-License-Identifier: Apache-2.0 */
/* Which kernel driver serves a function. Root only. */
#ifndef SLUICE_DRIVER_PCI_BIND_H
#define SLUICE_DRIVER_PCI_BIND_H

#include "driver/pci_scan.h"

/*
 * Unbinds what is bound and binds driver ("vfio-pci"; its module must be loaded), and no other from now on. ERROR_IO says what is
 * missing, ERROR_CARD if the driver did not take the function. Nobody may use it: ask pci_usage_find first.
 */
int pci_bind(const struct pci_source *source, const struct pci_function *function, const char *driver,
             struct error *err);

#endif
