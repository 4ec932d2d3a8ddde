# SPDX-License-Identifier: Apache-2.0
PLATFORM := xilinx_u55c_gen3x16_xdma_3_202210_1
PART     := xcu55c-fsvh2892-2L-e
TOOLS    := 2022.2 2023.1 2023.2
