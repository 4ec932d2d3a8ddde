/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON files of this folder inside the program. */
#include "bitstreams/profiles/profile_list.h"

#define PROFILE_BYTES(symbol, name, file)                                                                              \
    .globl sluice_##symbol; .hidden sluice_##symbol; sluice_##symbol: .incbin file;                                    \
    .globl sluice_##symbol##_end; .hidden sluice_##symbol##_end; sluice_##symbol##_end:;

    .section .rodata
CARD_PROFILES(PROFILE_BYTES)
HOST_PROFILES(PROFILE_BYTES)
KERNELS_PROFILES(PROFILE_BYTES)
    .section .note.GNU-stack, "", %progbits
