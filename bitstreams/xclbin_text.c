/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/xclbin_text.h"
#include "bitstreams/device_tree.h"
#include "bitstreams/xclbin_sections.h"
#include "bitstreams/xml_tree.h"

#include <sodium.h>
#include <string.h>

bool xclbin_is_text(uint32_t kind)
{
    switch (kind) {
    case XCLBIN_BUILD_METADATA:
    case XCLBIN_KEYVALUE_METADATA:
    case XCLBIN_EMBEDDED_METADATA:
    case XCLBIN_PARTITION_METADATA: return true;
    default: return xclbin_is_table(kind);
    }
}

json_t *xclbin_json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value) return value;
    char *plain = strdup(text);
    for (char *c = plain; c && *c; c++) {
        if (*c & 0x80) *c = '?';
    }
    value = plain ? json_string(plain) : NULL;
    free(plain);
    return value;
}

static json_t *hexadecimal(uint64_t value) { return json_sprintf("0x%llx", (unsigned long long)value); }

/* A name of this release, or "UNKNOWN (number)". */
static json_t *known(const char *name, uint32_t number)
{
    return strcmp(name, "UNKNOWN") == 0 ? json_sprintf("UNKNOWN (%u)", number) : json_string(name);
}

static json_t *memory_json(const struct xclbin_section *table, uint32_t i)
{
    struct xclbin_memory at;
    xclbin_memory_at(table, i, &at);
    return json_pack("{s:o, s:s, s:o, s:o, s:o}", "m_type", known(xclbin_memory_type_name(at.type), at.type), "m_used",
                     at.used ? "1" : "0", "m_sizeKB", hexadecimal(at.kib), "m_tag", xclbin_json_text(at.tag),
                     "m_base_address", hexadecimal(at.base_address));
}

static json_t *ip_json(const struct xclbin_section *table, uint32_t i)
{
    struct xclbin_ip at;
    xclbin_ip_at(table, i, &at);
    json_t *ip = json_pack("{s:o}", "m_type", known(xclbin_ip_type_name(at.type), at.type));
    if (at.type == XCLBIN_IP_KERNEL) {
        json_object_set_new(ip, "m_int_enable", json_sprintf("%u", at.properties & 1));
        json_object_set_new(ip, "m_interrupt_id", json_sprintf("%u", at.properties >> 1 & 0x7f));
        json_object_set_new(ip, "m_ip_control", known(xclbin_control_name(at.properties), at.properties >> 8 & 0xff));
    } else if (at.type >= XCLBIN_IP_MEM_DDR4 && at.type <= XCLBIN_IP_MEM_HBM_ECC) {
        json_object_set_new(ip, "m_index", json_sprintf("%u", at.properties & 0xffff));
        json_object_set_new(ip, "m_pc_index", json_sprintf("%u", at.properties >> 16 & 0xff));
    } else {
        json_object_set_new(ip, "properties", hexadecimal(at.properties));
    }
    json_object_set_new(ip, "m_base_address",
                        at.base_address == UINT64_MAX ? json_string("not_used") : hexadecimal(at.base_address));
    json_object_set_new(ip, "m_name", xclbin_json_text(at.name));
    return ip;
}

static json_t *connection_json(const struct xclbin_section *table, uint32_t i)
{
    struct xclbin_connection at;
    xclbin_connection_at(table, i, &at);
    return json_pack("{s:o, s:o, s:o}", "arg_index", json_sprintf("%u", at.argument), "m_ip_layout_index",
                     json_sprintf("%u", at.ip), "mem_data_index", json_sprintf("%u", at.memory));
}

static json_t *clock_json(const struct xclbin_section *table, uint32_t i)
{
    struct xclbin_clock at;
    xclbin_clock_at(table, i, &at);
    return json_pack("{s:o, s:o, s:o}", "m_freq_Mhz", json_sprintf("%u", at.mhz), "m_type",
                     known(xclbin_clock_type_name(at.type), at.type), "m_name", xclbin_json_text(at.name));
}

struct table_names {
    const char *list;
    json_t *(*record)(const struct xclbin_section *table, uint32_t i);
};

static struct table_names names_of(uint32_t kind)
{
    switch (kind) {
    case XCLBIN_IP_LAYOUT: return (struct table_names){"m_ip_data", ip_json};
    case XCLBIN_CLOCK_FREQ_TOPOLOGY: return (struct table_names){"m_clock_freq", clock_json};
    case XCLBIN_CONNECTIVITY:
    case XCLBIN_GROUP_CONNECTIVITY: return (struct table_names){"m_connection", connection_json};
    default: return (struct table_names){"m_mem_data", memory_json};
    }
}

static int table_json(const struct xclbin_section *table, json_t **out, struct error *err)
{
    uint32_t n;
    int status = xclbin_count(table, &n, err);
    if (status < 0) return status;
    struct table_names names = names_of(table->kind);
    json_t *list = json_array();
    bool lost = !list;
    for (uint32_t i = 0; i < n && !lost; i++) lost = json_array_append_new(list, names.record(table, i)) < 0;
    if (!lost) *out = json_pack("{s:o, s:O}", "m_count", json_sprintf("%u", n), names.list, list);
    json_decref(list);
    return *out ? 0 : error_set(err, ERROR_NO_MEMORY, "out of memory for the text of a section");
}

static int metadata_json(const struct xclbin_section *section, json_t **out, struct error *err)
{
    size_t n = section->n_bytes;
    const char *text = (const char *)section->bytes;
    while (n && text[n - 1] == 0) n--;
    json_error_t why;
    *out = json_loadb(text, n, 0, &why);
    return *out ? 0 : error_set(err, ERROR_BAD_FILE, "its JSON is wrong at line %d: %s", why.line, why.text);
}

static int decode(const struct xclbin_section *section, json_t **out, struct error *err)
{
    switch (section->kind) {
    case XCLBIN_BUILD_METADATA:
    case XCLBIN_KEYVALUE_METADATA: return metadata_json(section, out, err);
    case XCLBIN_EMBEDDED_METADATA: return xml_parse((const char *)section->bytes, section->n_bytes, out, err);
    case XCLBIN_PARTITION_METADATA: return device_tree_parse(section->bytes, section->n_bytes, out, err);
    default: return table_json(section, out, err);
    }
}

int xclbin_section_json(const struct xclbin_section *section, json_t **out, struct error *err)
{
    struct error why = {0};
    const char *name = xclbin_kind_name(section->kind);
    *out = NULL;
    if (!xclbin_is_text(section->kind))
        return error_set(err, ERROR_BAD_ARGUMENT, "sections of kind %u have no text", section->kind);
    if (section->n_bytes == 0) {
        *out = json_null();
        return 0;
    }
    if (section->n_bytes > XCLBIN_MAX_METADATA)
        return error_set(err, ERROR_TOO_LARGE, "section %s has %zu bytes, at most %u are read", name, section->n_bytes,
                         XCLBIN_MAX_METADATA);
    int status = decode(section, out, &why);
    if (status == 0) return 0;
    error_set(err, status, "section %s: %s", name, why.text);
    if (err && status == ERROR_BAD_FILE) err->detail = XCLBIN_FAULT_CONTENT;
    return status;
}

static json_t *sections_json(const struct xclbin *xclbin)
{
    json_t *list = json_array();
    for (size_t i = 0; i < xclbin->n_sections; i++) {
        const struct xclbin_section *section = &xclbin->section[i];
        const char *kind = xclbin_kind_name(section->kind);
        uint8_t digest[crypto_hash_sha256_BYTES];
        char hex[2 * sizeof digest + 1];
        crypto_hash_sha256(digest, section->bytes, section->n_bytes);
        sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
        json_array_append_new(list, json_pack("{s:o, s:I, s:o, s:I, s:I, s:s}", "kind",
                                              kind ? json_string(kind) : json_sprintf("UNKNOWN (%u)", section->kind),
                                              "number", (json_int_t)section->kind, "name",
                                              xclbin_json_text(section->name), "offset", (json_int_t)section->offset,
                                              "bytes", (json_int_t)section->n_bytes, "sha256", hex));
    }
    return list;
}

static json_t *header_json(const struct xclbin_header *header)
{
    char uuid[XCLBIN_UUID_TEXT], rom_uuid[XCLBIN_UUID_TEXT];
    const char *mode = xclbin_mode_name(header->mode);
    xclbin_uuid_text(header->uuid, uuid);
    xclbin_uuid_text(header->rom_uuid, rom_uuid);
    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:i, s:o, s:o}", "version",
                     json_sprintf("%u.%u.%u", header->version_major, header->version_minor, header->version_patch),
                     "uuid", uuid, "platform", xclbin_json_text(header->platform), "mode",
                     mode ? json_string(mode) : json_sprintf("UNKNOWN (%u)", header->mode), "bytes",
                     json_sprintf("%llu", (unsigned long long)header->length), "timestamp",
                     json_sprintf("%llu", (unsigned long long)header->timestamp), "feature_rom_timestamp",
                     json_sprintf("%llu", (unsigned long long)header->feature_rom_timestamp), "feature_rom_uuid",
                     rom_uuid, "unique_id", hexadecimal(header->unique_id), "pkcs7_signature_bytes",
                     header->signature_length < 0 ? 0 : header->signature_length, "action_mask",
                     hexadecimal(header->action_mask), "debug_file", xclbin_json_text(header->debug_file));
}

int xclbin_json(const struct xclbin *xclbin, json_t **out, struct error *err)
{
    *out = NULL;
    int status = xclbin_check_tables(xclbin, err);
    if (status < 0) return status;
    json_t *content = json_object();
    for (size_t i = 0; i < xclbin->n_sections && status == 0; i++) {
        const struct xclbin_section *section = &xclbin->section[i];
        json_t *value;
        if (!xclbin_is_text(section->kind)) continue;
        status = xclbin_section_json(section, &value, err);
        if (status == 0) json_object_set_new(content, xclbin_kind_name(section->kind), value);
    }
    if (status == 0)
        *out = json_pack("{s:o, s:o, s:O}", "header", header_json(&xclbin->header), "sections", sections_json(xclbin),
                         "content", content);
    json_decref(content);
    if (status == 0 && !*out) return error_set(err, ERROR_NO_MEMORY, "out of memory for the text of an xclbin");
    return status;
}
