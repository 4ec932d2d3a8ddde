/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/hf/shards.h"

#include "host/base/memory.h"
#include "host/model/hf/json_guard.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define MAX_SHARDS 4096u
#define INDEX_BYTES (256u << 20)
#define INDEX_DEPTH 4u
#define INDEX_NAME "model.safetensors.index.json"

/* File names, sorted, each once. */
struct names {
    char *items[MAX_SHARDS];
    unsigned n;
};

static int by_text(const void *left, const void *right) { return strcmp(*(char *const *)left, *(char *const *)right); }

static int add_name(struct names *names, const char *name, struct error *err)
{
    for (unsigned i = 0; i < names->n; i++)
        if (strcmp(names->items[i], name) == 0) return 0;
    if (names->n == MAX_SHARDS) return error_set(err, ERROR_TOO_LARGE, "more than %u safetensors files", MAX_SHARDS);
    char *copy = strdup(name);
    if (copy == NULL) return error_set(err, ERROR_NO_MEMORY, "out of memory");
    names->items[names->n++] = copy;
    return 0;
}

static bool is_shard(const char *name)
{
    size_t length = strlen(name);
    return length > 12 && strcmp(name + length - 12, ".safetensors") == 0 && strchr(name, '/') == NULL &&
           name[0] != '.';
}

static int names_of_index(const json_t *index, struct names *names, struct error *err)
{
    json_t *map = json_object_get(index, "weight_map"), *value;
    const char *tensor;
    int status = json_object_size(map) > 0 ? 0 : error_set(err, ERROR_BAD_FILE, INDEX_NAME ": no weight_map");
    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (status < 0) break;
        status = name != NULL && is_shard(name)
                     ? add_name(names, name, err)
                     : error_set(err, ERROR_BAD_FILE, INDEX_NAME ": %.100s is in no safetensors file of this folder",
                                 tensor);
    }
    return status;
}

/* "model-00002-of-00003.safetensors": all three must be there. */
static int check_numbers(const struct names *names, struct error *err)
{
    for (unsigned i = 0; i < names->n; i++) {
        const char *at = strstr(names->items[i], "-of-");
        unsigned count;
        if (at == NULL || sscanf(at, "-of-%5u.safetensors", &count) != 1 || count == names->n) continue;
        return error_set(err, ERROR_BAD_FILE, "%s: there are %u of %u shards (download the others)", names->items[i],
                         names->n, count);
    }
    return 0;
}

/* Without an index: model.safetensors alone, or every file, of which none may be of another model. */
static int names_of_folder(const char *folder, struct names *names, struct error *err)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) return error_set(err, ERROR_IO, "cannot read the folder: %s", strerror(errno));
    int status = 0;
    bool has_whole = false;
    for (struct dirent *entry; status == 0 && (entry = readdir(directory)) != NULL;) {
        if (!is_shard(entry->d_name)) continue;
        has_whole = has_whole || strcmp(entry->d_name, "model.safetensors") == 0;
        status = add_name(names, entry->d_name, err);
    }
    (void)closedir(directory);
    if (status < 0) return status;
    if (has_whole) {
        for (unsigned i = 0; i < names->n; i++) free(names->items[i]);
        names->n = 0;
        return add_name(names, "model.safetensors", err);
    }
    if (names->n == 0) return error_set(err, ERROR_BAD_FILE, "no safetensors files");
    return check_numbers(names, err);
}

static int by_name(const void *left, const void *right)
{
    const struct safetensors_tensor *a = *(const struct safetensors_tensor *const *)left;
    const struct safetensors_tensor *b = *(const struct safetensors_tensor *const *)right;
    return strcmp(a->name.bytes, b->name.bytes);
}

static int name_order(const void *name, const void *item)
{
    return strcmp(name, (*(const struct safetensors_tensor *const *)item)->name.bytes);
}

const struct safetensors_tensor *hf_shards_find(const void *context, const char *name)
{
    const struct hf_shards *shards = context;
    const struct safetensors_tensor *const *found =
        shards->n_tensors > 0 ? bsearch(name, shards->tensors, shards->n_tensors, sizeof *shards->tensors, name_order)
                              : NULL;
    return found != NULL ? *found : NULL;
}

static int collect(struct hf_shards *shards, struct error *err)
{
    size_t n = 0;
    for (unsigned i = 0; i < shards->n_files; i++) n += safetensors_n_tensors(shards->files[i]);
    shards->tensors = memory_array(n, sizeof *shards->tensors);
    if (shards->tensors == NULL) return error_set(err, ERROR_NO_MEMORY, "out of memory for the headers");
    for (unsigned i = 0; i < shards->n_files; i++)
        for (size_t k = 0; k < safetensors_n_tensors(shards->files[i]); k++)
            shards->tensors[shards->n_tensors++] = safetensors_tensor_at(shards->files[i], k);
    qsort(shards->tensors, n, sizeof *shards->tensors, by_name);
    for (size_t i = 1; i < n; i++)
        if (by_name(&shards->tensors[i - 1], &shards->tensors[i]) == 0)
            return error_set(err, ERROR_BAD_FILE, "tensor %.200s is in two shards (of mixed models)",
                             shards->tensors[i]->name.bytes);
    return 0;
}

/* Each tensor is in the shard that the index names, and no shard has another. */
static int check_index(const struct hf_shards *shards, const struct names *names, const json_t *index,
                       struct error *err)
{
    const json_t *map = json_object_get(index, "weight_map");
    size_t n = 0;
    for (unsigned i = 0; i < shards->n_files; i++)
        for (size_t k = 0; k < safetensors_n_tensors(shards->files[i]); k++, n++) {
            const char *tensor = safetensors_tensor_at(shards->files[i], k)->name.bytes;
            const char *where = json_string_value(json_object_get(map, tensor));
            if (where != NULL && strcmp(where, names->items[i]) == 0) continue;
            return error_set(err, ERROR_BAD_FILE,
                             "%s: tensor %.100s is not what " INDEX_NAME " says (shards of mixed models)",
                             names->items[i], tensor);
        }
    if (n == json_object_size(map)) return 0;
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, tensor,
                        value) if (hf_shards_find(shards, tensor) ==
                                   NULL) return error_set(err, ERROR_BAD_FILE,
                                                          "%s: tensor %.100s is missing (shards of mixed models)",
                                                          json_string_value(value), tensor);
    return 0;
}

static int open_files(const char *folder, const struct names *names, struct hf_shards *shards, struct error *err)
{
    shards->files = memory_array(names->n, sizeof *shards->files);
    int status = shards->files != NULL ? 0 : error_set(err, ERROR_NO_MEMORY, "out of memory");
    for (unsigned i = 0; i < names->n && status == 0; i++) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names->items[i]);
        status = safetensors_open(path, &shards->files[i], err);
        if (status == 0) shards->n_files++;
    }
    return status;
}

int hf_shards_open(const char *folder, struct hf_shards *shards, struct error *err)
{
    char path[PATH_MAX];
    json_t *index = NULL;
    struct names *names = memory_array(1, sizeof *names);
    *shards = (struct hf_shards){0};
    if (names == NULL) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", folder);
    (void)snprintf(path, sizeof path, "%s/" INDEX_NAME, folder);
    int status = json_guard_read(path, INDEX_BYTES, INDEX_DEPTH, &index, err);
    bool named = status != 0 && status != ERROR_NOT_FOUND; /* the error has the path already */
    if (status == 0)
        status = names_of_index(index, names, err);
    else if (status == ERROR_NOT_FOUND)
        status = names_of_folder(folder, names, err);
    if (status == 0) {
        qsort(names->items, names->n, sizeof *names->items, by_text);
        status = open_files(folder, names, shards, err);
        named = status < 0;
    }
    if (status == 0) status = collect(shards, err);
    if (status == 0 && index != NULL) status = check_index(shards, names, index, err);
    if (status < 0 && !named) error_prefix(err, "%s", folder);
    json_decref(index);
    for (unsigned i = 0; i < names->n; i++) free(names->items[i]);
    free(names);
    return status;
}

void hf_shards_close(struct hf_shards *shards)
{
    for (unsigned i = 0; i < shards->n_files; i++) safetensors_close(shards->files[i]);
    free(shards->files);
    free(shards->tensors);
    *shards = (struct hf_shards){0};
}
