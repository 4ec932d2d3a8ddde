/* SPDX-License-Identifier: Apache-2.0 */
/* Values and rows of the layouts of weights.h. */
#include "host/base/bytes.h"
#include "host/model/gguf_half.h"
#include "host/model/hf/weights.h"
#include "host/model/scaled.h"
#include "kernels/abi/card_layout.h"

static float float_at(const struct safetensors_tensor *tensor, size_t index)
{
    if (tensor->type == SAFETENSORS_F32) return load_f32(tensor->data + 4 * index);
    if (tensor->type == SAFETENSORS_F16) return load_f16(tensor->data + 2 * index);
    return float_of_bits((uint32_t)load_u16(tensor->data + 2 * index) << 16);
}

/* The number of `bits` bits at position `at` of a list of 32-bit words, low bits first. */
static unsigned bits_at(const struct safetensors_tensor *tensor, size_t word, unsigned bits, unsigned at)
{
    return load_u32(tensor->data + 4 * word) >> bits * at & ((1u << bits) - 1);
}

/* Where row r lies in a word of AWQ: rows 0 2 4 6 1 3 5 7 from the low bits on. */
static unsigned awq_place(uint32_t row) { return row % 8 / 2 + (row % 2) * 4; }

static uint32_t group_of(const struct hf_weight *w, uint32_t col)
{
    return w->order != NULL ? load_u32(w->order->data + 4 * (size_t)col) : col / w->group;
}

static int integer_at(const struct hf_weight *w, uint32_t row, uint32_t col)
{
    unsigned in_word = 32 / w->bits;
    switch (w->layout) {
    case HF_GPTQ: return (int)bits_at(w->data, (size_t)(col / in_word) * w->rows + row, w->bits, col % in_word);
    case HF_AWQ: return (int)bits_at(w->data, (size_t)col * (w->rows / 8) + row / 8, 4, awq_place(row));
    case HF_PACKED:
        return (int)bits_at(w->data, (size_t)row * w->data->dimension[1] + col / in_word, w->bits, col % in_word);
    default: return (int8_t)w->data->data[(size_t)row * w->cols + col];
    }
}

static size_t scale_index(const struct hf_weight *w, uint32_t row, uint32_t group)
{
    if (w->layout == HF_GPTQ || w->layout == HF_AWQ) return (size_t)group * w->rows + row;
    return (size_t)(row / w->row_block) * w->scales->dimension[1] + group;
}

static int zero_at(const struct hf_weight *w, uint32_t row, uint32_t group)
{
    unsigned in_word = 32 / w->bits;
    if (w->zeros == NULL) return w->zero_shift;
    if (w->zeros->type == SAFETENSORS_I8) return (int8_t)w->zeros->data[scale_index(w, row, group)] + w->zero_shift;
    if (w->layout == HF_AWQ) return (int)bits_at(w->zeros, (size_t)group * (w->rows / 8) + row / 8, 4, awq_place(row));
    if (w->layout == HF_GPTQ)
        return (int)bits_at(w->zeros, (size_t)group * (w->rows / in_word) + row / in_word, w->bits, row % in_word) +
               w->zero_shift;
    return (int)bits_at(w->zeros, (size_t)(row / in_word) * w->zeros->dimension[1] + group, w->bits, row % in_word);
}

float hf_weight_at(const struct hf_weight *w, uint32_t matrix, uint32_t row, uint32_t col)
{
    static const int8_t codes[16] = CARD_MXFP4_VALUE;
    size_t index = ((size_t)matrix * w->rows + row) * w->cols + col;
    if (w->layout == HF_PLAIN) return float_at(w->data, index);
    if (w->layout == HF_MXFP4) {
        unsigned byte = w->data->data[index / 2], code = index % 2 == 0 ? byte & 15u : byte >> 4;
        return scaled_mxfp4(w->scales->data[index / 32]) * (float)codes[code];
    }
    uint32_t group = group_of(w, col);
    float scale = float_at(w->scales, scale_index(w, row, group));
    if (w->layout == HF_FP8) return scaled_e4m3(w->data->data[index]) * scale;
    return (float)(integer_at(w, row, col) - zero_at(w, row, group)) * scale;
}

size_t hf_weight_row_bytes(const struct hf_weight *w)
{
    return (size_t)(w->cols / gguf_block_elements(w->type)) * gguf_block_bytes(w->type);
}

/* Neighbours share a byte here; in a GGUF block columns j and j + 16 do. */
static void mxfp4_row(const struct hf_weight *w, size_t block, uint32_t n_blocks, uint8_t *out)
{
    for (uint32_t i = 0; i < n_blocks; i++, out += 17) {
        const uint8_t *in = w->data->data + 16 * (block + i);
        out[0] = w->scales->data[block + i];
        for (unsigned j = 0; j < 8; j++) {
            out[1 + 2 * j] = (uint8_t)((in[j] & 15) | (in[8 + j] & 15) << 4);
            out[2 + 2 * j] = (uint8_t)(in[j] >> 4 | (in[8 + j] & 0xf0));
        }
    }
}

/* 32 columns of eight to a word, in order. */
static void nibbles_of_words(const uint8_t *words, size_t stride, uint8_t *nibbles)
{
    uint32_t word[4];
    for (unsigned i = 0; i < 4; i++) word[i] = load_u32(words + i * stride);
    for (unsigned half = 0; half < 2; half++)
        for (unsigned j = 0; j < 8; j++)
            nibbles[8 * half + j] = (uint8_t)((word[half] >> 4 * j & 15u) | (word[2 + half] >> 4 * j & 15u) << 4);
}

static void int4_block(const struct hf_weight *w, uint32_t row, uint32_t col, uint8_t *nibbles)
{
    if (w->layout == HF_GPTQ) {
        nibbles_of_words(w->data->data + 4 * ((size_t)(col / 8) * w->rows + row), 4 * (size_t)w->rows, nibbles);
        return;
    }
    if (w->layout == HF_PACKED) {
        nibbles_of_words(w->data->data + 4 * ((size_t)row * w->data->dimension[1] + col / 8), 4, nibbles);
        return;
    }
    for (uint32_t j = 0; j < 16; j++)
        nibbles[j] = (uint8_t)(integer_at(w, row, col + j) | integer_at(w, row, col + j + 16) << 4);
}

/* Blocks of scaled.h. Integers of 8 bits that are stored from 0 on are moved to be signed, and their zeros with them. */
static void scaled_row(const struct hf_weight *w, uint32_t row, uint8_t *out)
{
    bool is_unsigned = w->layout != HF_INT8;
    for (uint32_t col = 0; col < w->cols; col += 32) {
        uint32_t group = group_of(w, col);
        int zero = zero_at(w, row, group), centre = is_unsigned && w->bits == 8 ? 128 : 0;
        store_u32(out, bits_of_float(float_at(w->scales, scale_index(w, row, group))));
        if (w->type == GGUF_SCALED_INT4) {
            int4_block(w, row, col, out + 4);
        } else if (w->type == GGUF_SCALED_INT4_ZERO) {
            store_u16(out + 4, (uint16_t)zero);
            int4_block(w, row, col, out + 6);
        } else {
            bool has_zero = w->type == GGUF_SCALED_INT8_ZERO;
            if (has_zero) store_u16(out + 4, (uint16_t)(zero - centre));
            uint8_t *values = out + (has_zero ? 6 : 4);
            for (uint32_t j = 0; j < 32; j++) values[j] = (uint8_t)(integer_at(w, row, col + j) - centre);
        }
        out += gguf_block_bytes(w->type);
    }
}

static void fp8_row(const struct hf_weight *w, uint32_t row, uint8_t *out)
{
    const uint8_t *in = w->data->data + (size_t)row * w->cols;
    for (uint32_t col = 0; col < w->cols; col += 32, out += 36) {
        store_u32(out, bits_of_float(float_at(w->scales, scale_index(w, row, col / w->group))));
        memcpy(out + 4, in + col, 32);
    }
}

void hf_weight_row(const struct hf_weight *w, uint32_t matrix, uint32_t row, uint8_t *out)
{
    size_t bytes = hf_weight_row_bytes(w), index = (size_t)matrix * w->rows + row;
    if (w->layout == HF_PLAIN) {
        memcpy(out, w->data->data + index * bytes, bytes);
    } else if (w->layout == HF_MXFP4) {
        mxfp4_row(w, index * (w->cols / 32), w->cols / 32, out);
    } else if (w->type == GGUF_F32) {
        for (uint32_t c = 0; c < w->cols; c++)
            store_u32(out + 4 * (size_t)c, bits_of_float(hf_weight_at(w, matrix, row, c)));
    } else if (w->layout == HF_FP8) {
        fp8_row(w, row, out);
    } else {
        scaled_row(w, row, out);
    }
}
