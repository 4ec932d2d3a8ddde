/* SPDX-License-Identifier: Apache-2.0 */
/* What the cards that compute kernels/README.md bit for bit, simulated or not, have in common in their description. */
#ifndef SLUICE_CARD_FORMATS_H
#define SLUICE_CARD_FORMATS_H

#include "host/card/card.h"

/* ABI, weight formats (all) and page formats. */
static inline void card_describe_formats(struct card_info *info)
{
    info->abi_version = CARD_ABI_VERSION;
    info->weight_formats = 1u << CARD_FORMAT_F32;
    for (unsigned f = CARD_FORMAT_INT4; f < CARD_FORMAT_END; f++) info->weight_formats |= 1u << f;
    info->kv_formats = 1u << CARD_FORMAT_F32 | 1u << CARD_FORMAT_F16 | 1u << CARD_FORMAT_INT8 | 1u << CARD_FORMAT_INT4;
    info->kv_default = CARD_FORMAT_F16;
}

#endif
