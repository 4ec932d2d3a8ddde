/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/experts/routing_trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

struct routing_writer {
    FILE *file;
    char *path;
    struct routing_shape shape;
    uint64_t n_steps, n_rows;
    uint8_t *bytes; /* one step */
    size_t capacity;
};

static int write_failed(const struct routing_writer *writer, struct error *err)
{
    char reason[128];
    return error_set(err, ERROR_IO, "%s: cannot write the routing trace: %s (is the disk full?)", writer->path,
                     strerror_r(errno, reason, sizeof reason));
}

static int write_header(struct routing_writer *writer, uint64_t n_steps, uint64_t n_rows, struct error *err)
{
    const struct routing_shape *shape = &writer->shape;
    uint8_t header[ROUTING_HEADER_BYTES] = "SLUROUTE";
    store_u32(header + 8, ROUTING_VERSION);
    store_u32(header + 12, shape->flags);
    store_u64(header + 16, shape->model_hash);
    store_u32(header + 24, shape->n_layers);
    store_u32(header + 28, shape->n_experts);
    store_u32(header + 32, shape->n_used);
    store_u32(header + 36, shape->depth);
    store_u64(header + 40, n_steps);
    store_u64(header + 48, n_rows);
    memcpy(header + 56, shape->model, ROUTING_NAME_BYTES);
    store_u64(header + 120, XXH3_64bits(header, 120));
    if (fwrite(header, 1, sizeof header, writer->file) != sizeof header) return write_failed(writer, err);
    return 0;
}

static void writer_free(struct routing_writer *writer)
{
    if (writer->file) fclose(writer->file);
    free(writer->path);
    free(writer->bytes);
    free(writer);
}

int routing_writer_open(const char *path, const struct routing_shape *shape, struct routing_writer **out,
                        struct error *err)
{
    *out = NULL;
    int status = routing_shape_check(shape, err);
    if (status < 0) return status;
    struct routing_writer *writer = memory_array(1, sizeof *writer);
    if (!writer) return error_set(err, ERROR_NO_MEMORY, "no host memory to record %s", path);
    writer->shape = *shape;
    size_t length = strnlen(shape->model, ROUTING_NAME_BYTES - 1);
    memset(writer->shape.model + length, 0, ROUTING_NAME_BYTES - length);
    writer->path = strdup(path);
    if (!writer->path) {
        status = error_set(err, ERROR_NO_MEMORY, "no host memory to record %s", path);
        goto failed;
    }
    writer->file = fopen(path, "wbe");
    if (!writer->file) {
        status = write_failed(writer, err);
        goto failed;
    }
    status = write_header(writer, UINT64_MAX, UINT64_MAX, err);
    if (status < 0) goto failed;
    *out = writer;
    return 0;
failed:
    writer_free(writer);
    return status;
}

static uint8_t *put_experts(uint8_t *to, const struct routing_shape *shape, const uint16_t *experts, size_t n)
{
    if (shape->n_experts <= 255) {
        for (size_t i = 0; i < n; i++) to[i] = (uint8_t)experts[i];
        return to + n;
    }
    for (size_t i = 0; i < n; i++) store_u16(to + 2 * i, experts[i]);
    return to + 2 * n;
}

static uint8_t *put_layer(uint8_t *to, const struct routing_shape *shape, const struct routing_step *step,
                          uint32_t layer)
{
    size_t n = (size_t)step->n_rows * shape->n_used;
    to = put_experts(to, shape, step->choice + layer * n, n);
    if (shape->flags & ROUTING_WEIGHTS) {
        for (size_t i = 0; i < n; i++) store_u16(to + 2 * i, step->weight[layer * n + i]);
        to += 2 * n;
    }
    for (uint32_t d = 0; d < shape->depth; d++) {
        size_t at = ((size_t)layer * shape->depth + d) * n;
        to = put_experts(to, shape, step->predicted + at, n);
        memcpy(to, step->confidence + at, n);
        to += n;
    }
    return to;
}

int routing_writer_step(struct routing_writer *writer, const struct routing_step *step, struct error *err)
{
    const struct routing_shape *shape = &writer->shape;
    if (step->n_rows < 1 || step->n_rows > ROUTING_MAX_ROWS)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s: a step has 1 to %u rows, not %u", writer->path, ROUTING_MAX_ROWS,
                         step->n_rows);
    /* at most 6e4 rows * 1e3 layers * 64 experts * (2 + 2 + 8 * 3) bytes */
    size_t a_choice = 4 + (size_t)shape->depth * 3;
    size_t most = 8 + (size_t)step->n_rows * (4 + (size_t)shape->n_layers * shape->n_used * a_choice);
    if (most > writer->capacity) {
        uint8_t *bytes = memory_grow(writer->bytes, most, 1);
        if (!bytes) return error_set(err, ERROR_NO_MEMORY, "no host memory to record %s", writer->path);
        writer->bytes = bytes;
        writer->capacity = most;
    }
    uint8_t *to = writer->bytes;
    store_u32(to, step->n_rows);
    to += 4;
    for (uint32_t r = 0; r < step->n_rows; r++, to += 4) store_u32(to, step->sequence[r]);
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) to = put_layer(to, shape, step, layer);
    size_t size = (size_t)(to - writer->bytes);
    store_u32(to, (uint32_t)XXH3_64bits(writer->bytes, size));
    if (fwrite(writer->bytes, 1, size + 4, writer->file) != size + 4) return write_failed(writer, err);
    writer->n_steps++;
    writer->n_rows += step->n_rows;
    return 0;
}

int routing_writer_close(struct routing_writer *writer, struct error *err)
{
    if (!writer) return 0;
    int status = 0;
    bool seekable = fseek(writer->file, 0, SEEK_SET) == 0;
    if (!seekable && errno != ESPIPE) status = write_failed(writer, err);
    if (seekable) status = write_header(writer, writer->n_steps, writer->n_rows, err);
    int closed = fclose(writer->file);
    writer->file = NULL;
    if (closed != 0 && status == 0) status = write_failed(writer, err);
    writer_free(writer);
    return status;
}
