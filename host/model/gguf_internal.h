/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the GGUF reader share. Nobody else includes this. */
#ifndef SLUICE_MODEL_GGUF_INTERNAL_H
#define SLUICE_MODEL_GGUF_INTERNAL_H

#include "host/base/map_file.h"
#include "host/model/gguf.h"

#define GGUF_DETAIL 0x67670000 /* an enum gguf_error is stored in struct error's detail as this plus its number */

/* Limits of ours; the format has none for depth and none that is a danger for the rest. */
#define GGUF_MAX_DEPTH 4        /* arrays within arrays */
#define GGUF_MAX_KEY 65535      /* bytes; the format's */
#define GGUF_MAX_TENSOR_NAME 64 /* bytes; the format's */
#define GGUF_MIN_ALIGNMENT 8    /* the format's */
#define GGUF_MAX_ALIGNMENT (1u << 24)
#define GGUF_DEFAULT_ALIGNMENT 32 /* the format's */

/* Names to positions in an array whose elements begin with a struct gguf_string: open addressing, at most half full. */
struct gguf_slot {
    uint64_t hash;
    size_t number; /* 0: free, else position + 1 */
};
struct gguf_index {
    struct gguf_slot *slots; /* owned */
    size_t n_slots;          /* a power of two, or 0 */
    size_t n_used;
};

/* items[position] begins with its name; item_bytes is the size of one. Returns the position, or -1. */
int64_t gguf_index_find(const struct gguf_index *index, const void *items, size_t item_bytes, struct gguf_string name);
/* Adds items[position]. Returns 0, 1 if its name is there already, or ERROR_NO_MEMORY. */
int gguf_index_add(struct gguf_index *index, const void *items, size_t item_bytes, size_t position);
void gguf_index_free(struct gguf_index *index);

struct gguf_keys {
    struct gguf_key *items; /* owned */
    size_t count, capacity;
    struct gguf_index index;
};

struct gguf_tensors {
    struct gguf_tensor *items; /* owned */
    size_t count, capacity;
    struct gguf_index index;
};

/* One file of a split model, or the only one. */
struct gguf_part {
    char *name;          /* owned; path, or what the caller called the bytes */
    struct map_file map; /* {0} if the bytes are the caller's */
    const uint8_t *bytes;
    size_t size;        /* of bytes */
    uint64_t file_size; /* of the file: more than size if bytes are its header only, and then tensors have no data */
    size_t header_size; /* to the end of the table of tensors; what follows is padding and data */
    uint32_t version;
    size_t n_tensors;
    struct gguf_keys keys;
};

struct gguf {
    struct gguf_part *parts; /* owned */
    unsigned n_parts;
    struct gguf_tensors tensors;  /* of all parts */
    struct gguf_backing *backing; /* owned; NULL: none */
};

/* Sets *err to "FILE: ..." with ERROR_BAD_FILE and the name as detail. Returns ERROR_BAD_FILE. */
int gguf_fail(struct error *err, enum gguf_error name, const char *file, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * Reads the header of part->bytes into part, and appends its tensors to tensors. What was allocated until an error stays with
 * part and tensors: the caller frees them in any case. (gguf_header.c)
 */
int gguf_read_part(struct gguf_part *part, struct gguf_tensors *tensors, struct error *err);

/* By exact name, in one part; NULL if absent. */
const struct gguf_value *gguf_keys_find(const struct gguf_keys *keys, const char *name);

/* If the single part of file says that it belongs to a split model, opens the other parts. (gguf_split.c) */
int gguf_open_other_parts(struct gguf *file, struct error *err);
/* Maps and reads path as the next part of file; parts has room. */
int gguf_add_part(struct gguf *file, const char *path, struct error *err);

/* Frees what file holds and leaves {0}. */
void gguf_clear(struct gguf *file);

/* Bytes of one scalar of a metadata type; 0 for strings, arrays and unknown types. */
size_t gguf_scalar_bytes(unsigned type);

/* "Q4_0_4_4" for a number that the format has given up, else NULL. */
const char *gguf_removed_type_name(unsigned type);

/* A name as printf's "%.*s" takes it, at most 120 bytes of it. */
#define GGUF_SHOW(string) ((int)((string).length < 120 ? (string).length : 120)), (string).bytes

#endif
