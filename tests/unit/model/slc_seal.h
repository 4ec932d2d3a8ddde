/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the hashes of a packed file's bytes right again after a test, or a fuzzer, has changed them: what is refused then is
 * refused for what it says, not for its hashes. For bytes that are too damaged to have hashes, does what it can.
 */
#ifndef SLUICE_TESTS_SLC_SEAL_H
#define SLUICE_TESTS_SLC_SEAL_H

#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/model/slc_internal.h"

/* parts of the file whose hashes are made right */
enum { SEAL_HEADER = 1, SEAL_METADATA = 2, SEAL_TABLE = 4, SEAL_TENSORS = 8, SEAL_ALL = 15 };

static inline void seal_range(uint8_t *bytes, size_t size, uint64_t at, uint64_t n, uint8_t *hash)
{
    if (range_fits(at, n, size)) slc_store_hash(hash, XXH3_128bits(bytes + at, (size_t)n));
}

static inline void slc_seal(uint8_t *bytes, size_t size, unsigned what)
{
    if (size < SLC_PAGE) return;
    uint64_t table = load_u64(bytes + SLC_AT_TABLE), n = load_u32(bytes + SLC_AT_N_TENSORS);
    bool has_table = range_fits(table, n * SLC_ENTRY_BYTES, size);
    for (uint64_t i = 0; i < n && has_table && (what & SEAL_TENSORS); i++) {
        uint8_t *entry = bytes + table + i * SLC_ENTRY_BYTES;
        uint64_t at = load_u64(entry + SLC_ENTRY_OFFSET), length = load_u64(entry + SLC_ENTRY_N_BYTES);
        seal_range(bytes, size, at, length, entry + SLC_ENTRY_HASH);
    }
    if (what & SEAL_TABLE) seal_range(bytes, size, table, n * SLC_ENTRY_BYTES, bytes + SLC_AT_TABLE_HASH);
    if (what & SEAL_METADATA)
        seal_range(bytes, size, load_u64(bytes + SLC_AT_METADATA), load_u64(bytes + SLC_AT_METADATA_BYTES),
                   bytes + SLC_AT_METADATA_HASH);
    if (what & SEAL_HEADER) slc_store_hash(bytes + SLC_AT_HASH, XXH3_128bits(bytes, SLC_AT_HASH));
}

#endif
