/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/xclbin_sections.h"
#include "host/base/bytes.h"
#include "host/base/memory.h"

struct table_layout {
    uint8_t count_bytes, first_at, record_bytes;
};

enum { MEMORY_BYTES = 40, IP_BYTES = 80, CONNECTION_BYTES = 12, CLOCK_BYTES = 136 };
enum { MEMORY_FIRST = 8, IP_FIRST = 8, CONNECTION_FIRST = 4, CLOCK_FIRST = 2 };

static struct table_layout layout_of(uint32_t kind)
{
    switch (kind) {
    case XCLBIN_MEM_TOPOLOGY:
    case XCLBIN_GROUP_TOPOLOGY: return (struct table_layout){4, MEMORY_FIRST, MEMORY_BYTES};
    case XCLBIN_IP_LAYOUT: return (struct table_layout){4, IP_FIRST, IP_BYTES};
    case XCLBIN_CONNECTIVITY:
    case XCLBIN_GROUP_CONNECTIVITY: return (struct table_layout){4, CONNECTION_FIRST, CONNECTION_BYTES};
    case XCLBIN_CLOCK_FREQ_TOPOLOGY: return (struct table_layout){2, CLOCK_FIRST, CLOCK_BYTES};
    default: return (struct table_layout){0};
    }
}

bool xclbin_is_table(uint32_t kind) { return layout_of(kind).record_bytes != 0; }

static int content_fault(struct error *err)
{
    if (err) err->detail = XCLBIN_FAULT_CONTENT;
    return ERROR_BAD_FILE;
}

int xclbin_count(const struct xclbin_section *table, uint32_t *n, struct error *err)
{
    struct table_layout layout = layout_of(table->kind);
    const char *name = xclbin_kind_name(table->kind);
    *n = 0;
    if (layout.record_bytes == 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "section of kind %u is no table", table->kind);
    if (table->n_bytes == 0) return 0;
    if (table->n_bytes < layout.first_at) {
        error_set(err, ERROR_BAD_FILE, "section %s has %zu bytes, too few for a table", name, table->n_bytes);
        return content_fault(err);
    }
    int64_t count = layout.count_bytes == 2 ? (int16_t)load_u16(table->bytes) : (int32_t)load_u32(table->bytes);
    uint64_t need = layout.first_at + (count > 0 ? (uint64_t)count : 0) * layout.record_bytes;
    if (count < 0 || need > table->n_bytes || (count > 0 && need != table->n_bytes)) {
        error_set(err, ERROR_BAD_FILE, "section %s says that it has %lld records, in %zu bytes", name, (long long)count,
                  table->n_bytes);
        return content_fault(err);
    }
    *n = (uint32_t)count;
    return 0;
}

static const uint8_t *record(const struct xclbin_section *table, uint32_t i)
{
    struct table_layout layout = layout_of(table->kind);
    return table->bytes + layout.first_at + (size_t)i * layout.record_bytes;
}

static void load_text(char *text, const uint8_t *from, size_t field)
{
    memcpy(text, from, field);
    text[field] = 0;
}

void xclbin_memory_at(const struct xclbin_section *table, uint32_t i, struct xclbin_memory *out)
{
    const uint8_t *p = record(table, i);
    *out = (struct xclbin_memory){
        .type = p[0], .used = p[1] != 0, .kib = load_u64(p + 8), .base_address = load_u64(p + 16)};
    load_text(out->tag, p + 24, sizeof out->tag - 1);
}

void xclbin_ip_at(const struct xclbin_section *table, uint32_t i, struct xclbin_ip *out)
{
    const uint8_t *p = record(table, i);
    *out = (struct xclbin_ip){.type = load_u32(p), .properties = load_u32(p + 4), .base_address = load_u64(p + 8)};
    load_text(out->name, p + 16, sizeof out->name - 1);
}

void xclbin_connection_at(const struct xclbin_section *table, uint32_t i, struct xclbin_connection *out)
{
    const uint8_t *p = record(table, i);
    *out = (struct xclbin_connection){.argument = load_u32(p), .ip = load_u32(p + 4), .memory = load_u32(p + 8)};
}

void xclbin_clock_at(const struct xclbin_section *table, uint32_t i, struct xclbin_clock *out)
{
    const uint8_t *p = record(table, i);
    *out = (struct xclbin_clock){.mhz = load_u16(p), .type = p[2]};
    load_text(out->name, p + 8, sizeof out->name - 1);
}

static int count_of(const struct xclbin *xclbin, uint32_t kind, uint32_t *n, struct error *err)
{
    const struct xclbin_section *table = xclbin_find(xclbin, kind);
    *n = 0;
    return table ? xclbin_count(table, n, err) : 0;
}

static int check_connections(const struct xclbin *xclbin, uint32_t kind, uint32_t n_ips, uint32_t n_memories,
                             struct error *err)
{
    uint32_t n;
    int status = count_of(xclbin, kind, &n, err);
    if (status < 0) return status;
    for (uint32_t i = 0; i < n; i++) {
        struct xclbin_connection at;
        xclbin_connection_at(xclbin_find(xclbin, kind), i, &at);
        if (at.argument <= INT32_MAX && at.ip < n_ips && at.memory < n_memories) continue;
        error_set(err, ERROR_BAD_FILE,
                  "%s, record %u connects argument %u of compute unit %u to memory %u; there are %u units, %u memories",
                  xclbin_kind_name(kind), i, at.argument, at.ip, at.memory, n_ips, n_memories);
        return content_fault(err);
    }
    return 0;
}

int xclbin_check_tables(const struct xclbin *xclbin, struct error *err)
{
    uint32_t n_ips, n_memories, n_groups, n_clocks;
    int status = count_of(xclbin, XCLBIN_IP_LAYOUT, &n_ips, err);
    if (status == 0) status = count_of(xclbin, XCLBIN_MEM_TOPOLOGY, &n_memories, err);
    if (status == 0) status = count_of(xclbin, XCLBIN_GROUP_TOPOLOGY, &n_groups, err);
    if (status == 0) status = count_of(xclbin, XCLBIN_CLOCK_FREQ_TOPOLOGY, &n_clocks, err);
    if (status == 0) status = check_connections(xclbin, XCLBIN_CONNECTIVITY, n_ips, n_memories, err);
    if (status == 0) status = check_connections(xclbin, XCLBIN_GROUP_CONNECTIVITY, n_ips, n_groups, err);
    return status;
}

/* A table with its count; records are zero. */
static uint8_t *new_table(uint32_t kind, uint32_t n, size_t *n_bytes)
{
    struct table_layout layout = layout_of(kind);
    if (n > INT32_MAX || (layout.count_bytes == 2 && n > INT16_MAX)) return NULL;
    *n_bytes = layout.first_at + (size_t)n * layout.record_bytes;
    uint8_t *bytes = memory_array(*n_bytes, 1);
    if (bytes && layout.count_bytes == 2) store_u16(bytes, (uint16_t)n);
    if (bytes && layout.count_bytes == 4) store_u32(bytes, n);
    return bytes;
}

uint8_t *xclbin_put_memories(const struct xclbin_memory *memory, uint32_t n, size_t *n_bytes)
{
    uint8_t *bytes = new_table(XCLBIN_MEM_TOPOLOGY, n, n_bytes);
    for (uint32_t i = 0; bytes && i < n; i++) {
        uint8_t *p = bytes + MEMORY_FIRST + (size_t)i * MEMORY_BYTES;
        p[0] = memory[i].type;
        p[1] = memory[i].used;
        store_u64(p + 8, memory[i].kib);
        store_u64(p + 16, memory[i].base_address);
        memcpy(p + 24, memory[i].tag, strnlen(memory[i].tag, sizeof memory[i].tag - 1));
    }
    return bytes;
}

uint8_t *xclbin_put_ips(const struct xclbin_ip *ip, uint32_t n, size_t *n_bytes)
{
    uint8_t *bytes = new_table(XCLBIN_IP_LAYOUT, n, n_bytes);
    for (uint32_t i = 0; bytes && i < n; i++) {
        uint8_t *p = bytes + IP_FIRST + (size_t)i * IP_BYTES;
        store_u32(p, ip[i].type);
        store_u32(p + 4, ip[i].properties);
        store_u64(p + 8, ip[i].base_address);
        memcpy(p + 16, ip[i].name, strnlen(ip[i].name, sizeof ip[i].name - 1));
    }
    return bytes;
}

uint8_t *xclbin_put_connections(const struct xclbin_connection *connection, uint32_t n, size_t *n_bytes)
{
    uint8_t *bytes = new_table(XCLBIN_CONNECTIVITY, n, n_bytes);
    for (uint32_t i = 0; bytes && i < n; i++) {
        uint8_t *p = bytes + CONNECTION_FIRST + (size_t)i * CONNECTION_BYTES;
        store_u32(p, connection[i].argument);
        store_u32(p + 4, connection[i].ip);
        store_u32(p + 8, connection[i].memory);
    }
    return bytes;
}

uint8_t *xclbin_put_clocks(const struct xclbin_clock *clock, uint16_t n, size_t *n_bytes)
{
    uint8_t *bytes = new_table(XCLBIN_CLOCK_FREQ_TOPOLOGY, n, n_bytes);
    for (uint32_t i = 0; bytes && i < n; i++) {
        uint8_t *p = bytes + CLOCK_FIRST + (size_t)i * CLOCK_BYTES;
        store_u16(p, clock[i].mhz);
        p[2] = clock[i].type;
        memcpy(p + 8, clock[i].name, strnlen(clock[i].name, sizeof clock[i].name - 1));
    }
    return bytes;
}

static const char *name_in(const char *const *names, size_t n, uint32_t number)
{
    return number < n && names[number] ? names[number] : "UNKNOWN";
}
#define NAME_IN(names, number) name_in(names, sizeof names / sizeof names[0], number)

const char *xclbin_memory_type_name(uint32_t type)
{
    static const char *const names[] = {
        "MEM_DDR3", "MEM_DDR4",      "MEM_DRAM", "MEM_STREAMING", "MEM_PREALLOCATED_GLOB",
        "MEM_ARE",  "MEM_HBM",       "MEM_BRAM", "MEM_URAM",      "MEM_STREAMING_CONNECTION",
        "MEM_HOST", "MEM_PS_KERNEL",
    };
    return NAME_IN(names, type);
}

const char *xclbin_ip_type_name(uint32_t type)
{
    static const char *const names[] = {
        "IP_MB",       "IP_KERNEL",  "IP_DNASC",       "IP_DDR4_CONTROLLER",
        "IP_MEM_DDR4", "IP_MEM_HBM", "IP_MEM_HBM_ECC", "IP_PS_KERNEL",
    };
    return NAME_IN(names, type);
}

const char *xclbin_clock_type_name(uint32_t type)
{
    static const char *const names[] = {"UNUSED", "DATA", "KERNEL", "SYSTEM"};
    return NAME_IN(names, type);
}

const char *xclbin_control_name(uint32_t properties)
{
    static const char *const names[] = {
        "AP_CTRL_HS", "AP_CTRL_CHAIN", "AP_CTRL_NONE", "AP_CTRL_ME", "ACCEL_ADAPTER", "FAST_ADAPTER",
    };
    return NAME_IN(names, properties >> 8 & 0xff);
}
