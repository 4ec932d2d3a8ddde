/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole model file of a few kilobytes, as a list of keys and tensors that a test changes before it is written: one
 * layer of 32 dimensions, two heads over one, a vocabulary of 8, two experts where the architecture has them.
 */
#ifndef SLUICE_TESTS_TINY_MODEL_H
#define SLUICE_TESTS_TINY_MODEL_H

#include "host/model/model.h"
#include "tests/unit/model/gguf_writer.h"

#include <stdio.h>

#define TINY_MAX 64

struct tiny_key {
    char name[64];
    enum gguf_type type; /* U32, F32, STRING, or ARRAY: that many tokens */
    uint32_t u32;
    float f32;
    const char *text;
};

struct tiny_tensor {
    char name[64];
    uint64_t dimension[3];
    enum gguf_tensor_type type;
    size_t at; /* of its data in the file, once written */
};

struct tiny_model {
    char architecture[16];
    struct tiny_key keys[TINY_MAX];
    unsigned n_keys;
    struct tiny_tensor tensors[TINY_MAX];
    unsigned n_tensors;
    struct writer file;
};

/* The key "<architecture>.<suffix>", or suffix itself if it has a dot-separated group of its own (general, tokenizer). */
static inline struct tiny_key *tiny_key(struct tiny_model *tiny, const char *suffix)
{
    char name[64];
    bool whole = strncmp(suffix, "general.", 8) == 0 || strncmp(suffix, "tokenizer.", 10) == 0;
    (void)snprintf(name, sizeof name, "%s%s%s", whole ? "" : tiny->architecture, whole ? "" : ".", suffix);
    for (unsigned i = 0; i < tiny->n_keys; i++)
        if (strcmp(tiny->keys[i].name, name) == 0) return &tiny->keys[i];
    if (tiny->n_keys == TINY_MAX) abort();
    struct tiny_key *key = &tiny->keys[tiny->n_keys++];
    memcpy(key->name, name, sizeof name);
    return key;
}

static inline void tiny_u32(struct tiny_model *tiny, const char *suffix, uint32_t value)
{
    struct tiny_key *key = tiny_key(tiny, suffix);
    key->type = GGUF_TYPE_U32;
    key->u32 = value;
}

static inline void tiny_bool(struct tiny_model *tiny, const char *suffix, bool value)
{
    struct tiny_key *key = tiny_key(tiny, suffix);
    key->type = GGUF_TYPE_BOOL;
    key->u32 = value;
}

static inline void tiny_f32(struct tiny_model *tiny, const char *suffix, float value)
{
    struct tiny_key *key = tiny_key(tiny, suffix);
    key->type = GGUF_TYPE_F32;
    key->f32 = value;
}

static inline void tiny_text(struct tiny_model *tiny, const char *suffix, const char *text)
{
    struct tiny_key *key = tiny_key(tiny, suffix);
    key->type = GGUF_TYPE_STRING;
    key->text = text;
}

static inline void tiny_tokens(struct tiny_model *tiny, uint32_t n)
{
    struct tiny_key *key = tiny_key(tiny, "tokenizer.ggml.tokens");
    key->type = GGUF_TYPE_ARRAY;
    key->u32 = n;
}

static inline void tiny_drop_key(struct tiny_model *tiny, const char *suffix)
{
    *tiny_key(tiny, suffix) = tiny->keys[tiny->n_keys - 1];
    tiny->n_keys--;
}

static inline struct tiny_tensor *tiny_tensor(struct tiny_model *tiny, const char *name)
{
    for (unsigned i = 0; i < tiny->n_tensors; i++)
        if (strcmp(tiny->tensors[i].name, name) == 0) return &tiny->tensors[i];
    abort();
}

static inline void tiny_drop_tensor(struct tiny_model *tiny, const char *name)
{
    *tiny_tensor(tiny, name) = tiny->tensors[tiny->n_tensors - 1];
    tiny->n_tensors--;
}

static inline void tiny_add(struct tiny_model *tiny, const char *name, enum gguf_tensor_type type, uint64_t cols,
                            uint64_t rows, uint64_t experts)
{
    if (tiny->n_tensors == TINY_MAX) abort();
    struct tiny_tensor *tensor = &tiny->tensors[tiny->n_tensors++];
    *tensor = (struct tiny_tensor){.dimension = {cols, rows, experts}, .type = type};
    (void)snprintf(tensor->name, sizeof tensor->name, "%s", name);
}

static inline void tiny_add_keys(struct tiny_model *tiny)
{
    tiny_text(tiny, "general.architecture", tiny->architecture);
    tiny_u32(tiny, "block_count", 1);
    tiny_u32(tiny, "context_length", 64);
    tiny_u32(tiny, "embedding_length", 32);
    tiny_u32(tiny, "feed_forward_length", 32);
    tiny_u32(tiny, "attention.head_count", 2);
    tiny_u32(tiny, "attention.head_count_kv", 1);
    tiny_f32(tiny, "attention.layer_norm_rms_epsilon", 1e-5f);
    tiny_tokens(tiny, 8);
}

static inline void tiny_add_attention(struct tiny_model *tiny)
{
    tiny_add(tiny, "token_embd.weight", GGUF_Q4_0, 32, 8, 1);
    tiny_add(tiny, "output_norm.weight", GGUF_F32, 32, 1, 1);
    tiny_add(tiny, "blk.0.attn_norm.weight", GGUF_F32, 32, 1, 1);
    tiny_add(tiny, "blk.0.attn_q.weight", GGUF_Q4_0, 32, 32, 1);
    tiny_add(tiny, "blk.0.attn_k.weight", GGUF_Q4_0, 32, 16, 1);
    tiny_add(tiny, "blk.0.attn_v.weight", GGUF_Q4_0, 32, 16, 1);
    tiny_add(tiny, "blk.0.attn_output.weight", GGUF_Q4_0, 32, 32, 1);
    tiny_add(tiny, "blk.0.ffn_norm.weight", GGUF_F32, 32, 1, 1);
    if (strcmp(tiny->architecture, "qwen2") == 0) {
        tiny_add(tiny, "blk.0.attn_q.bias", GGUF_F32, 32, 1, 1);
        tiny_add(tiny, "blk.0.attn_k.bias", GGUF_F32, 16, 1, 1);
        tiny_add(tiny, "blk.0.attn_v.bias", GGUF_F32, 16, 1, 1);
    }
    if (strncmp(tiny->architecture, "qwen3", 5) == 0) {
        tiny_add(tiny, "blk.0.attn_q_norm.weight", GGUF_F32, 16, 1, 1);
        tiny_add(tiny, "blk.0.attn_k_norm.weight", GGUF_F32, 16, 1, 1);
    }
}

/* A valid model of one of the four architectures. */
static inline void tiny_init(struct tiny_model *tiny, const char *architecture)
{
    memset(tiny, 0, sizeof *tiny);
    (void)snprintf(tiny->architecture, sizeof tiny->architecture, "%s", architecture);
    tiny_add_keys(tiny);
    tiny_add_attention(tiny);
    if (strcmp(architecture, "qwen3moe") != 0) {
        tiny_add(tiny, "blk.0.ffn_gate.weight", GGUF_Q4_0, 32, 32, 1);
        tiny_add(tiny, "blk.0.ffn_up.weight", GGUF_Q4_0, 32, 32, 1);
        tiny_add(tiny, "blk.0.ffn_down.weight", GGUF_Q4_0, 32, 32, 1);
        return;
    }
    tiny_u32(tiny, "expert_count", 2);
    tiny_u32(tiny, "expert_used_count", 1);
    tiny_u32(tiny, "expert_feed_forward_length", 32);
    tiny_add(tiny, "blk.0.ffn_gate_inp.weight", GGUF_F32, 32, 2, 1);
    tiny_add(tiny, "blk.0.ffn_gate_exps.weight", GGUF_Q4_0, 32, 32, 2);
    tiny_add(tiny, "blk.0.ffn_up_exps.weight", GGUF_Q4_0, 32, 32, 2);
    tiny_add(tiny, "blk.0.ffn_down_exps.weight", GGUF_Q4_0, 32, 32, 2);
}

static inline void tiny_write_key(struct writer *file, const struct tiny_key *key)
{
    put_key(file, key->name, key->type);
    switch (key->type) {
    case GGUF_TYPE_F32: put_u32(file, bits_of_float(key->f32)); break;
    case GGUF_TYPE_BOOL: put_u8(file, (uint8_t)key->u32); break;
    case GGUF_TYPE_STRING: put_string(file, key->text); break;
    case GGUF_TYPE_ARRAY:
        put_array(file, GGUF_TYPE_STRING, key->u32);
        for (uint32_t i = 0; i < key->u32; i++) put_string(file, "t");
        break;
    default: put_u32(file, key->u32); break;
    }
}

static inline size_t tiny_bytes(const struct tiny_tensor *tensor)
{
    uint64_t n = tensor->dimension[0] * tensor->dimension[1] * tensor->dimension[2];
    return n / gguf_block_elements(tensor->type) * gguf_block_bytes(tensor->type);
}

/* Zeros for weights: every scale is finite. tensor->at says where each lies in tiny->file. */
static inline void tiny_write(struct tiny_model *tiny)
{
    struct writer *file = &tiny->file;
    uint64_t offset = 0;
    file->size = 0;
    put_header(file, 3, tiny->n_tensors, tiny->n_keys);
    for (unsigned i = 0; i < tiny->n_keys; i++) tiny_write_key(file, &tiny->keys[i]);
    for (unsigned i = 0; i < tiny->n_tensors; i++) {
        struct tiny_tensor *tensor = &tiny->tensors[i];
        put_string(file, tensor->name);
        put_u32(file, 3);
        for (unsigned d = 0; d < 3; d++) put_u64(file, tensor->dimension[d]);
        put_u32(file, tensor->type);
        put_u64(file, offset);
        tensor->at = offset;
        offset += (tiny_bytes(tensor) + 31) / 32 * 32;
    }
    put_padding(file, 32);
    size_t data = file->size;
    for (uint64_t i = 0; i < offset; i++) put_u8(file, 0);
    for (unsigned i = 0; i < tiny->n_tensors; i++) tiny->tensors[i].at += data;
}

/* Writes and opens it; the file must stay where it is while the model is open. */
static inline int tiny_open(struct tiny_model *tiny, struct model **model, struct error *err)
{
    tiny_write(tiny);
    return model_open_memory(tiny->file.bytes, tiny->file.size, "tiny", model, err);
}

#endif
