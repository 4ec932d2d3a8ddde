/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest of a bitstream: a JSON object that says what it is. It lies in the xclbin's USER_METADATA section under the
 * name MANIFEST_SECTION, or beside it in a file (x.json for x.xclbin), as bitstreams/build/check_build.py writes it.
 *
 *   schema       2
 *   abi_version  of the card contract (kernels/abi) that its kernels speak
 *   card         profile of the card it is for ("u55c")
 *   design, revision, platform, tools
 *                what was built, from which source revision, for which platform, by what
 *   kernels      [{"name", "compute_units": [...]}]
 *   clocks       [{"name", "mhz"}]
 *   banks        [{"name", "base_address", "bytes"}]
 *   sections     [{"kind", "bytes", "sha256"}] of the file, in order, USER_METADATA left out
 *   file, bytes, sha256
 *                of the whole xclbin: in a file beside it only, since no section can hold the hash of its own file
 *
 * schema, abi_version, card, and sections or sha256 must be there.
 */
#ifndef SLUICE_BITSTREAMS_MANIFEST_H
#define SLUICE_BITSTREAMS_MANIFEST_H

#include "bitstreams/xclbin.h"

#include <jansson.h>
#include <stdint.h>

#define MANIFEST_SECTION "sluice_manifest"
#define MANIFEST_SCHEMA 2
#define MANIFEST_MAX_BYTES (1u << 20)

struct manifest {
    json_t *json; /* owned */
    uint32_t abi_version;
    const char *card; /* borrowed from json */
};

/* What an xclbin does not say of itself; texts are borrowed. */
struct manifest_facts {
    uint32_t abi_version;
    const char *card, *design, *revision, *tools;
};

/* From text; file is for messages. ERROR_BAD_FILE names the member that is missing or wrong. On error *out is {0}. */
int manifest_parse(const char *text, size_t n_bytes, const char *file, struct manifest *out, struct error *err);
void manifest_free(struct manifest *manifest); /* leaves {0} */

/* The one inside an xclbin; ERROR_NOT_FOUND if it has none. */
int manifest_inside(const struct xclbin *xclbin, const char *file, struct manifest *out, struct error *err);

/* Of an xclbin, whose tables are checked here: *out is owned by the caller. */
int manifest_make(const struct xclbin *xclbin, const struct manifest_facts *facts, json_t **out, struct error *err);

/* This release speaks CARD_ABI_VERSION and the version before it. Else ERROR_UNSUPPORTED says what to do. */
int manifest_check_abi(const struct manifest *manifest, struct error *err);

/* That the xclbin of these bytes is the one that the manifest describes: hashes, lengths. ERROR_BAD_FILE names what differs. */
int manifest_check_content(const struct manifest *manifest, const struct xclbin *xclbin, const uint8_t *bytes,
                           size_t n_bytes, struct error *err);

#endif
