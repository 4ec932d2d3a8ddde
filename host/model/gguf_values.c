/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata values, all of them checked when the file was opened. */
#include "host/base/bytes.h"
#include "host/model/gguf_internal.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    uint8_t scalar_bytes; /* 0: no fixed size */
} value_types[] = {
    [GGUF_TYPE_U8] = {"u8", 1},       [GGUF_TYPE_I8] = {"i8", 1},     [GGUF_TYPE_U16] = {"u16", 2},
    [GGUF_TYPE_I16] = {"i16", 2},     [GGUF_TYPE_U32] = {"u32", 4},   [GGUF_TYPE_I32] = {"i32", 4},
    [GGUF_TYPE_F32] = {"f32", 4},     [GGUF_TYPE_BOOL] = {"bool", 1}, [GGUF_TYPE_STRING] = {"string", 0},
    [GGUF_TYPE_ARRAY] = {"array", 0}, [GGUF_TYPE_U64] = {"u64", 8},   [GGUF_TYPE_I64] = {"i64", 8},
    [GGUF_TYPE_F64] = {"f64", 8},
};

const char *gguf_type_name(unsigned type) { return type <= GGUF_TYPE_F64 ? value_types[type].name : "unknown"; }

size_t gguf_scalar_bytes(unsigned type) { return type <= GGUF_TYPE_F64 ? value_types[type].scalar_bytes : 0; }

/* A whole number of any type, or a bool: its two's complement bits, and whether it is below zero. */
static bool whole_number(enum gguf_type type, const uint8_t *bytes, bool *negative, uint64_t *bits)
{
    int64_t value;
    switch (type) {
    case GGUF_TYPE_U8:
    case GGUF_TYPE_BOOL: value = bytes[0]; break;
    case GGUF_TYPE_I8: value = (int8_t)bytes[0]; break;
    case GGUF_TYPE_U16: value = load_u16(bytes); break;
    case GGUF_TYPE_I16: value = (int16_t)load_u16(bytes); break;
    case GGUF_TYPE_U32: value = load_u32(bytes); break;
    case GGUF_TYPE_I32: value = (int32_t)load_u32(bytes); break;
    case GGUF_TYPE_I64: value = (int64_t)load_u64(bytes); break;
    case GGUF_TYPE_U64:
        *bits = load_u64(bytes);
        *negative = false;
        return true;
    default: return false;
    }
    *bits = (uint64_t)value;
    *negative = value < 0;
    return true;
}

static bool as_i64(enum gguf_type type, const uint8_t *bytes, int64_t *out)
{
    bool negative;
    uint64_t bits;
    if (!whole_number(type, bytes, &negative, &bits) || (!negative && bits > INT64_MAX)) return false;
    *out = (int64_t)bits;
    return true;
}

static bool as_f64(enum gguf_type type, const uint8_t *bytes, double *out)
{
    if (type == GGUF_TYPE_F32) {
        *out = (double)load_f32(bytes);
        return true;
    }
    if (type != GGUF_TYPE_F64) return false;
    uint64_t bits = load_u64(bytes);
    memcpy(out, &bits, sizeof *out);
    return true;
}

static bool as_f32(enum gguf_type type, const uint8_t *bytes, float *out)
{
    double value;
    if (!as_f64(type, bytes, &value)) return false;
    *out = (float)value;
    return !isinf(*out) || isinf(value);
}

bool gguf_value_i64(const struct gguf_value *value, int64_t *out)
{
    return value->type != GGUF_TYPE_BOOL && as_i64(value->type, value->bytes, out);
}

bool gguf_value_u64(const struct gguf_value *value, uint64_t *out)
{
    bool negative;
    uint64_t bits;
    if (value->type == GGUF_TYPE_BOOL || !whole_number(value->type, value->bytes, &negative, &bits) || negative)
        return false;
    *out = bits;
    return true;
}

bool gguf_value_f32(const struct gguf_value *value, float *out) { return as_f32(value->type, value->bytes, out); }

bool gguf_value_f64(const struct gguf_value *value, double *out) { return as_f64(value->type, value->bytes, out); }

const struct gguf_value *gguf_keys_find(const struct gguf_keys *keys, const char *name)
{
    struct gguf_string text = {.bytes = name, .length = strlen(name)};
    int64_t position = gguf_index_find(&keys->index, keys->items, sizeof *keys->items, text);
    return position < 0 ? NULL : &keys->items[position].value;
}

/* The caller knows the file's name and puts it before this, as before every error about what a header says. */
static int wrong_kind(const char *key, const struct gguf_value *value, const char *wanted, struct error *err)
{
    return error_set(err, ERROR_BAD_FILE, "metadata key %s: %s expected, this %s does not fit", key, wanted,
                     gguf_type_name(value->type));
}

int gguf_get_u64(const struct gguf *file, const char *key, uint64_t *out, struct error *err)
{
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return 0;
    return gguf_value_u64(value, out) ? 1 : wrong_kind(key, value, "a whole number of 0 or more", err);
}

int gguf_get_u32(const struct gguf *file, const char *key, uint32_t *out, struct error *err)
{
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return 0;
    uint64_t wide;
    if (!gguf_value_u64(value, &wide) || wide > UINT32_MAX)
        return wrong_kind(key, value, "a whole number from 0 to 4294967295", err);
    *out = (uint32_t)wide;
    return 1;
}

int gguf_get_f32(const struct gguf *file, const char *key, float *out, struct error *err)
{
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return 0;
    return gguf_value_f32(value, out) ? 1 : wrong_kind(key, value, "a floating-point number", err);
}

int gguf_get_bool(const struct gguf *file, const char *key, bool *out, struct error *err)
{
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return 0;
    if (value->type != GGUF_TYPE_BOOL) return wrong_kind(key, value, "a bool", err);
    *out = value->bytes[0] != 0;
    return 1;
}

int gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *out, struct error *err)
{
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return 0;
    if (value->type != GGUF_TYPE_STRING) return wrong_kind(key, value, "a string", err);
    *out = (struct gguf_string){.bytes = (const char *)value->bytes, .length = value->n_bytes};
    return 1;
}

int gguf_next_string(const struct gguf_value *array, struct gguf_cursor *cursor, struct gguf_string *out)
{
    if (array->type != GGUF_TYPE_ARRAY || array->element_type != GGUF_TYPE_STRING || cursor->index >= array->count)
        return 0;
    const uint8_t *at = array->bytes + cursor->offset;
    out->length = (size_t)load_u64(at);
    out->bytes = (const char *)at + 8;
    cursor->offset += 8 + out->length;
    cursor->index++;
    return 1;
}

/* Bytes of the elements that start at bytes, which have no fixed size. Depth was limited when the file was opened. */
static size_t elements_bytes(enum gguf_type element_type, uint64_t count, const uint8_t *bytes)
{
    size_t scalar_bytes = gguf_scalar_bytes(element_type);
    if (scalar_bytes) return (size_t)count * scalar_bytes;
    size_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (element_type == GGUF_TYPE_STRING)
            at += 8 + (size_t)load_u64(bytes + at);
        else
            at += 12 + elements_bytes((enum gguf_type)load_u32(bytes + at), load_u64(bytes + at + 4), bytes + at + 12);
    }
    return at;
}

int gguf_next_array(const struct gguf_value *array, struct gguf_cursor *cursor, struct gguf_value *out)
{
    if (array->type != GGUF_TYPE_ARRAY || array->element_type != GGUF_TYPE_ARRAY || cursor->index >= array->count)
        return 0;
    const uint8_t *at = array->bytes + cursor->offset;
    *out = (struct gguf_value){.type = GGUF_TYPE_ARRAY,
                               .element_type = (enum gguf_type)load_u32(at),
                               .count = load_u64(at + 4),
                               .bytes = at + 12};
    out->n_bytes = elements_bytes(out->element_type, out->count, out->bytes);
    cursor->offset += 12 + out->n_bytes;
    cursor->index++;
    return 1;
}

/* The scalar at index, or NULL. */
static const uint8_t *element_at(const struct gguf_value *array, uint64_t index)
{
    size_t scalar_bytes = gguf_scalar_bytes(array->element_type);
    if (array->type != GGUF_TYPE_ARRAY || scalar_bytes == 0 || index >= array->count) return NULL;
    return array->bytes + index * scalar_bytes;
}

bool gguf_array_f32(const struct gguf_value *array, uint64_t index, float *out)
{
    const uint8_t *element = element_at(array, index);
    return element && as_f32(array->element_type, element, out);
}

bool gguf_array_i64(const struct gguf_value *array, uint64_t index, int64_t *out)
{
    const uint8_t *element = element_at(array, index);
    return element && as_i64(array->element_type, element, out);
}
