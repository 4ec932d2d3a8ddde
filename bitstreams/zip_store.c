/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/zip_store.h"
#include "host/base/bytes.h"
#include "host/base/memory.h"

enum { LOCAL_BYTES = 30, CENTRAL_BYTES = 46, END_BYTES = 22, MAX_CONTENT = 1 << 30, DAY_ONE = 0x21 /* 1980-01-01 */ };

/* CRC-32 of ISO 3309, bit by bit: archives are small. */
static uint32_t crc32_of(const uint8_t *bytes, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* The fields that the local header and the central directory share, from "version needed" on. */
static void store_entry(uint8_t *p, uint32_t crc, uint32_t n_content, uint16_t n_name)
{
    store_u16(p, 20);
    store_u16(p + 8, DAY_ONE);
    store_u32(p + 10, crc);
    store_u32(p + 14, n_content);
    store_u32(p + 18, n_content);
    store_u16(p + 22, n_name);
}

uint8_t *zip_store(const char *name, const uint8_t *content, size_t n_content, size_t *n_bytes)
{
    size_t n_name = strlen(name);
    if (n_content > MAX_CONTENT || n_name > UINT16_MAX) return NULL;
    size_t central_at = LOCAL_BYTES + n_name + n_content, end_at = central_at + CENTRAL_BYTES + n_name;
    *n_bytes = end_at + END_BYTES;
    uint8_t *bytes = memory_array(*n_bytes, 1);
    if (!bytes) return NULL;
    uint32_t crc = crc32_of(content, n_content);
    store_u32(bytes, 0x04034b50);
    store_entry(bytes + 4, crc, (uint32_t)n_content, (uint16_t)n_name);
    memcpy(bytes + LOCAL_BYTES, name, n_name);
    memcpy(bytes + LOCAL_BYTES + n_name, content, n_content);

    uint8_t *central = bytes + central_at;
    store_u32(central, 0x02014b50);
    store_u16(central + 4, 3 << 8 | 20); /* made on Unix: the attributes are a file mode */
    store_entry(central + 6, crc, (uint32_t)n_content, (uint16_t)n_name);
    store_u32(central + 38, 0100755u << 16);
    memcpy(central + CENTRAL_BYTES, name, n_name);

    uint8_t *end = bytes + end_at;
    store_u32(end, 0x06054b50);
    store_u16(end + 8, 1);
    store_u16(end + 10, 1);
    store_u32(end + 12, (uint32_t)(end_at - central_at));
    store_u32(end + 16, (uint32_t)central_at);
    return bytes;
}
