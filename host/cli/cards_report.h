/* SPDX-License-Identifier: Apache-2.0 */
/* What `sluice cards` says of the cards on PCIe: lines for a person, JSON for a script. */
#ifndef SLUICE_CLI_CARDS_REPORT_H
#define SLUICE_CLI_CARDS_REPORT_H

#include "driver/pci_scan.h"

#include <jansson.h>

#define CARDS_MAX_SENSORS 64

/* In a word: "ready" (bound to the driver that it needs), "no driver", "wrong driver", "management", "golden image", "gone", ... */
const char *card_state(const struct pci_function *function);

/* Lines of one function each, then what is wrong with it and with its link, with what to do. */
void cards_print(const struct pci_function *functions, size_t n);

/* One function with all that is known of it; owned by the caller. NULL without memory. */
json_t *cards_json(const struct pci_function *function);

/* Its sensors alone, for --watch: {"card", "state", "sensors": [...]}. */
json_t *cards_sensors_json(const struct pci_function *function);

/* A line for --watch: address, state, temperature, power, other sensors. */
void cards_print_sensors(const struct pci_function *function);

#endif
