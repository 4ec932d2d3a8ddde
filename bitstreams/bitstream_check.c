/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/bitstream_check.h"
#include "bitstreams/xclbin_sections.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *joined(const char *stem, size_t length, const char *ending)
{
    char *path = NULL;
    return asprintf(&path, "%.*s%s", (int)length, stem, ending) < 0 ? NULL : path;
}

char *bitstream_manifest_path(const char *path)
{
    size_t length = strlen(path), ending = strlen(".xclbin");
    if (length > ending && strcmp(path + length - ending, ".xclbin") == 0) length -= ending;
    return joined(path, length, ".json");
}

char *bitstream_signature_path(const char *path) { return joined(path, strlen(path), ".sig"); }

/* 1: *out is the manifest beside path; 0: there is none, which is an error if it was asked for by name. */
static int open_beside(const char *path, const char *manifest_path, struct bitstream *out, struct error *err)
{
    char *own = manifest_path ? NULL : bitstream_manifest_path(path);
    const char *name = manifest_path ? manifest_path : own;
    if (!name) return error_set(err, ERROR_NO_MEMORY, "out of memory for a file name");
    int status = map_file_open(name, &out->manifest_map, err);
    if (status == ERROR_NOT_FOUND && !manifest_path)
        status = 0;
    else if (status == 0)
        status =
            manifest_parse((const char *)out->manifest_map.bytes, out->manifest_map.size, name, &out->manifest, err);
    free(own);
    return status < 0 ? status : out->manifest.json != NULL;
}

/* The manifest inside must say the same of itself as the one beside it. */
static int open_inside(const char *path, struct bitstream *out, struct error *err)
{
    struct manifest inside;
    struct error why = {0};
    int status = manifest_inside(&out->xclbin, path, &inside, &why);
    if (status == ERROR_NOT_FOUND && out->manifest.json) return 0;
    if (status == ERROR_NOT_FOUND)
        return error_set(err, ERROR_NOT_FOUND,
                         "%s: has no manifest, inside or beside it, that says which ABI it speaks "
                         "(bitstreams/build/check_build.py writes one)",
                         path);
    if (status < 0) return error_set(err, status, "%s", why.text);
    if (!out->manifest.json) {
        out->manifest = inside;
        return 0;
    }
    if (inside.abi_version != out->manifest.abi_version || strcmp(inside.card, out->manifest.card) != 0)
        status = error_set(err, ERROR_BAD_FILE,
                           "%s: the manifest beside it says ABI %u, card %s; the one inside ABI %u, card %s", path,
                           out->manifest.abi_version, out->manifest.card, inside.abi_version, inside.card);
    if (status == 0) status = manifest_check_content(&inside, &out->xclbin, out->map.bytes, out->map.size, err);
    manifest_free(&inside);
    return status;
}

int bitstream_open(const char *path, const char *manifest_path, struct bitstream *out, struct error *err)
{
    *out = (struct bitstream){0};
    int status = map_file_open(path, &out->map, err);
    if (status == 0) status = xclbin_read(out->map.bytes, out->map.size, path, &out->xclbin, err);
    if (status == 0) {
        status = xclbin_check_tables(&out->xclbin, err);
        if (status < 0 && err) error_prefix(err, "%s", path);
    }
    if (status == 0) status = open_beside(path, manifest_path, out, err);
    if (status >= 0) status = open_inside(path, out, err);
    if (status < 0) {
        bitstream_close(out);
        return status;
    }
    out->content.n_bytes = out->map.size;
    crypto_hash_sha256(out->content.sha256, out->map.bytes, out->map.size);
    out->content.has_manifest = out->manifest_map.bytes != NULL;
    if (out->content.has_manifest)
        crypto_hash_sha256(out->content.manifest_sha256, out->manifest_map.bytes, out->manifest_map.size);
    return 0;
}

void bitstream_close(struct bitstream *bitstream)
{
    manifest_free(&bitstream->manifest);
    xclbin_free(&bitstream->xclbin);
    map_file_close(&bitstream->manifest_map);
    map_file_close(&bitstream->map);
    *bitstream = (struct bitstream){0};
}

static int check_signature(struct bitstream *bitstream, const char *path, const struct bitstream_policy *policy,
                           struct error *err)
{
    struct map_file map = {0};
    char *name = bitstream_signature_path(path);
    if (!name) return error_set(err, ERROR_NO_MEMORY, "out of memory for a file name");
    const char *folder = policy->keys_folder ? policy->keys_folder : SIGNATURE_KEYS_FOLDER;
    int status = map_file_open(name, &map, err);
    bitstream->is_signed = status != ERROR_NOT_FOUND;
    if (status == ERROR_NOT_FOUND && policy->allow_unsigned)
        status = 0;
    else if (status == ERROR_NOT_FOUND)
        status = error_set(err, ERROR_NOT_FOUND, "it is not signed: there is no %s (sluice bitstream sign)", name);
    else if (status == 0)
        status =
            signature_verify(&bitstream->content, (const char *)map.bytes, map.size, folder, bitstream->key_name, err);
    map_file_close(&map);
    free(name);
    return status;
}

int bitstream_check(struct bitstream *bitstream, const char *path, const struct bitstream_policy *policy,
                    struct error *err)
{
    const struct manifest *manifest = &bitstream->manifest;
    struct error why = {0};
    int status = manifest_check_content(manifest, &bitstream->xclbin, bitstream->map.bytes, bitstream->map.size, &why);
    if (status == 0) status = manifest_check_abi(manifest, &why);
    if (status == 0 && policy->card && strcmp(policy->card, manifest->card) != 0)
        status = error_set(&why, ERROR_UNSUPPORTED, "it is for card %s, not %s (load one for this card)",
                           manifest->card, policy->card);
    if (status == 0) status = check_signature(bitstream, path, policy, &why);
    return status < 0 ? error_set(err, status, "%s: %s", path, why.text) : 0;
}

int bitstream_copy(const struct bitstream *bitstream, const char *path, uint8_t **out, struct error *err)
{
    uint8_t sha256[crypto_hash_sha256_BYTES];
    *out = malloc(bitstream->map.size);
    if (!*out) return error_set(err, ERROR_NO_MEMORY, "%s: no memory", path);
    memcpy(*out, bitstream->map.bytes, bitstream->map.size);
    crypto_hash_sha256(sha256, *out, bitstream->map.size);
    if (memcmp(sha256, bitstream->content.sha256, sizeof sha256) == 0) return 0;
    free(*out);
    *out = NULL;
    return error_set(err, ERROR_BAD_FILE, "%s: it was changed while it was opened (try again)", path);
}
