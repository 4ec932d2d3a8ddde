/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/request_fields.h"

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "something else";
}

int field_wrong_type(const char *name, const char *expected, const json_t *got, struct api_error *error)
{
    return api_error_set(error, 400, "invalid_type", name, "Invalid type for '%s': expected %s, but got %s instead.",
                         name, expected, type_name(got));
}

int field_unsupported(const char *name, const char *what, struct api_error *error)
{
    return api_error_set(error, 400, "unsupported_parameter", name,
                         "Unsupported parameter: '%s': %s is not supported by this server.", name, what);
}

/* The field, or NULL if it is absent or null. */
static const json_t *find(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return value && !json_is_null(value) ? value : NULL;
}

int field_bool(const json_t *object, const char *name, bool *out, struct api_error *error)
{
    const json_t *value = find(object, name);
    if (!value) return 0;
    if (!json_is_boolean(value)) return field_wrong_type(name, "a boolean", value, error);
    *out = json_is_true(value);
    return 1;
}

int field_text(const json_t *object, const char *name, const char **out, struct api_error *error)
{
    const json_t *value = find(object, name);
    if (!value) return 0;
    if (!json_is_string(value)) return field_wrong_type(name, "a string", value, error);
    *out = json_string_value(value);
    return 1;
}

int field_integer(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *out,
                  struct api_error *error)
{
    const json_t *value = find(object, name);
    if (!value) return 0;
    if (!json_is_integer(value)) return field_wrong_type(name, "an integer", value, error);
    int64_t number = json_integer_value(value);
    if (number < min)
        return api_error_set(error, 400, "integer_below_min_value", name,
                             "Invalid '%s': %lld is below the minimum of %lld.", name, (long long)number,
                             (long long)min);
    if (number > max)
        return api_error_set(error, 400, "integer_above_max_value", name,
                             "Invalid '%s': %lld is above the maximum of %lld.", name, (long long)number,
                             (long long)max);
    *out = number;
    return 1;
}

int field_number(const json_t *object, const char *name, double min, double max, bool open_min, float *out,
                 struct api_error *error)
{
    const json_t *value = find(object, name);
    if (!value) return 0;
    if (!json_is_number(value)) return field_wrong_type(name, "a number", value, error);
    double number = json_number_value(value);
    /* A double above min may round to it as a float. */
    if (!(number >= min) || (open_min && (float)number <= (float)min))
        return api_error_set(error, 400, "decimal_below_min_value", name, "Invalid '%s': %g is %s %g.", name, number,
                             open_min ? "not above" : "below the minimum of", min);
    if (number > max)
        return api_error_set(error, 400, "decimal_above_max_value", name,
                             "Invalid '%s': %g is above the maximum of %g.", name, number, max);
    *out = (float)number;
    return 1;
}
