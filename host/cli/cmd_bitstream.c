/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/bitstream_check.h"
#include "bitstreams/simulator_bitstream.h"
#include "host/cli/bitstream_report.h"
#include "host/cli/commands.h"
#include "host/cli/output_file.h"
#include "sluice_revision.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const struct error *err) { return failure("bitstream: %s", err->text); }

/* Text or bytes under a name, whole or not at all. */
static int write_file(const char *path, const void *bytes, size_t n_bytes, struct error *err)
{
    struct output_file file;
    int status = output_file_open(path, &file, err);
    if (status < 0) return status;
    fwrite(bytes, 1, n_bytes, file.stream);
    status = output_file_commit(&file, err);
    output_file_close(&file);
    return status;
}

static int run_inspect(const struct command *self, int argc, char **argv)
{
    bool json = false;
    const struct option table[] = {
        {"json", 0, OPTION_FLAG, &json, NULL, "print one JSON object, with the content of sections", 0, 0},
        {0},
    };
    const char *operands[1] = {NULL};
    int n_operands;
    int status = options_parse(self, table, argc, argv, operands, 1, &n_operands);
    if (status >= 0) return status;
    if (n_operands == 0) return usage_error(self, "FILE is missing");

    struct error err = {0};
    struct map_file map;
    struct xclbin xclbin = {0};
    status = map_file_open(operands[0], &map, &err);
    if (status < 0) return failed(&err);
    status = xclbin_read(map.bytes, map.size, operands[0], &xclbin, &err);
    if (status == 0) {
        status = (json ? bitstream_report_json : bitstream_report)(operands[0], &xclbin, &err);
        if (status < 0) error_prefix(&err, "%s", operands[0]);
    }
    xclbin_free(&xclbin);
    map_file_close(&map);
    return status < 0 ? failed(&err) : EXIT_DONE;
}

static void print_verified(const char *path, const struct bitstream *bitstream)
{
    printf("%s: content as its manifest says, card ABI %u, card %s, ", path, bitstream->manifest.abi_version,
           bitstream->manifest.card);
    if (bitstream->is_signed)
        printf("signed by %s\n", bitstream->key_name);
    else
        puts("not signed");
}

static int run_verify(const struct command *self, int argc, char **argv)
{
    struct bitstream_policy policy = {0};
    const char *manifest = NULL;
    const struct option table[] = {
        {"keys", 0, OPTION_TEXT, &policy.keys_folder, "DIR", "trusted public keys (" SIGNATURE_KEYS_FOLDER ")", 0, 0},
        {"manifest", 0, OPTION_TEXT, &manifest, "F", "the manifest (FILE's with .json, or the one inside)", 0, 0},
        {"card", 0, OPTION_TEXT, &policy.card, "PROFILE", "it must be for this card", 0, 0},
        {"allow-unsigned", 0, OPTION_FLAG, &policy.allow_unsigned, NULL, "a file without a signature is good too", 0,
         0},
        {0},
    };
    const char *operands[1] = {NULL};
    int n_operands;
    int status = options_parse(self, table, argc, argv, operands, 1, &n_operands);
    if (status >= 0) return status;
    if (n_operands == 0) return usage_error(self, "FILE is missing");

    struct error err = {0};
    struct bitstream bitstream;
    status = bitstream_open(operands[0], manifest, &bitstream, &err);
    if (status < 0) return failed(&err);
    status = bitstream_check(&bitstream, operands[0], &policy, &err);
    if (status == 0) print_verified(operands[0], &bitstream);
    bitstream_close(&bitstream);
    return status < 0 ? failed(&err) : EXIT_DONE;
}

/* The manifest beside a file: the one inside and the hash of the whole. */
static int write_manifest(const char *path, const char *out, const uint8_t *bytes, size_t n_bytes, struct error *err)
{
    struct xclbin xclbin;
    struct manifest manifest = {0};
    uint8_t digest[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof digest + 1], *text = NULL;
    const char *slash = strrchr(out, '/');
    int status = xclbin_read(bytes, n_bytes, out, &xclbin, err);
    if (status == 0) status = manifest_inside(&xclbin, out, &manifest, err);
    if (status == 0) {
        crypto_hash_sha256(digest, bytes, n_bytes);
        sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
        json_object_set_new(manifest.json, "file", json_string(slash ? slash + 1 : out));
        json_object_set_new(manifest.json, "bytes", json_integer((json_int_t)n_bytes));
        json_object_set_new(manifest.json, "sha256", json_string(hex));
        text = json_dumps(manifest.json, JSON_INDENT(2));
        status = text ? write_file(path, text, strlen(text), err) : error_set(err, ERROR_NO_MEMORY, "out of memory");
    }
    free(text);
    manifest_free(&manifest);
    xclbin_free(&xclbin);
    return status;
}

static int build(struct simulator_bitstream *request, const char *out, const char *payload, const char *manifest,
                 struct error *err)
{
    struct map_file map = {0};
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    int status = payload ? map_file_open(payload, &map, err) : 0;
    if (status < 0) return status;
    request->payload = map.bytes;
    request->n_payload = map.size;
    status = simulator_bitstream_make(request, &bytes, &n_bytes, err);
    if (status == 0) status = write_file(out, bytes, n_bytes, err);
    if (status == 0 && manifest) status = write_manifest(manifest, out, bytes, n_bytes, err);
    free(bytes);
    map_file_close(&map);
    return status;
}

static int run_build(const struct command *self, int argc, char **argv)
{
    struct simulator_bitstream request = {.card = "u55c", .mode = XCLBIN_HW_EMU, .revision = SLUICE_REVISION};
    const char *manifest = NULL, *mode = "hw_emu", *payload = NULL;
    const struct option table[] = {
        {"card", 0, OPTION_TEXT, &request.card, "PROFILE", "the card that is simulated (u55c)", 0, 0},
        {"mode", 0, OPTION_TEXT, &mode, "M", "XRT's emulation it is for: hw_emu or sw_emu (hw_emu)", 0, 0},
        {"banks", 0, OPTION_U32, &request.banks, "N", "memory banks (4, or as many as divide the channels)", 1,
         ENGINE_MAX_BANKS},
        {"bank-bytes", 0, OPTION_U64, &request.bank_bytes, "N", "of each bank (the card's)", 1024, 281474976710656.0},
        {"payload", 0, OPTION_TEXT, &payload, "F", "content of the BITSTREAM section (a start script, zipped)", 0, 0},
        {"abi", 0, OPTION_U32, &request.abi_version, "N", "card ABI that its manifest states (this release's)", 1,
         4294967295.0},
        {"timestamp", 0, OPTION_U64, &request.timestamp, "N", "seconds since 1970 that it states (0: none)", 0, 0},
        {"manifest", 0, OPTION_TEXT, &manifest, "F", "write the manifest to this file too", 0, 0},
        {0},
    };
    const char *operands[1] = {NULL};
    int n_operands;
    int status = options_parse(self, table, argc, argv, operands, 1, &n_operands);
    if (status >= 0) return status;
    if (n_operands == 0) return usage_error(self, "OUT is missing");
    if (strcmp(mode, "sw_emu") == 0)
        request.mode = XCLBIN_SW_EMU;
    else if (strcmp(mode, "hw_emu") != 0)
        return usage_error(self, "--mode is hw_emu or sw_emu, not \"%s\"", mode);
    struct error err = {0};
    return build(&request, operands[0], payload, manifest, &err) < 0 ? failed(&err) : EXIT_DONE;
}

static int run_keys(const struct command *self, int argc, char **argv)
{
    const struct option table[] = {{0}};
    const char *operands[1] = {NULL};
    int n_operands;
    int status = options_parse(self, table, argc, argv, operands, 1, &n_operands);
    if (status >= 0) return status;
    if (n_operands == 0) return usage_error(self, "NAME is missing");
    struct error err = {0};
    if (signature_make_keys(operands[0], &err) < 0) return failed(&err);
    printf("%s.key signs: keep it secret\n%s.pub checks: copy it to %s of those who trust it\n", operands[0],
           operands[0], SIGNATURE_KEYS_FOLDER);
    return EXIT_DONE;
}

static int sign(const char *path, const char *manifest, const char *key, struct error *err)
{
    struct bitstream bitstream;
    char *text = NULL, *name = bitstream_signature_path(path);
    if (!name) return error_set(err, ERROR_NO_MEMORY, "out of memory for a file name");
    int status = bitstream_open(path, manifest, &bitstream, err);
    if (status == 0)
        status = manifest_check_content(&bitstream.manifest, &bitstream.xclbin, bitstream.map.bytes, bitstream.map.size,
                                        err);
    if (status == 0) status = signature_sign(&bitstream.content, key, &text, err);
    if (status == 0) status = write_file(name, text, strlen(text), err);
    if (status == 0) printf("%s\n", name);
    free(text);
    free(name);
    bitstream_close(&bitstream);
    return status;
}

static int run_sign(const struct command *self, int argc, char **argv)
{
    const char *key = NULL, *manifest = NULL;
    const struct option table[] = {
        {"key", 0, OPTION_TEXT, &key, "F", "the secret key, NAME.key of `sluice bitstream keys NAME`", 0, 0},
        {"manifest", 0, OPTION_TEXT, &manifest, "F", "the manifest (FILE's with .json, or the one inside)", 0, 0},
        {0},
    };
    const char *operands[1] = {NULL};
    int n_operands;
    int status = options_parse(self, table, argc, argv, operands, 1, &n_operands);
    if (status >= 0) return status;
    if (n_operands == 0) return usage_error(self, "FILE is missing");
    if (!key) return usage_error(self, "--key is missing");
    struct error err = {0};
    return sign(operands[0], manifest, key, &err) < 0 ? failed(&err) : EXIT_DONE;
}

static const struct command parts[] = {
    {"bitstream inspect", "FILE [--json]", "show what is in an xclbin: platform, sections, clocks, memories, kernels",
     NULL, run_inspect},
    {"bitstream verify", "FILE [--keys DIR] [--manifest F] [--card PROFILE] [--allow-unsigned]",
     "check content, card ABI and signature (FILE.sig)",
     "Exit status 0: the content is what its manifest says, this release speaks its ABI, and a trusted key\n"
     "signed it. A wrong signature is refused even with --allow-unsigned.",
     run_verify},
    {"bitstream build", "OUT [--card PROFILE] [--mode M] [--manifest F] [options]",
     "write the simulator's xclbin, which XRT's emulation loads", NULL, run_build},
    {"bitstream keys", "NAME", "make a key pair, NAME.key and NAME.pub", NULL, run_keys},
    {"bitstream sign", "FILE --key F [--manifest F]", "write FILE.sig, an ed25519 signature",
     "The signature covers FILE and, if there is one, the manifest beside it.", run_sign},
};
enum { N_PARTS = sizeof parts / sizeof parts[0] };

static int run(const struct command *self, int argc, char **argv)
{
    return command_run_part(self, parts, N_PARTS, argc, argv);
}

const struct command command_bitstream = {
    .name = "bitstream",
    .synopsis = "inspect|verify|build|keys|sign ...",
    .summary = "xclbin files: what is in one, is it to be trusted, the simulator's own",
    .run = run,
};
