/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of file it is: a folder with a config.json, JSON text, or a model file. */
#include "host/base/map_file.h"
#include "host/plan/architecture_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_CONFIG_BYTES (16u << 20)
#define PATH_BYTES 4096

static bool is_json(const struct map_file *map)
{
    for (size_t i = 0; i < map->size && i < 64; i++)
        if (strchr(" \t\r\n", map->bytes[i]) == NULL) return map->bytes[i] == '{';
    return false;
}

static int from_json(const char *path, struct map_file *map, struct architecture **out, struct error *err)
{
    if (map->size > MAX_CONFIG_BYTES)
        return error_set(err, ERROR_TOO_LARGE, "%s: %zu bytes of JSON (at most %u)", path, map->size, MAX_CONFIG_BYTES);
    return config_json_read((const char *)map->bytes, map->size, path, out, err);
}

int architecture_from_file(const char *path, struct architecture **out, struct error *err)
{
    char inside[PATH_BYTES];
    struct stat status;
    struct map_file map;
    if (path == NULL) return architecture_from_gguf(NULL, out, err);
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        int n = snprintf(inside, sizeof inside, "%s/config.json", path);
        if (n < 0 || (size_t)n >= sizeof inside)
            return error_set(err, ERROR_BAD_ARGUMENT, "the folder's name is longer than %d bytes", PATH_BYTES);
        path = inside;
    }
    int result = map_file_open(path, &map, err);
    if (result < 0) return result;
    bool json = is_json(&map);
    if (json) result = from_json(path, &map, out, err);
    map_file_close(&map);
    return json ? result : architecture_from_gguf(path, out, err);
}
