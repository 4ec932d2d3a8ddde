/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/manifest.h"
#include "bitstreams/xclbin_sections.h"
#include "bitstreams/xclbin_text.h"
#include "kernels/abi/card_program.h"

#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#define HEX_BYTES (2 * crypto_hash_sha256_BYTES + 1)

static void hash_text(const uint8_t *bytes, size_t n_bytes, char hex[HEX_BYTES])
{
    uint8_t digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, bytes, n_bytes);
    sodium_bin2hex(hex, HEX_BYTES, digest, sizeof digest);
}

static bool is_hash(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && strlen(text) == HEX_BYTES - 1 && strspn(text, "0123456789abcdef") == HEX_BYTES - 1;
}

/* What is wrong with the object; NULL: nothing. */
static const char *objection(const json_t *json)
{
    const json_t *abi = json_object_get(json, "abi_version"), *card = json_object_get(json, "card");
    const json_t *hash = json_object_get(json, "sha256"), *sections = json_object_get(json, "sections");
    if (!json_is_object(json)) return "it is no JSON object";
    if (json_integer_value(json_object_get(json, "schema")) != MANIFEST_SCHEMA)
        return "\"schema\" is not 2 (write it again with `sluice bitstream build` or check_build.py of this release)";
    if (!json_is_integer(abi) || json_integer_value(abi) < 1 || json_integer_value(abi) > UINT32_MAX)
        return "\"abi_version\" is no version number";
    if (!json_is_string(card) || json_string_length(card) == 0) return "\"card\" is no text";
    if (!hash && !sections) return "neither \"sha256\" nor \"sections\" is there, so nothing can be checked";
    if (hash && !is_hash(hash)) return "\"sha256\" is no hash of 64 small hexadecimal digits";
    if (sections && !json_is_array(sections)) return "\"sections\" is no list";
    for (size_t i = 0; i < json_array_size(sections); i++) {
        const json_t *section = json_array_get(sections, i);
        if (!json_is_string(json_object_get(section, "kind")) || !is_hash(json_object_get(section, "sha256")))
            return "a member of \"sections\" has no \"kind\" or no \"sha256\"";
    }
    return NULL;
}

int manifest_parse(const char *text, size_t n_bytes, const char *file, struct manifest *out, struct error *err)
{
    json_error_t why;
    *out = (struct manifest){0};
    if (n_bytes > MANIFEST_MAX_BYTES)
        return error_set(err, ERROR_TOO_LARGE, "%s: a manifest of %zu bytes (at most %u)", file, n_bytes,
                         MANIFEST_MAX_BYTES);
    json_t *json = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &why);
    if (!json) return error_set(err, ERROR_BAD_FILE, "%s: the manifest's line %d: %s", file, why.line, why.text);
    const char *wrong = objection(json);
    if (wrong) {
        json_decref(json);
        return error_set(err, ERROR_BAD_FILE, "%s: the manifest: %s", file, wrong);
    }
    *out = (struct manifest){.json = json,
                             .abi_version = (uint32_t)json_integer_value(json_object_get(json, "abi_version")),
                             .card = json_string_value(json_object_get(json, "card"))};
    return 0;
}

void manifest_free(struct manifest *manifest)
{
    json_decref(manifest->json);
    *manifest = (struct manifest){0};
}

int manifest_inside(const struct xclbin *xclbin, const char *file, struct manifest *out, struct error *err)
{
    const struct xclbin_section *section = xclbin_find(xclbin, XCLBIN_USER_METADATA);
    *out = (struct manifest){0};
    if (!section || strcmp(section->name, MANIFEST_SECTION) != 0)
        return error_set(err, ERROR_NOT_FOUND, "%s: has no manifest inside", file);
    return manifest_parse((const char *)section->bytes, section->n_bytes, file, out, err);
}

/* The compute units of IP_LAYOUT ("kernel:unit") by kernel, in order of appearance. */
static json_t *kernels_json(const struct xclbin *xclbin)
{
    const struct xclbin_section *table = xclbin_find(xclbin, XCLBIN_IP_LAYOUT);
    json_t *kernels = json_array(), *units_of = json_object(); /* name: its list of units, borrowed by kernels */
    uint32_t n = 0;
    if (table) xclbin_count(table, &n, NULL);
    for (uint32_t i = 0; i < n; i++) {
        struct xclbin_ip ip;
        xclbin_ip_at(table, i, &ip);
        char *unit = strchr(ip.name, ':');
        if (ip.type != XCLBIN_IP_KERNEL) continue;
        if (unit) *unit++ = 0;
        json_t *name = xclbin_json_text(ip.name);
        const char *key = json_string_value(name);
        json_t *units = key ? json_object_get(units_of, key) : NULL;
        if (key && !units) {
            units = json_array();
            json_object_set_new(units_of, key, units);
            json_array_append_new(kernels, json_pack("{s:O, s:O}", "name", name, "compute_units", units));
        }
        json_array_append_new(units, xclbin_json_text(unit ? unit : ""));
        json_decref(name);
    }
    json_decref(units_of);
    return kernels;
}

static json_t *clocks_json(const struct xclbin *xclbin)
{
    const struct xclbin_section *table = xclbin_find(xclbin, XCLBIN_CLOCK_FREQ_TOPOLOGY);
    json_t *clocks = json_array();
    uint32_t n = 0;
    if (table) xclbin_count(table, &n, NULL);
    for (uint32_t i = 0; i < n; i++) {
        struct xclbin_clock clock;
        xclbin_clock_at(table, i, &clock);
        json_array_append_new(clocks, json_pack("{s:o, s:i}", "name", xclbin_json_text(clock.name), "mhz", clock.mhz));
    }
    return clocks;
}

static json_t *banks_json(const struct xclbin *xclbin)
{
    const struct xclbin_section *table = xclbin_find(xclbin, XCLBIN_MEM_TOPOLOGY);
    json_t *banks = json_array();
    uint32_t n = 0;
    if (table) xclbin_count(table, &n, NULL);
    for (uint32_t i = 0; i < n; i++) {
        struct xclbin_memory memory;
        xclbin_memory_at(table, i, &memory);
        if (!memory.used || memory.kib > INT64_MAX >> 10) continue;
        json_array_append_new(banks, json_pack("{s:o, s:o, s:I}", "name", xclbin_json_text(memory.tag), "base_address",
                                               json_sprintf("0x%llx", (unsigned long long)memory.base_address), "bytes",
                                               (json_int_t)(memory.kib << 10)));
    }
    return banks;
}

static json_t *kind_json(uint32_t kind)
{
    const char *name = xclbin_kind_name(kind);
    return name ? json_string(name) : json_sprintf("UNKNOWN (%u)", kind);
}

static json_t *sections_json(const struct xclbin *xclbin)
{
    json_t *sections = json_array();
    for (size_t i = 0; i < xclbin->n_sections; i++) {
        const struct xclbin_section *section = &xclbin->section[i];
        char hex[HEX_BYTES];
        if (section->kind == XCLBIN_USER_METADATA) continue;
        hash_text(section->bytes, section->n_bytes, hex);
        json_array_append_new(sections, json_pack("{s:o, s:I, s:s}", "kind", kind_json(section->kind), "bytes",
                                                  (json_int_t)section->n_bytes, "sha256", hex));
    }
    return sections;
}

int manifest_make(const struct xclbin *xclbin, const struct manifest_facts *facts, json_t **out, struct error *err)
{
    *out = NULL;
    int status = xclbin_check_tables(xclbin, err);
    if (status < 0) return status;
    *out = json_pack("{s:i, s:I, s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o}", "schema", MANIFEST_SCHEMA,
                     "abi_version", (json_int_t)facts->abi_version, "card", facts->card, "design", facts->design,
                     "revision", facts->revision, "platform", xclbin_json_text(xclbin->header.platform), "tools",
                     facts->tools, "kernels", kernels_json(xclbin), "clocks", clocks_json(xclbin), "banks",
                     banks_json(xclbin), "sections", sections_json(xclbin));
    return *out ? 0 : error_set(err, ERROR_NO_MEMORY, "out of memory for a manifest");
}

int manifest_check_abi(const struct manifest *manifest, struct error *err)
{
    uint32_t abi = manifest->abi_version;
    if (abi >= CARD_ABI_OLDEST && abi <= CARD_ABI_VERSION) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "its kernels speak card ABI %u, this release speaks %u and %u (%s)", abi,
                     CARD_ABI_VERSION, CARD_ABI_OLDEST,
                     abi < CARD_ABI_VERSION ? "load a bitstream of this release"
                                            : "install the release that the bitstream is from");
}

static int check_sections(const json_t *sections, const struct xclbin *xclbin, struct error *err)
{
    size_t listed = 0;
    for (size_t i = 0; i < xclbin->n_sections; i++) {
        const struct xclbin_section *section = &xclbin->section[i];
        if (section->kind == XCLBIN_USER_METADATA) continue;
        const json_t *entry = json_array_get(sections, listed++);
        json_t *kind = kind_json(section->kind);
        bool same = json_equal(kind, json_object_get(entry, "kind"));
        char hex[HEX_BYTES], name[40];
        snprintf(name, sizeof name, "%s", kind ? json_string_value(kind) : "");
        json_decref(kind);
        if (!same)
            return error_set(err, ERROR_BAD_FILE, "section %s is not where the manifest has it (the file was changed)",
                             name);
        hash_text(section->bytes, section->n_bytes, hex);
        if (strcmp(hex, json_string_value(json_object_get(entry, "sha256"))) != 0)
            return error_set(err, ERROR_BAD_FILE,
                             "section %s has another hash than the manifest says (the file was changed)", name);
    }
    if (listed != json_array_size(sections))
        return error_set(err, ERROR_BAD_FILE, "the manifest lists %zu sections, %zu are there (the file was changed)",
                         json_array_size(sections), listed);
    return 0;
}

int manifest_check_content(const struct manifest *manifest, const struct xclbin *xclbin, const uint8_t *bytes,
                           size_t n_bytes, struct error *err)
{
    const char *hash = json_string_value(json_object_get(manifest->json, "sha256"));
    const json_t *sections = json_object_get(manifest->json, "sections");
    char hex[HEX_BYTES];
    hash_text(bytes, n_bytes, hex);
    if (hash && strcmp(hash, hex) != 0)
        return error_set(err, ERROR_BAD_FILE,
                         "its SHA-256 is %.16s..., the manifest says %.16s... (another file, or a changed one)", hex,
                         hash);
    return sections ? check_sections(sections, xclbin, err) : 0;
}
