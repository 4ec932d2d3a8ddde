/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of a config.json, each checked against its limits where it is read. The first thing that is wrong stays: later
 * calls give their fallback and change nothing, so that a reader asks for all it needs and looks at status once. A message
 * names file, line and key and says what is allowed. Nobody outside host/plan includes this.
 */
#ifndef SLUICE_PLAN_CONFIG_READER_H
#define SLUICE_PLAN_CONFIG_READER_H

#include "host/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct config_reader {
    const char *file, *text; /* borrowed; for messages */
    const char *section;     /* "" or the name of the object inside the file, with a dot: "text_config." */
    json_t *object;          /* borrowed; what is read */
    struct error *err;
    int status; /* 0 or the error's code */
};

/* The value of key; NULL if it is absent or null. */
json_t *config_get(const struct config_reader *reader, const char *key);

/* The first of these keys (the last one NULL) that has a value; the first if none has. */
const char *config_key_of(const struct config_reader *reader, const char *const *keys);

/* Makes the first error: "FILE:LINE: KEY why"; format is the part after KEY. */
void config_bad(struct config_reader *reader, int code, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* An integer that must be there and lie in [low, high]; low after an error. */
uint32_t config_u32(struct config_reader *reader, const char *key, uint32_t low, uint32_t high);
/* The same, or fallback if the key is absent or null. */
uint32_t config_u32_or(struct config_reader *reader, const char *key, uint32_t low, uint32_t high, uint32_t fallback);

/* A number above 0, and fallback if absent or null. */
float config_f32_or(struct config_reader *reader, const char *key, float fallback);
bool config_bool_or(struct config_reader *reader, const char *key, bool fallback);
/* Borrowed from the file. */
const char *config_text_or(struct config_reader *reader, const char *key, const char *fallback);

/* An array of at least `least` elements, or NULL if absent or null. */
json_t *config_array(struct config_reader *reader, const char *key, size_t least);
/* Element index of such an array as an integer in [low, high], as text. */
uint32_t config_element_u32(struct config_reader *reader, const char *key, json_t *array, size_t index, uint32_t low,
                            uint32_t high);
const char *config_element_text(struct config_reader *reader, const char *key, json_t *array, size_t index);

#endif
