/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated card behind XRT's emulation: answers the shim's requests (wire.h) until it closes or goes. */
#ifndef SLUICE_SIM_XRT_DEVICE_H
#define SLUICE_SIM_XRT_DEVICE_H

#include "sim/xrt/engine_unit.h"
#include "sim/xrt/wire.h"

struct device {
    struct wire wire;
    struct card_space space;
    struct engine_unit *unit;
    bool hw_emu; /* else sw_emu: closes differ, and seek is already part of addresses */
    uint64_t copies,
        stall_at_copy; /* the copy, counted from 1, that is never answered, nor anything behind it: for tests */
};

/* Serves until the host closes. An error that is not the end of the other side is returned. */
int device_serve(struct device *device, struct error *err);

#endif
