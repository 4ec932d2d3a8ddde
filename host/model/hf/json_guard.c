/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/hf/json_guard.h"

#include "host/base/map_file.h"

#include <stdbool.h>

/* The deepest nesting of brackets outside strings. The parser recurses, so it may not be asked. */
static unsigned depth_of(const char *bytes, size_t n_bytes)
{
    unsigned depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < n_bytes; i++) {
        char c = bytes[i];
        if (in_string) {
            if (c == '\\') i++;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest) deepest = depth;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

int json_guard_parse(const char *bytes, size_t n_bytes, unsigned max_depth, const char *name, json_t **out,
                     struct error *err)
{
    json_error_t problem;
    *out = NULL;
    unsigned depth = depth_of(bytes, n_bytes);
    if (depth > max_depth)
        return error_set(err, ERROR_BAD_FILE, "%s: JSON nested %u deep (at most %u)", name, depth, max_depth);
    json_t *root = json_loadb(bytes, n_bytes, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL)
        return error_set(err, ERROR_BAD_FILE, "%s: %s (line %d, column %d)", name, problem.text, problem.line,
                         problem.column);
    if (!json_is_object(root)) {
        json_decref(root);
        return error_set(err, ERROR_BAD_FILE, "%s: no JSON object", name);
    }
    *out = root;
    return 0;
}

int json_guard_read(const char *path, size_t max_bytes, unsigned max_depth, json_t **out, struct error *err)
{
    struct map_file map;
    *out = NULL;
    int status = map_file_open(path, &map, err);
    if (status < 0) return status;
    if (map.size > max_bytes)
        status = error_set(err, ERROR_TOO_LARGE, "%s: %zu bytes (at most %zu)", path, map.size, max_bytes);
    else
        status = json_guard_parse((const char *)map.bytes, map.size, max_depth, path, out, err);
    map_file_close(&map);
    return status;
}
