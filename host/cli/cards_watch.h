/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice cards --watch`: sensors again and again, and cards that come and go as soon as the kernel says so. */
#ifndef SLUICE_CLI_CARDS_WATCH_H
#define SLUICE_CLI_CARDS_WATCH_H

#include "driver/pci_access.h"

struct watch_options {
    struct pci_source source;
    bool json;       /* one object a line */
    float interval;  /* seconds */
    uint32_t rounds; /* 0: until it is ended */
};

/* Exit status; a failure is told. */
int cards_watch(const struct watch_options *options);

#endif
