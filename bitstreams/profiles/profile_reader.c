/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/profiles/profile_reader.h"

#include "bitstreams/profiles/json_line.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES 128

struct unit {
    const char *name;
    enum dimension dimension;
    double factor; /* to the dimension's own unit */
};

/* Of each dimension, the unit of its messages first. */
static const struct unit units[] = {
    {"cycles", DIM_CYCLES, 1},
    {"bits", DIM_BITS, 1},
    {"MHz", DIM_FREQUENCY, 1},
    {"GHz", DIM_FREQUENCY, 1e3},
    {"B", DIM_BYTES, 1},
    {"KiB", DIM_BYTES, 1024},
    {"MiB", DIM_BYTES, 1048576},
    {"GiB", DIM_BYTES, 1073741824},
    {"GB", DIM_BYTES, 1e9},
    {"ps", DIM_TIME, 1},
    {"ns", DIM_TIME, 1e3},
    {"us", DIM_TIME, 1e6},
    {"ms", DIM_TIME, 1e9},
    {"B/s", DIM_RATE, 1},
    {"MB/s", DIM_RATE, 1e6},
    {"GB/s", DIM_RATE, 1e9},
    {"fJ", DIM_ENERGY, 1},
    {"pJ", DIM_ENERGY, 1e3},
    {"fJ/byte", DIM_ENERGY_PER_BYTE, 1},
    {"pJ/byte", DIM_ENERGY_PER_BYTE, 1e3},
    {"pJ/bit", DIM_ENERGY_PER_BYTE, 8e3},
    {"mW", DIM_POWER, 1},
    {"W", DIM_POWER, 1e3},
};
enum { N_UNITS = sizeof units / sizeof units[0] };

static const char *const number_members[] = {"value", "unit", "source", "note", "disputed", NULL};

int profile_refuse(const struct profile_reader *reader, const char *path, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(reader->err, ERROR_BAD_FILE, "%s:%u: %s%s%s", reader->file,
                     json_line(reader->text, reader->n_bytes, path), path, *path ? ": " : "", text);
}

void profile_path(char *out, size_t size, const char *path, const char *name)
{
    snprintf(out, size, "%s%s%s", path, *path ? "." : "", name);
}

int profile_load(const struct profile_reader *reader, json_t **root)
{
    json_error_t at;
    *root = json_loadb(reader->text, reader->n_bytes, JSON_REJECT_DUPLICATES, &at);
    if (!*root) return error_set(reader->err, ERROR_BAD_FILE, "%s:%d: not JSON: %s", reader->file, at.line, at.text);
    if (json_is_object(*root)) return 0;
    json_decref(*root);
    *root = NULL;
    return error_set(reader->err, ERROR_BAD_FILE, "%s:1: a profile is a JSON object", reader->file);
}

static const char *type_name(json_type type)
{
    switch (type) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    default: return "a number";
    }
}

int profile_member(const struct profile_reader *reader, const json_t *object, const char *path, const char *name,
                   json_type type, const json_t **out)
{
    char full[PATH_BYTES];
    profile_path(full, sizeof full, path, name);
    *out = json_object_get(object, name);
    if (!*out) return profile_refuse(reader, full, "missing; %s is expected", type_name(type));
    if (json_typeof(*out) != type) return profile_refuse(reader, full, "%s is expected", type_name(type));
    return 0;
}

int profile_text(const struct profile_reader *reader, const json_t *object, const char *path, const char *name,
                 char *out, size_t size)
{
    char full[PATH_BYTES];
    const json_t *text;
    int status = profile_member(reader, object, path, name, JSON_STRING, &text);
    if (status < 0) return status;
    size_t length = json_string_length(text);
    profile_path(full, sizeof full, path, name);
    if (length == 0 || length >= size || strlen(json_string_value(text)) != length)
        return profile_refuse(reader, full, "a text of 1 to %zu bytes is expected", size - 1);
    memcpy(out, json_string_value(text), length + 1);
    return 0;
}

int profile_identifier(const struct profile_reader *reader, const json_t *object, const char *path, const char *name,
                       char *out, size_t size)
{
    int status = profile_text(reader, object, path, name, out, size);
    if (status < 0) return status;
    if (out[strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0') return 0;
    char full[PATH_BYTES];
    profile_path(full, sizeof full, path, name);
    return profile_refuse(reader, full, "\"%s\" is no name: only a-z, 0-9 and '-' are allowed", out);
}

int profile_only(const struct profile_reader *reader, const json_t *object, const char *path,
                 const struct number_field *fields, size_t n, const char *const *others)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < n && !known; i++) known = strcmp(key, fields[i].name) == 0;
        for (size_t i = 0; others[i] && !known; i++) known = strcmp(key, others[i]) == 0;
        if (known) continue;
        char full[PATH_BYTES];
        profile_path(full, sizeof full, path, key);
        return profile_refuse(reader, full, "there is no such field (README.md of bitstreams/profiles lists them)");
    }
    return 0;
}

/* value, unit and source of a number. */
static int read_number(const struct profile_reader *reader, const json_t *number, const char *path, double *value,
                       const char **unit)
{
    const json_t *text;
    const json_t *found = json_object_get(number, "value");
    int status = profile_only(reader, number, path, NULL, 0, number_members);
    if (status < 0) return status;
    if (!json_is_number(found))
        return profile_refuse(reader, path, "%s \"value\", a number", found ? "wrong" : "missing");
    *value = json_number_value(found);
    status = profile_member(reader, number, path, "unit", JSON_STRING, &text);
    if (status < 0) return status;
    *unit = json_string_value(text);
    status = profile_member(reader, number, path, "source", JSON_STRING, &text);
    if (status < 0) return status;
    if (json_string_length(text) > 0) return 0;
    return profile_refuse(reader, path, "empty \"source\": where the number is from, or \"assumed: why\"");
}

static int unknown_unit(const struct profile_reader *reader, const char *path, const char *unit,
                        enum dimension dimension)
{
    char list[80] = "";
    for (unsigned i = 0; i < N_UNITS; i++) {
        size_t used = strlen(list);
        if (units[i].dimension == dimension)
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", units[i].name);
    }
    return profile_refuse(reader, path, "unit \"%s\"; allowed: %s", unit, list);
}

static int one_number(const struct profile_reader *reader, const json_t *object, const char *path,
                      const struct number_field *field, void *out)
{
    char full[PATH_BYTES];
    const json_t *number;
    const char *unit;
    double value, factor = field->dimension == DIM_COUNT ? 1 : 0;
    int status = profile_member(reader, object, path, field->name, JSON_OBJECT, &number);
    profile_path(full, sizeof full, path, field->name);
    if (status >= 0) status = read_number(reader, number, full, &value, &unit);
    if (status < 0) return status;
    for (unsigned i = 0; i < N_UNITS; i++) {
        if (units[i].dimension == field->dimension && strcmp(units[i].name, unit) == 0) factor = units[i].factor;
    }
    if (factor == 0) return unknown_unit(reader, full, unit, field->dimension);
    double whole = nearbyint(value * factor); /* limits are below 2^53: exact */
    if (!(whole >= (double)field->min && whole <= (double)field->max))
        return profile_refuse(reader, full, "%.12g %s; allowed: %.12g to %.12g %s", value, unit,
                              (double)field->min / factor, (double)field->max / factor, unit);
    if (field->dimension == DIM_COUNT && whole != value)
        return profile_refuse(reader, full, "%.12g; a whole number is expected", value);
    if (field->size == sizeof(uint32_t)) {
        *(uint32_t *)((char *)out + field->offset) = (uint32_t)whole;
    } else {
        *(uint64_t *)((char *)out + field->offset) = (uint64_t)whole;
    }
    return 0;
}

int profile_numbers(const struct profile_reader *reader, const json_t *object, const char *path,
                    const struct number_field *fields, size_t n, void *out)
{
    for (size_t i = 0; i < n; i++) {
        int status = one_number(reader, object, path, &fields[i], out);
        if (status < 0) return status;
    }
    return 0;
}

int profile_plain_number(const struct profile_reader *reader, const json_t *object, const char *path, const char *name,
                         double min, double max, double *out, const char **unit)
{
    char full[PATH_BYTES];
    const json_t *number;
    profile_path(full, sizeof full, path, name);
    int status = profile_member(reader, object, path, name, JSON_OBJECT, &number);
    if (status >= 0) status = read_number(reader, number, full, out, unit);
    if (status < 0) return status;
    if (*out >= min && *out <= max) return 0;
    return profile_refuse(reader, full, "%.12g; allowed: %.12g to %.12g", *out, min, max);
}
