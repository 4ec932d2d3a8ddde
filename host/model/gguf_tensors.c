/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tensors of one file: every number in it is checked here, without touching the tensors' data. */
#include "host/base/memory.h"
#include "host/model/gguf_reader.h"

#include <stdio.h>

static int read_shape(struct gguf_reader *reader, struct gguf_tensor *tensor)
{
    uint32_t n_dimensions;
    int status = gguf_read_u32(reader, &n_dimensions);
    if (status < 0) return status;
    if (n_dimensions < 1 || n_dimensions > GGUF_MAX_DIMENSIONS)
        return gguf_reader_fail(reader, GGUF_BAD_DIMENSIONS, "%u dimensions (1 to %d are possible; damaged)",
                                n_dimensions, GGUF_MAX_DIMENSIONS);
    tensor->n_dimensions = n_dimensions;
    tensor->n_elements = 1;
    for (unsigned i = 0; i < GGUF_MAX_DIMENSIONS; i++) tensor->dimension[i] = 1;
    for (unsigned i = 0; i < n_dimensions; i++) {
        status = gguf_read_u64(reader, &tensor->dimension[i]);
        if (status < 0) return status;
        if (tensor->dimension[i] == 0)
            return gguf_reader_fail(reader, GGUF_BAD_DIMENSIONS, "dimension %u is 0 (damaged)", i);
        if (__builtin_mul_overflow(tensor->n_elements, tensor->dimension[i], &tensor->n_elements))
            return gguf_reader_fail(reader, GGUF_SIZE_OVERFLOW, "its size overflows 64 bits (damaged)");
    }
    return 0;
}

static int read_type(struct gguf_reader *reader, struct gguf_tensor *tensor)
{
    uint32_t type;
    int status = gguf_read_u32(reader, &type);
    if (status < 0) return status;
    const char *removed = gguf_removed_type_name(type);
    if (removed)
        return gguf_reader_fail(reader, GGUF_BAD_TENSOR_TYPE,
                                "type %s was removed from the format (convert the model again; supported: %s)", removed,
                                GGUF_SUPPORTED_TYPES);
    unsigned elements = gguf_block_elements((enum gguf_tensor_type)type);
    bool is_file = reader->part->size == reader->part->file_size;
    if (elements == 0 || (is_file && type >= GGUF_FILE_TYPE_END))
        return gguf_reader_fail(reader, GGUF_BAD_TENSOR_TYPE, "tensor type %u is unknown (supported: %s)", type,
                                GGUF_SUPPORTED_TYPES);
    tensor->type = (enum gguf_tensor_type)type;
    if (tensor->dimension[0] % elements != 0)
        return gguf_reader_fail(reader, GGUF_BAD_ROW, "rows of %llu elements are not whole blocks of %u (type %s)",
                                (unsigned long long)tensor->dimension[0], elements, gguf_tensor_type_name(type));
    if (__builtin_mul_overflow(tensor->n_elements / elements, gguf_block_bytes(tensor->type), &tensor->n_bytes))
        return gguf_reader_fail(reader, GGUF_SIZE_OVERFLOW, "its size overflows 64 bits (damaged)");
    return 0;
}

/* Reads one entry. *offset counts from the start of the data, whose place is not known yet. */
static int read_tensor(struct gguf_reader *reader, struct gguf_tensor *tensor, uint64_t *offset)
{
    *tensor = (struct gguf_tensor){0};
    int status = gguf_read_string(reader, &tensor->name);
    if (status < 0) return status;
    if (!gguf_is_name(tensor->name, GGUF_MAX_TENSOR_NAME))
        return gguf_reader_fail(reader, GGUF_BAD_TENSOR_NAME,
                                "its name is empty, longer than %d bytes or not plain text (damaged)",
                                GGUF_MAX_TENSOR_NAME);
    snprintf(reader->subject, sizeof reader->subject, "tensor %.*s", GGUF_SHOW(tensor->name));
    status = read_shape(reader, tensor);
    if (status < 0) return status;
    status = read_type(reader, tensor);
    if (status < 0) return status;
    return gguf_read_u64(reader, offset);
}

static int read_alignment(struct gguf_reader *reader, uint64_t *alignment)
{
    *alignment = GGUF_DEFAULT_ALIGNMENT;
    const struct gguf_value *value = gguf_keys_find(&reader->part->keys, "general.alignment");
    if (!value) return 0;
    snprintf(reader->subject, sizeof reader->subject, "metadata key general.alignment");
    if (!gguf_value_u64(value, alignment)) return gguf_reader_fail(reader, GGUF_BAD_ALIGNMENT, "is no whole number");
    if (*alignment < GGUF_MIN_ALIGNMENT || *alignment > GGUF_MAX_ALIGNMENT || (*alignment & (*alignment - 1)) != 0)
        return gguf_reader_fail(reader, GGUF_BAD_ALIGNMENT, "%llu is no power of two from %d to %u",
                                (unsigned long long)*alignment, GGUF_MIN_ALIGNMENT, GGUF_MAX_ALIGNMENT);
    return 0;
}

/* Where a tensor's data lies: its offset from the start of the data, while the table is read. */
struct extent {
    uint64_t offset;
    size_t tensor;
};

static int by_offset(const void *left, const void *right)
{
    const struct extent *a = left, *b = right;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    return a->tensor < b->tensor ? -1 : a->tensor > b->tensor;
}

/* Checks that every extent lies in the file, aligned, and sets the tensors' data. */
static int place_tensors(struct gguf_reader *reader, struct gguf_tensor *items, const struct extent *extents,
                         size_t count, uint64_t alignment)
{
    /* The header ends within the file, so this cannot overflow. */
    uint64_t start = (reader->at + alignment - 1) / alignment * alignment;
    uint64_t room = start < reader->part->file_size ? reader->part->file_size - start : 0;
    bool has_data = reader->part->size == reader->part->file_size;
    for (size_t i = 0; i < count; i++) {
        struct gguf_tensor *tensor = &items[extents[i].tensor];
        snprintf(reader->subject, sizeof reader->subject, "tensor %.*s", GGUF_SHOW(tensor->name));
        if (extents[i].offset % alignment != 0)
            return gguf_reader_fail(reader, GGUF_MISALIGNED_TENSOR, "offset %llu is not a multiple of %llu (damaged)",
                                    (unsigned long long)extents[i].offset, (unsigned long long)alignment);
        if (!range_fits(extents[i].offset, tensor->n_bytes, room))
            return gguf_reader_fail(reader, GGUF_TENSOR_OVERRUN,
                                    "data of %llu bytes ends beyond the end of the file "
                                    "(the file is truncated: download it again)",
                                    (unsigned long long)tensor->n_bytes);
        if (has_data) tensor->data = reader->part->bytes + start + extents[i].offset;
    }
    return 0;
}

static int check_overlap(struct gguf_reader *reader, const struct gguf_tensor *items, struct extent *extents,
                         size_t count)
{
    qsort(extents, count, sizeof *extents, by_offset);
    for (size_t i = 1; i < count; i++) {
        const struct gguf_tensor *before = &items[extents[i - 1].tensor], *tensor = &items[extents[i].tensor];
        if (extents[i].offset - extents[i - 1].offset >= before->n_bytes) continue;
        snprintf(reader->subject, sizeof reader->subject, "tensor %.*s", GGUF_SHOW(tensor->name));
        return gguf_reader_fail(reader, GGUF_TENSORS_OVERLAP, "its data overlaps that of tensor %.*s (damaged)",
                                GGUF_SHOW(before->name));
    }
    return 0;
}

/* Reads one entry to the end of tensors. */
static int append_tensor(struct gguf_reader *reader, struct gguf_tensors *tensors, uint64_t *offset)
{
    struct gguf_tensor *items =
        gguf_reserve(reader, tensors->items, &tensors->capacity, tensors->count, sizeof *tensors->items);
    if (!items) return ERROR_NO_MEMORY;
    tensors->items = items;
    int status = read_tensor(reader, &items[tensors->count], offset);
    if (status < 0) return status;
    status = gguf_index_add(&tensors->index, items, sizeof *items, tensors->count);
    if (status < 0) return error_set(reader->err, status, "%s: out of memory for its header", reader->part->name);
    if (status > 0) return gguf_reader_fail(reader, GGUF_DUPLICATE_TENSOR, "is there twice (damaged)");
    tensors->count++;
    return 0;
}

int gguf_read_tensors(struct gguf_reader *reader, struct gguf_tensors *tensors, size_t count)
{
    size_t first = tensors->count, capacity = 0;
    struct extent *extents = NULL;
    int status = 0;
    for (size_t i = 0; i < count; i++) {
        snprintf(reader->subject, sizeof reader->subject, "tensor %zu", i);
        struct extent *grown = gguf_reserve(reader, extents, &capacity, i, sizeof *extents);
        status = grown ? 0 : ERROR_NO_MEMORY;
        if (status < 0) goto done;
        extents = grown;
        extents[i].tensor = i;
        status = append_tensor(reader, tensors, &extents[i].offset);
        if (status < 0) goto done;
    }
    uint64_t alignment;
    status = read_alignment(reader, &alignment);
    if (status < 0 || count == 0) goto done;
    status = place_tensors(reader, tensors->items + first, extents, count, alignment);
    if (status < 0) goto done;
    status = check_overlap(reader, tensors->items + first, extents, count);
done:
    free(extents);
    return status;
}
