/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/xclbin.h"
#include "bitstreams/xclbin_layout.h"
#include "host/base/bytes.h"
#include "host/base/memory.h"

#include <stdarg.h>
#include <stdio.h>

static int refuse(struct error *err, enum xclbin_fault fault, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct error *err, enum xclbin_fault fault, const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set(err, ERROR_BAD_FILE, "%s", text);
    if (err) err->detail = (int)fault;
    return ERROR_BAD_FILE;
}

/* A text field that ends with a zero or with the field. */
static void load_text(char *text, const uint8_t *from, size_t field)
{
    memcpy(text, from, field);
    text[field] = 0;
}

static void load_header(const uint8_t *p, struct xclbin_header *header)
{
    header->signature_length = (int32_t)load_u32(p + XCLBIN_AT_SIGNATURE_LENGTH);
    memcpy(header->reserved, p + XCLBIN_AT_RESERVED, sizeof header->reserved);
    memcpy(header->key_block, p + XCLBIN_AT_KEY_BLOCK, sizeof header->key_block);
    header->unique_id = load_u64(p + XCLBIN_AT_UNIQUE_ID);
    header->length = load_u64(p + XCLBIN_AT_LENGTH);
    header->timestamp = load_u64(p + XCLBIN_AT_TIMESTAMP);
    header->feature_rom_timestamp = load_u64(p + XCLBIN_AT_ROM_TIMESTAMP);
    header->version_patch = load_u16(p + XCLBIN_AT_VERSION_PATCH);
    header->version_major = p[XCLBIN_AT_VERSION_MAJOR];
    header->version_minor = p[XCLBIN_AT_VERSION_MINOR];
    header->mode = load_u16(p + XCLBIN_AT_MODE);
    header->action_mask = load_u16(p + XCLBIN_AT_ACTION_MASK);
    memcpy(header->rom_uuid, p + XCLBIN_AT_ROM_UUID, sizeof header->rom_uuid);
    memcpy(header->uuid, p + XCLBIN_AT_UUID, sizeof header->uuid);
    load_text(header->platform, p + XCLBIN_AT_PLATFORM, sizeof header->platform - 1);
    load_text(header->debug_file, p + XCLBIN_AT_DEBUG_FILE, sizeof header->debug_file - 1);
}

/*
 * XRT's tools have counted the PKCS#7 signature into the length and not; both are taken. Nothing else may follow: what no
 * length covers is what nobody checks.
 */
static int check_length(const struct xclbin_header *header, size_t n_bytes, struct error *err)
{
    uint64_t signature = header->signature_length > 0 ? (uint64_t)header->signature_length : 0;
    if (header->signature_length < -1 || header->signature_length == 0 || signature > n_bytes - XCLBIN_HEADER_BYTES)
        return refuse(err, XCLBIN_FAULT_SIGNATURE, "its signature is said to have %d bytes", header->signature_length);
    if (header->length < XCLBIN_HEADER_BYTES)
        return refuse(err, XCLBIN_FAULT_LENGTH, "its header says that the file has %llu bytes",
                      (unsigned long long)header->length);
    if (header->length > n_bytes)
        return refuse(err, XCLBIN_FAULT_SHORT, "%zu bytes of %llu are there (was the copy cut short?)", n_bytes,
                      (unsigned long long)header->length);
    if (n_bytes - header->length != 0 && n_bytes - header->length != signature)
        return refuse(err, XCLBIN_FAULT_LENGTH, "%llu bytes follow after the end that its header states",
                      (unsigned long long)(n_bytes - header->length));
    return 0;
}

/* What a person calls a section in a message. */
static const char *label(const struct xclbin_section *section, char text[40])
{
    const char *name = xclbin_kind_name(section->kind);
    if (name)
        snprintf(text, 40, "%s", name);
    else
        snprintf(text, 40, "of kind %u", section->kind);
    return text;
}

static int load_sections(const uint8_t *bytes, size_t n_bytes, struct xclbin *out, struct error *err)
{
    uint64_t table_end = XCLBIN_HEADER_BYTES + (uint64_t)out->n_sections * XCLBIN_SECTION_BYTES;
    for (size_t i = 0; i < out->n_sections; i++) {
        const uint8_t *p = bytes + XCLBIN_HEADER_BYTES + i * XCLBIN_SECTION_BYTES;
        struct xclbin_section *section = &out->section[i];
        uint64_t length = load_u64(p + XCLBIN_SECTION_AT_BYTES);
        char text[40];
        section->kind = load_u32(p + XCLBIN_SECTION_AT_KIND);
        load_text(section->name, p + XCLBIN_SECTION_AT_NAME, sizeof section->name - 1);
        section->offset = load_u64(p + XCLBIN_SECTION_AT_OFFSET);
        if (length == 0) { /* "not present": an offset is not looked at */
            section->bytes = bytes;
            continue;
        }
        if (section->offset < table_end || !range_fits(section->offset, length, n_bytes) ||
            !range_fits(section->offset, length, out->header.length))
            return refuse(err, XCLBIN_FAULT_RANGE, "section %zu (%s) is not within the file: %llu bytes at %llu", i,
                          label(section, text), (unsigned long long)length, (unsigned long long)section->offset);
        if (section->offset % XCLBIN_ALIGNMENT != 0)
            return refuse(err, XCLBIN_FAULT_ALIGNMENT, "section %zu (%s) starts at %llu, no multiple of %u", i,
                          label(section, text), (unsigned long long)section->offset, XCLBIN_ALIGNMENT);
        section->bytes = bytes + section->offset;
        section->n_bytes = (size_t)length;
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct xclbin_section *x = *(const struct xclbin_section *const *)a;
    const struct xclbin_section *y = *(const struct xclbin_section *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int check_overlaps(const struct xclbin *xclbin, struct error *err)
{
    const struct xclbin_section **order = memory_array(xclbin->n_sections, sizeof *order);
    if (!order) return error_set(err, ERROR_NO_MEMORY, "out of memory for %zu sections", xclbin->n_sections);
    size_t n = 0;
    for (size_t i = 0; i < xclbin->n_sections; i++) {
        if (xclbin->section[i].n_bytes) order[n++] = &xclbin->section[i];
    }
    qsort(order, n, sizeof *order, by_offset);
    int status = 0;
    for (size_t i = 1; i < n && status == 0; i++) {
        char one[40], two[40];
        if (order[i - 1]->offset + order[i - 1]->n_bytes > order[i]->offset)
            status = refuse(err, XCLBIN_FAULT_OVERLAP, "sections %s and %s overlap", label(order[i - 1], one),
                            label(order[i], two));
    }
    free(order);
    return status;
}

static int check_single_kinds(const struct xclbin *xclbin, struct error *err)
{
    uint64_t seen = 0;
    _Static_assert(XCLBIN_KIND_END <= 64, "a bit for each kind");
    for (size_t i = 0; i < xclbin->n_sections; i++) {
        uint32_t kind = xclbin->section[i].kind;
        if (!xclbin_kind_is_single(kind)) continue;
        if (seen >> kind & 1)
            return refuse(err, XCLBIN_FAULT_TWICE, "section %s is there twice", xclbin_kind_name(kind));
        seen |= UINT64_C(1) << kind;
    }
    return 0;
}

static int read_container(const uint8_t *bytes, size_t n_bytes, struct xclbin *out, struct error *err)
{
    if (n_bytes < sizeof XCLBIN_MAGIC || memcmp(bytes, XCLBIN_MAGIC, sizeof XCLBIN_MAGIC) != 0)
        return refuse(err, XCLBIN_FAULT_MAGIC, "is no xclbin: it does not begin with \"%s\"", XCLBIN_MAGIC);
    if (n_bytes < XCLBIN_HEADER_BYTES)
        return refuse(err, XCLBIN_FAULT_SHORT, "ends within the header (was the copy cut short?)");
    load_header(bytes, &out->header);
    int status = check_length(&out->header, n_bytes, err);
    if (status < 0) return status;
    uint32_t count = load_u32(bytes + XCLBIN_AT_N_SECTIONS);
    if (count > XCLBIN_MAX_SECTIONS || count > (out->header.length - XCLBIN_HEADER_BYTES) / XCLBIN_SECTION_BYTES)
        return refuse(err, XCLBIN_FAULT_COUNT, "%u sections cannot be in a file of %zu bytes", count, n_bytes);
    out->section = memory_array(count, sizeof *out->section);
    if (!out->section) return error_set(err, ERROR_NO_MEMORY, "out of memory for %u sections", count);
    out->n_sections = count;
    status = load_sections(bytes, n_bytes, out, err);
    if (status == 0) status = check_overlaps(out, err);
    return status == 0 ? check_single_kinds(out, err) : status;
}

int xclbin_read(const uint8_t *bytes, size_t n_bytes, const char *file, struct xclbin *out, struct error *err)
{
    *out = (struct xclbin){0};
    int status = read_container(bytes, n_bytes, out, err);
    if (status == 0) return 0;
    xclbin_free(out);
    if (err) error_prefix(err, "%s", file);
    return status;
}

void xclbin_free(struct xclbin *xclbin)
{
    free(xclbin->section);
    *xclbin = (struct xclbin){0};
}

const struct xclbin_section *xclbin_find(const struct xclbin *xclbin, uint32_t kind)
{
    for (size_t i = 0; i < xclbin->n_sections; i++) {
        if (xclbin->section[i].kind == kind) return &xclbin->section[i];
    }
    return NULL;
}
