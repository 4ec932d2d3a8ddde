/* SPDX-License-Identifier: Apache-2.0 */
/* Hot-plug events of the kernel for the server. */
#ifndef SLUICE_CLI_SERVE_CARD_EVENTS_H
#define SLUICE_CLI_SERVE_CARD_EVENTS_H

#include "host/serve/serve.h"

/*
 * Listens; fd is -1 where the kernel gives none. SLUICE_PCI_EVENTS_FD, for tests: the number of a datagram socket, open, from which the
 * kernel's messages come in place of its own. serve_card_events_close ends it. *out must stay where it is.
 */
void serve_card_events_open(struct serve_card_events *out);
void serve_card_events_close(struct serve_card_events *events);

#endif
