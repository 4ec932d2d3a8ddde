# SPDX-License-Identifier: Apache-2.0
PLATFORM := xilinx_u50_gen3x16_xdma_5_202210_1
PART     := xcu50-fsvh2104-2-e
TOOLS    := 2022.2 2023.1 2023.2
