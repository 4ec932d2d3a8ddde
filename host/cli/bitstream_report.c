/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/bitstream_report.h"
#include "bitstreams/manifest.h"
#include "bitstreams/xclbin_sections.h"
#include "bitstreams/xclbin_text.h"
#include "bitstreams/xml_tree.h"
#include "host/cli/print_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Foreign text; "-" for none. */
static void put(const char *text)
{
    if (text && *text)
        print_text(text, strlen(text), SIZE_MAX, "");
    else
        putchar('-');
}

static void print_line(const char *name, const char *text)
{
    printf("%-20s", name);
    put(text);
    putchar('\n');
}

static void print_time(const char *name, uint64_t seconds)
{
    char text[40] = "not stated";
    time_t when = (time_t)seconds;
    struct tm parts;
    if (seconds > 0 && seconds < UINT64_C(1) << 40 && gmtime_r(&when, &parts))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
    printf("%-20s%s\n", name, text);
}

static void print_header(const struct xclbin_header *header)
{
    char uuid[XCLBIN_UUID_TEXT], rom[XCLBIN_UUID_TEXT];
    const char *mode = xclbin_mode_name(header->mode);
    xclbin_uuid_text(header->uuid, uuid);
    xclbin_uuid_text(header->rom_uuid, rom);
    printf("%-20s%u.%u.%u\n", "version", header->version_major, header->version_minor, header->version_patch);
    print_line("uuid", uuid);
    print_line("platform", header->platform);
    print_line("platform's uuid", rom);
    print_line("mode", mode ? mode : "unknown");
    print_time("made", header->timestamp);
    print_time("platform made", header->feature_rom_timestamp);
    if (header->signature_length > 0)
        printf("%-20sPKCS#7, %d bytes (XRT's; not checked here)\n", "signature inside", header->signature_length);
    if (header->action_mask) printf("%-20s0x%x\n", "action mask", header->action_mask);
}

static void print_sections(const struct xclbin *xclbin)
{
    printf("\n%-24s%-18s%12s%14s\n", "section", "name", "offset", "bytes");
    for (size_t i = 0; i < xclbin->n_sections; i++) {
        const struct xclbin_section *section = &xclbin->section[i];
        const char *kind = xclbin_kind_name(section->kind);
        if (kind)
            printf("%-24s", kind);
        else
            printf("%-8s%-16u", "unknown", section->kind);
        size_t width = strlen(section->name);
        put(section->name);
        printf("%*s%12" PRIu64 "%14zu\n", width < 17 ? (int)(18 - (width ? width : 1)) : 1, "", section->offset,
               section->n_bytes);
    }
}

static uint32_t count_of(const struct xclbin_section *table)
{
    uint32_t n = 0;
    if (table) xclbin_count(table, &n, NULL); /* checked before */
    return n;
}

static void print_clocks(const struct xclbin *xclbin)
{
    const struct xclbin_section *table = xclbin_find(xclbin, XCLBIN_CLOCK_FREQ_TOPOLOGY);
    uint32_t n = count_of(table);
    if (n) puts("\nclocks");
    for (uint32_t i = 0; i < n; i++) {
        struct xclbin_clock clock;
        xclbin_clock_at(table, i, &clock);
        printf("  %-8s%5u MHz  ", xclbin_clock_type_name(clock.type), clock.mhz);
        put(clock.name);
        putchar('\n');
    }
}

static void print_memories(const struct xclbin *xclbin)
{
    const struct xclbin_section *table = xclbin_find(xclbin, XCLBIN_MEM_TOPOLOGY);
    uint32_t n = count_of(table);
    if (n) puts("\nmemories");
    for (uint32_t i = 0; i < n; i++) {
        struct xclbin_memory memory;
        xclbin_memory_at(table, i, &memory);
        printf("  %3u  %-16s%12" PRIu64 " KiB at 0x%-14" PRIx64 "%s  ", i, xclbin_memory_type_name(memory.type),
               memory.kib, memory.base_address, memory.used ? "used  " : "unused");
        put(memory.tag);
        putchar('\n');
    }
}

static const json_t *core_of(const json_t *metadata)
{
    return xml_child(xml_child(xml_child(metadata, "platform"), "device"), "core");
}

static void print_kernels(const json_t *metadata)
{
    const json_t *core = core_of(metadata), *kernel, *argument;
    for (size_t k = 0; (kernel = xml_next_child(core, "kernel", &k));) {
        fputs("\nkernel ", stdout);
        put(xml_attribute(kernel, "name"));
        fputs("  (", stdout);
        put(xml_attribute(kernel, "hwControlProtocol"));
        puts(")");
        for (size_t a = 0; (argument = xml_next_child(kernel, "arg", &a));) {
            fputs("  argument ", stdout);
            put(xml_attribute(argument, "id"));
            fputs("  ", stdout);
            put(xml_attribute(argument, "type"));
            putchar(' ');
            put(xml_attribute(argument, "name"));
            fputs(", register ", stdout);
            put(xml_attribute(argument, "offset"));
            fputs(", port ", stdout);
            put(xml_attribute(argument, "port"));
            putchar('\n');
        }
    }
}

static void print_connections_of(const struct xclbin *xclbin, uint32_t unit)
{
    const struct xclbin_section *connections = xclbin_find(xclbin, XCLBIN_CONNECTIVITY);
    const struct xclbin_section *memories = xclbin_find(xclbin, XCLBIN_MEM_TOPOLOGY);
    uint32_t n = count_of(connections);
    for (uint32_t i = 0; i < n; i++) {
        struct xclbin_connection at;
        struct xclbin_memory memory;
        xclbin_connection_at(connections, i, &at);
        if (at.ip != unit) continue;
        xclbin_memory_at(memories, at.memory, &memory);
        printf("    argument %u in memory %u ", at.argument, at.memory);
        put(memory.tag);
        putchar('\n');
    }
}

/* At most so many units are shown with their connections: both are tables of foreign size. */
#define SHOWN_CONNECTIONS 64u

static void print_units(const struct xclbin *xclbin)
{
    const struct xclbin_section *table = xclbin_find(xclbin, XCLBIN_IP_LAYOUT);
    uint32_t n = count_of(table);
    if (n) puts("\ncompute units and other IP");
    for (uint32_t i = 0; i < n; i++) {
        struct xclbin_ip ip;
        xclbin_ip_at(table, i, &ip);
        printf("  %-20s", xclbin_ip_type_name(ip.type));
        put(ip.name);
        if (ip.base_address != UINT64_MAX) printf(" at 0x%" PRIx64, ip.base_address);
        if (ip.type == XCLBIN_IP_KERNEL) printf(", %s", xclbin_control_name(ip.properties));
        putchar('\n');
        if (ip.type == XCLBIN_IP_KERNEL && i < SHOWN_CONNECTIONS) print_connections_of(xclbin, i);
    }
}

static void print_manifest(const struct manifest *manifest)
{
    static const char *const shown[] = {"card", "design", "revision", "platform", "tools"};
    printf("\nmanifest\n  %-12s%u\n", "card ABI", manifest->abi_version);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        printf("  %-12s", shown[i]);
        put(json_string_value(json_object_get(manifest->json, shown[i])));
        putchar('\n');
    }
}

int bitstream_report(const char *path, const struct xclbin *xclbin, struct error *err)
{
    json_t *json;
    struct manifest manifest;
    int status = xclbin_json(xclbin, &json, err);
    if (status < 0) return status;
    status = manifest_inside(xclbin, path, &manifest, err);
    if (status == ERROR_NOT_FOUND) status = 0;
    if (status == 0) {
        const json_t *metadata = json_object_get(json_object_get(json, "content"), "EMBEDDED_METADATA");
        print_line("file", path);
        print_header(&xclbin->header);
        print_sections(xclbin);
        print_clocks(xclbin);
        print_memories(xclbin);
        print_kernels(metadata);
        print_units(xclbin);
        if (manifest.json) print_manifest(&manifest);
    }
    manifest_free(&manifest);
    json_decref(json);
    return status;
}

int bitstream_report_json(const char *path, const struct xclbin *xclbin, struct error *err)
{
    json_t *json;
    struct manifest manifest;
    int status = xclbin_json(xclbin, &json, err);
    if (status < 0) return status;
    status = manifest_inside(xclbin, path, &manifest, err);
    if (status == ERROR_NOT_FOUND) status = 0;
    if (status == 0) {
        json_object_set_new(json, "file", xclbin_json_text(path));
        json_object_set(json, "manifest", manifest.json ? manifest.json : json_null());
        if (json_dumpf(json, stdout, JSON_INDENT(2)) < 0)
            status = error_set(err, ERROR_IO, "cannot write the JSON text");
        else
            putchar('\n');
    }
    manifest_free(&manifest);
    json_decref(json);
    return status;
}
