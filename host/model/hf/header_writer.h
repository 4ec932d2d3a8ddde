/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GGUF header in memory (gguf.h), made of what a folder says in its own words, so that everything behind it reads one kind of
 * header. Memory that is lacking is remembered: only header_writer_finish says so.
 */
#ifndef SLUICE_MODEL_HF_HEADER_WRITER_H
#define SLUICE_MODEL_HF_HEADER_WRITER_H

#include "host/model/gguf.h"

struct header_bytes {
    uint8_t *bytes; /* owned */
    size_t n, room;
};

struct header_writer {
    struct header_bytes keys, tensors;
    uint64_t n_keys, n_tensors, data_bytes;
    bool failed;
};

void header_put_u32(struct header_writer *writer, const char *key, uint32_t value);
void header_put_f32(struct header_writer *writer, const char *key, float value);
void header_put_bool(struct header_writer *writer, const char *key, bool value);
void header_put_string(struct header_writer *writer, const char *key, const char *text, size_t length);

/* An array of count elements, which follow by header_element_*. */
void header_put_array(struct header_writer *writer, const char *key, enum gguf_type type, uint64_t count);
void header_element_u32(struct header_writer *writer, uint32_t value); /* U32, I32 */
void header_element_f32(struct header_writer *writer, float value);
void header_element_f64(struct header_writer *writer, double value);
void header_element_bool(struct header_writer *writer, bool value);
void header_element_string(struct header_writer *writer, const char *text, size_t length);

/* A tensor whose data would follow that of the one before. dimension: fastest first. */
void header_put_tensor(struct header_writer *writer, const char *name, enum gguf_tensor_type type,
                       unsigned n_dimensions, const uint64_t *dimension, uint64_t n_bytes);

/*
 * The header, which *bytes owns; *file_bytes is the size of a file that had the tensors' data, too. writer is empty afterwards,
 * also on error.
 */
int header_writer_finish(struct header_writer *writer, uint8_t **bytes, size_t *n_bytes, uint64_t *file_bytes,
                         struct error *err);
void header_writer_release(struct header_writer *writer);

#endif
