/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/xclbin.h"

#include <stdio.h>

const char *xclbin_kind_name(uint32_t kind)
{
    static const char *const names[XCLBIN_KIND_END] = {
#define XCLBIN_KIND_NAME(name, number) [number] = #name,
        XCLBIN_KINDS(XCLBIN_KIND_NAME)
#undef XCLBIN_KIND_NAME
    };
    return kind < XCLBIN_KIND_END ? names[kind] : NULL;
}

const char *xclbin_mode_name(uint32_t mode)
{
    static const char *const names[XCLBIN_MODE_END] = {
        [XCLBIN_FLAT] = "FLAT",
        [XCLBIN_PR] = "PR",
        [XCLBIN_TANDEM_STAGE2] = "TANDEM_STAGE2",
        [XCLBIN_TANDEM_STAGE2_WITH_PR] = "TANDEM_STAGE2_WITH_PR",
        [XCLBIN_HW_EMU] = "HW_EMU",
        [XCLBIN_SW_EMU] = "SW_EMU",
        [XCLBIN_HW_EMU_PR] = "HW_EMU_PR",
    };
    return mode < XCLBIN_MODE_END ? names[mode] : NULL;
}

int xclbin_kind_is_single(uint32_t kind)
{
    switch (kind) {
    case XCLBIN_BITSTREAM:
    case XCLBIN_EMBEDDED_METADATA:
    case XCLBIN_MEM_TOPOLOGY:
    case XCLBIN_CONNECTIVITY:
    case XCLBIN_IP_LAYOUT:
    case XCLBIN_CLOCK_FREQ_TOPOLOGY:
    case XCLBIN_BUILD_METADATA:
    case XCLBIN_KEYVALUE_METADATA:
    case XCLBIN_USER_METADATA:
    case XCLBIN_PARTITION_METADATA:
    case XCLBIN_GROUP_TOPOLOGY:
    case XCLBIN_GROUP_CONNECTIVITY: return 1;
    default: return 0;
    }
}

void xclbin_uuid_text(const uint8_t uuid[16], char text[XCLBIN_UUID_TEXT])
{
    char *to = text;
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *to++ = '-';
        snprintf(to, 3, "%02x", uuid[i]);
        to += 2;
    }
}
