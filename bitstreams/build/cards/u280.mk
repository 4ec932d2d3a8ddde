# SPDX-License-Identifier: Apache-2.0
# XRT dropped this card with 2024.1: its host needs an XRT of 2023.2 or before, so does the build.
PLATFORM := xilinx_u280_gen3x16_xdma_1_202211_1
PART     := xcu280-fsvh2892-2L-e
TOOLS    := 2022.2 2023.1 2023.2
