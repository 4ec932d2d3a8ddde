/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets in packed files (slc.h), for the files that read and write them. */
#ifndef SLUICE_MODEL_SLC_INTERNAL_H
#define SLUICE_MODEL_SLC_INTERNAL_H

#include "host/model/slc.h"

#include <string.h>
#include <xxhash.h>

#define SLC_MAGIC "SLUICE\x1a\n"
#define SLC_NAME_BYTES 64u
#define SLC_SOURCE_NAME_BYTES 256u
#define SLC_PART_BYTES 16u /* of a part's sizes, before its header */
#define SLC_MAX_PARTS 99999u

enum slc_header_offset {
    SLC_AT_VERSION = 8,
    SLC_AT_ABI = 12,
    SLC_AT_LAYOUT = 16,
    SLC_AT_BYTES = 24,
    SLC_AT_SOURCE_BYTES = 32,
    SLC_AT_SOURCE_HASH = 40,
    SLC_AT_N_PARTS = 72,
    SLC_AT_N_TENSORS = 76,
    SLC_AT_METADATA = 80,
    SLC_AT_METADATA_BYTES = 88,
    SLC_AT_TABLE = 96,
    SLC_AT_METADATA_HASH = 112,
    SLC_AT_TABLE_HASH = 128,
    SLC_AT_SOURCE_NAME = 144,
    SLC_AT_HASH = 4080,
};

enum slc_entry_offset {
    SLC_ENTRY_FORMAT = 64,
    SLC_ENTRY_TYPE = 68,
    SLC_ENTRY_ROWS = 72,
    SLC_ENTRY_COLS = 76,
    SLC_ENTRY_EXPERTS = 80,
    SLC_ENTRY_OFFSET = 88,
    SLC_ENTRY_N_BYTES = 96,
    SLC_ENTRY_HASH = 112,
    SLC_ENTRY_BYTES = 128,
};

_Static_assert(SLC_AT_SOURCE_NAME + SLC_SOURCE_NAME_BYTES <= SLC_AT_HASH, "the name fits");
_Static_assert(SLC_AT_HASH + SLC_HASH_BYTES == SLC_PAGE, "the header's hash ends its page");
_Static_assert(SLC_ENTRY_HASH + SLC_HASH_BYTES == SLC_ENTRY_BYTES, "the hash ends an entry");

static inline void slc_store_hash(uint8_t *to, XXH128_hash_t hash)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, hash);
    memcpy(to, canonical.digest, SLC_HASH_BYTES);
}

static inline bool slc_hash_is(const uint8_t *want, XXH128_hash_t hash)
{
    uint8_t have[SLC_HASH_BYTES];
    slc_store_hash(have, hash);
    return memcmp(want, have, SLC_HASH_BYTES) == 0;
}

#endif
