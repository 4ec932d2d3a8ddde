/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors make a matrix, and whether their shapes fit. Reading the values: weight_values.c. */
#include "host/model/hf/weights.h"

#include "host/base/bytes.h"
#include "host/base/memory.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES 600
#define MAX_SIDE (1u << 26)

struct parts {
    const struct hf_config *config;
    const struct hf_tensors *all;
    const struct safetensors_tensor *tensor;
    char base[NAME_BYTES]; /* X */
    struct error *err;
};

static int fail(const struct parts *parts, int code, const char *why)
{
    return error_set(parts->err, code, "tensor %.200s: %s", parts->tensor->name.bytes, why);
}

static const struct safetensors_tensor *find_part(const struct parts *parts, const char *suffix)
{
    char name[NAME_BYTES + 32];
    (void)snprintf(name, sizeof name, "%s%s", parts->base, suffix);
    return parts->all->find(parts->all->context, name);
}

/* Takes suffix off the tensor's name. */
static bool ends_with(struct parts *parts, const char *suffix)
{
    size_t length = strlen(suffix), whole = parts->tensor->name.length;
    if (whole <= length || whole - length >= NAME_BYTES) return false;
    if (memcmp(parts->tensor->name.bytes + whole - length, suffix, length) != 0) return false;
    memcpy(parts->base, parts->tensor->name.bytes, whole - length);
    parts->base[whole - length] = '\0';
    return true;
}

static bool is_float(const struct safetensors_tensor *tensor)
{
    return tensor->type == SAFETENSORS_F32 || tensor->type == SAFETENSORS_F16 || tensor->type == SAFETENSORS_BF16;
}

static bool has_shape(const struct safetensors_tensor *tensor, uint64_t rows, uint64_t cols)
{
    return tensor->n_dimensions <= 2 && tensor->dimension[0] == rows && tensor->dimension[1] == cols;
}

/* Rows and columns of a matrix of tensor's, refused where they are beyond any model's. */
static int set_sides(const struct parts *parts, struct hf_weight *weight, uint64_t matrices, uint64_t rows,
                     uint64_t cols)
{
    if (matrices == 0 || rows == 0 || cols == 0 || matrices > MAX_SIDE || rows > MAX_SIDE || cols > MAX_SIDE)
        return fail(parts, ERROR_BAD_FILE, "a side of 0 or beyond any model's");
    weight->n_matrices = (uint32_t)matrices;
    weight->rows = (uint32_t)rows;
    weight->cols = (uint32_t)cols;
    return 0;
}

/* Blocks of 32 columns keep scales exactly; where groups or rows are no multiples of them, each value is a float. */
static enum gguf_tensor_type blocks_or_float(const struct hf_weight *weight, enum gguf_tensor_type blocks)
{
    bool whole = weight->cols % 32 == 0 && (weight->group % 32 == 0 || weight->group >= weight->cols);
    return whole && weight->order == NULL ? blocks : GGUF_F32;
}

/* Dimensions of 1 before a matrix's or a vector's are nothing but punctuation (convolutions, decay rates). */
static int read_plain(const struct parts *parts, struct hf_weight *weight)
{
    uint64_t side[SAFETENSORS_MAX_DIMENSIONS];
    unsigned n = 0;
    const struct safetensors_tensor *tensor = parts->tensor;
    for (unsigned i = 0; i < tensor->n_dimensions; i++)
        if (tensor->n_dimensions <= 2 || tensor->dimension[i] != 1) side[n++] = tensor->dimension[i];
    if (n > 3) return fail(parts, ERROR_UNSUPPORTED, "more than 3 dimensions");
    weight->layout = HF_PLAIN;
    weight->is_vector = n <= 1;
    weight->type = tensor->type == SAFETENSORS_F32 ? GGUF_F32 : tensor->type == SAFETENSORS_F16 ? GGUF_F16 : GGUF_BF16;
    if (n <= 1) return set_sides(parts, weight, 1, n == 1 ? side[0] : 1, 1);
    return set_sides(parts, weight, n == 3 ? side[0] : 1, side[n - 2], side[n - 1]);
}

/* How many rows or columns share a scale, from how many scales there are; 0: neither. */
static uint32_t block_side(uint32_t side, uint64_t n, uint32_t block)
{
    if (n == side) return 1;
    if (n == 1) return side;
    return block > 0 && n == ((uint64_t)side + block - 1) / block ? block : 0;
}

/* weight_block_size of the configuration, [rows, columns]; 128 where it says nothing. */
static void read_block_size(const struct hf_config *config, uint32_t block[2])
{
    const json_t *list = json_object_get(config->quantization, "weight_block_size");
    block[0] = block[1] = 128;
    for (unsigned i = 0; i < 2 && json_array_size(list) == 2; i++) {
        json_int_t value = json_integer_value(json_array_get(list, i));
        if (value > 0 && value <= MAX_SIDE) block[i] = (uint32_t)value;
    }
}

static int read_fp8(const struct parts *parts, struct hf_weight *weight)
{
    const struct safetensors_tensor *tensor = parts->tensor;
    uint32_t block[2];
    weight->layout = HF_FP8;
    weight->scales = find_part(parts, ".weight_scale_inv");
    if (weight->scales == NULL) weight->scales = find_part(parts, ".weight_scale");
    if (weight->scales == NULL) return fail(parts, ERROR_BAD_FILE, "FP8 without weight_scale_inv or weight_scale");
    if (tensor->n_dimensions != 2) return fail(parts, ERROR_UNSUPPORTED, "FP8 that is no matrix");
    if (!is_float(weight->scales) || weight->scales->n_dimensions > 2)
        return fail(parts, ERROR_UNSUPPORTED, "scales that are no matrix of floats");
    int status = set_sides(parts, weight, 1, tensor->dimension[0], tensor->dimension[1]);
    if (status < 0) return status;
    read_block_size(parts->config, block);
    weight->row_block = block_side(weight->rows, weight->scales->dimension[0], block[0]);
    weight->group = block_side(weight->cols, weight->scales->dimension[1], block[1]);
    if (weight->row_block == 0 || weight->group == 0)
        return fail(parts, ERROR_BAD_FILE, "scales whose shape is not that of the blocks (weight_block_size)");
    weight->type = blocks_or_float(weight, GGUF_SCALED_FP8);
    return 0;
}

/* The setting of a quantizer, where its object has one. */
static json_int_t setting(const struct hf_config *config, const char *key, json_int_t otherwise)
{
    const json_t *value = json_object_get(config->quantization, key);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static bool method_is(const struct hf_config *config, const char *name)
{
    const char *method = json_string_value(json_object_get(config->quantization, "quant_method"));
    return method != NULL && strcmp(method, name) == 0;
}

/* Groups of columns from the number of scales of a row. */
static int set_group(const struct parts *parts, struct hf_weight *weight, uint64_t n_groups, json_int_t stated)
{
    weight->row_block = 1;
    if (n_groups == 0 || weight->cols % n_groups != 0)
        return fail(parts, ERROR_BAD_FILE, "groups of scales that do not divide the row");
    weight->group = (uint32_t)(weight->cols / n_groups);
    if (stated > 0 && stated != weight->group && n_groups > 1)
        return fail(parts, ERROR_BAD_FILE, "scales for another group_size than the configuration's");
    return 0;
}

/* The groups of columns that were sorted before quantizing; NULL where they lie in order after all. */
static int read_order(const struct parts *parts, struct hf_weight *weight, const struct safetensors_tensor *order)
{
    if (order == NULL) return 0;
    if (order->type != SAFETENSORS_I32 || order->n_elements != weight->cols)
        return fail(parts, ERROR_BAD_FILE, "g_idx is not one 32-bit number for each column");
    bool sorted = false;
    for (uint32_t c = 0; c < weight->cols; c++) {
        uint32_t group = load_u32(order->data + 4 * (size_t)c);
        if (group >= weight->cols / weight->group)
            return fail(parts, ERROR_BAD_FILE, "g_idx names a group that has no scale");
        sorted = sorted || group != c / weight->group;
    }
    if (sorted) weight->order = order;
    return 0;
}

static int check_bits(const struct parts *parts, const struct hf_weight *weight)
{
    return weight->bits == 4 || weight->bits == 8 ? 0 : fail(parts, ERROR_UNSUPPORTED, "bits other than 4 and 8");
}

/* Symmetric GPTQ: every zero is 8, which the card's plain INT4 has. */
static bool all_zeros_are_8(const struct hf_weight *weight)
{
    uint32_t wanted = 0x11111111u * (uint32_t)(8 - weight->zero_shift);
    bool same = weight->bits == 4;
    for (uint64_t i = 0; i < weight->zeros->n_elements && same; i++)
        same = load_u32(weight->zeros->data + 4 * i) == wanted;
    return same;
}

/* AutoGPTQ stores zeros less one; "gptq_v2" as they are. */
static int read_gptq(const struct parts *parts, struct hf_weight *weight)
{
    const struct safetensors_tensor *q = parts->tensor;
    const char *format = json_string_value(json_object_get(parts->config->quantization, "checkpoint_format"));
    weight->layout = HF_GPTQ;
    weight->bits = (uint32_t)setting(parts->config, "bits", 4);
    weight->zero_shift = format != NULL && strcmp(format, "gptq_v2") == 0 ? 0 : 1;
    weight->scales = find_part(parts, ".scales");
    weight->zeros = find_part(parts, ".qzeros");
    int status = check_bits(parts, weight);
    if (status < 0) return status;
    if (weight->scales == NULL || weight->zeros == NULL) return fail(parts, ERROR_BAD_FILE, "no scales or no qzeros");
    if (q->type != SAFETENSORS_I32 || weight->zeros->type != SAFETENSORS_I32 || !is_float(weight->scales) ||
        q->n_dimensions != 2)
        return fail(parts, ERROR_UNSUPPORTED, "parts of other types than GPTQ's");
    uint32_t in_word = 32 / weight->bits;
    status = q->dimension[0] > MAX_SIDE ? fail(parts, ERROR_BAD_FILE, "a side beyond any model's")
                                        : set_sides(parts, weight, 1, q->dimension[1], q->dimension[0] * in_word);
    uint64_t n_groups = weight->scales->dimension[0];
    if (status == 0) status = set_group(parts, weight, n_groups, setting(parts->config, "group_size", -1));
    if (status == 0 && (!has_shape(weight->scales, n_groups, weight->rows) || weight->rows % in_word != 0 ||
                        !has_shape(weight->zeros, n_groups, weight->rows / in_word)))
        status = fail(parts, ERROR_BAD_FILE, "scales or qzeros of another shape");
    if (status == 0) status = read_order(parts, weight, find_part(parts, ".g_idx"));
    if (status < 0) return status;
    enum gguf_tensor_type int4 = all_zeros_are_8(weight) ? GGUF_SCALED_INT4 : GGUF_SCALED_INT4_ZERO;
    weight->type = blocks_or_float(weight, weight->bits == 4 ? int4 : GGUF_SCALED_INT8_ZERO);
    return 0;
}

static int read_awq(const struct parts *parts, struct hf_weight *weight)
{
    const struct safetensors_tensor *q = parts->tensor;
    const char *version = json_string_value(json_object_get(parts->config->quantization, "version"));
    weight->layout = HF_AWQ;
    weight->bits = (uint32_t)setting(parts->config, "bits", 4);
    weight->scales = find_part(parts, ".scales");
    weight->zeros = find_part(parts, ".qzeros");
    if (weight->bits != 4) return fail(parts, ERROR_UNSUPPORTED, "AWQ of other than 4 bits");
    if (version != NULL && strcmp(version, "gemm") != 0 && strcmp(version, "GEMM") != 0)
        return fail(parts, ERROR_UNSUPPORTED, "an AWQ version other than gemm");
    if (weight->scales == NULL || weight->zeros == NULL) return fail(parts, ERROR_BAD_FILE, "no scales or no qzeros");
    if (q->type != SAFETENSORS_I32 || weight->zeros->type != SAFETENSORS_I32 || !is_float(weight->scales) ||
        q->n_dimensions != 2 || q->dimension[1] > MAX_SIDE)
        return fail(parts, ERROR_UNSUPPORTED, "parts of other types than AWQ's");
    int status = set_sides(parts, weight, 1, q->dimension[1] * 8, q->dimension[0]);
    uint64_t n_groups = weight->scales->dimension[0];
    if (status == 0) status = set_group(parts, weight, n_groups, setting(parts->config, "group_size", -1));
    if (status == 0 &&
        (!has_shape(weight->scales, n_groups, weight->rows) || !has_shape(weight->zeros, n_groups, weight->rows / 8)))
        status = fail(parts, ERROR_BAD_FILE, "scales or qzeros of another shape");
    weight->type = blocks_or_float(weight, GGUF_SCALED_INT4_ZERO);
    return status;
}

/* [rows, cols] of the matrix before it was packed; what is packed has them rounded up. */
static int read_packed_sides(const struct parts *parts, struct hf_weight *weight)
{
    const struct safetensors_tensor *q = parts->tensor, *shape = find_part(parts, ".weight_shape");
    uint32_t in_word = 32 / weight->bits;
    if (q->n_dimensions != 2 || q->dimension[1] > MAX_SIDE) return fail(parts, ERROR_UNSUPPORTED, "no packed matrix");
    uint64_t rows = q->dimension[0], cols = q->dimension[1] * in_word;
    if (shape != NULL) {
        bool wide = shape->type == SAFETENSORS_I64;
        if (shape->n_elements != 2 || (!wide && shape->type != SAFETENSORS_I32))
            return fail(parts, ERROR_BAD_FILE, "weight_shape is not two numbers");
        rows = wide ? load_u64(shape->data) : load_u32(shape->data);
        cols = wide ? load_u64(shape->data + 8) : load_u32(shape->data + 4);
    }
    if (rows != q->dimension[0] || cols > q->dimension[1] * in_word || cols + in_word <= q->dimension[1] * in_word)
        return fail(parts, ERROR_BAD_FILE, "weight_shape is not that of weight_packed");
    return set_sides(parts, weight, 1, rows, cols);
}

/* Of PACKED and INT8: [rows, groups], a column of rows, or one for all. */
static int read_row_scales(const struct parts *parts, struct hf_weight *weight)
{
    const struct safetensors_tensor *scales = weight->scales = find_part(parts, ".weight_scale");
    if (scales == NULL || !is_float(scales)) return fail(parts, ERROR_BAD_FILE, "no weight_scale of floats");
    if (scales->n_elements == 1) {
        weight->row_block = weight->rows;
        weight->group = weight->cols;
        return 0;
    }
    if (scales->n_dimensions > 2 || scales->dimension[0] != weight->rows)
        return fail(parts, ERROR_BAD_FILE, "weight_scale of another shape");
    return set_group(parts, weight, scales->dimension[1], -1);
}

static int read_row_zeros(const struct parts *parts, struct hf_weight *weight)
{
    const struct safetensors_tensor *zeros = weight->zeros = find_part(parts, ".weight_zero_point");
    uint64_t n_groups = weight->scales->dimension[1];
    uint32_t in_word = 32 / weight->bits;
    if (zeros == NULL) return 0;
    if (zeros->type == SAFETENSORS_I8 && zeros->n_elements == weight->scales->n_elements) return 0;
    if (zeros->type == SAFETENSORS_I32 && weight->layout == HF_PACKED && weight->row_block == 1 &&
        has_shape(zeros, ((uint64_t)weight->rows + in_word - 1) / in_word, n_groups))
        return 0;
    return fail(parts, ERROR_BAD_FILE, "weight_zero_point of another shape or type");
}

/* Quantizers subtract half the range before they store: 8 of 4 bits, 128 of 8; of zero points too. */
static int read_packed(const struct parts *parts, struct hf_weight *weight)
{
    const struct safetensors_tensor *q = parts->tensor;
    const json_t *groups = json_object_get(parts->config->quantization, "config_groups"), *group;
    const char *key;
    weight->layout = HF_PACKED;
    weight->bits = 4;
    json_object_foreach((json_t *)(uintptr_t)groups, key, group)
    {
        const json_t *bits = json_object_get(json_object_get(group, "weights"), "num_bits");
        if (json_is_integer(bits)) weight->bits = (uint32_t)json_integer_value(bits);
    }
    int status = check_bits(parts, weight);
    if (status == 0 && q->type != SAFETENSORS_I32) status = fail(parts, ERROR_UNSUPPORTED, "weight_packed is not I32");
    if (status == 0) status = read_packed_sides(parts, weight);
    if (status == 0) status = read_row_scales(parts, weight);
    if (status == 0) status = read_row_zeros(parts, weight);
    if (status == 0) status = read_order(parts, weight, find_part(parts, ".weight_g_idx"));
    if (status < 0) return status;
    weight->zero_shift = weight->zeros == NULL || weight->zeros->type == SAFETENSORS_I8 ? 1 << (weight->bits - 1) : 0;
    bool centred = weight->zeros == NULL;
    weight->type = blocks_or_float(weight, weight->bits == 4 ? (centred ? GGUF_SCALED_INT4 : GGUF_SCALED_INT4_ZERO)
                                                             : (centred ? GGUF_SCALED_INT8 : GGUF_SCALED_INT8_ZERO));
    return 0;
}

static int read_int8(const struct parts *parts, struct hf_weight *weight)
{
    weight->layout = HF_INT8;
    weight->bits = 8;
    if (parts->tensor->n_dimensions != 2) return fail(parts, ERROR_UNSUPPORTED, "INT8 that is no matrix");
    int status = set_sides(parts, weight, 1, parts->tensor->dimension[0], parts->tensor->dimension[1]);
    if (status == 0) status = read_row_scales(parts, weight);
    if (status == 0) status = read_row_zeros(parts, weight);
    if (status == 0) weight->type = blocks_or_float(weight, weight->zeros ? GGUF_SCALED_INT8_ZERO : GGUF_SCALED_INT8);
    return status;
}

static int read_mxfp4(const struct parts *parts, struct hf_weight *weight)
{
    const struct safetensors_tensor *q = parts->tensor;
    weight->layout = HF_MXFP4;
    weight->scales = find_part(parts, "_scales");
    if (weight->scales == NULL) return fail(parts, ERROR_BAD_FILE, "no scales");
    if (q->type != SAFETENSORS_U8 || weight->scales->type != SAFETENSORS_U8 || q->n_dimensions != 4 ||
        q->dimension[3] != 16 || weight->scales->n_dimensions != 3 || q->dimension[2] > MAX_SIDE / 32)
        return fail(parts, ERROR_BAD_FILE, "no blocks of 32 columns with a scale each");
    for (unsigned i = 0; i < 3; i++)
        if (weight->scales->dimension[i] != q->dimension[i])
            return fail(parts, ERROR_BAD_FILE, "scales of another shape");
    weight->type = GGUF_MXFP4;
    weight->group = 32;
    weight->row_block = 1;
    return set_sides(parts, weight, q->dimension[0], q->dimension[1], q->dimension[2] * 32);
}

/* A part of another tensor's matrix, or no weight at all. */
static bool is_companion(struct parts *parts)
{
    static const char *const suffixes[] = {
        ".scales",           ".qzeros",           ".g_idx",
        ".weight_scale_inv", ".weight_scale",     ".weight_zero_point",
        ".weight_shape",     ".weight_g_idx",     ".input_scale",
        ".k_scale",          ".v_scale",          ".activation_scale",
        "_scales",           ".input_zero_point", ".output_scale",
    };
    static const char *const mains[] = {".qweight", ".weight", ".weight_packed", "_blocks"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (!ends_with(parts, suffixes[i])) continue;
        for (size_t k = 0; k < sizeof mains / sizeof mains[0]; k++)
            if (find_part(parts, mains[k]) != NULL) return true;
        return strstr(suffixes[i], "input") != NULL || strcmp(suffixes[i], ".k_scale") == 0 ||
               strcmp(suffixes[i], ".v_scale") == 0;
    }
    return false;
}

static int read_weight(struct parts *parts, struct hf_weight *weight)
{
    const struct safetensors_tensor *tensor = parts->tensor;
    if (ends_with(parts, ".qweight")) {
        if (method_is(parts->config, "awq")) return read_awq(parts, weight);
        if (method_is(parts->config, "gptq")) return read_gptq(parts, weight);
        return fail(parts, ERROR_UNSUPPORTED, "the configuration's quant_method is neither gptq nor awq");
    }
    if (ends_with(parts, ".weight_packed")) return read_packed(parts, weight);
    if (ends_with(parts, "_blocks")) return read_mxfp4(parts, weight);
    if (is_float(tensor)) return read_plain(parts, weight);
    if (ends_with(parts, ".weight") && tensor->type == SAFETENSORS_F8_E4M3) return read_fp8(parts, weight);
    if (ends_with(parts, ".weight") && tensor->type == SAFETENSORS_I8) return read_int8(parts, weight);
    char why[64];
    (void)snprintf(why, sizeof why, "dtype %s is not supported here", safetensors_type_name(tensor->type));
    return fail(parts, ERROR_UNSUPPORTED, why);
}

/* The name that the matrix would have if it were plain. */
static char *plain_name(const struct parts *parts, const struct hf_weight *weight)
{
    char name[NAME_BYTES + 32];
    bool renamed = weight->layout == HF_GPTQ || weight->layout == HF_AWQ || weight->layout == HF_PACKED;
    if (renamed)
        (void)snprintf(name, sizeof name, "%s.weight", parts->base);
    else
        (void)snprintf(name, sizeof name, "%s", weight->layout == HF_MXFP4 ? parts->base : parts->tensor->name.bytes);
    return strdup(name);
}

int hf_weights_add(struct hf_weights *weights, const struct hf_config *config, const struct hf_tensors *all,
                   const struct safetensors_tensor *tensor, struct error *err)
{
    struct parts parts = {.config = config, .all = all, .tensor = tensor, .err = err};
    if (is_companion(&parts)) return 0;
    if (weights->count == weights->capacity) {
        size_t larger = weights->capacity > 0 ? 2 * weights->capacity : 64;
        struct hf_weight *items = memory_grow(weights->items, larger, sizeof *items);
        if (items == NULL) return error_set(err, ERROR_NO_MEMORY, "tensors: out of memory");
        weights->items = items;
        weights->capacity = larger;
    }
    struct hf_weight *weight = &weights->items[weights->count];
    *weight = (struct hf_weight){.data = tensor};
    int status = read_weight(&parts, weight);
    if (status < 0) return status;
    char *name = plain_name(&parts, weight);
    if (name == NULL) return error_set(err, ERROR_NO_MEMORY, "tensors: out of memory");
    weight->name = (struct gguf_string){name, strlen(name)};
    weights->count++;
    return 0;
}

void hf_weights_release(struct hf_weights *weights)
{
    for (size_t i = 0; i < weights->count; i++) free((void *)(uintptr_t)weights->items[i].name.bytes);
    free(weights->items);
    *weights = (struct hf_weights){0};
}
