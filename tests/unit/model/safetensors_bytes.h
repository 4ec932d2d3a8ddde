/* SPDX-License-Identifier: Apache-2.0 */
/* Safetensors files and folders written by tests. */
#ifndef SLUICE_TESTS_SAFETENSORS_BYTES_H
#define SLUICE_TESTS_SAFETENSORS_BYTES_H

#include "host/base/bytes.h"
#include "host/base/philox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct st_bytes {
    char header[1 << 16];
    size_t n_header;
    uint8_t *data;
    size_t n_data, room;
};

static inline void st_init(struct st_bytes *st)
{
    *st = (struct st_bytes){.n_header = 1, .room = 4 << 20};
    st->header[0] = '{';
    st->data = calloc(1, st->room);
    assert_non_null(st->data);
}

/* Adds a tensor of shape[n] (up to 4) and returns its data, n_bytes, which the caller fills. */
static inline uint8_t *st_add(struct st_bytes *st, const char *name, const char *dtype, unsigned n,
                              const uint32_t *shape, size_t n_bytes)
{
    size_t room = sizeof st->header - st->n_header;
    int length = snprintf(st->header + st->n_header, room, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                          st->n_header > 1 ? "," : "", name, dtype);
    st->n_header += (size_t)length;
    for (unsigned i = 0; i < n; i++)
        st->n_header += (size_t)snprintf(st->header + st->n_header, sizeof st->header - st->n_header, "%s%" PRIu32,
                                         i > 0 ? "," : "", shape[i]);
    st->n_header += (size_t)snprintf(st->header + st->n_header, sizeof st->header - st->n_header,
                                     "],\"data_offsets\":[%zu,%zu]}", st->n_data, st->n_data + n_bytes);
    assert_true(st->n_header < sizeof st->header && st->n_data + n_bytes <= st->room);
    uint8_t *data = st->data + st->n_data;
    st->n_data += n_bytes;
    return data;
}

/* The whole file; *n_bytes its size. The caller frees it. */
static inline uint8_t *st_file(const struct st_bytes *st, size_t *n_bytes)
{
    size_t n = st->n_header + 1;
    uint8_t *bytes = calloc(1, 8 + n + st->n_data);
    assert_non_null(bytes);
    store_u64(bytes, n);
    memcpy(bytes + 8, st->header, st->n_header);
    bytes[8 + st->n_header] = '}';
    memcpy(bytes + 8 + n, st->data, st->n_data);
    *n_bytes = 8 + n + st->n_data;
    return bytes;
}

static inline void write_bytes(const char *folder, const char *name, const void *bytes, size_t n_bytes)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, n_bytes, stream), n_bytes);
    assert_int_equal(fclose(stream), 0);
}

static inline void st_write(const struct st_bytes *st, const char *folder, const char *name)
{
    size_t n_bytes;
    uint8_t *bytes = st_file(st, &n_bytes);
    write_bytes(folder, name, bytes, n_bytes);
    free(bytes);
}

static inline void remove_file(const char *folder, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)unlink(path);
}

#endif
