/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures of bitstreams: ed25519 (libsodium) in a file beside the xclbin, FILE.sig, so that any xclbin can be signed and the
 * bytes that XRT loads stay as they are. What is signed is this text, so that a signature of something else can never
 * be taken for one:
 *
 *   sluice bitstream signature 1
 *   bytes N
 *   sha256 HEX
 *   manifest HEX        SHA-256 of the manifest beside the xclbin; "-" if there is none
 *
 * FILE.sig is a JSON object: schema 1, algorithm "ed25519", bytes, sha256, manifest_sha256 (null: none), key (the public one), signature;
 * the last two in hexadecimal digits.
 *
 * A key is two files of one line: NAME.pub "sluice-ed25519-public HEX", which goes to the folder of trusted keys of those
 * who check, and NAME.key "sluice-ed25519-secret HEX", mode 0600, which goes nowhere.
 */
#ifndef SLUICE_BITSTREAMS_SIGNATURE_H
#define SLUICE_BITSTREAMS_SIGNATURE_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIGNATURE_KEYS_FOLDER "/etc/sluice/keys" /* where trusted keys lie unless another folder is named */
#define SIGNATURE_MAX_BYTES 65536u               /* of a .sig or key file */

struct signed_content {
    uint64_t n_bytes;
    uint8_t sha256[32];
    bool has_manifest;
    uint8_t manifest_sha256[32];
};

/* Makes stem.pub and stem.key. ERROR_BAD_ARGUMENT if one of them exists; then, or on another error, neither is left. */
int signature_make_keys(const char *stem, struct error *err);

/* The text of a .sig file: *text is owned by the caller. key_path: the secret key. */
int signature_sign(const struct signed_content *content, const char *key_path, char **text, struct error *err);

/*
 * That text (a .sig file's) signs content with a key that has a .pub file in folder; key_name gets that file's name. Neither the
 * folder nor the file may be writable by everybody. ERROR_BAD_FILE: no signature, or not of this content; ERROR_NOT_FOUND: the
 * key is not among those trusted; else ERROR_IO.
 */
int signature_verify(const struct signed_content *content, const char *text, size_t n_bytes, const char *folder,
                     char key_name[256], struct error *err);

#endif
