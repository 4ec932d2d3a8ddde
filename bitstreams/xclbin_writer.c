/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/xclbin.h"
#include "bitstreams/xclbin_layout.h"
#include "host/base/bytes.h"
#include "host/base/memory.h"

void xclbin_header_init(struct xclbin_header *header)
{
    *header = (struct xclbin_header){.signature_length = -1, .version_major = 2};
    memset(header->reserved, 0xff, sizeof header->reserved);
    memset(header->key_block, 0xff, sizeof header->key_block);
}

static uint64_t aligned(uint64_t offset)
{
    return (offset + XCLBIN_ALIGNMENT - 1) / XCLBIN_ALIGNMENT * XCLBIN_ALIGNMENT;
}

/* The length of the file that is to be written. */
static int measure(const struct xclbin *xclbin, size_t *n_bytes, struct error *err)
{
    if (xclbin->header.signature_length != -1)
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "a signed xclbin cannot be written again: its signature would not hold");
    if (xclbin->n_sections > XCLBIN_MAX_SECTIONS)
        return error_set(err, ERROR_BAD_ARGUMENT, "an xclbin has %u sections at most", XCLBIN_MAX_SECTIONS);
    size_t total = XCLBIN_HEADER_BYTES + xclbin->n_sections * XCLBIN_SECTION_BYTES;
    uint64_t seen = 0;
    for (size_t i = 0; i < xclbin->n_sections; i++) {
        const struct xclbin_section *section = &xclbin->section[i];
        if (section->n_bytes > SIZE_MAX / 4 || total > SIZE_MAX / 4)
            return error_set(err, ERROR_TOO_LARGE, "the sections are too large for one file");
        total = aligned(total) + section->n_bytes;
        if (!xclbin_kind_is_single(section->kind)) continue;
        if (seen >> section->kind & 1)
            return error_set(err, ERROR_BAD_ARGUMENT, "two sections %s", xclbin_kind_name(section->kind));
        seen |= UINT64_C(1) << section->kind;
    }
    *n_bytes = aligned(total);
    return 0;
}

static void store_text(uint8_t *to, const char *text, size_t field) { memcpy(to, text, strnlen(text, field)); }

static void store_header(uint8_t *p, const struct xclbin *xclbin, size_t n_bytes)
{
    const struct xclbin_header *header = &xclbin->header;
    memcpy(p, XCLBIN_MAGIC, sizeof XCLBIN_MAGIC);
    store_u32(p + XCLBIN_AT_SIGNATURE_LENGTH, (uint32_t)header->signature_length);
    memcpy(p + XCLBIN_AT_RESERVED, header->reserved, sizeof header->reserved);
    memcpy(p + XCLBIN_AT_KEY_BLOCK, header->key_block, sizeof header->key_block);
    store_u64(p + XCLBIN_AT_UNIQUE_ID, header->unique_id);
    store_u64(p + XCLBIN_AT_LENGTH, n_bytes);
    store_u64(p + XCLBIN_AT_TIMESTAMP, header->timestamp);
    store_u64(p + XCLBIN_AT_ROM_TIMESTAMP, header->feature_rom_timestamp);
    store_u16(p + XCLBIN_AT_VERSION_PATCH, header->version_patch);
    p[XCLBIN_AT_VERSION_MAJOR] = header->version_major;
    p[XCLBIN_AT_VERSION_MINOR] = header->version_minor;
    store_u16(p + XCLBIN_AT_MODE, header->mode);
    store_u16(p + XCLBIN_AT_ACTION_MASK, header->action_mask);
    memcpy(p + XCLBIN_AT_ROM_UUID, header->rom_uuid, sizeof header->rom_uuid);
    memcpy(p + XCLBIN_AT_UUID, header->uuid, sizeof header->uuid);
    store_text(p + XCLBIN_AT_PLATFORM, header->platform, sizeof header->platform - 1);
    store_text(p + XCLBIN_AT_DEBUG_FILE, header->debug_file, sizeof header->debug_file - 1);
    store_u32(p + XCLBIN_AT_N_SECTIONS, (uint32_t)xclbin->n_sections);
}

int xclbin_write(const struct xclbin *xclbin, uint8_t **out, size_t *n_bytes, struct error *err)
{
    *out = NULL;
    int status = measure(xclbin, n_bytes, err);
    if (status < 0) return status;
    uint8_t *bytes = memory_array(*n_bytes, 1);
    if (!bytes) return error_set(err, ERROR_NO_MEMORY, "out of memory for an xclbin of %zu bytes", *n_bytes);
    store_header(bytes, xclbin, *n_bytes);
    size_t offset = XCLBIN_HEADER_BYTES + xclbin->n_sections * XCLBIN_SECTION_BYTES;
    for (size_t i = 0; i < xclbin->n_sections; i++) {
        const struct xclbin_section *section = &xclbin->section[i];
        uint8_t *entry = bytes + XCLBIN_HEADER_BYTES + i * XCLBIN_SECTION_BYTES;
        store_u32(entry + XCLBIN_SECTION_AT_KIND, section->kind);
        store_text(entry + XCLBIN_SECTION_AT_NAME, section->name, sizeof section->name - 1);
        if (section->n_bytes == 0) continue; /* offset and length are 0 */
        offset = (size_t)aligned(offset);
        store_u64(entry + XCLBIN_SECTION_AT_OFFSET, offset);
        store_u64(entry + XCLBIN_SECTION_AT_BYTES, section->n_bytes);
        memcpy(bytes + offset, section->bytes, section->n_bytes);
        offset += section->n_bytes;
    }
    *out = bytes;
    return 0;
}
