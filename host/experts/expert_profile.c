/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/expert_profile.h"

#include "host/base/bytes.h"
#include "host/base/map_file.h"
#include "host/base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define PROFILE_VERSION 1u
#define HEADER_BYTES 104u

int expert_profile_open(const struct routing_shape *shape, struct expert_profile *profile, struct error *err)
{
    *profile = (struct expert_profile){.shape = *shape};
    profile->shape.depth = profile->shape.flags = 0;
    int status = routing_shape_check(&profile->shape, err);
    if (status == 0) {
        profile->uses = memory_array((size_t)shape->n_layers * shape->n_experts, sizeof *profile->uses);
        if (!profile->uses) status = error_set(err, ERROR_NO_MEMORY, "no host memory for a profile of experts");
    }
    if (status < 0) *profile = (struct expert_profile){0};
    return status;
}

void expert_profile_close(struct expert_profile *profile)
{
    free(profile->uses);
    *profile = (struct expert_profile){0};
}

void expert_profile_count(struct expert_profile *profile, uint32_t layer, const uint16_t *choice, uint32_t n_rows)
{
    uint64_t *uses = profile->uses + (size_t)layer * profile->shape.n_experts;
    for (size_t i = 0; i < (size_t)n_rows * profile->shape.n_used; i++) uses[choice[i]]++;
    if (layer == 0) profile->n_tokens += n_rows;
}

void expert_profile_fade(struct expert_profile *profile)
{
    size_t n = (size_t)profile->shape.n_layers * profile->shape.n_experts;
    for (size_t i = 0; i < n; i++) profile->uses[i] /= 2;
    profile->n_tokens /= 2;
}

static size_t file_bytes(const struct routing_shape *shape)
{
    return HEADER_BYTES + (size_t)shape->n_layers * shape->n_experts * 8 + 8;
}

static void fill(uint8_t *bytes, const struct expert_profile *profile)
{
    const struct routing_shape *shape = &profile->shape;
    size_t n = (size_t)shape->n_layers * shape->n_experts;
    memcpy(bytes, "SLUPROFI", 8);
    store_u32(bytes + 8, PROFILE_VERSION);
    store_u32(bytes + 12, shape->n_layers);
    store_u32(bytes + 16, shape->n_experts);
    store_u32(bytes + 20, shape->n_used);
    store_u64(bytes + 24, shape->model_hash);
    store_u64(bytes + 32, profile->n_tokens);
    memcpy(bytes + 40, shape->model, strnlen(shape->model, ROUTING_NAME_BYTES - 1));
    for (size_t i = 0; i < n; i++) store_u64(bytes + HEADER_BYTES + 8 * i, profile->uses[i]);
    store_u64(bytes + HEADER_BYTES + 8 * n, XXH3_64bits(bytes, HEADER_BYTES + 8 * n));
}

static int save_bytes(const uint8_t *bytes, size_t size, const char *aside, const char *path, struct error *err)
{
    char reason[128];
    FILE *file = fopen(aside, "wbe");
    bool ok = file && fwrite(bytes, 1, size, file) == size && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int why = ok ? 0 : errno;
    if (file && fclose(file) != 0 && ok) ok = false, why = errno;
    if (ok && rename(aside, path) != 0) ok = false, why = errno;
    if (ok) return 0;
    if (file) unlink(aside);
    return error_set(err, ERROR_IO, "%s: cannot save the profile of experts: %s (is the folder writable?)", path,
                     strerror_r(why, reason, sizeof reason));
}

int expert_profile_save(const struct expert_profile *profile, const char *path, struct error *err)
{
    size_t size = file_bytes(&profile->shape), length = strlen(path) + sizeof ".partial";
    uint8_t *bytes = memory_array(size, 1);
    char *aside = memory_array(length, 1);
    int status;
    if (bytes && aside) {
        fill(bytes, profile);
        snprintf(aside, length, "%s.partial", path);
        status = save_bytes(bytes, size, aside, path, err);
    } else {
        status = error_set(err, ERROR_NO_MEMORY, "no host memory to save %s", path);
    }
    free(bytes);
    free(aside);
    return status;
}

static int read_header(const struct map_file *map, const char *path, struct expert_profile *profile, struct error *err)
{
    const uint8_t *bytes = map->bytes;
    struct routing_shape *shape = &profile->shape;
    if (map->size < HEADER_BYTES + 8 || memcmp(bytes, "SLUPROFI", 8) != 0)
        return error_set(err, ERROR_BAD_FILE, "%s: not a profile of experts", path);
    if (load_u32(bytes + 8) != PROFILE_VERSION)
        return error_set(err, ERROR_BAD_FILE, "%s: a profile of version %u, not %u (save it again)", path,
                         load_u32(bytes + 8), PROFILE_VERSION);
    if (load_u64(bytes + map->size - 8) != XXH3_64bits(bytes, map->size - 8))
        return error_set(err, ERROR_BAD_FILE, "%s: damaged or cut short: it does not have its hash (save it again)",
                         path);
    shape->n_layers = load_u32(bytes + 12);
    shape->n_experts = load_u32(bytes + 16);
    shape->n_used = load_u32(bytes + 20);
    shape->model_hash = load_u64(bytes + 24);
    profile->n_tokens = load_u64(bytes + 32);
    memcpy(shape->model, bytes + 40, ROUTING_NAME_BYTES);
    if (shape->model[ROUTING_NAME_BYTES - 1] != 0 || routing_shape_check(shape, NULL) < 0 ||
        file_bytes(shape) != map->size)
        return error_set(err, ERROR_BAD_FILE, "%s: its size does not go with its counts (save it again)", path);
    return 0;
}

static int read_profile(const struct map_file *map, const char *path, const struct routing_shape *model,
                        struct expert_profile *profile, struct error *err)
{
    int status = read_header(map, path, profile, err);
    if (status < 0) return status;
    const struct routing_shape *shape = &profile->shape;
    if ((shape->model_hash != model->model_hash && shape->model_hash != 0 && model->model_hash != 0) ||
        shape->n_layers != model->n_layers || shape->n_experts != model->n_experts || shape->n_used != model->n_used)
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "%s: a profile of %s (%u layers, %u of %u experts), not of %.*s (%u layers, %u of %u experts)",
                         path, shape->model, shape->n_layers, shape->n_used, shape->n_experts, (int)ROUTING_NAME_BYTES,
                         model->model, model->n_layers, model->n_used, model->n_experts);
    size_t n = (size_t)shape->n_layers * shape->n_experts;
    profile->uses = memory_array(n, sizeof *profile->uses);
    if (!profile->uses) return error_set(err, ERROR_NO_MEMORY, "no host memory to read %s", path);
    for (size_t i = 0; i < n; i++) profile->uses[i] = load_u64(map->bytes + HEADER_BYTES + 8 * i);
    return 0;
}

int expert_profile_load(const char *path, const struct routing_shape *model, struct expert_profile *profile,
                        struct error *err)
{
    struct map_file map;
    *profile = (struct expert_profile){0};
    int status = map_file_open(path, &map, err);
    if (status < 0) return status;
    status = read_profile(&map, path, model, profile, err);
    if (status < 0) *profile = (struct expert_profile){0};
    map_file_close(&map);
    return status;
}
