/* SPDX-License-Identifier: Apache-2.0 */
/* The shell (platform) that a card runs and the xclbin in it, as XRT's driver tells, and whether a shell is an xclbin's. */
#ifndef SLUICE_CLI_SHELL_NAME_H
#define SLUICE_CLI_SHELL_NAME_H

#include "driver/pci_scan.h"

#define SHELL_NAME_BYTES 128

/* "xilinx_u55c_gen3x16_xdma_base_3". False if the driver does not say. */
bool shell_name(const struct pci_function *function, char out[SHELL_NAME_BYTES]);

/* UUID of the xclbin that is loaded. False if none is, or the driver does not say. */
bool loaded_bitstream(const struct pci_function *function, char out[SHELL_NAME_BYTES]);

/* Two spellings are in use, "xilinx:u55c:gen3x16_xdma:3.0" and "xilinx_u55c_gen3x16_xdma_3_0". */
bool shell_same(const char *a, const char *b);

#endif
