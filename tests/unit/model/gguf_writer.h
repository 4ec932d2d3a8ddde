/* SPDX-License-Identifier: Apache-2.0 */
/* A small GGUF file in memory, written field by field, so that a test can write or patch what no honest writer would. */
#ifndef SLUICE_TESTS_GGUF_WRITER_H
#define SLUICE_TESTS_GGUF_WRITER_H

#include "host/base/bytes.h"
#include "host/model/gguf.h"

#include <stdlib.h>

struct writer {
    uint8_t bytes[65536];
    size_t size;
};

static inline void put_bytes(struct writer *file, const void *bytes, size_t n)
{
    if (n > sizeof file->bytes - file->size) abort(); /* a test that writes too much */
    memcpy(file->bytes + file->size, bytes, n);
    file->size += n;
}

static inline void put_u8(struct writer *file, uint8_t value) { put_bytes(file, &value, 1); }

static inline void put_u16(struct writer *file, uint16_t value)
{
    uint8_t bytes[2];
    store_u16(bytes, value);
    put_bytes(file, bytes, sizeof bytes);
}

static inline void put_u32(struct writer *file, uint32_t value)
{
    uint8_t bytes[4];
    store_u32(bytes, value);
    put_bytes(file, bytes, sizeof bytes);
}

static inline void put_u64(struct writer *file, uint64_t value)
{
    uint8_t bytes[8];
    store_u64(bytes, value);
    put_bytes(file, bytes, sizeof bytes);
}

static inline void put_string(struct writer *file, const char *text)
{
    put_u64(file, strlen(text));
    put_bytes(file, text, strlen(text));
}

static inline void put_header(struct writer *file, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    put_bytes(file, "GGUF", 4);
    put_u32(file, version);
    put_u64(file, n_tensors);
    put_u64(file, n_keys);
}

/* The name and the type; the value follows. */
static inline void put_key(struct writer *file, const char *name, enum gguf_type type)
{
    put_string(file, name);
    put_u32(file, type);
}

static inline void put_array(struct writer *file, uint32_t element_type, uint64_t count)
{
    put_u32(file, element_type);
    put_u64(file, count);
}

/* A tensor of two dimensions. */
static inline void put_tensor(struct writer *file, const char *name, uint64_t cols, uint64_t rows, uint32_t type,
                              uint64_t offset)
{
    put_string(file, name);
    put_u32(file, 2);
    put_u64(file, cols);
    put_u64(file, rows);
    put_u32(file, type);
    put_u64(file, offset);
}

static inline void put_padding(struct writer *file, size_t alignment)
{
    while (file->size % alignment != 0) put_u8(file, 0);
}

/* n bytes of data that count up. */
static inline void put_data(struct writer *file, size_t n)
{
    for (size_t i = 0; i < n; i++) put_u8(file, (uint8_t)i);
}

#endif
