/* SPDX-License-Identifier: Apache-2.0 */
/* Opening packed files, and looking into them. The table of tensors is read by slc_table.c. */
#include "host/base/bytes.h"
#include "host/base/map_file.h"
#include "host/base/memory.h"
#include "host/model/slc_reader.h"
#include "kernels/abi/card_program.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#define SLC_DETAIL 0x51c00000
#define READ_BYTES (256u << 10) /* at a time while verifying: fits the second-level cache */

#define SLC_ERROR_PLUS_ONE(name, text) +1
enum { N_ERRORS = 0 SLC_ERRORS(SLC_ERROR_PLUS_ONE) };
#undef SLC_ERROR_PLUS_ONE

enum slc_error slc_error_of(const struct error *err)
{
    int number = err->detail - SLC_DETAIL;
    return number >= 1 && number <= N_ERRORS ? (enum slc_error)number : SLC_NO_ERROR;
}

const char *slc_error_name(enum slc_error error)
{
    switch (error) {
#define SLC_ERROR_CASE(name, text)                                                                                     \
    case name: return #name;
        SLC_ERRORS(SLC_ERROR_CASE)
#undef SLC_ERROR_CASE
    case SLC_NO_ERROR: break;
    }
    return "SLC_NO_ERROR";
}

/* A long path may not push reason and remedy out of the text: its end tells more than its start. */
static const char *path_end(const char *path)
{
    size_t length = strlen(path);
    return length > 100 ? path + length - 100 : path;
}

int slc_fail(const struct slc *slc, struct error *err, enum slc_error name, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool other = name == SLC_BAD_VERSION || name == SLC_BAD_ABI || name == SLC_BAD_LAYOUT;
    int code = other ? ERROR_UNSUPPORTED : ERROR_BAD_FILE;
    bool demo = strcmp(slc->source_name, SLC_DEMO_NAME) == 0;
    error_set(err, code, "%s: %s (pack it again: sluice pack %s%s%s)", path_end(slc->path), text,
              demo                  ? ""
              : slc->source_name[0] ? path_end(slc->source_name)
                                    : "MODEL",
              demo ? "" : " ", path_end(slc->path));
    if (err) err->detail = SLC_DETAIL + (int)name;
    return code;
}

bool slc_is(const uint8_t *bytes, size_t n_bytes)
{
    return n_bytes >= sizeof SLC_MAGIC - 1 && memcmp(bytes, SLC_MAGIC, sizeof SLC_MAGIC - 1) == 0;
}

/* All of the header page but the ranges that it names. */
static int read_header(struct slc *slc, struct error *err)
{
    const uint8_t *header = slc->bytes;
    if (!slc_is(header, slc->size)) return slc_fail(slc, err, SLC_NOT_SLC, "not a packed file");
    if (slc->size < SLC_PAGE) return slc_fail(slc, err, SLC_TRUNCATED, "the file ends inside its header");
    uint32_t version = load_u32(header + SLC_AT_VERSION), abi = load_u32(header + SLC_AT_ABI);
    if (version != SLC_VERSION)
        return slc_fail(slc, err, SLC_BAD_VERSION, ".slc version %u, this release reads %u", version, SLC_VERSION);
    if (!slc_hash_is(header + SLC_AT_HASH, XXH3_128bits(header, SLC_AT_HASH)))
        return slc_fail(slc, err, SLC_BAD_HEADER, "its header is damaged");
    if (header[SLC_AT_SOURCE_NAME + SLC_SOURCE_NAME_BYTES - 1] != 0)
        return slc_fail(slc, err, SLC_BAD_HEADER, "its header is damaged: the source's name does not end");
    snprintf(slc->source_name, sizeof slc->source_name, "%s", (const char *)header + SLC_AT_SOURCE_NAME);
    if (abi != CARD_ABI_VERSION)
        return slc_fail(slc, err, SLC_BAD_ABI, "packed for card ABI %u, this release has %u", abi, CARD_ABI_VERSION);
    if (load_u64(header + SLC_AT_LAYOUT) != slc_layout_fingerprint())
        return slc_fail(slc, err, SLC_BAD_LAYOUT, "packed in a card layout that this release does not have");
    uint64_t bytes = load_u64(header + SLC_AT_BYTES);
    if (bytes != slc->size || bytes % SLC_PAGE != 0)
        return slc_fail(slc, err, SLC_TRUNCATED, "%zu bytes long instead of %llu", slc->size,
                        (unsigned long long)bytes);
    return 0;
}

static int check_range(const struct slc *slc, const char *what, uint64_t offset, uint64_t bytes, struct error *err)
{
    if (offset >= SLC_PAGE && offset % 8 == 0 && range_fits(offset, bytes, slc->size)) return 0;
    return slc_fail(slc, err, SLC_BAD_RANGE, "its %s lies outside the file", what);
}

/* The source's headers, as gguf.h reads them. */
static int read_metadata(struct slc *slc, struct error *err)
{
    uint64_t at = load_u64(slc->bytes + SLC_AT_METADATA), bytes = load_u64(slc->bytes + SLC_AT_METADATA_BYTES);
    uint32_t n = load_u32(slc->bytes + SLC_AT_N_PARTS);
    int status = check_range(slc, "metadata", at, bytes, err);
    if (status < 0) return status;
    if (!slc_hash_is(slc->bytes + SLC_AT_METADATA_HASH, XXH3_128bits(slc->bytes + at, (size_t)bytes)))
        return slc_fail(slc, err, SLC_BAD_METADATA, "its metadata is damaged");
    if (n == 0 || n > SLC_MAX_PARTS || n > bytes / SLC_PART_BYTES)
        return slc_fail(slc, err, SLC_BAD_METADATA, "its metadata has %u parts", n);
    struct gguf_header *headers = memory_array(n, sizeof *headers);
    if (!headers) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", slc->path);
    uint64_t left = bytes;
    for (uint32_t i = 0; i < n && status == 0; i++) {
        uint64_t length = left >= SLC_PART_BYTES ? load_u64(slc->bytes + at) : UINT64_MAX;
        if (length > left - SLC_PART_BYTES || left < SLC_PART_BYTES) {
            status = slc_fail(slc, err, SLC_BAD_METADATA, "part %u of its metadata is longer than all", i);
            break;
        }
        headers[i] =
            (struct gguf_header){slc->bytes + at + SLC_PART_BYTES, (size_t)length, load_u64(slc->bytes + at + 8)};
        uint64_t step = SLC_PART_BYTES + length + (8 - length % 8) % 8;
        if (step > left) step = left;
        at += step;
        left -= step;
    }
    if (status == 0) status = gguf_open_headers(headers, n, slc->path, &slc->file, err);
    free(headers);
    return status;
}

static int read_all(struct slc *slc, struct error *err)
{
    int status = read_header(slc, err);
    if (status == 0) status = read_metadata(slc, err);
    uint64_t table = status == 0 ? load_u64(slc->bytes + SLC_AT_TABLE) : 0;
    uint32_t n = status == 0 ? load_u32(slc->bytes + SLC_AT_N_TENSORS) : 0;
    if (status == 0) status = check_range(slc, "table of tensors", table, (uint64_t)n * SLC_ENTRY_BYTES, err);
    if (status < 0) return status;
    if (!slc_hash_is(slc->bytes + SLC_AT_TABLE_HASH, XXH3_128bits(slc->bytes + table, (size_t)n * SLC_ENTRY_BYTES)))
        return slc_fail(slc, err, SLC_BAD_TABLE, "its table of tensors is damaged");
    return slc_read_table(slc, slc->bytes + table, n, err);
}

static struct slc *slc_new(const char *path)
{
    struct slc *slc = memory_array(1, sizeof *slc);
    if (!slc) return NULL;
    slc->fd = -1;
    slc->path = strdup(path);
    if (slc->path) return slc;
    free(slc);
    return NULL;
}

/* Takes slc over, also on error. */
static int finish(struct slc *slc, int status, struct slc **out, struct error *err)
{
    if (status == 0) status = read_all(slc, err);
    if (status == 0)
        *out = slc;
    else
        slc_close(slc);
    return status;
}

int slc_open(const char *path, struct slc **out, struct error *err)
{
    *out = NULL;
    struct slc *slc = slc_new(path);
    if (!slc) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", path);
    int status = map_file_open_kept(path, &slc->map, &slc->fd, err);
    slc->bytes = slc->map.bytes;
    slc->size = slc->map.size;
    return finish(slc, status, out, err);
}

int slc_open_memory(const void *bytes, size_t n_bytes, const char *name, struct slc **out, struct error *err)
{
    *out = NULL;
    struct slc *slc = slc_new(name);
    if (!slc) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", name);
    slc->bytes = bytes;
    slc->size = n_bytes;
    return finish(slc, 0, out, err);
}

void slc_close(struct slc *slc)
{
    if (!slc) return;
    gguf_close(slc->file);
    map_file_close(&slc->map);
    if (slc->fd >= 0) close(slc->fd);
    free(slc->tensors);
    free(slc->by_name);
    free(slc->path);
    free(slc);
}

const struct gguf *slc_file(const struct slc *slc) { return slc->file; }
const char *slc_source_name(const struct slc *slc) { return slc->source_name; }
const uint8_t *slc_source_hash(const struct slc *slc) { return slc->bytes + SLC_AT_SOURCE_HASH; }
uint64_t slc_bytes(const struct slc *slc) { return slc->size; }
size_t slc_n_tensors(const struct slc *slc) { return slc->n_tensors; }
const struct slc_tensor *slc_tensor_at(const struct slc *slc, size_t index) { return &slc->tensors[index]; }

int slc_missing(const struct slc *slc, struct gguf_string name, struct error *err)
{
    return slc_fail(slc, err, SLC_MISSING_TENSOR, "tensor %.*s is missing", (int)name.length, name.bytes);
}

void slc_forget(const struct slc *slc, const uint8_t *bytes, size_t n_bytes)
{
    if (slc->map.bytes && bytes >= slc->map.bytes && bytes < slc->map.bytes + slc->map.size)
        map_file_forget(&slc->map, bytes, n_bytes);
}

int slc_check(const struct slc *slc, struct error *err) { return map_file_check(&slc->map, slc->path, err); }

/*
 * By read, not through the mapping, whose pages would count as this process's memory too. out: where the bytes go, or NULL.
 * Each piece is hashed while it is in the cache.
 */
static int hash_file(const struct slc *slc, const struct slc_tensor *tensor, uint8_t *out, XXH128_hash_t *hash,
                     struct error *err)
{
    XXH3_state_t *state = XXH3_createState();
    uint8_t *buffer = out ? NULL : malloc(READ_BYTES);
    int status = state && (out || buffer) ? 0 : error_set(err, ERROR_NO_MEMORY, "%s: out of memory", slc->path);
    if (status == 0) XXH3_128bits_reset(state);
    for (uint64_t done = 0; done < tensor->n_bytes && status == 0;) {
        uint64_t left = tensor->n_bytes - done;
        uint8_t *to = out ? out + done : buffer;
        size_t want = left < READ_BYTES ? (size_t)left : READ_BYTES;
        ssize_t got = pread(slc->fd, to, want, (off_t)(tensor->offset + done));
        if (got <= 0) {
            status = error_set(err, ERROR_IO, "%s: tensor %s: cannot read (has the file changed?)", path_end(slc->path),
                               tensor->name);
            break;
        }
        XXH3_128bits_update(state, to, (size_t)got);
        done += (uint64_t)got;
    }
    if (status == 0) *hash = XXH3_128bits_digest(state);
    free(buffer);
    XXH3_freeState(state);
    return status;
}

int slc_read(const struct slc *slc, const struct slc_tensor *tensor, uint8_t *out, struct error *err)
{
    XXH128_hash_t hash = {0};
    int status = 0;
    if (slc->fd >= 0) {
        status = hash_file(slc, tensor, out, &hash, err);
    } else {
        hash = XXH3_128bits(tensor->data, (size_t)tensor->n_bytes);
        if (out) memcpy(out, tensor->data, (size_t)tensor->n_bytes);
    }
    if (status < 0 || slc_hash_is(tensor->hash, hash)) return status;
    return slc_fail(slc, err, SLC_DAMAGED_TENSOR, "tensor %s is damaged: its bytes do not have their hash",
                    tensor->name);
}

int slc_read_part(const struct slc *slc, const struct slc_tensor *tensor, uint64_t from, size_t n_bytes, uint8_t *out,
                  struct error *err)
{
    if (!range_fits(from, n_bytes, tensor->n_bytes))
        return error_set(err, ERROR_INTERNAL, "%s: tensor %s has no such part", path_end(slc->path), tensor->name);
    if (slc->fd < 0) memcpy(out, tensor->data + from, n_bytes);
    for (size_t done = 0; done < n_bytes && slc->fd >= 0;) {
        ssize_t got = pread(slc->fd, out + done, n_bytes - done, (off_t)(tensor->offset + from + done));
        if (got <= 0)
            return error_set(err, ERROR_IO, "%s: tensor %s: cannot read: %s", path_end(slc->path), tensor->name,
                             got < 0 ? strerror(errno) : "the file has become shorter");
        done += (size_t)got;
    }
    return 0;
}

int slc_verify(const struct slc *slc, const struct slc_tensor *tensor, struct error *err)
{
    return slc_read(slc, tensor, NULL, err);
}
