/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of tensor types: elements and bytes of one block. Numbers: enum ggml_type in ggml.h; sizes: the block
 * structs of ggml-common.h. (gguf-py's GGML_QUANT_SIZES agrees, save for Q8_1, where it still has float scales; Q8_1 and
 * Q8_K are for intermediate results; files with them are not known.)
 */
#include "host/model/gguf_internal.h"

struct type_row {
    const char *name;
    uint16_t elements, bytes;
    bool supported;
};

static const struct type_row tensor_types[GGUF_TENSOR_TYPE_END] = {
    [GGUF_F32] = {"F32", 1, 4, true},
    [GGUF_F16] = {"F16", 1, 2, true},
    [GGUF_BF16] = {"BF16", 1, 2, true},
    [GGUF_F64] = {"F64", 1, 8, false},
    [GGUF_I8] = {"I8", 1, 1, false},
    [GGUF_I16] = {"I16", 1, 2, false},
    [GGUF_I32] = {"I32", 1, 4, false},
    [GGUF_I64] = {"I64", 1, 8, false},
    [GGUF_Q4_0] = {"Q4_0", 32, 2 + 16, true},
    [GGUF_Q4_1] = {"Q4_1", 32, 4 + 16, true},
    [GGUF_Q5_0] = {"Q5_0", 32, 2 + 4 + 16, true},
    [GGUF_Q5_1] = {"Q5_1", 32, 4 + 4 + 16, true},
    [GGUF_Q8_0] = {"Q8_0", 32, 2 + 32, true},
    [GGUF_Q8_1] = {"Q8_1", 32, 4 + 32, false},
    [GGUF_Q2_K] = {"Q2_K", 256, 16 + 64 + 4, true},
    [GGUF_Q3_K] = {"Q3_K", 256, 32 + 64 + 12 + 2, true},
    [GGUF_Q4_K] = {"Q4_K", 256, 4 + 12 + 128, true},
    [GGUF_Q5_K] = {"Q5_K", 256, 4 + 12 + 32 + 128, true},
    [GGUF_Q6_K] = {"Q6_K", 256, 128 + 64 + 16 + 2, true},
    [GGUF_Q8_K] = {"Q8_K", 256, 4 + 256 + 32, true},
    [GGUF_IQ1_S] = {"IQ1_S", 256, 2 + 32 + 16, true},
    [GGUF_IQ1_M] = {"IQ1_M", 256, 32 + 16 + 8, true},
    [GGUF_IQ2_XXS] = {"IQ2_XXS", 256, 2 + 64, true},
    [GGUF_IQ2_XS] = {"IQ2_XS", 256, 2 + 64 + 8, true},
    [GGUF_IQ2_S] = {"IQ2_S", 256, 2 + 64 + 8 + 8, true},
    [GGUF_IQ3_XXS] = {"IQ3_XXS", 256, 2 + 96, true},
    [GGUF_IQ3_S] = {"IQ3_S", 256, 2 + 64 + 8 + 32 + 4, true},
    [GGUF_IQ4_NL] = {"IQ4_NL", 32, 2 + 16, true},
    [GGUF_IQ4_XS] = {"IQ4_XS", 256, 2 + 2 + 4 + 128, true},
    [GGUF_TQ1_0] = {"TQ1_0", 256, 48 + 4 + 2, true},
    [GGUF_TQ2_0] = {"TQ2_0", 256, 64 + 2, true},
    [GGUF_MXFP4] = {"MXFP4", 32, 1 + 16, true},
    [GGUF_NVFP4] = {"NVFP4", 64, 4 + 32, true},
    [GGUF_Q1_0] = {"Q1_0", 128, 2 + 16, false},
    [GGUF_SCALED_INT4] = {"INT4", 32, 4 + 16, true},
    [GGUF_SCALED_INT4_ZERO] = {"INT4_ZERO", 32, 4 + 2 + 16, true},
    [GGUF_SCALED_INT8] = {"INT8", 32, 4 + 32, true},
    [GGUF_SCALED_INT8_ZERO] = {"INT8_ZERO", 32, 4 + 2 + 32, true},
    [GGUF_SCALED_FP8] = {"FP8", 32, 4 + 32, true},
};

const char *gguf_tensor_type_name(unsigned type)
{
    return type < GGUF_TENSOR_TYPE_END && tensor_types[type].name ? tensor_types[type].name : "unknown";
}

unsigned gguf_block_elements(enum gguf_tensor_type type)
{
    return (unsigned)type < GGUF_TENSOR_TYPE_END ? tensor_types[type].elements : 0;
}

unsigned gguf_block_bytes(enum gguf_tensor_type type)
{
    return (unsigned)type < GGUF_TENSOR_TYPE_END ? tensor_types[type].bytes : 0;
}

bool gguf_type_supported(enum gguf_tensor_type type)
{
    return (unsigned)type < GGUF_TENSOR_TYPE_END && tensor_types[type].supported;
}

const char *gguf_removed_type_name(unsigned type)
{
    switch (type) {
    case 4: return "Q4_2";
    case 5: return "Q4_3";
    case 31: return "Q4_0_4_4";
    case 32: return "Q4_0_4_8";
    case 33: return "Q4_0_8_8";
    case 36: return "IQ4_NL_4_4";
    case 37: return "IQ4_NL_4_8";
    case 38: return "IQ4_NL_8_8";
    default: return NULL;
    }
}
