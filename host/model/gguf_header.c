/* SPDX-License-Identifier: Apache-2.0 */
/* The header of one file: magic, counts and metadata. The table of tensors is read by gguf_tensors.c. */
#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/model/gguf_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The shortest key: one character, then a type and a value of one byte. The shortest tensor: one character and dimension. */
#define MIN_KEY_BYTES (8 + 1 + 4 + 1)
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 8 + 4 + 8)

int gguf_fail(struct error *err, enum gguf_error name, const char *file, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* A long path may not push the reason out of the text: its end tells more than its start. */
    size_t length = strlen(file);
    error_set(err, ERROR_BAD_FILE, "%s%s: %s", length > 160 ? "..." : "", length > 160 ? file + length - 160 : file,
              text);
    if (err) err->detail = GGUF_DETAIL + (int)name;
    return ERROR_BAD_FILE;
}

int gguf_reader_fail(const struct gguf_reader *reader, enum gguf_error name, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return gguf_fail(reader->err, name, reader->part->name, "%s: %s", reader->subject, text);
}

static int truncated(const struct gguf_reader *reader)
{
    return gguf_reader_fail(reader, GGUF_TRUNCATED_HEADER,
                            "the file ends inside the header (it is truncated: download it again)");
}

int gguf_read_u32(struct gguf_reader *reader, uint32_t *out)
{
    if (gguf_remaining(reader) < 4) return truncated(reader);
    *out = load_u32(reader->part->bytes + reader->at);
    reader->at += 4;
    return 0;
}

int gguf_read_u64(struct gguf_reader *reader, uint64_t *out)
{
    if (gguf_remaining(reader) < 8) return truncated(reader);
    *out = load_u64(reader->part->bytes + reader->at);
    reader->at += 8;
    return 0;
}

int gguf_read_string(struct gguf_reader *reader, struct gguf_string *out)
{
    uint64_t length;
    int status = gguf_read_u64(reader, &length);
    if (status < 0) return status;
    if (length > gguf_remaining(reader))
        return gguf_reader_fail(reader, GGUF_STRING_OVERRUN,
                                "a string of %llu bytes where the file has %zu left (damaged or truncated)",
                                (unsigned long long)length, gguf_remaining(reader));
    out->bytes = (const char *)reader->part->bytes + reader->at;
    out->length = (size_t)length;
    reader->at += out->length;
    return 0;
}

bool gguf_is_name(struct gguf_string text, size_t max_length)
{
    if (text.length == 0 || text.length > max_length) return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] < 0x20 || text.bytes[i] > 0x7e) return false;
    }
    return true;
}

static int check_bools(const struct gguf_reader *reader, const struct gguf_value *value)
{
    for (size_t i = 0; i < value->n_bytes; i++) {
        if (value->bytes[i] > 1)
            return gguf_reader_fail(reader, GGUF_BAD_BOOL, "a bool of %u, neither 0 nor 1 (damaged)", value->bytes[i]);
    }
    return 0;
}

static int read_array(struct gguf_reader *reader, unsigned depth, struct gguf_value *value);

/* Reads a value of a known type. */
static int read_value(struct gguf_reader *reader, uint32_t type, unsigned depth, struct gguf_value *value)
{
    *value = (struct gguf_value){.type = (enum gguf_type)type, .bytes = reader->part->bytes + reader->at};
    if (type == GGUF_TYPE_ARRAY) return read_array(reader, depth, value);
    if (type == GGUF_TYPE_STRING) {
        struct gguf_string text;
        int status = gguf_read_string(reader, &text);
        if (status < 0) return status;
        value->bytes = (const uint8_t *)text.bytes;
        value->n_bytes = text.length;
        return 0;
    }
    value->n_bytes = gguf_scalar_bytes(type);
    if (value->n_bytes == 0)
        return gguf_reader_fail(reader, GGUF_BAD_VALUE_TYPE, "metadata type %u is unknown (types are 0 to 12)", type);
    if (value->n_bytes > gguf_remaining(reader)) return truncated(reader);
    reader->at += value->n_bytes;
    return type == GGUF_TYPE_BOOL ? check_bools(reader, value) : 0;
}

/* Checks the elements of an array that have no fixed size, one by one. */
static int read_elements(struct gguf_reader *reader, unsigned depth, struct gguf_value *array)
{
    int status = 0;
    for (uint64_t i = 0; i < array->count && status == 0; i++) {
        if (array->element_type == GGUF_TYPE_STRING) {
            struct gguf_string text;
            status = gguf_read_string(reader, &text);
        } else {
            struct gguf_value inner;
            status = read_value(reader, array->element_type, depth + 1, &inner);
        }
    }
    return status;
}

static int read_array(struct gguf_reader *reader, unsigned depth, struct gguf_value *array)
{
    if (depth == GGUF_MAX_DEPTH)
        return gguf_reader_fail(reader, GGUF_ARRAY_TOO_DEEP, "arrays nested deeper than %d", GGUF_MAX_DEPTH);
    uint32_t element_type;
    int status = gguf_read_u32(reader, &element_type);
    if (status < 0) return status;
    if (element_type > GGUF_TYPE_F64)
        return gguf_reader_fail(reader, GGUF_BAD_VALUE_TYPE, "metadata type %u is unknown (types are 0 to 12)",
                                element_type);
    status = gguf_read_u64(reader, &array->count);
    if (status < 0) return status;

    /* Also strings and arrays take at least their lengths, so an absurd count is refused before anything is walked. */
    size_t scalar_bytes = gguf_scalar_bytes(element_type);
    size_t least = scalar_bytes ? scalar_bytes : element_type == GGUF_TYPE_STRING ? 8 : 12;
    if (array->count > gguf_remaining(reader) / least)
        return gguf_reader_fail(reader, GGUF_ARRAY_OVERRUN,
                                "an array of %llu elements where the file has %zu bytes left (damaged or truncated)",
                                (unsigned long long)array->count, gguf_remaining(reader));
    array->element_type = (enum gguf_type)element_type;
    array->bytes = reader->part->bytes + reader->at;
    if (scalar_bytes) {
        array->n_bytes = (size_t)array->count * scalar_bytes;
        reader->at += array->n_bytes;
        return element_type == GGUF_TYPE_BOOL ? check_bools(reader, array) : 0;
    }
    status = read_elements(reader, depth, array);
    array->n_bytes = (size_t)(reader->part->bytes + reader->at - array->bytes);
    return status;
}

static int read_key(struct gguf_reader *reader, struct gguf_key *key)
{
    int status = gguf_read_string(reader, &key->name);
    if (status < 0) return status;
    if (!gguf_is_name(key->name, GGUF_MAX_KEY))
        return gguf_reader_fail(reader, GGUF_BAD_KEY, "its name is empty, too long or not plain text (damaged)");
    snprintf(reader->subject, sizeof reader->subject, "metadata key %.*s", GGUF_SHOW(key->name));
    uint32_t type;
    status = gguf_read_u32(reader, &type);
    if (status < 0) return status;
    return read_value(reader, type, 0, &key->value);
}

static int read_keys(struct gguf_reader *reader, struct gguf_keys *keys, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        snprintf(reader->subject, sizeof reader->subject, "metadata key %llu", (unsigned long long)i);
        struct gguf_key *items = gguf_reserve(reader, keys->items, &keys->capacity, keys->count, sizeof *keys->items);
        if (!items) return ERROR_NO_MEMORY;
        keys->items = items;
        int status = read_key(reader, &keys->items[keys->count]);
        if (status < 0) return status;
        status = gguf_index_add(&keys->index, keys->items, sizeof *keys->items, keys->count);
        if (status < 0) return error_set(reader->err, status, "%s: out of memory", reader->part->name);
        if (status > 0) return gguf_reader_fail(reader, GGUF_DUPLICATE_KEY, "is there twice (damaged)");
        keys->count++;
    }
    return 0;
}

void *gguf_reserve(const struct gguf_reader *reader, void *items, size_t *capacity, size_t count, size_t item_bytes)
{
    if (count < *capacity) return items;
    size_t larger = *capacity ? *capacity * 2 : 64;
    void *grown = memory_grow(items, larger, item_bytes);
    if (grown)
        *capacity = larger;
    else
        error_set(reader->err, ERROR_NO_MEMORY, "%s: out of memory for its header", reader->part->name);
    return grown;
}

/* What a file that is no GGUF file may be instead, with the way out. */
static const char *guess_format(const uint8_t *bytes, size_t size)
{
    static const struct {
        const char *start, *hint;
    } known[] = {
        {"version https://git-lfs", "it is a Git LFS pointer: fetch the file itself with git lfs pull"},
        {"PK\x03\x04", "it looks like a PyTorch or zip archive: convert it to GGUF"},
        {"<", "it looks like a web page: the download link was not the file's"},
        {"tjgg", "it is a GGML file from before GGUF: convert it again"},
        {"fmgg", "it is a GGML file from before GGUF: convert it again"},
        {"lmgg", "it is a GGML file from before GGUF: convert it again"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t length = strlen(known[i].start);
        if (size >= length && memcmp(bytes, known[i].start, length) == 0) return known[i].hint;
    }
    if (size > 9 && bytes[8] == '{' && load_u64(bytes) < size) return "it looks like safetensors: convert it to GGUF";
    return "it does not begin with the letters GGUF";
}

static int read_version(struct gguf_reader *reader, uint32_t *version)
{
    const struct gguf_part *part = reader->part;
    if (part->size < 4 || memcmp(part->bytes, "GGUF", 4) != 0)
        return gguf_fail(reader->err, GGUF_NOT_GGUF, part->name, "not a GGUF file: %s",
                         guess_format(part->bytes, part->size));
    reader->at = 4;
    int status = gguf_read_u32(reader, version);
    if (status < 0) return status;
    if (*version == 2 || *version == 3) return 0;
    uint32_t swapped = __builtin_bswap32(*version);
    if (swapped >= 1 && swapped <= 0xff)
        return gguf_fail(reader->err, GGUF_BIG_ENDIAN, part->name,
                         "a big-endian GGUF file (only little-endian files are supported: convert it again)");
    return gguf_fail(reader->err, GGUF_BAD_VERSION, part->name, "GGUF version %u is not supported (2 and 3 are%s)",
                     *version, *version == 1 ? ": convert the model again" : "; the file may be damaged");
}

int gguf_read_part(struct gguf_part *part, struct gguf_tensors *tensors, struct error *err)
{
    struct gguf_reader reader = {.part = part, .err = err, .subject = "start of the header"};
    int status = read_version(&reader, &part->version);
    if (status < 0) return status;
    uint64_t n_tensors, n_keys;
    status = gguf_read_u64(&reader, &n_tensors);
    if (status < 0) return status;
    status = gguf_read_u64(&reader, &n_keys);
    if (status < 0) return status;
    size_t left = gguf_remaining(&reader);
    if (n_keys > left / MIN_KEY_BYTES)
        return gguf_reader_fail(&reader, GGUF_TOO_MANY_KEYS,
                                "claims %llu metadata keys, more than the file can hold (damaged or truncated)",
                                (unsigned long long)n_keys);
    if (n_tensors > left / MIN_TENSOR_BYTES)
        return gguf_reader_fail(&reader, GGUF_TOO_MANY_TENSORS,
                                "claims %llu tensors, more than the file can hold (damaged or truncated)",
                                (unsigned long long)n_tensors);
    status = read_keys(&reader, &part->keys, n_keys);
    if (status < 0) return status;
    part->n_tensors = (size_t)n_tensors;
    status = gguf_read_tensors(&reader, tensors, part->n_tensors);
    part->header_size = reader.at;
    return status;
}
