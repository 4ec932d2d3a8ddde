/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sections of an xclbin that are tables, record by record. Each begins with a count; the records are little-endian:
 *
 *   section                 count        first record at, bytes of one
 *   MEM_TOPOLOGY, GROUP_    i32 at 0       8  40  u8 type, u8 used, 6 of padding, u64 KiB, u64 base address, 16 bytes tag
 *   IP_LAYOUT               i32 at 0       8  80  u32 type, u32 properties, u64 base address, 64 bytes name
 *   CONNECTIVITY, GROUP_    i32 at 0       4  12  i32 argument, i32 index in IP_LAYOUT, i32 index in MEM_TOPOLOGY
 *   CLOCK_FREQ_TOPOLOGY     i16 at 0       2 136  u16 MHz, u8 type, 5 of padding, 128 bytes name
 *
 * Names of numbers as XRT's tools print them. Source: as xclbin.h.
 */
#ifndef SLUICE_BITSTREAMS_XCLBIN_SECTIONS_H
#define SLUICE_BITSTREAMS_XCLBIN_SECTIONS_H

#include "bitstreams/xclbin.h"

#include <stdbool.h>

enum xclbin_memory_type { XCLBIN_MEM_DDR4 = 1, XCLBIN_MEM_HBM = 6, XCLBIN_MEM_HOST = 10 };
enum xclbin_ip_type { XCLBIN_IP_KERNEL = 1, XCLBIN_IP_MEM_DDR4 = 4, XCLBIN_IP_MEM_HBM_ECC = 6 };
enum xclbin_clock_type { XCLBIN_CLOCK_DATA = 1, XCLBIN_CLOCK_KERNEL = 2, XCLBIN_CLOCK_SYSTEM = 3 };

struct xclbin_memory {
    uint8_t type; /* enum xclbin_memory_type, and others */
    bool used;
    uint64_t kib, base_address;
    char tag[17]; /* foreign text, as all names here */
};

struct xclbin_ip {
    uint32_t type; /* enum xclbin_ip_type, and others */
    uint32_t properties;
    uint64_t base_address;
    char name[65]; /* of a kernel: "kernel:compute unit" */
};

struct xclbin_connection {
    uint32_t argument, ip, memory;
};

struct xclbin_clock {
    uint16_t mhz;
    uint8_t type; /* enum xclbin_clock_type, and others */
    char name[129];
};

/* True for the kinds above. */
bool xclbin_is_table(uint32_t kind);

/*
 * The number of records of a table, all of which lie within the section and fill it. ERROR_BAD_FILE with
 * XCLBIN_FAULT_CONTENT names the section.
 */
int xclbin_count(const struct xclbin_section *table, uint32_t *n, struct error *err);

/* Record i of a table whose xclbin_count succeeded; i below that count, the section of that kind. */
void xclbin_memory_at(const struct xclbin_section *table, uint32_t i, struct xclbin_memory *out);
void xclbin_ip_at(const struct xclbin_section *table, uint32_t i, struct xclbin_ip *out);
void xclbin_connection_at(const struct xclbin_section *table, uint32_t i, struct xclbin_connection *out);
void xclbin_clock_at(const struct xclbin_section *table, uint32_t i, struct xclbin_clock *out);

/*
 * All tables of a file: their counts, and that connections name arguments, compute units and memories that are there.
 * ERROR_BAD_FILE with XCLBIN_FAULT_CONTENT.
 */
int xclbin_check_tables(const struct xclbin *xclbin, struct error *err);

/* A table's bytes (owned by the caller: free()), and their number; NULL if out of memory. */
uint8_t *xclbin_put_memories(const struct xclbin_memory *memory, uint32_t n, size_t *n_bytes);
uint8_t *xclbin_put_ips(const struct xclbin_ip *ip, uint32_t n, size_t *n_bytes);
uint8_t *xclbin_put_connections(const struct xclbin_connection *connection, uint32_t n, size_t *n_bytes);
uint8_t *xclbin_put_clocks(const struct xclbin_clock *clock, uint16_t n, size_t *n_bytes);

/* "MEM_HBM", "IP_KERNEL", "KERNEL", "AP_CTRL_HS"; "UNKNOWN" for other numbers. Static storage. */
const char *xclbin_memory_type_name(uint32_t type);
const char *xclbin_ip_type_name(uint32_t type);
const char *xclbin_clock_type_name(uint32_t type);
const char *xclbin_control_name(uint32_t properties); /* of a kernel */

#endif
