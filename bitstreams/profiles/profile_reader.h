/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the members of a profile by tables. A number is an object {"value": 14.375, "unit": "GB/s", "source": "UG1393"}, which
 * may also have "note" and "disputed" (what another source says). The first mistake stops the reading; its message has
 * file, line, field and what is allowed.
 */
#ifndef SLUICE_BITSTREAMS_PROFILE_READER_H
#define SLUICE_BITSTREAMS_PROFILE_READER_H

#include "host/base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum dimension {
    DIM_COUNT, /* the unit is the name of what is counted */
    DIM_CYCLES,
    DIM_BITS,
    DIM_FREQUENCY, /* MHz */
    DIM_BYTES,
    DIM_TIME,   /* ps */
    DIM_RATE,   /* bytes per second */
    DIM_ENERGY, /* fJ */
    DIM_ENERGY_PER_BYTE,
    DIM_POWER, /* mW */
};

/* One number of a structure. size: 4 or 8, of the unsigned integer at offset. Limits in the structure's unit. */
struct number_field {
    const char *name;
    enum dimension dimension;
    size_t offset, size;
    uint64_t min, max;
};
#define NUMBER_FIELD(type, member, name, dimension, min, max)                                                          \
    {                                                                                                                  \
        name, dimension, offsetof(struct type, member), sizeof((struct type *)0)->member, min, max                     \
    }

struct profile_reader {
    const char *text;
    size_t n_bytes;
    const char *file;
    struct error *err; /* may be NULL */
};

/* All return 0 or ERROR_BAD_FILE. */

/* "FILE:LINE: PATH: ..." */
int profile_refuse(const struct profile_reader *reader, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The text as JSON, *root owned by the caller: json_decref. */
int profile_load(const struct profile_reader *reader, json_t **root);

/* The member called name of object, which must be of this type; path is object's own, "" for the root. Borrowed. */
int profile_member(const struct profile_reader *reader, const json_t *object, const char *path, const char *name,
                   json_type type, const json_t **out);

/* A string of 1 to size - 1 bytes; identifiers only of a-z, 0-9 and '-'. */
int profile_text(const struct profile_reader *reader, const json_t *object, const char *path, const char *name,
                 char *out, size_t size);
int profile_identifier(const struct profile_reader *reader, const json_t *object, const char *path, const char *name,
                       char *out, size_t size);

/* The n numbers of fields, each of which must be there, into the structure at out. */
int profile_numbers(const struct profile_reader *reader, const json_t *object, const char *path,
                    const struct number_field *fields, size_t n, void *out);

/*
 * The value of a number whose unit is not of a dimension (a price); *unit is borrowed. Checks source and members as all
 * numbers.
 */
int profile_plain_number(const struct profile_reader *reader, const json_t *object, const char *path, const char *name,
                         double min, double max, double *out, const char **unit);

/* Members of object that are neither in fields nor in others (NULL at the end) are refused: a misspelt name is a mistake. */
int profile_only(const struct profile_reader *reader, const json_t *object, const char *path,
                 const struct number_field *fields, size_t n, const char *const *others);

/* "memory[0]" and "channels" to "memory[0].channels"; cut if it does not fit. */
void profile_path(char *out, size_t size, const char *path, const char *name);

#endif
