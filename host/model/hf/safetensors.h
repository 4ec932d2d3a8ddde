/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One safetensors file, read by mmap:
 *
 *   offset size field
 *        0    8 n, the header's bytes, u64 little-endian (at most SAFETENSORS_MAX_HEADER)
 *        8    n JSON: {"NAME": {"dtype": "BF16", "shape": [rows, cols], "data_offsets": [begin, end]}, ...},
 *               and "__metadata__": {"key": "text", ...}
 *      8+n      data; offsets count from here
 *
 * Everything in the header is checked: names once each, sizes by multiplication that cannot overflow, ranges inside the file that
 * neither overlap nor leave a hole (as the format demands). A file that lies is refused with ERROR_BAD_FILE, which names
 * file and tensor. Source: the format's README in huggingface/safetensors.
 */
#ifndef SLUICE_MODEL_HF_SAFETENSORS_H
#define SLUICE_MODEL_HF_SAFETENSORS_H

#include "host/model/gguf.h"

#define SAFETENSORS_MAX_HEADER 100000000u /* bytes; the format's own limit */
#define SAFETENSORS_MAX_DIMENSIONS 8

enum safetensors_type {
    SAFETENSORS_BOOL,
    SAFETENSORS_U8,
    SAFETENSORS_I8,
    SAFETENSORS_F8_E4M3,
    SAFETENSORS_F8_E5M2,
    SAFETENSORS_F8_E8M0,
    SAFETENSORS_I16,
    SAFETENSORS_U16,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I32,
    SAFETENSORS_U32,
    SAFETENSORS_F32,
    SAFETENSORS_I64,
    SAFETENSORS_U64,
    SAFETENSORS_F64,
};

struct safetensors_tensor {
    struct gguf_string name; /* valid until safetensors_close */
    enum safetensors_type type;
    unsigned n_dimensions;
    uint64_t dimension[SAFETENSORS_MAX_DIMENSIONS]; /* slowest first; 1 beyond n_dimensions */
    uint64_t n_elements, n_bytes;
    const uint8_t *data; /* in the mapped file, of any alignment */
};

struct safetensors; /* opaque */

int safetensors_open(const char *path, struct safetensors **out, struct error *err);
/* The same over bytes that the caller keeps alive until safetensors_close; name is for messages. */
int safetensors_open_memory(const void *bytes, size_t n_bytes, const char *name, struct safetensors **out,
                            struct error *err);
void safetensors_close(struct safetensors *file); /* NULL is allowed */

size_t safetensors_n_tensors(const struct safetensors *file);
const struct safetensors_tensor *safetensors_tensor_at(const struct safetensors *file, size_t index);
const uint8_t *safetensors_bytes(const struct safetensors *file, size_t *n_bytes); /* the whole file */
/* As gguf_forget. */
void safetensors_forget(const struct safetensors *file, const uint8_t *bytes, size_t n_bytes);

const char *safetensors_type_name(enum safetensors_type type); /* "BF16" */
unsigned safetensors_type_bytes(enum safetensors_type type);

#endif
