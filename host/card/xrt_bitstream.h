/* SPDX-License-Identifier: Apache-2.0 */
/* What "xrt:..." says, and the bitstream that it names: checked, and the banks that its engine has. */
#ifndef SLUICE_CARD_XRT_BITSTREAM_H
#define SLUICE_CARD_XRT_BITSTREAM_H

#include "host/card/card.h"
#include "host/card/xrt_process.h"

struct xrt_settings {
    unsigned device;
    char bitstream[1024]; /* path; empty: SLUICE_BITSTREAM */
    char keys[1024];      /* folder of trusted keys; empty: the usual one */
    bool allow_unsigned;
    bool has_watchdog;
    unsigned watchdog_ms; /* 0: none */
    char address[20];     /* of the card's PCI function, where it is not to be found out; else empty */
};

/*
 * "", or a device's number and settings, comma between: bitstream=FILE, keys=DIR, unsigned, watchdog=MS,
 * address=0000:3b:00.1. ERROR_NOT_FOUND for another one.
 */
int xrt_settings_read(const char *text, struct xrt_settings *out, struct error *err);

/* What the process is asked to open. request->xclbin is owned by the caller; card: profile's name of the manifest. */
int xrt_bitstream_open(const struct xrt_settings *settings, const struct card_options *options,
                       struct xrt_request *request, char *card, size_t size, struct error *err);

#endif
