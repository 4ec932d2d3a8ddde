/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's xclbin: what XRT needs to drive our simulated card through its emulation, with the engine of kernels/hls
 * as the one kernel, "sluice_engine:engine_0" at ENGINE_BASE:
 *
 *   argument  register  what
 *   0         0x10      program     u64 address, BITSTREAM's bank 0
 *   1         0x1c      n_descriptors  u32
 *   2         0x24      extents     u64 address, bank 0
 *   3         0x30      n_extents   u32
 *   4         0x38      status      u64 address, bank 0
 *   5 + b     0x44 + 12 b  bank b   u64 address, in bank b
 *
 * which are the registers that Vitis HLS gives sluice_engine (AXI-lite, ap_ctrl_hs: UG1399). A bank of MEM_TOPOLOGY is a
 * bank of the card contract: as many neighbouring channels of the card's first memory as fit its banks evenly
 * (bitstreams/build/connectivity). Sections: BITSTREAM, EMBEDDED_METADATA, MEM_TOPOLOGY, CONNECTIVITY, IP_LAYOUT,
 * CLOCK_FREQ_TOPOLOGY, USER_METADATA (the manifest).
 */
#ifndef SLUICE_BITSTREAMS_SIMULATOR_BITSTREAM_H
#define SLUICE_BITSTREAMS_SIMULATOR_BITSTREAM_H

#include "host/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define ENGINE_KERNEL "sluice_engine"
#define ENGINE_UNIT "engine_0"
#define ENGINE_BASE 0x1800000u
#define ENGINE_FIXED_ARGUMENTS 5u /* before the banks */
#define ENGINE_MAX_BANKS 4u       /* ports of kernels/hls: HLS_MAX_PORTS */

struct simulator_bitstream {
    const char *card;       /* a card profile: a name, or a path (profile.h) */
    uint32_t banks;         /* 1 to ENGINE_MAX_BANKS; 0: as many of them as divide the channels */
    uint64_t bank_bytes;    /* of each bank; 0: the profile's. A multiple of 1024 */
    uint32_t abi_version;   /* that its manifest states; 0: this release's */
    uint16_t mode;          /* XCLBIN_SW_EMU or XCLBIN_HW_EMU */
    uint64_t timestamp;     /* seconds since 1970; the same requests with the same one give the same bytes */
    const char *revision;   /* of the source */
    const uint8_t *payload; /* the BITSTREAM section; NULL: a ZIP with behav_waveform/xsim/simulate.sh, which starts
                               the program that SLUICE_XRT_DEVICE names */
    size_t n_payload;
};

/*
 * The file: *out (free()) and *n_bytes. Errors are card_profile_open's, and ERROR_BAD_ARGUMENT for a number of banks that the
 * card's channels cannot be dealt over.
 */
int simulator_bitstream_make(const struct simulator_bitstream *request, uint8_t **out, size_t *n_bytes,
                             struct error *err);

#endif
