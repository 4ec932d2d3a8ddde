/* SPDX-License-Identifier: Apache-2.0 */
/* The position in a header that is being read, and the checked reads that move it. For gguf_header.c and gguf_tensors.c. */
#ifndef SLUICE_MODEL_GGUF_READER_H
#define SLUICE_MODEL_GGUF_READER_H

#include "host/model/gguf_internal.h"

struct gguf_reader {
    const struct gguf_part *part;
    size_t at; /* <= part->size */
    struct error *err;
    char subject[160]; /* what is being read, for messages */
};

static inline size_t gguf_remaining(const struct gguf_reader *reader) { return reader->part->size - reader->at; }

/* Sets the error "FILE: SUBJECT: ..." and returns ERROR_BAD_FILE. */
int gguf_reader_fail(const struct gguf_reader *reader, enum gguf_error name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

int gguf_read_u32(struct gguf_reader *reader, uint32_t *out);
int gguf_read_u64(struct gguf_reader *reader, uint64_t *out);
int gguf_read_string(struct gguf_reader *reader, struct gguf_string *out);

/* 1 to max_length printable ASCII characters: what keys and tensor names are made of, and what a terminal can show. */
bool gguf_is_name(struct gguf_string text, size_t max_length);

/*
 * items with room for items[count], moved if it had to grow; NULL, with the error set and items as they were, without
 * memory. The array grows with what was read, not with what the file claims, so a lying count costs no memory.
 */
void *gguf_reserve(const struct gguf_reader *reader, void *items, size_t *capacity, size_t count, size_t item_bytes);

/* Reads the table of count tensors after the metadata, checks all, and appends them to tensors. (gguf_tensors.c) */
int gguf_read_tensors(struct gguf_reader *reader, struct gguf_tensors *tensors, size_t count);

#endif
