/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/config_reader.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Where "key" followed by a colon stands in text; NULL: nowhere. */
static const char *find_key(const char *text, const char *key, size_t length)
{
    for (const char *at = text; (at = strstr(at, "\"")) != NULL; at++) {
        if (strncmp(at + 1, key, length) != 0 || at[1 + length] != '"') continue;
        const char *after = at + length + 2;
        after += strspn(after, " \t\r\n");
        if (*after == ':') return at;
    }
    return NULL;
}

/* jansson keeps no lines: the key's first place in the section, or the section's own for a key that is missing. */
static unsigned line_of(const struct config_reader *reader, const char *key)
{
    const char *place = reader->text;
    size_t section = strlen(reader->section);
    if (section > 1) {
        const char *start = find_key(place, reader->section, section - 1);
        if (start != NULL) place = start;
    }
    const char *found = find_key(place, key, strlen(key));
    if (found != NULL) place = found;
    unsigned line = 1;
    for (const char *c = reader->text; c < place; c++) line += *c == '\n';
    return line;
}

void config_bad(struct config_reader *reader, int code, const char *key, const char *format, ...)
{
    if (reader->status != 0) return;
    char why[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    reader->status =
        error_set(reader->err, code, "%s:%u: %s%s %s", reader->file, line_of(reader, key), reader->section, key, why);
}

json_t *config_get(const struct config_reader *reader, const char *key)
{
    json_t *value = json_object_get(reader->object, key);
    return json_is_null(value) ? NULL : value;
}

const char *config_key_of(const struct config_reader *reader, const char *const *keys)
{
    for (size_t i = 0; keys[i] != NULL; i++)
        if (config_get(reader, keys[i]) != NULL) return keys[i];
    return keys[0];
}

static uint32_t checked(struct config_reader *reader, const char *key, const json_t *value, uint32_t low, uint32_t high)
{
    if (!json_is_integer(value)) {
        config_bad(reader, ERROR_BAD_FILE, key, "is no integer (must be %u to %u)", low, high);
        return low;
    }
    json_int_t number = json_integer_value(value);
    if (number < (json_int_t)low || number > (json_int_t)high) {
        config_bad(reader, ERROR_BAD_FILE, key, "is %" JSON_INTEGER_FORMAT " (must be %u to %u)", number, low, high);
        return low;
    }
    return (uint32_t)number;
}

uint32_t config_u32(struct config_reader *reader, const char *key, uint32_t low, uint32_t high)
{
    const json_t *value = config_get(reader, key);
    if (value != NULL) return checked(reader, key, value, low, high);
    config_bad(reader, ERROR_BAD_FILE, key, "is missing (must be %u to %u)", low, high);
    return low;
}

uint32_t config_u32_or(struct config_reader *reader, const char *key, uint32_t low, uint32_t high, uint32_t fallback)
{
    const json_t *value = config_get(reader, key);
    return value != NULL ? checked(reader, key, value, low, high) : fallback;
}

float config_f32_or(struct config_reader *reader, const char *key, float fallback)
{
    const json_t *value = config_get(reader, key);
    if (value == NULL) return fallback;
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    if (isfinite((float)number) && (float)number > 0) return (float)number;
    config_bad(reader, ERROR_BAD_FILE, key, "is no number above 0");
    return fallback;
}

bool config_bool_or(struct config_reader *reader, const char *key, bool fallback)
{
    const json_t *value = config_get(reader, key);
    if (value == NULL) return fallback;
    if (json_is_boolean(value)) return json_is_true(value);
    config_bad(reader, ERROR_BAD_FILE, key, "is neither true nor false");
    return fallback;
}

const char *config_text_or(struct config_reader *reader, const char *key, const char *fallback)
{
    const json_t *value = config_get(reader, key);
    if (value == NULL) return fallback;
    if (json_is_string(value)) return json_string_value(value);
    config_bad(reader, ERROR_BAD_FILE, key, "is no text");
    return fallback;
}

json_t *config_array(struct config_reader *reader, const char *key, size_t least)
{
    json_t *value = config_get(reader, key);
    if (value == NULL) return NULL;
    if (json_is_array(value) && json_array_size(value) >= least) return value;
    if (!json_is_array(value))
        config_bad(reader, ERROR_BAD_FILE, key, "is no list");
    else
        config_bad(reader, ERROR_BAD_FILE, key, "has %zu entries (must be at least the %zu of num_hidden_layers)",
                   json_array_size(value), least);
    return NULL;
}

uint32_t config_element_u32(struct config_reader *reader, const char *key, json_t *array, size_t index, uint32_t low,
                            uint32_t high)
{
    return checked(reader, key, json_array_get(array, index), low, high);
}

const char *config_element_text(struct config_reader *reader, const char *key, json_t *array, size_t index)
{
    const json_t *value = json_array_get(array, index);
    if (json_is_string(value)) return json_string_value(value);
    config_bad(reader, ERROR_BAD_FILE, key, "has an entry that is no text");
    return "";
}
