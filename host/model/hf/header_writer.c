/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/hf/header_writer.h"

#include "host/base/bytes.h"
#include "host/base/memory.h"

#include <string.h>

#define ALIGNMENT 32u /* the format's default */

static void put(struct header_writer *writer, struct header_bytes *to, const void *bytes, size_t n)
{
    if (writer->failed) return;
    if (n > to->room - to->n) {
        size_t room = to->room > 0 ? to->room : 4096;
        while (room - to->n < n && room <= SIZE_MAX / 2) room *= 2;
        uint8_t *grown = room - to->n >= n ? memory_grow(to->bytes, room, 1) : NULL;
        if (grown == NULL) {
            writer->failed = true;
            return;
        }
        to->bytes = grown;
        to->room = room;
    }
    if (n > 0) memcpy(to->bytes + to->n, bytes, n);
    to->n += n;
}

static void put_u32(struct header_writer *writer, struct header_bytes *to, uint32_t value)
{
    uint8_t bytes[4];
    store_u32(bytes, value);
    put(writer, to, bytes, sizeof bytes);
}

static void put_u64(struct header_writer *writer, struct header_bytes *to, uint64_t value)
{
    uint8_t bytes[8];
    store_u64(bytes, value);
    put(writer, to, bytes, sizeof bytes);
}

static void put_text(struct header_writer *writer, struct header_bytes *to, const char *text, size_t length)
{
    put_u64(writer, to, length);
    put(writer, to, text, length);
}

static void put_key(struct header_writer *writer, const char *key, enum gguf_type type)
{
    put_text(writer, &writer->keys, key, strlen(key));
    put_u32(writer, &writer->keys, type);
    writer->n_keys++;
}

void header_element_u32(struct header_writer *writer, uint32_t value) { put_u32(writer, &writer->keys, value); }

void header_element_f32(struct header_writer *writer, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_u32(writer, &writer->keys, bits);
}

void header_element_f64(struct header_writer *writer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    header_element_u32(writer, (uint32_t)bits);
    header_element_u32(writer, (uint32_t)(bits >> 32));
}

void header_element_bool(struct header_writer *writer, bool value)
{
    put(writer, &writer->keys, &(uint8_t){value ? 1 : 0}, 1);
}

void header_element_string(struct header_writer *writer, const char *text, size_t length)
{
    put_text(writer, &writer->keys, text, length);
}

void header_put_u32(struct header_writer *writer, const char *key, uint32_t value)
{
    put_key(writer, key, GGUF_TYPE_U32);
    header_element_u32(writer, value);
}

void header_put_f32(struct header_writer *writer, const char *key, float value)
{
    put_key(writer, key, GGUF_TYPE_F32);
    header_element_f32(writer, value);
}

void header_put_bool(struct header_writer *writer, const char *key, bool value)
{
    put_key(writer, key, GGUF_TYPE_BOOL);
    header_element_bool(writer, value);
}

void header_put_string(struct header_writer *writer, const char *key, const char *text, size_t length)
{
    put_key(writer, key, GGUF_TYPE_STRING);
    header_element_string(writer, text, length);
}

void header_put_array(struct header_writer *writer, const char *key, enum gguf_type type, uint64_t count)
{
    put_key(writer, key, GGUF_TYPE_ARRAY);
    put_u32(writer, &writer->keys, type);
    put_u64(writer, &writer->keys, count);
}

void header_put_tensor(struct header_writer *writer, const char *name, enum gguf_tensor_type type,
                       unsigned n_dimensions, const uint64_t *dimension, uint64_t n_bytes)
{
    struct header_bytes *to = &writer->tensors;
    put_text(writer, to, name, strlen(name));
    put_u32(writer, to, n_dimensions);
    for (unsigned i = 0; i < n_dimensions; i++) put_u64(writer, to, dimension[i]);
    put_u32(writer, to, type);
    put_u64(writer, to, writer->data_bytes);
    writer->n_tensors++;
    uint64_t padding = (ALIGNMENT - n_bytes % ALIGNMENT) % ALIGNMENT;
    if (__builtin_add_overflow(writer->data_bytes, n_bytes, &writer->data_bytes) ||
        __builtin_add_overflow(writer->data_bytes, padding, &writer->data_bytes))
        writer->failed = true;
}

int header_writer_finish(struct header_writer *writer, uint8_t **bytes, size_t *n_bytes, uint64_t *file_bytes,
                         struct error *err)
{
    struct header_bytes header = {0};
    put(writer, &header, "GGUF", 4);
    put_u32(writer, &header, 3);
    put_u64(writer, &header, writer->n_tensors);
    put_u64(writer, &header, writer->n_keys);
    put(writer, &header, writer->keys.bytes, writer->keys.n);
    put(writer, &header, writer->tensors.bytes, writer->tensors.n);
    bool failed = writer->failed;
    uint64_t data = writer->data_bytes;
    header_writer_release(writer);
    *bytes = header.bytes;
    *n_bytes = header.n;
    if (!failed && !__builtin_add_overflow(header.n + ALIGNMENT, data, file_bytes)) return 0;
    free(header.bytes);
    *bytes = NULL;
    return error_set(err, ERROR_NO_MEMORY, "the header: out of memory");
}

void header_writer_release(struct header_writer *writer)
{
    free(writer->keys.bytes);
    free(writer->tensors.bytes);
    *writer = (struct header_writer){0};
}
