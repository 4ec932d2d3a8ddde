/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/hf/rows.h"

#include "host/base/bytes.h"

#include <math.h>

/* The source's row (or column, of a turned matrix) that becomes row r of a matrix. */
static uint32_t source_row(const struct hf_rows *rows, uint32_t r)
{
    if (rows->order == HF_ORDER_PAIRS) {
        uint32_t in_head = r % rows->head_dim;
        return r - in_head + in_head % 2 * (rows->head_dim / 2) + in_head / 2;
    }
    if (rows->order == HF_ORDER_TILED) {
        const struct hf_tiling *t = &rows->tiled;
        if (r < t->first) return r;
        uint32_t head = (r - t->first) / t->dims, in_head = (r - t->first) % t->dims;
        return t->first + (head % t->keys * t->ratio + head / t->keys) * t->dims + in_head;
    }
    unsigned i = 0;
    for (; i + 1 < rows->n_runs && r >= rows->run[i].rows; i++) r -= rows->run[i].rows;
    const struct hf_run *run = &rows->run[i];
    return r / run->length * run->stride + run->start + r % run->length;
}

static uint32_t source_column(const struct hf_rows *rows, uint32_t c)
{
    const struct hf_tiling *t = &rows->tiled_columns;
    if (t->dims == 0) return c;
    uint32_t head = c / t->dims;
    return (head % t->keys * t->ratio + head / t->keys) * t->dims + c % t->dims;
}

static float changed(enum hf_value value, float x)
{
    if (value == HF_VALUE_PLUS_ONE) return x + 1.0f;
    return value == HF_VALUE_NEGATIVE_EXP ? -expf(x) : x;
}

/* The part that has a matrix, and which of its own matrices that is. */
static const struct hf_weight *part_of(const struct hf_rows *rows, uint32_t matrix, uint32_t *inner)
{
    const struct hf_weight *only = rows->parts[0];
    *inner = rows->n_parts > 1 || only->n_matrices == 1 ? 0 : matrix;
    return rows->n_parts > 1 ? rows->parts[matrix] : only;
}

static float value_at(const struct hf_rows *rows, uint32_t matrix, uint32_t r, uint32_t c)
{
    uint32_t inner;
    const struct hf_weight *part = part_of(rows, matrix, &inner);
    if (rows->is_vector) {
        uint32_t element = source_row(rows, r * rows->cols + c), width = part->cols;
        return changed(rows->value, hf_weight_at(part, 0, element / width, element % width));
    }
    if (rows->turned)
        return changed(rows->value, hf_weight_at(part, inner, matrix * rows->turn_stride + c, source_row(rows, r)));
    return changed(rows->value, hf_weight_at(part, inner, source_row(rows, r), source_column(rows, c)));
}

/* Whole blocks change places where heads are multiples of them. */
static bool moves_blocks(const struct hf_rows *rows, enum gguf_tensor_type type)
{
    return rows->tiled_columns.dims == 0 || rows->tiled_columns.dims % gguf_block_elements(type) == 0;
}

static bool is_made_of_floats(const struct hf_rows *rows)
{
    bool one_type = true;
    for (uint32_t i = 1; i < rows->n_parts; i++) one_type = one_type && rows->parts[i]->type == rows->parts[0]->type;
    return rows->is_vector || rows->turned || rows->value != HF_VALUE_KEPT || !one_type ||
           !moves_blocks(rows, rows->parts[0]->type);
}

static void move_columns(const struct hf_rows *rows, const uint8_t *in, uint8_t *out)
{
    unsigned elements = gguf_block_elements(rows->type), bytes = gguf_block_bytes(rows->type);
    for (uint32_t c = 0; c < rows->cols; c += elements)
        memcpy(out + (size_t)(c / elements) * bytes, in + (size_t)(source_column(rows, c) / elements) * bytes, bytes);
}

static void read_row(const struct hf_rows *rows, uint32_t matrix, uint32_t r, uint8_t *out)
{
    uint32_t inner;
    const struct hf_weight *part = part_of(rows, matrix, &inner);
    if (rows->type == GGUF_F32 && (part->type != GGUF_F32 || rows->made_of_floats)) {
        for (uint32_t c = 0; c < rows->cols; c++)
            store_u32(out + 4 * (size_t)c, bits_of_float(value_at(rows, matrix, r, c)));
    } else if (rows->tiled_columns.dims == 0) {
        hf_weight_row(part, inner, source_row(rows, r), out);
    } else { /* plain matrices only: hf_rows_finish */
        const uint8_t *row = part->data->data + source_row(rows, r) * hf_weight_row_bytes(part);
        move_columns(rows, row, out);
    }
}

static void read_rows(const struct gguf_rows *base, uint64_t first, uint64_t n, uint8_t *out)
{
    const struct hf_rows *rows = (const struct hf_rows *)(const void *)base;
    size_t bytes = (size_t)(rows->cols / gguf_block_elements(rows->type)) * gguf_block_bytes(rows->type);
    for (uint64_t i = first; i < first + n; i++, out += bytes)
        read_row(rows, (uint32_t)(i / rows->rows), (uint32_t)(i % rows->rows), out);
}

static int fail(const char *name, const char *why, struct error *err)
{
    return error_set(err, ERROR_BAD_FILE, "tensor %.200s: %s", name, why);
}

/* Every source is as large as the first. */
static int check_parts(const struct hf_rows *rows, const char *name, struct error *err)
{
    const struct hf_weight *first = rows->parts[0];
    for (uint32_t i = 0; i < rows->n_parts; i++) {
        const struct hf_weight *part = rows->parts[i];
        if (part == NULL) return fail(name, "an expert is missing", err);
        if (part->rows != first->rows || part->cols != first->cols || (rows->n_parts > 1 && part->n_matrices != 1))
            return fail(name, "experts of different shapes", err);
    }
    return 0;
}

/* Rows (or elements, or columns) that the order gives, and that many must be in the source. */
static int check_order(const struct hf_rows *rows, const char *name, uint64_t source, uint64_t *n, struct error *err)
{
    uint64_t sum = 0;
    *n = source;
    if (rows->order == HF_ORDER_PAIRS &&
        (rows->head_dim % 2 != 0 || rows->head_dim == 0 || source % rows->head_dim != 0))
        return fail(name, "its rows are no whole heads of the configuration's size", err);
    const struct hf_tiling *t = &rows->tiled;
    if (rows->order == HF_ORDER_TILED && source != t->first + (uint64_t)t->keys * t->ratio * t->dims)
        return fail(name, "its rows are not the heads that the configuration names", err);
    if (rows->order != HF_ORDER_RUNS) return 0;
    for (unsigned i = 0; i < rows->n_runs; i++) {
        const struct hf_run *run = &rows->run[i];
        if (run->length == 0 || run->rows % run->length != 0 || run->rows == 0 ||
            (uint64_t)(run->rows / run->length - 1) * run->stride + run->start + run->length > source)
            return fail(name, "it has fewer rows than the configuration names", err);
        sum += run->rows;
    }
    if (rows->n_runs > 0) *n = sum;
    return 0;
}

static int check_columns(const struct hf_rows *rows, const char *name, struct error *err)
{
    const struct hf_tiling *t = &rows->tiled_columns;
    if (t->dims == 0 || rows->cols == (uint64_t)t->keys * t->ratio * t->dims) return 0;
    return fail(name, "its columns are not the heads that the configuration names", err);
}

int hf_rows_finish(struct hf_rows *rows, const char *name, struct error *err)
{
    const struct hf_weight *first = rows->parts[0];
    uint64_t n = 0, source;
    rows->base.read = read_rows;
    int status = check_parts(rows, name, err);
    if (status < 0) return status;
    source = rows->is_vector ? (uint64_t)first->rows * first->cols : rows->turned ? first->cols : first->rows;
    status = check_order(rows, name, source, &n, err);
    if (status < 0) return status;
    if (rows->n_runs == 0 && rows->order == HF_ORDER_RUNS) {
        rows->n_runs = 1;
        rows->run[0] = (struct hf_run){(uint32_t)n, (uint32_t)n, 0, (uint32_t)n};
    }
    if (n > UINT32_MAX || (rows->is_vector && first->n_matrices > 1)) return fail(name, "beyond any model's size", err);
    if (rows->is_vector) { /* rows of one element where the caller does not say more */
        rows->matrices = 1;
        rows->cols = rows->cols != 0 ? rows->cols : (uint32_t)n;
        if (n % rows->cols != 0) return fail(name, "not whole rows", err);
        rows->rows = (uint32_t)(n / rows->cols);
    } else {
        rows->matrices = rows->turn_stride != 0 ? rows->matrices
                         : rows->n_parts > 1    ? rows->n_parts
                                                : first->n_matrices;
        rows->rows = (uint32_t)n;
        if (!rows->turned) rows->cols = first->cols;
        if (rows->turned && rows->turn_stride == 0) rows->cols = first->rows;
        if (rows->turn_stride != 0 &&
            (first->n_matrices != 1 || (uint64_t)rows->matrices * rows->turn_stride != first->rows ||
             rows->cols > rows->turn_stride))
            return fail(name, "its rows are not the heads that the configuration names", err);
    }
    if (rows->split != 0 && rows->rows % rows->split != 0) return fail(name, "not whole heads", err);
    rows->made_of_floats = is_made_of_floats(rows);
    rows->type = GGUF_F32;
    if (!rows->made_of_floats && (rows->tiled_columns.dims == 0 || first->layout == HF_PLAIN)) rows->type = first->type;
    return check_columns(rows, name, err);
}

const uint8_t *hf_rows_data(const struct hf_rows *rows)
{
    const struct hf_weight *only = rows->parts[0];
    bool in_order = rows->order == HF_ORDER_RUNS && rows->n_runs == 1 && rows->run[0].start == 0 &&
                    rows->run[0].length == rows->run[0].stride && rows->run[0].rows == only->rows;
    if (rows->n_parts > 1 || only->layout != HF_PLAIN || rows->made_of_floats || rows->tiled_columns.dims != 0)
        return NULL;
    return in_order ? only->data->data : NULL;
}
