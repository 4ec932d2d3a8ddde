/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader trusts nothing: a step's size is computed from its rows in 64 bits and held against what is left of the
 * file before anything is read or allocated, so memory is at most a small multiple of the file.
 */
#include "host/base/bytes.h"
#include "host/base/map_file.h"
#include "host/base/memory.h"
#include "host/experts/routing_trace.h"

#include <string.h>
#include <xxhash.h>

struct routing_trace {
    struct map_file map; /* {0}: the bytes are somebody else's */
    const uint8_t *bytes;
    size_t size, at;
    char *name;
    struct routing_shape shape;
    uint64_t n_steps, n_rows;       /* as the header says */
    uint64_t steps_read, rows_read; /* since the last rewind */
    uint32_t row_capacity;          /* of the arrays below */
    uint32_t *sequence;
    uint16_t *choice, *weight, *predicted;
    uint8_t *confidence;
    uint64_t *seen; /* [ROUTING_MAX_EXPERTS / 64] */
};

static const char *const texts[] = {"",
#define ROUTING_TEXT(name, text) text,
                                    ROUTING_ERRORS(ROUTING_TEXT)
#undef ROUTING_TEXT
};

static int refuse(const struct routing_trace *trace, enum routing_error why, struct error *err)
{
    int code = error_set(err, ERROR_BAD_FILE, "%s: %s, step %llu (record it again, or generate one)", trace->name,
                         texts[why], (unsigned long long)trace->steps_read);
    if (err) err->detail = (int)why;
    return code;
}

static enum routing_error read_header(struct routing_trace *trace)
{
    const uint8_t *header = trace->bytes;
    struct routing_shape *shape = &trace->shape;
    if (trace->size < ROUTING_HEADER_BYTES) return ROUTING_TOO_SHORT;
    if (memcmp(header, "SLUROUTE", 8) != 0) return ROUTING_NOT_A_TRACE;
    if (load_u32(header + 8) != ROUTING_VERSION) return ROUTING_OTHER_VERSION;
    if (load_u64(header + 120) != XXH3_64bits(header, 120)) return ROUTING_DAMAGED_HEADER;
    shape->flags = load_u32(header + 12);
    shape->model_hash = load_u64(header + 16);
    shape->n_layers = load_u32(header + 24);
    shape->n_experts = load_u32(header + 28);
    shape->n_used = load_u32(header + 32);
    shape->depth = load_u32(header + 36);
    trace->n_steps = load_u64(header + 40);
    trace->n_rows = load_u64(header + 48);
    memcpy(shape->model, header + 56, ROUTING_NAME_BYTES);
    if (shape->flags & ~(uint32_t)(ROUTING_WEIGHTS | ROUTING_PREDICTED)) return ROUTING_BAD_FLAGS;
    if (routing_shape_check(shape, NULL) < 0) return ROUTING_BAD_SHAPE;
    size_t length = strnlen(shape->model, ROUTING_NAME_BYTES);
    for (size_t i = length; i < ROUTING_NAME_BYTES; i++)
        if (shape->model[i] != 0) return ROUTING_BAD_NAME;
    for (size_t i = 0; i < length; i++)
        if ((uint8_t)shape->model[i] < 0x20 || shape->model[i] == 0x7f) return ROUTING_BAD_NAME;
    if (length == ROUTING_NAME_BYTES) return ROUTING_BAD_NAME;
    return ROUTING_NO_ERROR;
}

static int open_bytes(struct routing_trace *trace, const char *name, struct routing_trace **out, struct error *err)
{
    int status;
    trace->name = strdup(name);
    trace->seen = memory_array(ROUTING_MAX_EXPERTS / 64, sizeof *trace->seen);
    if (!trace->name || !trace->seen) {
        status = error_set(err, ERROR_NO_MEMORY, "no host memory to read %s", name);
    } else {
        enum routing_error why = read_header(trace);
        status = why == ROUTING_NO_ERROR ? 0 : refuse(trace, why, err);
    }
    if (status < 0) {
        routing_trace_close(trace);
        return status;
    }
    trace->at = ROUTING_HEADER_BYTES;
    *out = trace;
    return 0;
}

int routing_trace_open_memory(const uint8_t *bytes, size_t size, const char *name, struct routing_trace **out,
                              struct error *err)
{
    *out = NULL;
    struct routing_trace *trace = memory_array(1, sizeof *trace);
    if (!trace) return error_set(err, ERROR_NO_MEMORY, "no host memory to read %s", name);
    trace->bytes = bytes;
    trace->size = size;
    return open_bytes(trace, name, out, err);
}

int routing_trace_open(const char *path, struct routing_trace **out, struct error *err)
{
    *out = NULL;
    struct routing_trace *trace = memory_array(1, sizeof *trace);
    if (!trace) return error_set(err, ERROR_NO_MEMORY, "no host memory to read %s", path);
    int status = map_file_open(path, &trace->map, err);
    if (status < 0) {
        free(trace);
        return status;
    }
    trace->bytes = trace->map.bytes;
    trace->size = trace->map.size;
    return open_bytes(trace, path, out, err);
}

void routing_trace_close(struct routing_trace *trace)
{
    if (!trace) return;
    map_file_close(&trace->map);
    free(trace->name);
    free(trace->sequence);
    free(trace->choice);
    free(trace->weight);
    free(trace->predicted);
    free(trace->confidence);
    free(trace->seen);
    free(trace);
}

const struct routing_shape *routing_trace_shape(const struct routing_trace *trace) { return &trace->shape; }

bool routing_trace_is_whole(const struct routing_trace *trace) { return trace->n_steps != UINT64_MAX; }

static uint64_t expert_bytes(const struct routing_shape *shape) { return shape->n_experts <= 255 ? 1 : 2; }

/* Bytes of a step of so many rows, without its hash: at most 2^16 * 2^10 * 2^6 * 28, far from 64 bits. */
static uint64_t step_bytes(const struct routing_shape *shape, uint32_t n_rows)
{
    uint64_t a_choice =
        expert_bytes(shape) + (shape->flags & ROUTING_WEIGHTS ? 2 : 0) + shape->depth * (expert_bytes(shape) + 1);
    return 4 + (uint64_t)n_rows * (4 + (uint64_t)shape->n_layers * shape->n_used * a_choice);
}

static bool grow(void *array, size_t count, size_t size)
{
    void *block;
    memcpy(&block, array, sizeof block);
    block = memory_grow(block, count, size);
    if (block) memcpy(array, &block, sizeof block);
    return block != NULL;
}

static int make_room(struct routing_trace *trace, uint32_t n_rows, struct error *err)
{
    if (n_rows <= trace->row_capacity) return 0;
    const struct routing_shape *shape = &trace->shape;
    size_t n = (size_t)shape->n_layers * n_rows * shape->n_used;
    bool ok = grow(&trace->sequence, n_rows, sizeof *trace->sequence) && grow(&trace->choice, n, sizeof *trace->choice);
    if (ok && shape->flags & ROUTING_WEIGHTS) ok = grow(&trace->weight, n, sizeof *trace->weight);
    if (ok && shape->depth > 0)
        ok = grow(&trace->predicted, n * shape->depth, sizeof *trace->predicted) &&
             grow(&trace->confidence, n * shape->depth, sizeof *trace->confidence);
    if (!ok) return error_set(err, ERROR_NO_MEMORY, "no host memory to read %s", trace->name);
    trace->row_capacity = n_rows;
    return 0;
}

static const uint8_t *get_experts(const uint8_t *from, const struct routing_shape *shape, uint16_t *experts, size_t n)
{
    if (expert_bytes(shape) == 2) {
        for (size_t i = 0; i < n; i++) experts[i] = load_u16(from + 2 * i);
        return from + 2 * n;
    }
    for (size_t i = 0; i < n; i++) experts[i] = from[i] == 0xff ? ROUTING_NO_EXPERT : from[i];
    return from + n;
}

/* One token's experts exist and differ; of predictions, those that are there. */
static enum routing_error check_row(struct routing_trace *trace, const uint16_t *experts, bool predicted)
{
    const struct routing_shape *shape = &trace->shape;
    enum routing_error why = ROUTING_NO_ERROR;
    uint32_t i, n_marked = 0;
    for (i = 0; i < shape->n_used && why == ROUTING_NO_ERROR; i++) {
        uint32_t expert = experts[i];
        if (predicted && expert == ROUTING_NO_EXPERT) continue;
        uint64_t bit = UINT64_C(1) << expert % 64;
        if (expert >= shape->n_experts)
            why = ROUTING_BAD_EXPERT;
        else if (trace->seen[expert / 64] & bit)
            why = ROUTING_TWICE;
        else
            trace->seen[expert / 64] |= bit;
        n_marked = i + 1;
    }
    for (i = 0; i < n_marked; i++)
        if (experts[i] < shape->n_experts) trace->seen[experts[i] / 64] = 0;
    return why;
}

static enum routing_error check_rows(struct routing_trace *trace, const uint16_t *experts, size_t n_rows,
                                     bool predicted)
{
    enum routing_error why = ROUTING_NO_ERROR;
    for (size_t r = 0; r < n_rows && why == ROUTING_NO_ERROR; r++)
        why = check_row(trace, experts + r * trace->shape.n_used, predicted);
    return why;
}

static enum routing_error read_layers(struct routing_trace *trace, const uint8_t *from, uint32_t n_rows)
{
    const struct routing_shape *shape = &trace->shape;
    size_t n = (size_t)n_rows * shape->n_used;
    enum routing_error why = ROUTING_NO_ERROR;
    for (uint32_t layer = 0; layer < shape->n_layers && why == ROUTING_NO_ERROR; layer++) {
        from = get_experts(from, shape, trace->choice + layer * n, n);
        why = check_rows(trace, trace->choice + layer * n, n_rows, false);
        if (shape->flags & ROUTING_WEIGHTS) {
            for (size_t i = 0; i < n; i++) trace->weight[layer * n + i] = load_u16(from + 2 * i);
            from += 2 * n;
        }
        for (uint32_t d = 0; d < shape->depth && why == ROUTING_NO_ERROR; d++) {
            size_t at = ((size_t)layer * shape->depth + d) * n;
            from = get_experts(from, shape, trace->predicted + at, n);
            memcpy(trace->confidence + at, from, n);
            from += n;
            why = check_rows(trace, trace->predicted + at, n_rows, true);
        }
    }
    return why;
}

/* At the end of the file: 0 if the counts are as the header says. */
static int finish(struct routing_trace *trace, struct error *err)
{
    if (!routing_trace_is_whole(trace)) return 0;
    if (trace->steps_read == trace->n_steps && trace->rows_read == trace->n_rows) return 0;
    return refuse(trace, ROUTING_BAD_COUNTS, err);
}

int routing_trace_next(struct routing_trace *trace, struct routing_step *step, struct error *err)
{
    const uint8_t *from = trace->bytes + trace->at;
    size_t left = trace->size - trace->at;
    if (left == 0) return finish(trace, err);
    bool whole = routing_trace_is_whole(trace);
    if (left < 4) return whole ? refuse(trace, ROUTING_CUT_SHORT, err) : 0;
    uint32_t n_rows = load_u32(from);
    if (n_rows < 1 || n_rows > ROUTING_MAX_ROWS) return refuse(trace, ROUTING_BAD_ROWS, err);
    uint64_t size = step_bytes(&trace->shape, n_rows);
    if (!range_fits(size, 4, left)) return whole ? refuse(trace, ROUTING_CUT_SHORT, err) : 0;
    if (load_u32(from + size) != (uint32_t)XXH3_64bits(from, (size_t)size))
        return refuse(trace, ROUTING_DAMAGED_STEP, err);
    int status = make_room(trace, n_rows, err);
    if (status < 0) return status;
    for (uint32_t r = 0; r < n_rows; r++) trace->sequence[r] = load_u32(from + 4 + 4 * (size_t)r);
    enum routing_error why = read_layers(trace, from + 4 + 4 * (size_t)n_rows, n_rows);
    if (why != ROUTING_NO_ERROR) return refuse(trace, why, err);
    *step = (struct routing_step){n_rows,        trace->sequence,  trace->choice,
                                  trace->weight, trace->predicted, trace->confidence};
    trace->at += (size_t)size + 4;
    trace->steps_read++;
    trace->rows_read += n_rows;
    return 1;
}

void routing_trace_rewind(struct routing_trace *trace)
{
    trace->at = ROUTING_HEADER_BYTES;
    trace->steps_read = trace->rows_read = 0;
}

int routing_trace_check_model(const struct routing_trace *trace, const struct routing_shape *model, struct error *err)
{
    const struct routing_shape *shape = &trace->shape;
    bool same_hash = shape->model_hash == model->model_hash || shape->model_hash == 0 || model->model_hash == 0;
    if (same_hash && shape->n_layers == model->n_layers && shape->n_experts == model->n_experts &&
        shape->n_used == model->n_used)
        return 0;
    return error_set(
        err, ERROR_BAD_ARGUMENT,
        "%s: a trace of %s (%u layers, %u of %u experts), not of %.*s (%u layers, %u of %u experts) (record "
        "one of this model with --record-routing)",
        trace->name, shape->model, shape->n_layers, shape->n_used, shape->n_experts, (int)ROUTING_NAME_BYTES,
        model->model, model->n_layers, model->n_used, model->n_experts);
}
