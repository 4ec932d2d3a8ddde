/* SPDX-License-Identifier: Apache-2.0 */
/* Where on the PCI bus the card is that XRT has opened for this process. XRT's C API does not tell. */
#ifndef SLUICE_CARD_XRT_CARD_ADDRESS_H
#define SLUICE_CARD_XRT_CARD_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Of the device node (/dev/dri/renderD128) that is open: descriptors, a folder like /proc/self/fd, has links to nodes; sys is like /sys.
 * Writes "0000:3b:00.1" to out, or "" and false if there is none, as under emulation.
 */
bool card_address_find(const char *descriptors, const char *sys, char *out, size_t size);

#endif
