/* SPDX-License-Identifier: Apache-2.0 */
/* PCI functions that come and go, as the kernel tells it (uevents over netlink): how a card pulled out is noticed at once. */
#ifndef SLUICE_DRIVER_PCI_EVENTS_H
#define SLUICE_DRIVER_PCI_EVENTS_H

#include "driver/pci_access.h"
#include "host/base/error.h"

#include <stddef.h>

enum pci_event_kind { PCI_EVENT_OTHER, PCI_EVENT_ADD, PCI_EVENT_REMOVE, PCI_EVENT_BIND, PCI_EVENT_UNBIND };

struct pci_event {
    enum pci_event_kind kind;
    char address[PCI_ADDRESS_BYTES]; /* "" for PCI_EVENT_OTHER */
};

/* Listens. Returns a file descriptor to poll and pass to pci_events_next (owned by the caller: close), or an error. Needs no root. */
int pci_events_open(struct error *err);

/*
 * The next event of a PCI function: 1 and *event, 0 if there is none now (never waits), or ERROR_IO. Messages that are not the
 * kernel's are dropped. ERROR_TOO_LARGE: the kernel had to drop events; look at everything again.
 */
int pci_events_next(int fd, struct pci_event *event, struct error *err);

/*
 * What one message says: "ACTION@PATH", then "KEY=VALUE" texts, each with its zero byte. PCI_EVENT_OTHER for what is not about a
 * PCI function. Any bytes are allowed.
 */
void pci_event_parse(const char *message, size_t n_bytes, struct pci_event *event);

const char *pci_event_name(enum pci_event_kind kind); /* "add", "remove", ...; static storage */

#endif
