/* SPDX-License-Identifier: Apache-2.0 */
/* The profiles inside the program: X(symbol, name, file), by name. Read by the C compiler and by the assembler. */
#ifndef SLUICE_BITSTREAMS_PROFILE_LIST_H
#define SLUICE_BITSTREAMS_PROFILE_LIST_H

#define CARD_PROFILES(X)                                                                                               \
    X(card_kv260, "kv260", "bitstreams/profiles/cards/kv260.json")                                                     \
    X(card_u200, "u200", "bitstreams/profiles/cards/u200.json")                                                        \
    X(card_u250, "u250", "bitstreams/profiles/cards/u250.json")                                                        \
    X(card_u280, "u280", "bitstreams/profiles/cards/u280.json")                                                        \
    X(card_u50, "u50", "bitstreams/profiles/cards/u50.json")                                                           \
    X(card_u55c, "u55c", "bitstreams/profiles/cards/u55c.json")                                                        \
    X(card_v80, "v80", "bitstreams/profiles/cards/v80.json")

#define HOST_PROFILES(X)                                                                                               \
    X(host_embedded, "embedded-kv260", "bitstreams/profiles/hosts/embedded-kv260.json")                                \
    X(host_gen3x16_u200, "gen3x16-u200", "bitstreams/profiles/hosts/gen3x16-u200.json")                                \
    X(host_gen3x16_u250, "gen3x16-u250", "bitstreams/profiles/hosts/gen3x16-u250.json")                                \
    X(host_gen3x16_u50, "gen3x16-u50", "bitstreams/profiles/hosts/gen3x16-u50.json")                                   \
    X(host_gen3x16_u55c, "gen3x16-u55c", "bitstreams/profiles/hosts/gen3x16-u55c.json")                                \
    X(host_gen3x16_xd099, "gen3x16-xd099", "bitstreams/profiles/hosts/gen3x16-xd099.json")                             \
    X(host_gen4x8, "gen4x8", "bitstreams/profiles/hosts/gen4x8.json")                                                  \
    X(host_gen5x8, "gen5x8", "bitstreams/profiles/hosts/gen5x8.json")

#define KERNELS_PROFILES(X) X(kernels_sluice, "sluice-300", "bitstreams/profiles/kernels/sluice-300.json")

#endif
