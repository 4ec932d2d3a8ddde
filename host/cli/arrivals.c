/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/arrivals.h"

#include "host/base/memory.h"
#include "host/cli/vocabulary_input.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define PS_PER_MS 1e9
#define FIELDS "at_ms,prompt_tokens,output_tokens"
#define EXPECTED "{\"at_ms\": 12.5, \"prompt_tokens\": 512, \"output_tokens\": 64} or 12.5,512,64 expected"

void arrivals_free(struct arrivals *arrivals)
{
    free(arrivals->list);
    *arrivals = (struct arrivals){0};
}

static int read_time(const json_t *value, uint64_t *ps, struct error *err)
{
    const double ms = json_number_value(value);
    if (!json_is_number(value) || !(ms >= 0) || ms > ARRIVAL_MOST_MS)
        return error_set(err, ERROR_BAD_FILE, "at_ms: a number from 0 to %g expected", ARRIVAL_MOST_MS);
    *ps = (uint64_t)llround(ms * PS_PER_MS);
    return 0;
}

static int read_tokens(const json_t *value, const char *name, uint32_t *tokens, struct error *err)
{
    const json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 1 || n > ARRIVAL_MOST_TOKENS)
        return error_set(err, ERROR_BAD_FILE, "%s: an integer from 1 to %d expected", name, ARRIVAL_MOST_TOKENS);
    *tokens = (uint32_t)n;
    return 0;
}

static int read_fields(const json_t *at_ms, const json_t *prompt_tokens, const json_t *output_tokens,
                       struct arrival *arrival, struct error *err)
{
    int status = read_time(at_ms, &arrival->at_ps, err);
    if (status == 0) status = read_tokens(prompt_tokens, "prompt_tokens", &arrival->prompt_tokens, err);
    if (status == 0) status = read_tokens(output_tokens, "output_tokens", &arrival->output_tokens, err);
    return status;
}

static int read_object(const char *line, size_t length, struct arrival *arrival, struct error *err)
{
    json_error_t why;
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &why), *at_ms, *prompt_tokens, *output_tokens;
    int status;
    if (!object)
        status = error_set(err, ERROR_BAD_FILE, "%s: " EXPECTED, why.text);
    else if (json_unpack_ex(object, &why, JSON_STRICT, "{s:o, s:o, s:o}", "at_ms", &at_ms, "prompt_tokens",
                            &prompt_tokens, "output_tokens", &output_tokens) < 0)
        status = error_set(err, ERROR_BAD_FILE, "%s: " EXPECTED, why.text);
    else
        status = read_fields(at_ms, prompt_tokens, output_tokens, arrival, err);
    json_decref(object);
    return status;
}

/* The three values between brackets are JSON. */
static int read_row(const char *line, size_t length, struct arrival *arrival, struct error *err)
{
    char text[128];
    const int n = length < sizeof text ? snprintf(text, sizeof text, "[%.*s]", (int)length, line) : -1;
    const bool whole = n > 0 && (size_t)n < sizeof text && (size_t)n == length + 2; /* no zero byte in it */
    json_t *row = whole ? json_loads(text, 0, NULL) : NULL;
    int status;
    if (json_array_size(row) != 3) /* 0 of what is no array */
        status = error_set(err, ERROR_BAD_FILE, EXPECTED);
    else
        status = read_fields(json_array_get(row, 0), json_array_get(row, 1), json_array_get(row, 2), arrival, err);
    json_decref(row);
    return status;
}

static bool says_nothing(const char *line, size_t length)
{
    return length == 0 || line[0] == '#' || (length == strlen(FIELDS) && memcmp(line, FIELDS, length) == 0);
}

static int add_line(struct arrivals *arrivals, const char *line, size_t length, size_t number, struct error *err)
{
    while (length > 0 && (line[0] == ' ' || line[0] == '\t')) line++, length--;
    while (length > 0 && memchr(" \t\r", line[length - 1], 3)) length--;
    if (says_nothing(line, length)) return 0;
    struct arrival arrival = {.line = number};
    int status = line[0] == '{' ? read_object(line, length, &arrival, err) : read_row(line, length, &arrival, err);
    if (status < 0) return status;
    if (arrivals->count > 0 && arrival.at_ps < arrivals->list[arrivals->count - 1].at_ps)
        return error_set(err, ERROR_BAD_FILE, "at_ms is less than in line %zu: arrivals in order of time expected",
                         arrivals->list[arrivals->count - 1].line);
    if (arrivals->count == arrivals->capacity) {
        size_t capacity = arrivals->capacity ? 2 * arrivals->capacity : 64;
        struct arrival *grown = memory_grow(arrivals->list, capacity, sizeof *grown);
        if (!grown) return error_set(err, ERROR_NO_MEMORY, "no host memory for %zu arrivals", capacity);
        arrivals->list = grown;
        arrivals->capacity = capacity;
    }
    arrivals->list[arrivals->count++] = arrival;
    return 0;
}

int arrivals_parse(const char *name, const char *bytes, size_t n_bytes, struct arrivals *arrivals, struct error *err)
{
    *arrivals = (struct arrivals){0};
    size_t number = 0;
    for (size_t at = 0; at < n_bytes;) {
        const char *line = bytes + at, *end = memchr(line, '\n', n_bytes - at);
        const size_t length = end ? (size_t)(end - line) : n_bytes - at;
        int status = add_line(arrivals, line, length, ++number, err);
        if (status < 0) return error_prefix(err, "%s: line %zu", name, number);
        at += length + 1;
    }
    if (arrivals->count > 0) return 0;
    return error_set(err, ERROR_BAD_FILE, "%s: no arrivals in it: lines like " EXPECTED, name);
}

int arrivals_read(const char *path, struct arrivals *arrivals, struct error *err)
{
    *arrivals = (struct arrivals){0};
    struct text text = {0};
    int status = read_all(path, &text, err);
    if (status == 0) status = arrivals_parse(path, text.bytes, text.length, arrivals, err);
    text_free(&text);
    return status;
}
