/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split models: NAME-00001-of-0000N.gguf and so on. Every part says split.no (from 0), split.count and
 * split.tensors.count; the metadata of the model is in the first part. Source: llama.cpp's gguf-split.
 */
#include "host/base/memory.h"
#include "host/model/gguf_internal.h"

#include <stdio.h>
#include <string.h>

#define SUFFIX_LENGTH 20 /* "-00001-of-00002.gguf" */
#define MAX_PARTS 99999  /* what five digits can count */

/* A key's number, or fallback where it is absent or no number. */
static uint64_t number_of(const struct gguf_part *part, const char *key, uint64_t fallback)
{
    const struct gguf_value *value = gguf_keys_find(&part->keys, key);
    uint64_t number;
    return value && gguf_value_u64(value, &number) ? number : fallback;
}

/* True if path ends in "-NNNNN-of-NNNNN.gguf" with these two numbers. */
static bool has_suffix(const char *path, unsigned number, unsigned count)
{
    char suffix[SUFFIX_LENGTH + 8];
    size_t length = strlen(path);
    snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", number, count);
    return length > SUFFIX_LENGTH && strcmp(path + length - SUFFIX_LENGTH, suffix) == 0;
}

/* The path of part number (from 1), made from another part's. Owned by the caller; NULL: out of memory. */
static char *part_path(const char *path, unsigned number, unsigned count)
{
    char *other;
    int stem = (int)(strlen(path) - SUFFIX_LENGTH);
    return asprintf(&other, "%.*s-%05u-of-%05u.gguf", stem, path, number, count) < 0 ? NULL : other;
}

/* Opens part number (from 1) and checks that it belongs to the others. */
static int open_part(struct gguf *file, const char *path, unsigned number, unsigned count, struct error *err)
{
    int status = gguf_add_part(file, path, err);
    if (status == ERROR_NOT_FOUND)
        return gguf_fail(err, GGUF_SPLIT_MISSING, path,
                         "this part of a model of %u parts is missing (put all parts in one folder)", count);
    if (status < 0) return status;
    const struct gguf_part *part = &file->parts[file->n_parts - 1];
    uint64_t part_number = number_of(part, "split.no", UINT64_MAX), part_count = number_of(part, "split.count", 1);
    if (part_count != count)
        return gguf_fail(err, GGUF_SPLIT_MISMATCH, path,
                         "metadata key split.count: says %llu parts, another part says %u",
                         (unsigned long long)part_count, count);
    if (part_number != number - 1)
        return gguf_fail(err, GGUF_SPLIT_MISMATCH, path, "metadata key split.no: is not %u, as the file's name says",
                         number - 1);
    return 0;
}

static int open_all(struct gguf *file, const char *path, unsigned count, uint64_t n_tensors, struct error *err)
{
    for (unsigned number = 1; number <= count; number++) {
        char *other = part_path(path, number, count);
        if (!other) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", path);
        int status = open_part(file, other, number, count, err);
        free(other);
        if (status < 0) return status;
    }
    for (unsigned i = 0; i < count; i++) {
        if (number_of(&file->parts[i], "split.tensors.count", n_tensors) != n_tensors)
            return gguf_fail(err, GGUF_SPLIT_MISMATCH, file->parts[i].name,
                             "metadata key split.tensors.count: differs from the other parts'");
    }
    if (file->tensors.count != n_tensors)
        return gguf_fail(err, GGUF_SPLIT_MISMATCH, path,
                         "metadata key split.tensors.count: says %llu tensors, but the parts hold %zu",
                         (unsigned long long)n_tensors, file->tensors.count);
    return 0;
}

int gguf_open_other_parts(struct gguf *file, struct error *err)
{
    const struct gguf_part *found = &file->parts[0];
    uint64_t count = number_of(found, "split.count", 1);
    if (count <= 1) return 0;
    uint64_t number = number_of(found, "split.no", UINT64_MAX);
    uint64_t n_tensors = number_of(found, "split.tensors.count", UINT64_MAX);
    if (count > MAX_PARTS || number >= count || n_tensors == UINT64_MAX)
        return gguf_fail(err, GGUF_SPLIT_MISMATCH, found->name,
                         "metadata keys split.no, split.count and split.tensors.count contradict each other (damaged)");
    if (!found->map.bytes)
        return gguf_fail(err, GGUF_SPLIT_MISSING, found->name,
                         "is one of %u parts: open it as a file, beside the others", (unsigned)count);
    if (!has_suffix(found->name, (unsigned)number + 1, (unsigned)count))
        return gguf_fail(err, GGUF_SPLIT_MISSING, found->name,
                         "is part %u of %u, but its name does not end in -%05u-of-%05u.gguf (rename it)",
                         (unsigned)number + 1, (unsigned)count, (unsigned)number + 1, (unsigned)count);

    /* Start again from the first part, so that tensors and metadata are in the order of the parts. */
    struct gguf whole = {.parts = memory_array((size_t)count, sizeof *whole.parts)};
    if (!whole.parts) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", found->name);
    int status = open_all(&whole, found->name, (unsigned)count, n_tensors, err);
    struct gguf single = *file;
    *file = whole;
    gguf_clear(&single);
    return status;
}
