/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/serve_card_events.h"

#include "driver/pci_events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int next_event(void *context, char address[PCI_ADDRESS_BYTES], bool *gone)
{
    const struct serve_card_events *events = context;
    struct pci_event event;
    for (int got; (got = pci_events_next(events->fd, &event, NULL)) != 0;) {
        if (got < 0) return -1;
        if (event.kind != PCI_EVENT_REMOVE && event.kind != PCI_EVENT_ADD) continue;
        memcpy(address, event.address, PCI_ADDRESS_BYTES);
        *gone = event.kind == PCI_EVENT_REMOVE;
        return 1;
    }
    return 0;
}

static bool is_there(void *context, const char *address)
{
    char path[64];
    (void)context;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s", address);
    return access(path, F_OK) == 0;
}

void serve_card_events_open(struct serve_card_events *out)
{
    const char *given = getenv("SLUICE_PCI_EVENTS_FD");
    *out = (struct serve_card_events){.next = next_event, .is_there = is_there, .context = out};
    out->fd = given ? (int)strtol(given, NULL, 10) : pci_events_open(NULL);
}

void serve_card_events_close(struct serve_card_events *events)
{
    if (events->fd >= 0) close(events->fd);
    events->fd = -1;
}
