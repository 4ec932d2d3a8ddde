/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tensors of a packed file: every number in it is checked here, without touching the tensors' data. */
#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/model/pack.h"
#include "host/model/slc_reader.h"

#define ALL_FORMATS UINT32_MAX

static void read_entry(const uint8_t *entry, struct slc_tensor *tensor)
{
    memcpy(tensor->name, entry, SLC_NAME_BYTES);
    tensor->name[SLC_NAME_BYTES] = '\0';
    tensor->format = load_u32(entry + SLC_ENTRY_FORMAT);
    tensor->type = (enum gguf_tensor_type)load_u32(entry + SLC_ENTRY_TYPE);
    tensor->rows = load_u32(entry + SLC_ENTRY_ROWS);
    tensor->cols = load_u32(entry + SLC_ENTRY_COLS);
    tensor->experts = load_u32(entry + SLC_ENTRY_EXPERTS);
    tensor->offset = load_u64(entry + SLC_ENTRY_OFFSET);
    tensor->n_bytes = load_u64(entry + SLC_ENTRY_N_BYTES);
    memcpy(tensor->hash, entry + SLC_ENTRY_HASH, SLC_HASH_BYTES);
}

/* Bytes that the tensor must have; 0 if its format does not go with its type, or they overflow. */
static uint64_t bytes_wanted(const struct slc_tensor *tensor, const struct gguf_tensor *source)
{
    uint64_t bytes;
    if (tensor->format == 0) return source->n_bytes;
    if (!pack_fits(source->type, tensor->format)) return 0;
    uint64_t matrix = card_matrix_bytes(tensor->format, tensor->rows, tensor->cols);
    return matrix == UINT64_MAX || __builtin_mul_overflow(matrix, tensor->experts, &bytes) ? 0 : bytes;
}

/* Against the source's header, and whether it lies inside the file. */
static int check_tensor(struct slc *slc, struct slc_tensor *tensor, struct error *err)
{
    const struct gguf_tensor *source = gguf_find_tensor(slc->file, tensor->name);
    if (!source) return slc_fail(slc, err, SLC_BAD_TENSOR, "tensor %s is not in its metadata", tensor->name);
    if (source->type != tensor->type || !gguf_type_supported(source->type) || source->dimension[0] != tensor->cols ||
        source->dimension[1] != tensor->rows || source->dimension[2] != tensor->experts || source->dimension[3] != 1 ||
        bytes_wanted(tensor, source) != tensor->n_bytes || tensor->n_bytes == 0)
        return slc_fail(slc, err, SLC_BAD_TENSOR, "tensor %s has another type, shape or size than its metadata says",
                        tensor->name);
    if (tensor->offset % SLC_PAGE != 0 || tensor->offset < SLC_PAGE ||
        !range_fits(tensor->offset, tensor->n_bytes, slc->size))
        return slc_fail(slc, err, SLC_BAD_RANGE, "tensor %s lies outside the file", tensor->name);
    tensor->data = slc->bytes + tensor->offset;
    if (tensor->format == 0) gguf_set_data(slc->file, source, tensor->data);
    return 0;
}

static int compare(const char *name, bool packed, const struct slc_tensor *tensor)
{
    int order = strcmp(name, tensor->name);
    return order != 0 ? order : (int)packed - (tensor->format != 0);
}

static int by_name(const void *a, const void *b)
{
    const struct slc_tensor *const *x = a, *const *y = b;
    return compare((*x)->name, (*x)->format != 0, *y);
}

struct extent {
    uint64_t offset, n_bytes;
    const char *name;
};

static int by_offset(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int check_overlap(const struct slc *slc, uint64_t table_bytes, struct error *err)
{
    size_t n = slc->n_tensors + 2;
    struct extent *extents = memory_array(n, sizeof *extents);
    if (!extents) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", slc->path);
    extents[0] = (struct extent){load_u64(slc->bytes + SLC_AT_METADATA), load_u64(slc->bytes + SLC_AT_METADATA_BYTES),
                                 "the metadata"};
    extents[1] = (struct extent){load_u64(slc->bytes + SLC_AT_TABLE), table_bytes, "the table of tensors"};
    for (size_t i = 0; i < slc->n_tensors; i++)
        extents[i + 2] = (struct extent){slc->tensors[i].offset, slc->tensors[i].n_bytes, slc->tensors[i].name};
    qsort(extents, n, sizeof *extents, by_offset);
    int status = 0;
    for (size_t i = 1; i < n && status == 0; i++)
        if (extents[i].offset - extents[i - 1].offset < extents[i - 1].n_bytes)
            status =
                slc_fail(slc, err, SLC_OVERLAP, "the bytes of %s and %s overlap", extents[i - 1].name, extents[i].name);
    free(extents);
    return status;
}

int slc_read_table(struct slc *slc, const uint8_t *table, uint32_t n, struct error *err)
{
    slc->tensors = memory_array(n, sizeof *slc->tensors);
    slc->by_name = memory_array(n, sizeof *slc->by_name);
    if (!slc->tensors || !slc->by_name) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", slc->path);
    slc->n_tensors = n;
    for (uint32_t i = 0; i < n; i++) {
        read_entry(table + (size_t)i * SLC_ENTRY_BYTES, &slc->tensors[i]);
        int status = check_tensor(slc, &slc->tensors[i], err);
        if (status < 0) return status;
        slc->by_name[i] = &slc->tensors[i];
    }
    qsort(slc->by_name, n, sizeof *slc->by_name, by_name);
    for (uint32_t i = 1; i < n; i++)
        if (by_name(&slc->by_name[i - 1], &slc->by_name[i]) == 0)
            return slc_fail(slc, err, SLC_DUPLICATE_TENSOR, "tensor %s is there twice", slc->by_name[i]->name);
    return check_overlap(slc, (uint64_t)n * SLC_ENTRY_BYTES, err);
}

const struct slc_tensor *slc_find(const struct slc *slc, struct gguf_string name, bool packed)
{
    char text[SLC_NAME_BYTES + 1];
    if (name.length > SLC_NAME_BYTES) return NULL;
    memcpy(text, name.bytes, name.length);
    text[name.length] = '\0';
    size_t low = 0, high = slc->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(text, packed, slc->by_name[middle]);
        if (order == 0) return slc->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
