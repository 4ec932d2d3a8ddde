/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/hf/safetensors.h"

#include "host/base/bytes.h"
#include "host/base/map_file.h"
#include "host/base/memory.h"
#include "host/model/hf/json_guard.h"

#include <stdio.h>
#include <string.h>

#define HEADER_DEPTH 3u /* the object, a tensor's, its lists */
#define MAX_NAME 512u

static const struct {
    const char *name;
    unsigned bytes;
} types[] = {
    [SAFETENSORS_BOOL] = {"BOOL", 1},       [SAFETENSORS_U8] = {"U8", 1},
    [SAFETENSORS_I8] = {"I8", 1},           [SAFETENSORS_F8_E4M3] = {"F8_E4M3", 1},
    [SAFETENSORS_F8_E5M2] = {"F8_E5M2", 1}, [SAFETENSORS_F8_E8M0] = {"F8_E8M0", 1},
    [SAFETENSORS_I16] = {"I16", 2},         [SAFETENSORS_U16] = {"U16", 2},
    [SAFETENSORS_F16] = {"F16", 2},         [SAFETENSORS_BF16] = {"BF16", 2},
    [SAFETENSORS_I32] = {"I32", 4},         [SAFETENSORS_U32] = {"U32", 4},
    [SAFETENSORS_F32] = {"F32", 4},         [SAFETENSORS_I64] = {"I64", 8},
    [SAFETENSORS_U64] = {"U64", 8},         [SAFETENSORS_F64] = {"F64", 8},
};

struct safetensors {
    char *name;
    struct map_file map; /* {0} if the bytes are the caller's */
    const uint8_t *bytes;
    size_t size;
    struct safetensors_tensor *tensors; /* owned, and so are their names */
    size_t n_tensors;
};

const char *safetensors_type_name(enum safetensors_type type) { return types[type].name; }
unsigned safetensors_type_bytes(enum safetensors_type type) { return types[type].bytes; }

static int fail(const struct safetensors *file, const char *tensor, const char *why, struct error *err)
{
    return error_set(err, ERROR_BAD_FILE, "%s: tensor %.120s: %s", file->name, tensor, why);
}

static int read_type(const struct safetensors *file, const char *name, const json_t *entry, enum safetensors_type *type,
                     struct error *err)
{
    const char *text = json_string_value(json_object_get(entry, "dtype"));
    if (text == NULL) return fail(file, name, "no dtype (damaged)", err);
    for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, text) == 0) {
            *type = (enum safetensors_type)i;
            return 0;
        }
    return error_set(err, ERROR_UNSUPPORTED, "%s: tensor %.120s: dtype %.20s is not supported", file->name, name, text);
}

static int read_shape(const struct safetensors *file, const char *name, const json_t *entry,
                      struct safetensors_tensor *tensor, struct error *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return fail(file, name, "no shape (damaged)", err);
    if (json_array_size(shape) > SAFETENSORS_MAX_DIMENSIONS)
        return fail(file, name, "more than 8 dimensions (damaged)", err);
    tensor->n_dimensions = (unsigned)json_array_size(shape);
    tensor->n_elements = 1;
    for (unsigned i = 0; i < SAFETENSORS_MAX_DIMENSIONS; i++) tensor->dimension[i] = 1;
    for (unsigned i = 0; i < tensor->n_dimensions; i++) {
        const json_t *value = json_array_get(shape, i);
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return fail(file, name, "a dimension that is no whole number of 0 or more (damaged)", err);
        tensor->dimension[i] = (uint64_t)json_integer_value(value);
        if (__builtin_mul_overflow(tensor->n_elements, tensor->dimension[i], &tensor->n_elements))
            return fail(file, name, "its size overflows 64 bits (damaged)", err);
    }
    if (__builtin_mul_overflow(tensor->n_elements, types[tensor->type].bytes, &tensor->n_bytes))
        return fail(file, name, "its size overflows 64 bits (damaged)", err);
    return 0;
}

static int read_range(const struct safetensors *file, const char *name, const json_t *entry, uint64_t start,
                      struct safetensors_tensor *tensor, struct error *err)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return fail(file, name, "data_offsets are not two ascending whole numbers (damaged)", err);
    uint64_t first = (uint64_t)json_integer_value(begin), last = (uint64_t)json_integer_value(end);
    if (last > file->size - start)
        return fail(file, name, "data beyond the end of the file (the file is truncated: download it again)", err);
    if (last - first != tensor->n_bytes)
        return fail(file, name, "data_offsets do not match its shape and dtype (damaged)", err);
    tensor->data = file->bytes + start + first;
    return 0;
}

static int add_tensor(struct safetensors *file, const char *name, const json_t *entry, uint64_t start,
                      struct error *err)
{
    struct safetensors_tensor *tensor = &file->tensors[file->n_tensors];
    size_t length = strlen(name);
    if (length == 0 || length > MAX_NAME) return fail(file, name, "a name of 0 or more than 512 bytes", err);
    if (!json_is_object(entry)) return fail(file, name, "is not described (damaged)", err);
    int status = read_type(file, name, entry, &tensor->type, err);
    if (status == 0) status = read_shape(file, name, entry, tensor, err);
    if (status == 0) status = read_range(file, name, entry, start, tensor, err);
    if (status < 0) return status;
    char *copy = strdup(name);
    if (copy == NULL) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory for its header", file->name);
    tensor->name = (struct gguf_string){copy, length};
    file->n_tensors++;
    return 0;
}

static int by_place(const void *left, const void *right)
{
    const struct safetensors_tensor *a = left, *b = right;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    return (a->n_bytes > b->n_bytes) - (a->n_bytes < b->n_bytes);
}

/* The format allows neither an overlap nor a byte that belongs to nobody. */
static int check_places(struct safetensors *file, uint64_t start, struct error *err)
{
    const uint8_t *at = file->bytes + start;
    qsort(file->tensors, file->n_tensors, sizeof *file->tensors, by_place);
    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct safetensors_tensor *tensor = &file->tensors[i];
        if (tensor->data < at) return fail(file, tensor->name.bytes, "its data overlaps another's (damaged)", err);
        if (tensor->data > at)
            return fail(file, tensor->name.bytes, "bytes before its data are nobody's (damaged)", err);
        at += tensor->n_bytes;
    }
    if (at == file->bytes + file->size) return 0;
    return error_set(err, ERROR_BAD_FILE, "%s: %zu bytes after the last tensor (damaged)", file->name,
                     (size_t)(file->bytes + file->size - at));
}

static int read_header(struct safetensors *file, struct error *err)
{
    json_t *root = NULL, *entry;
    const char *name;
    if (file->size < 8) return error_set(err, ERROR_BAD_FILE, "%s: not a safetensors file", file->name);
    uint64_t n = load_u64(file->bytes);
    if (n > SAFETENSORS_MAX_HEADER || n > file->size - 8)
        return error_set(err, ERROR_BAD_FILE,
                         "%s: a header of %llu bytes in a file of %zu (damaged, or no safetensors file)", file->name,
                         (unsigned long long)n, file->size);
    int status = json_guard_parse((const char *)file->bytes + 8, (size_t)n, HEADER_DEPTH, file->name, &root, err);
    if (status < 0) return status;
    file->tensors = memory_array(json_object_size(root), sizeof *file->tensors);
    if (file->tensors == NULL) status = error_set(err, ERROR_NO_MEMORY, "%s: out of memory for its header", file->name);
    json_object_foreach(root, name, entry)
    {
        if (status == 0 && strcmp(name, "__metadata__") != 0) status = add_tensor(file, name, entry, 8 + n, err);
    }
    json_decref(root);
    return status == 0 ? check_places(file, 8 + n, err) : status;
}

static int open_bytes(struct map_file map, const void *bytes, size_t n_bytes, const char *name,
                      struct safetensors **out, struct error *err)
{
    struct safetensors *file = memory_array(1, sizeof *file);
    if (file == NULL) {
        map_file_close(&map);
        return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", name);
    }
    file->map = map;
    file->bytes = bytes;
    file->size = n_bytes;
    file->name = strdup(name);
    int status =
        file->name != NULL ? read_header(file, err) : error_set(err, ERROR_NO_MEMORY, "%s: out of memory", name);
    if (status < 0) {
        safetensors_close(file);
        return status;
    }
    *out = file;
    return 0;
}

int safetensors_open(const char *path, struct safetensors **out, struct error *err)
{
    struct map_file map;
    *out = NULL;
    int status = map_file_open(path, &map, err);
    return status < 0 ? status : open_bytes(map, map.bytes, map.size, path, out, err);
}

int safetensors_open_memory(const void *bytes, size_t n_bytes, const char *name, struct safetensors **out,
                            struct error *err)
{
    *out = NULL;
    return open_bytes((struct map_file){0}, bytes, n_bytes, name, out, err);
}

void safetensors_close(struct safetensors *file)
{
    if (file == NULL) return;
    for (size_t i = 0; i < file->n_tensors; i++) free((void *)(uintptr_t)file->tensors[i].name.bytes);
    free(file->tensors);
    free(file->name);
    map_file_close(&file->map);
    free(file);
}

size_t safetensors_n_tensors(const struct safetensors *file) { return file->n_tensors; }

const struct safetensors_tensor *safetensors_tensor_at(const struct safetensors *file, size_t index)
{
    return &file->tensors[index];
}

const uint8_t *safetensors_bytes(const struct safetensors *file, size_t *n_bytes)
{
    *n_bytes = file->size;
    return file->bytes;
}

void safetensors_forget(const struct safetensors *file, const uint8_t *bytes, size_t n_bytes)
{
    const uint8_t *first = file->map.bytes;
    if (first != NULL && bytes >= first && bytes < first + file->map.size) map_file_forget(&file->map, bytes, n_bytes);
}
