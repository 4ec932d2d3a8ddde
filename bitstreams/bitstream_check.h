/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that is checked of a bitstream before it goes to a card: the container, its tables, the manifest and its hashes, the ABI,
 * the signature. A backend that loads bitstreams asks here first.
 */
#ifndef SLUICE_BITSTREAMS_BITSTREAM_CHECK_H
#define SLUICE_BITSTREAMS_BITSTREAM_CHECK_H

#include "bitstreams/manifest.h"
#include "bitstreams/signature.h"
#include "host/base/map_file.h"

#include <stdbool.h>

struct bitstream_policy {
    bool allow_unsigned;     /* a file without FILE.sig is taken; a wrong signature never is */
    const char *keys_folder; /* of trusted public keys; NULL: SIGNATURE_KEYS_FOLDER */
    const char *card;        /* profile of the card that it must be for; NULL: any */
};

/* A file with its manifest, open. */
struct bitstream {
    struct map_file map;
    struct xclbin xclbin;
    struct manifest manifest;
    struct map_file manifest_map;  /* of a manifest in a file of its own; {0} if it is inside */
    struct signed_content content; /* what a signature of it signs */
    bool is_signed;
    char key_name[256]; /* the trusted key's file, once the signature was checked */
};

/*
 * Opens path and the manifest inside or beside it (manifest_path; NULL: x.json for x.xclbin, if it is there; both must be right where
 * both are). ERROR_NOT_FOUND without a manifest. Nothing is trusted yet. On error *out is {0}.
 */
int bitstream_open(const char *path, const char *manifest_path, struct bitstream *out, struct error *err);
void bitstream_close(struct bitstream *bitstream);

/* Content, ABI, card, signature, in this order. Errors name path and what to do. */
int bitstream_check(struct bitstream *bitstream, const char *path, const struct bitstream_policy *policy,
                    struct error *err);

/*
 * The file's bytes in memory of their own, as a card gets them: *out is owned by the caller (free). ERROR_BAD_FILE if the file was
 * changed since it was opened, and so is not what was checked.
 */
int bitstream_copy(const struct bitstream *bitstream, const char *path, uint8_t **out, struct error *err);

/* path with another ending: "x.json", "x.xclbin.sig". Owned by the caller; NULL if out of memory. */
char *bitstream_manifest_path(const char *path);
char *bitstream_signature_path(const char *path);

#endif
