/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/gguf_shape.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 128

struct name {
    char text[NAME_BYTES];
};

void gguf_shape_bad(struct gguf_shape *shape, int code, const char *format, ...)
{
    if (shape->status != 0) return;
    char why[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    shape->status = error_set(shape->err, code, "%s: %s", gguf_path(shape->file), why);
}

bool gguf_shape_is(const struct gguf_shape *shape, const char *family) { return strcmp(shape->family, family) == 0; }

const struct gguf_tensor *gguf_shape_tensor(const struct gguf_shape *shape, const char *name)
{
    struct name full;
    (void)snprintf(full.text, sizeof full.text, "blk.%u.%s", shape->layer, name);
    return gguf_find_tensor(shape->file, full.text);
}

uint32_t gguf_shape_size(struct gguf_shape *shape, const char *name, unsigned dimension, uint32_t high)
{
    const struct gguf_tensor *tensor = gguf_shape_tensor(shape, name);
    if (tensor == NULL) {
        gguf_shape_bad(shape, ERROR_BAD_FILE, "no tensor blk.%u.%s", shape->layer, name);
        return 1;
    }
    uint64_t size = tensor->dimension[dimension];
    if (size >= 1 && size <= high) return (uint32_t)size;
    gguf_shape_bad(shape, ERROR_BAD_FILE, "blk.%u.%s has %llu in dimension %u (1 to %u)", shape->layer, name,
                   (unsigned long long)size, dimension, high);
    return 1;
}

static struct name key_of(const struct gguf_shape *shape, const char *suffix)
{
    struct name key;
    (void)snprintf(key.text, sizeof key.text, "%s.%s", shape->family, suffix);
    return key;
}

bool gguf_shape_has_key(const struct gguf_shape *shape, const char *suffix)
{
    return gguf_find(shape->file, key_of(shape, suffix).text) != NULL;
}

/* A scalar, or the layer's element of an array. */
static bool value_of(const struct gguf_shape *shape, const struct gguf_value *value, int64_t *out)
{
    if (value->type == GGUF_TYPE_ARRAY) return gguf_array_i64(value, shape->layer, out);
    if (value->type == GGUF_TYPE_BOOL) {
        *out = value->bytes[0];
        return true;
    }
    return gguf_value_i64(value, out);
}

uint32_t gguf_shape_u32_or(struct gguf_shape *shape, const char *suffix, uint32_t low, uint32_t high, uint32_t fallback)
{
    struct name key = key_of(shape, suffix);
    const struct gguf_value *value = gguf_find(shape->file, key.text);
    int64_t number = 0;
    if (value == NULL) return fallback;
    if (!value_of(shape, value, &number))
        gguf_shape_bad(shape, ERROR_BAD_FILE, "%s has no integer for layer %u", key.text, shape->layer);
    else if (number < low || number > high)
        gguf_shape_bad(shape, ERROR_BAD_FILE, "%s is %lld (must be %u to %u)", key.text, (long long)number, low, high);
    else
        return (uint32_t)number;
    return fallback;
}

uint32_t gguf_shape_u32(struct gguf_shape *shape, const char *suffix, uint32_t low, uint32_t high)
{
    if (!gguf_shape_has_key(shape, suffix))
        gguf_shape_bad(shape, ERROR_BAD_FILE, "the header has no %s", key_of(shape, suffix).text);
    return gguf_shape_u32_or(shape, suffix, low, high, low);
}
