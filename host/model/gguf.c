/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing, and what is found without reading a value. The header is read by gguf_header.c. */
#include "host/model/gguf.h"
#include "host/base/memory.h"
#include "host/model/gguf_internal.h"

#include <string.h>

#define GGUF_ERROR_PLUS_ONE(name, text) +1
enum { N_ERRORS = 0 GGUF_ERRORS(GGUF_ERROR_PLUS_ONE) };
#undef GGUF_ERROR_PLUS_ONE

enum gguf_error gguf_error_of(const struct error *err)
{
    int number = err->code == ERROR_BAD_FILE ? err->detail - GGUF_DETAIL : 0;
    return number >= 1 && number <= N_ERRORS ? (enum gguf_error)number : GGUF_NO_ERROR;
}

const char *gguf_error_name(enum gguf_error error)
{
    switch (error) {
#define GGUF_ERROR_CASE(name, text)                                                                                    \
    case name: return #name;
        GGUF_ERRORS(GGUF_ERROR_CASE)
#undef GGUF_ERROR_CASE
    case GGUF_NO_ERROR: break;
    }
    return "GGUF_NO_ERROR";
}

void gguf_clear(struct gguf *file)
{
    for (unsigned i = 0; i < file->n_parts; i++) {
        struct gguf_part *part = &file->parts[i];
        gguf_index_free(&part->keys.index);
        free(part->keys.items);
        free(part->name);
        map_file_close(&part->map);
    }
    gguf_index_free(&file->tensors.index);
    free(file->tensors.items);
    free(file->parts);
    if (file->backing) file->backing->close(file->backing);
    *file = (struct gguf){0};
}

int gguf_add_part(struct gguf *file, const char *path, struct error *err)
{
    struct gguf_part *part = &file->parts[file->n_parts];
    part->name = strdup(path);
    if (!part->name) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", path);
    file->n_parts++; /* from here on gguf_clear frees it */
    int status = map_file_open(path, &part->map, err);
    if (status < 0) return status;
    part->bytes = part->map.bytes;
    part->size = part->map.size;
    part->file_size = part->size;
    return gguf_read_part(part, &file->tensors, err);
}

/* A file with room for n parts, or NULL. */
static struct gguf *new_file(size_t n)
{
    struct gguf *file = memory_array(1, sizeof *file);
    if (!file) return NULL;
    file->parts = memory_array(n, sizeof *file->parts);
    if (file->parts) return file;
    free(file);
    return NULL;
}

int gguf_open(const char *path, struct gguf **out, struct error *err)
{
    *out = NULL;
    struct gguf *file = new_file(1);
    if (!file) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", path);
    int status = gguf_add_part(file, path, err);
    if (status == 0) status = gguf_open_other_parts(file, err);
    if (status < 0) {
        gguf_close(file);
        return status;
    }
    *out = file;
    return 0;
}

int gguf_open_memory(const void *bytes, size_t n_bytes, const char *name, struct gguf **out, struct error *err)
{
    *out = NULL;
    struct gguf *file = new_file(1);
    if (!file) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", name);
    struct gguf_part *part = &file->parts[0];
    file->n_parts = 1;
    part->bytes = bytes;
    part->size = n_bytes;
    part->file_size = n_bytes;
    part->name = strdup(name);
    int status = part->name ? gguf_read_part(part, &file->tensors, err)
                            : error_set(err, ERROR_NO_MEMORY, "%s: out of memory", name);
    if (status == 0) status = gguf_open_other_parts(file, err);
    if (status < 0) {
        gguf_close(file);
        return status;
    }
    *out = file;
    return 0;
}

int gguf_open_headers(const struct gguf_header *headers, unsigned n, const char *name, struct gguf **out,
                      struct error *err)
{
    *out = NULL;
    struct gguf *file = new_file(n);
    int status = file ? 0 : error_set(err, ERROR_NO_MEMORY, "%s: out of memory", name);
    for (unsigned i = 0; i < n && status == 0; i++) {
        struct gguf_part *part = &file->parts[file->n_parts++];
        part->bytes = headers[i].bytes;
        part->size = headers[i].n_bytes;
        part->file_size = headers[i].file_bytes;
        part->name = strdup(name);
        status = part->name ? gguf_read_part(part, &file->tensors, err)
                            : error_set(err, ERROR_NO_MEMORY, "%s: out of memory", name);
    }
    if (status < 0) {
        gguf_close(file);
        return status;
    }
    *out = file;
    return 0;
}

void gguf_get_header(const struct gguf *file, unsigned number, struct gguf_header *header)
{
    const struct gguf_part *part = &file->parts[number];
    *header = (struct gguf_header){part->bytes, part->header_size, part->file_size};
}

void gguf_set_data(struct gguf *file, const struct gguf_tensor *tensor, const uint8_t *data)
{
    file->tensors.items[tensor - file->tensors.items].data = data;
}

void gguf_set_rows(struct gguf *file, const struct gguf_tensor *tensor, const struct gguf_rows *rows)
{
    file->tensors.items[tensor - file->tensors.items].rows = rows;
}

void gguf_read_rows(const struct gguf_tensor *tensor, uint64_t first, uint64_t n, uint8_t *out)
{
    uint64_t bytes = tensor->n_bytes / (tensor->n_elements / tensor->dimension[0]);
    if (tensor->data)
        memcpy(out, tensor->data + first * bytes, n * bytes);
    else
        tensor->rows->read(tensor->rows, first, n, out);
}

void gguf_set_backing(struct gguf *file, struct gguf_backing *backing) { file->backing = backing; }

const struct gguf_backing *gguf_get_backing(const struct gguf *file) { return file->backing; }

/* The mapping that holds these bytes; NULL if they are in none. */
static const struct map_file *map_of(const struct gguf *file, const uint8_t *bytes)
{
    for (unsigned i = 0; i < file->n_parts; i++) {
        const struct map_file *map = &file->parts[i].map;
        if (map->bytes && bytes >= map->bytes && bytes < map->bytes + map->size) return map;
    }
    return NULL;
}

void gguf_forget(const struct gguf *file, const uint8_t *bytes, size_t n_bytes)
{
    const struct map_file *map = map_of(file, bytes);
    if (map) map_file_forget(map, bytes, n_bytes);
    if (file->backing && bytes) file->backing->forget(file->backing, bytes, n_bytes);
}

int gguf_check(const struct gguf *file, struct error *err)
{
    int result = 0;
    for (unsigned i = 0; i < file->n_parts && result == 0; i++)
        result = map_file_check(&file->parts[i].map, file->parts[i].name, err);
    return result;
}

void gguf_close(struct gguf *file)
{
    if (!file) return;
    gguf_clear(file);
    free(file);
}

const char *gguf_path(const struct gguf *file) { return file->parts[0].name; }

uint32_t gguf_version(const struct gguf *file) { return file->parts[0].version; }

unsigned gguf_n_parts(const struct gguf *file) { return file->n_parts; }

uint64_t gguf_file_bytes(const struct gguf *file)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < file->n_parts; i++) sum += file->parts[i].file_size;
    return sum;
}

const uint8_t *gguf_part_bytes(const struct gguf *file, unsigned number, size_t *n_bytes)
{
    *n_bytes = file->parts[number].size;
    return file->parts[number].bytes;
}

size_t gguf_n_keys(const struct gguf *file) { return file->parts[0].keys.count; }

const struct gguf_key *gguf_key_at(const struct gguf *file, size_t index) { return &file->parts[0].keys.items[index]; }

size_t gguf_n_tensors(const struct gguf *file) { return file->tensors.count; }

const struct gguf_tensor *gguf_tensor_at(const struct gguf *file, size_t index) { return &file->tensors.items[index]; }

const struct gguf_value *gguf_find(const struct gguf *file, const char *key)
{
    return gguf_keys_find(&file->parts[0].keys, key);
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *file, const char *name)
{
    const struct gguf_tensors *tensors = &file->tensors;
    struct gguf_string text = {.bytes = name, .length = strlen(name)};
    int64_t position = gguf_index_find(&tensors->index, tensors->items, sizeof *tensors->items, text);
    return position < 0 ? NULL : &tensors->items[position];
}
